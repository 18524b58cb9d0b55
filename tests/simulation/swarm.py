"""Runs many seeds, counts what they simulated, and shrinks those that broke a promise."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Final

from attrs import define, evolve, field, frozen

from tests.simulation.children import Stopped
from tests.simulation.evidence import Verdict
from tests.simulation.nursery import ROOT
from tests.simulation.outcome import Outcome
from tests.simulation.shrink import MAX_RUNS, shrink
from tests.simulation.story import Story
from tests.simulation.story_diagram import page

YEAR_HOURS: Final = 365.25 * 24
SAME: Final = "the same seed, the same journal"
Run = Callable[[Story], Outcome]


@frozen(kw_only=True)
class SeedResult:
    """What became of one seed."""

    story: Story
    outcome: Outcome
    took: float
    """Real seconds."""

    @property
    def clean(self) -> bool:
        """Whether no promise was broken."""
        return not self.outcome.verdicts

    @property
    def judges(self) -> tuple[str, ...]:
        """The names of the judges that condemned it, each once."""
        return tuple(dict.fromkeys(verdict.judge for verdict in self.outcome.verdicts))


@define
class Tally:
    """What all runs so far amount to."""

    commit: str
    began: float
    clean: int = 0
    failed: list[SeedResult] = field(factory=list)
    account_hours: float = 0.0
    virtual_seconds: float = 0.0
    run_seconds: float = 0.0
    """Real seconds of all runs together; with two jobs twice as many pass as on the clock."""
    counters: Counter[str] = field(factory=Counter)

    @property
    def seeds(self) -> int:
        """How many were run."""
        return self.clean + len(self.failed)

    def add(self, result: SeedResult) -> None:
        """Count a result. Only what failed is kept whole."""
        if result.clean:
            self.clean += 1
        else:
            self.failed.append(result)
            self.failed.sort(key=lambda each: each.story.seed)
        self.account_hours += result.story.accounts * result.story.hours
        self.virtual_seconds += result.story.seconds
        self.run_seconds += result.took
        self.counters.update(result.outcome.counters)

    def incidents(self) -> dict[str, int]:
        """Return how many were injected of each kind, the most frequent first."""
        found = {
            name.removeprefix("incident."): int(n) for name, n in self.counters.items() if name.startswith("incident.")
        }
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def as_data(self, now: float) -> dict[str, Any]:
        """Return all of it for programs."""
        return {
            "commit": self.commit,
            "seeds": self.seeds,
            "clean": self.clean,
            "failed": [
                {
                    "seed": each.story.seed,
                    "judges": list(each.judges),
                    "verdicts": [str(v) for v in each.outcome.verdicts[:10]],
                }
                for each in self.failed
            ],
            "account_years": round(self.account_hours / YEAR_HOURS, 4),
            "real_seconds": round(now - self.began, 1),
            "virtual_seconds": round(self.virtual_seconds, 1),
            "virtual_to_real": round(self.virtual_seconds / max(now - self.began, 0.001), 1),
            "incidents": self.incidents(),
            "counters": {name: n for name, n in sorted(self.counters.items()) if not name.startswith("incident.")},
        }

    def lines(self, now: float) -> Iterator[str]:
        """Yield the summary for people."""
        data = self.as_data(now)
        plural = "" if self.seeds == 1 else "s"
        yield f"{self.seeds:,} seed{plural}: {self.clean:,} clean, {len(self.failed):,} failed, on commit {self.commit}"
        years, incidents = data["account_years"], data["incidents"]
        yield f"{years:.2f} account-years, {sum(incidents.values()):,} incidents of {len(incidents)} kinds"
        counted = data["counters"]
        if counted:
            yield ", ".join(f"{n:,.0f} {name.replace('_', ' ')}" for name, n in counted.items())
        real, ratio = data["real_seconds"], data["virtual_to_real"]
        yield f"{real:,.0f} s of real time, {ratio:,.0f} virtual seconds in each"
        for judge, seeds in self.by_judge().items():
            shown = ", ".join(map(str, seeds[:12])) + (f" and {len(seeds) - 12} more" if len(seeds) > 12 else "")
            yield f"✗ {judge}: seed{'' if len(seeds) == 1 else 's'} {shown}"

    def by_judge(self) -> dict[str, list[int]]:
        """Return the seeds that each judge condemned."""
        found: dict[str, list[int]] = {}
        for each in self.failed:
            for judge in each.judges:
                found.setdefault(judge, []).append(each.story.seed)
        return found


def commit_of(root: Path = ROOT) -> str:
    """Return the commit that is checked out, with ``+`` if files differ from it; "unknown" outside a repository."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + (
            "+" if git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def twice(run: Run) -> Run:
    """Return a run that runs each story two times, and condemns a difference between the two."""

    def both(story: Story) -> Outcome:
        first, second = run(story), run(story)
        if first.journal == second.journal and first.digest == second.digest:
            return first
        verdict = Verdict(judge=SAME, what=_difference(first.journal, second.journal))
        return evolve(first, verdicts=(*first.verdicts, verdict))

    return both


def _difference(first: str, second: str) -> str:
    pairs = enumerate(zip(first.splitlines(), second.splitlines(), strict=False), 1)
    for number, (one, other) in pairs:
        if one != other:
            return f"line {number} of the journal is {one[:300]!r} and {other[:300]!r}"
    return f"the journals have {len(first.splitlines())} and {len(second.splitlines())} lines"


def run_all(
    stories: Iterable[Story],
    run: Run,
    tally: Tally,
    *,
    jobs: int,
    until: float | None = None,
    report: Callable[[SeedResult], None] = lambda result: None,
    stop: Callable[[], None] = lambda: None,
) -> None:
    """Run stories, so many at a time, until there are no more or the monotonic time ``until`` has come.

    ``stop`` has to end the runs that go on when Ctrl+C is pressed.
    """

    def one(story: Story) -> SeedResult:
        began = time.monotonic()
        outcome = run(story)
        return SeedResult(story=story, outcome=outcome, took=time.monotonic() - began)

    waiting = iter(stories)
    with ThreadPoolExecutor(jobs) as pool:
        running: set[Future[SeedResult]] = set()
        try:
            while True:
                while len(running) < jobs and (until is None or time.monotonic() < until):
                    story = next(waiting, None)
                    if story is None:
                        break
                    running.add(pool.submit(one, story))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for result in sorted((each.result() for each in done), key=lambda each: each.story.seed):
                    tally.add(result)
                    report(result)
        except BaseException:
            stop()  # the pool waits for its threads, and these for the runs
            raise


def keep_findings(
    tally: Tally,
    run: Run,
    out: Path,
    *,
    most: int,
    minutes: float,
    max_runs: int = MAX_RUNS,
    say: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Write each failed seed's story; shrink the first of each judge, ``most`` in all; return their pages."""
    pages = []
    shrunk: set[str] = set()
    for result in tally.failed:
        out.mkdir(parents=True, exist_ok=True)
        seed, judge = result.story.seed, result.judges[0]
        (out / f"{seed}.drawn.json").write_text(result.story.dump(), encoding="utf-8")
        story, outcome, hours = result.story, result.outcome, None
        if judge not in shrunk and len(shrunk) < most:
            shrunk.add(judge)
            say(f"shrinking seed {seed} ({judge}) …")
            try:
                story, outcome, runs = _shrunk(result, run, minutes, max_runs)
                hours = result.story.hours
                left = f"{len(story.incidents)} of {len(result.story.incidents)} incidents"
                say(f"seed {seed}: {left} left after {runs} runs")
            except Stopped:
                say(f"seed {seed} stays as it was drawn")
        pages.append(write_page(out, story, outcome, hours))
    return pages


def write_page(out: Path, story: Story, outcome: Outcome, drawn_hours: float | None = None) -> Path:
    """Write a story and the page that tells of it; return the page."""
    out.mkdir(parents=True, exist_ok=True)
    file, told = out / f"{story.seed}.story.json", out / f"{story.seed}.md"
    file.write_text(story.dump(), encoding="utf-8")
    command = f"python -m tests.simulation --story {file}"
    told.write_text(page(story, outcome, command=command, drawn_hours=drawn_hours), encoding="utf-8")
    return told


def _shrunk(result: SeedResult, run: Run, minutes: float, max_runs: int) -> tuple[Story, Outcome, int]:
    judge, until = result.judges[0], time.monotonic() + minutes * 60
    outcomes = {result.story.dump(): result.outcome}

    def still_fails(story: Story) -> bool:
        outcome = run(story)
        if any(verdict.judge == judge for verdict in outcome.verdicts):
            outcomes[story.dump()] = outcome
            return True
        return False

    found = shrink(result.story, still_fails, max_runs=max_runs, out_of_time=lambda: time.monotonic() > until)
    return found.story, outcomes[found.story.dump()], found.runs


def write_summary(tally: Tally, out: Path, options: Mapping[str, Any]) -> Path:
    """Write the summary for programs."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "summary.json"
    data = {"options": dict(options), **tally.as_data(time.monotonic()), "python": sys.version.split()[0]}
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return path
