"""``python -m tests.simulation``: runs seeds of the simulated world, and shows what breaks a promise.

``--child`` runs the story on standard input in this very process, and writes its outcome to standard output.
"""

import os
import sys
import threading
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # chance and time are replaced before anything else is loaded
    from tests.simulation.story import Story
    from tests.simulation.swarm import Tally

EXAMPLES = """\
examples:
  python -m tests.simulation --seeds 1000 --hours 24       about an hour on two cores
  python -m tests.simulation --seed 17                     one seed, with its story and its counters
  python -m tests.simulation --story found/17.story.json   a story that was kept
  python -m tests.simulation --seeds 20 --hours 2 --twice  each seed two times; the journals must be equal
"""


def child() -> int:
    """Run the story on standard input. Chance and time of this process are replaced before anything else is loaded."""
    from tests.simulation import one

    clock = one.prepare()
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints, prints beside the answer
    os.nice(5)
    answer.write(one.run_text(sys.stdin.read(), clock).dump())
    answer.close()
    sys.stderr.flush()
    os._exit(0)  # what a dead engine left must not be cleaned up by an interpreter that goes


def _parsed(words: list[str]) -> Namespace:
    parser = ArgumentParser(
        prog="python -m tests.simulation",
        description="Run the whole engine in a simulated world, by seeds.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seeds", type=_positive, default=20, metavar="N", help="how many seeds (20)")
    which.add_argument("--seed", type=int, metavar="N", help="this one seed, and say more of it")
    which.add_argument("--story", type=Path, metavar="FILE", help="a story that was written before")
    parser.add_argument("--first", type=int, default=1, metavar="N", help="the first seed (1)")
    parser.add_argument("--hours", type=_hours, default=24.0, metavar="H", help="virtual hours of each seed (24)")
    parser.add_argument("--jobs", type=_positive, default=2, metavar="N", help="runs at the same time (2)")
    parser.add_argument("--budget", type=_above_0, metavar="MIN", help="begin no other seed after so many minutes")
    parser.add_argument(
        "--patience", type=_above_0, default=300.0, metavar="S", help="real seconds that a run may take (300)"
    )
    parser.add_argument("--twice", action="store_true", help="run each seed two times and compare the journals")
    parser.add_argument(
        "--out", type=_directory, default=".simulation", metavar="DIR", help="where findings go (.simulation)"
    )
    parser.add_argument(
        "--shrink", type=_count, default=5, metavar="N", help="shrink so many failures of different kinds (5)"
    )
    parser.add_argument(
        "--shrink-minutes", type=_above_0, default=10.0, metavar="MIN", help="for each at most so long (10)"
    )
    return parser.parse_args(words)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _count(text: str) -> int:
    return 0 if text == "0" else _positive(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _above_0(text: str) -> float:
    if not 0 < _number(text) < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a number above 0")
    return _number(text)


def _directory(text: str) -> Path:
    """Return a directory that can be written, which is found out now: a swarm may end a night later."""
    path = Path(text)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise ArgumentTypeError(f"{text!r} cannot be written: {error.strerror}") from None


def _hours(text: str) -> float:
    hours = _number(text)
    if not 0 < hours <= 24 * 365:
        raise ArgumentTypeError(f"{text!r} is not a number of hours above 0")
    return hours


def main(words: list[str]) -> int:
    """Run what was asked for; 0 if all promises were kept, 1 if not, 130 after Ctrl+C."""
    from tests.simulation.children import Children, Stopped
    from tests.simulation.draw import draw
    from tests.simulation.swarm import SeedResult, Tally, commit_of, keep_findings, run_all, twice, write_page

    options = _parsed(words)
    try:
        stories = _single_story(options)
    except (OSError, ValueError) as error:
        print(f"{options.story} cannot be run: {error}", file=sys.stderr)
        return 2
    verbose = bool(stories)
    count = len(stories) or options.seeds
    seeds = range(options.first, options.first + options.seeds)
    children = Children(patience=options.patience)
    run = twice(children.run) if options.twice else children.run
    tally = Tally(commit=commit_of(), began=time.monotonic())
    until = None if options.budget is None else tally.began + options.budget * 60

    kept: list[SeedResult] = []

    def report(result: SeedResult) -> None:
        kept[:] = [result]
        for verdict in result.outcome.verdicts[: 20 if verbose else 3]:
            progress.say(f"✗ seed {result.story.seed}: {verdict}")
        progress.show(
            f"{tally.seeds:,} of {count:,}, {len(tally.failed)} failed, {tally.account_hours / 8766:.2f} account-years"
        )

    interrupted = False
    with _Progress() as progress:
        try:
            run_all(
                stories or (draw(seed, options.hours) for seed in seeds),
                run,
                tally,
                jobs=options.jobs,
                until=until,
                report=report,
                stop=children.stop,
            )
            pages = keep_findings(
                tally, run, options.out, most=options.shrink, minutes=options.shrink_minutes, say=progress.say
            )
            if verbose and kept and not pages:
                pages = [write_page(options.out, kept[0].story, kept[0].outcome)]
        except (KeyboardInterrupt, Stopped):
            interrupted = True
            children.stop()
            pages = keep_findings(tally, run, options.out, most=0, minutes=0)
        children.stop()
    _print_results(tally, options, pages)
    return 130 if interrupted else 1 if tally.failed else 0


def _single_story(options: Namespace) -> "list[Story]":
    """Return the one story that is wanted; none for a swarm. Raises ``OSError`` or ``ValueError`` for a bad file."""
    from tests.simulation.draw import draw
    from tests.simulation.story import Story

    if options.story is not None:
        options.shrink = 0  # it is as short as it was wanted
        return [Story.load(options.story.read_text(encoding="utf-8"))]
    return [] if options.seed is None else [draw(options.seed, options.hours)]


def _print_results(tally: "Tally", options: Namespace, pages: list[Path]) -> None:
    from tests.simulation.swarm import write_summary

    for line in tally.lines(time.monotonic()):
        print(line)
    given = {name: str(value) for name, value in vars(options).items() if value is not None}
    print(f"summary: {write_summary(tally, options.out, given)}")
    for page in pages:
        print(f"story: {page}")


class _Progress:
    """One line on a terminal that is written again and again; elsewhere a line now and then."""

    EVERY = 30.0

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown = 0.0
        self._lock = threading.Lock()

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal:
            sys.stderr.write("\r\x1b[K")

    def show(self, text: str) -> None:
        with self._lock:
            if self._terminal:
                sys.stderr.write(f"\r\x1b[K{text}")
                sys.stderr.flush()
            elif time.monotonic() - self._shown >= self.EVERY:
                self._shown = time.monotonic()
                print(text, file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        with self._lock:
            before = "\r\x1b[K" if self._terminal else ""
            print(f"{before}{text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--nursery"]:
        from tests.simulation.nursery import serve

        serve()
    sys.exit(child() if sys.argv[1:] == ["--child"] else main(sys.argv[1:]))
