"""What a run of all benchmarks found: its table of targets, and the tables that set a quiet run beside a busy one."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import asdict, frozen

from tests.bench.suite import Outcome
from tests.bench.table import Target

QUIET, BUSY = "quiet", "busy"
HEAD: Final = ("benchmark", "figure", "alternative", "ratio or figure", "target", "")
NO_TARGETS: Final = "–"


@frozen
class Run:
    """All benchmarks of one run, and the machine that it was on."""

    machine: Mapping[str, str]
    outcomes: Sequence[Outcome]
    quick: bool = False
    busy: bool = False

    @property
    def failed(self) -> list[Outcome]:
        """The benchmarks without a result."""
        return [outcome for outcome in self.outcomes if outcome.failure]

    @property
    def missed(self) -> list[tuple[str, Target]]:
        """The targets that were missed, each with its benchmark's name."""
        return [(name, target) for name, target in self.targets() if not target.kept]

    @property
    def code(self) -> int:
        """The exit code: 2 if a benchmark failed, 1 if a target was missed, 0 if neither."""
        return 2 if self.failed else 1 if self.missed else 0

    def targets(self) -> Iterator[tuple[str, Target]]:
        """Yield each target with its benchmark's name."""
        for outcome in self.outcomes:
            for target in outcome.targets:
                yield outcome.name, target

    def write(self, file: Path) -> None:
        """Write it all as JSON."""
        file.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", "utf-8")

    @classmethod
    def read(cls, file: Path) -> "Run":
        """Read what ``write`` wrote. Raises ``OSError``, ``ValueError``, ``TypeError`` or ``KeyError`` otherwise."""
        found = json.loads(file.read_text("utf-8"))
        outcomes = [
            Outcome(**{**outcome, "targets": tuple(Target(**target) for target in outcome["targets"])})
            for outcome in found.pop("outcomes")
        ]
        return cls(outcomes=outcomes, **found)


# --- one run ---------------------------------------------------------------------------------------------------------


def summary(run: Run) -> list[str]:
    """Return every figure with its target, the machine, and a verdict, as Markdown."""
    return [
        "## Summary",
        "",
        *_table(HEAD, [_row(name, target) for name, target in run.targets()]),
        "",
        *machine(run),
        "",
        *durations(run),
        "",
        *verdict(run),
    ]


def machine(run: Run) -> list[str]:
    """Return the state of the machine as items of a list."""
    found = [f"- {heading}: {text}" for heading, text in run.machine.items()]
    if run.busy:
        found.append("- beside a load of this command's own: half of each processor, and a writer that uses fsync")
    return found


def durations(run: Run) -> list[str]:
    """Return how long each benchmark took, and how much of the machine others had meanwhile."""
    rows = [[outcome.name, f"{outcome.seconds:.0f} s", f"{outcome.others:.0%}"] for outcome in run.outcomes]
    return _table(("benchmark", "took", "of the processors, other programs had"), rows)


def verdict(run: Run) -> list[str]:
    """Return what failed and what was missed, in sentences."""
    said = [f"**{outcome.name} has no figures.** {outcome.failure}" for outcome in run.failed]
    if run.quick:
        said.append("This run was a quick one, for those who change a benchmark: its figures mean nothing.")
    judged, missed = [target for _, target in run.targets() if target.bound], run.missed
    said.append(f"Targets missed: {len(missed)} of {len(judged)}.")
    lines = [line for sentence in said for line in (sentence, "")]
    return [*lines, *(f"- {name}, {target.sentence}" for name, target in missed)] if missed else lines[:-1]


def _row(name: str, target: Target) -> list[str]:
    return [name, target.what, target.against, target.figure, target.bound or NO_TARGETS, target.mark]


# --- a quiet run and a busy one --------------------------------------------------------------------------------------


def side_by_side(quiet: Run, busy: Run) -> list[str]:
    """Return every figure of two runs, as Markdown."""
    rows = [[name, *_both(ours, theirs)] for name, ours, theirs in _pairs(quiet, busy)]
    return _table(("benchmark", "figure", "alternative", "target", "quiet", "busy"), rows)


def headlines(quiet: Run, busy: Run) -> list[str]:
    """Return the few figures of two runs that a reader wants first, and a sentence on all others that are missed."""
    pairs = list(_pairs(quiet, busy))
    rows = [_both(ours, theirs) for _, ours, theirs in pairs if _any(ours, theirs).headline]
    others = [
        f"{target.what}{f' against {target.against}' if target.against else ''}"
        for _, ours, theirs in pairs
        if not (target := _any(ours, theirs)).headline
        if not all(each.kept for each in (ours, theirs) if each is not None)
    ]
    lines = _table(("", "compared with", "target", "quiet machine", "busy machine"), rows)
    return [*lines, "", f"Also missed, on one of the two at least: {'; '.join(others)}."] if others else lines


def _pairs(quiet: Run, busy: Run) -> Iterator[tuple[str, Target | None, Target | None]]:
    """Yield each figure of either run with that of the other; None where a run has not got it."""

    def keyed(run: Run) -> dict[tuple[str, str, str], Target]:
        return {(name, target.what, target.against): target for name, target in run.targets()}

    ours, theirs = keyed(quiet), keyed(busy)
    for key in ours | theirs:
        yield key[0], ours.get(key), theirs.get(key)


def _any(ours: Target | None, theirs: Target | None) -> Target:
    found = ours or theirs
    assert found is not None
    return found


def _both(ours: Target | None, theirs: Target | None) -> list[str]:
    either = _any(ours, theirs)
    cells = [f"{each.figure} {each.mark}".rstrip() if each is not None else NO_TARGETS for each in (ours, theirs)]
    return [either.what, either.against, either.bound or NO_TARGETS, *cells]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]
