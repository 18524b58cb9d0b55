"""All benchmarks, one after the other, and a table of every target.

    uv run --group bench python -m tests.bench [--only NAME ...] [--busy] [--quick] [--json FILE] [--markdown FILE]
    uv run --group bench python -m tests.bench --compare QUIET.json BUSY.json [--markdown FILE]

The first prints what each benchmark's own command prints, and then the summary: each figure beside its alternative and
its target, in ratios of this one run, and the state of the machine. A benchmark that fails, or is still at it after its
deadline, is named, and the others go on; Ctrl+C ends the run with what it has. ``--busy`` keeps the machine busy
meanwhile: half of each processor, and a writer that uses fsync. A whole run takes about twenty-five minutes, seven of
them waits of ``recovery`` and of ``stalls``.

The second sets two such runs side by side: the figures that the README shows, and all that docs/benchmarks.md has.

Exit code: 0 if every target is met, 1 if one is missed, 2 if a benchmark failed.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from tests.bench import load
from tests.bench.machine import describe
from tests.bench.suite import BENCHMARKS, INTERRUPTED, Benchmark, Outcome, run
from tests.bench.summary import Run, headlines, machine, side_by_side, summary


def measure(benchmarks: Sequence[Benchmark], *, quick: bool, busy: bool) -> Run:
    """Run the benchmarks, each after a heading."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name:
        directory = Path(name)
        state = describe(directory)  # before the load: it is no part of what the machine was found in
        outcomes: list[Outcome] = []
        with load.running(directory) if busy else nullcontext():
            for benchmark in benchmarks:
                print(f"## {benchmark.name}\n", flush=True)
                outcome = run(benchmark, quick=quick, directory=directory)
                outcomes.append(outcome)
                if outcome.failure:
                    print(f"**{outcome.name} has no figures.** {outcome.failure}\n", flush=True)
                if outcome.failure == INTERRUPTED:
                    break
    return Run(state, outcomes, quick=quick, busy=busy)


def compared(quiet: Run, busy: Run) -> list[str]:
    """Return the two runs side by side, as Markdown."""
    lines = [
        "For the README:",
        "",
        *headlines(quiet, busy),
        "",
        "For docs/benchmarks.md:",
        "",
        *side_by_side(quiet, busy),
    ]
    for heading, each in (("The quiet run", quiet), ("The busy run", busy)):
        lines += ["", f"{heading}:", "", *machine(each)]
    return lines


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser.add_argument("--only", action="append", choices=names, help="a benchmark; may be given several times")
    parser.add_argument("--busy", action="store_true", help="beside a load of its own")
    parser.add_argument("--quick", action="store_true", help="small, to try the benchmarks: its figures mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the run, for --compare")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the summary, too")
    parser.add_argument(
        "--compare", type=Path, nargs=2, metavar="FILE", help="measure nothing: a quiet run and a busy one"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Print it all; see the module for the exit code."""
    options = parser().parse_args(arguments)
    if options.compare:
        runs = [Run.read(file) for file in options.compare]
        lines, code = compared(*runs), max(each.code for each in runs)
    else:
        wanted = [each for each in BENCHMARKS if not options.only or each.name in options.only]
        found = measure(wanted, quick=options.quick, busy=options.busy)
        if options.json:
            found.write(options.json)
        lines, code = summary(found), found.code
    print("\n".join(lines))
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n", "utf-8")
    return code


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl+C: the benchmark has its own session
    sys.exit(main())
