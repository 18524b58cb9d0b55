"""Deliberate defects, and how soon the simulation finds each: ``python -m tests.simulation.planted``.

Each defect is a small patch, beside a table of all of them (``defects.toml``). For each the committed tree is copied,
the patch is applied to the copy, and stories of one seed after the other are run there, until a judge condemns one.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Final

from tests.simulation.planted.planting import TABLE, Defect, Finding, copied_tree, find, read_table

SEEDS: Final = 200
"""Within so many seeds a defect has to be found."""
EXPECTED: Final = 12
"""So many at least."""
HOURS: Final = 24.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant defects one by one; return 0 if enough of them are found."""
    options = _parser().parse_args(arguments)
    chosen = [each for each in read_table() if not options.only or each.patch.partition("-")[0] in options.only]
    if not chosen:
        print(f"No defect has one of these numbers; {TABLE} has them all.", file=sys.stderr)
        return 2
    found = 0
    with copied_tree() as clean:
        clean.check_imports()
        for defect in chosen:
            began = time.monotonic()
            first, seeds, hours = options.first, options.seeds, options.hours
            if options.known:
                if defect.seed is None or defect.hours is None:
                    continue
                first, seeds, hours = defect.seed, 1, defect.hours
            with copied_tree(defect.file) as tree:
                tree.check_imports()
                finding = find(tree, clean, first=first, seeds=seeds, hours=hours, at_once=options.at_once)
            found += finding is not None
            print(_line(defect, finding, seeds, time.monotonic() - began), flush=True)
    expected = len(chosen) if options.only else EXPECTED
    print(f"{found} of {len(chosen)} found, at least {expected} expected")
    return 0 if found >= expected else 1


def _line(defect: Defect, finding: Finding | None, seeds: int, took: float) -> str:
    if finding is None:
        return f"{defect.patch:46} not in {seeds} seeds ({took:.0f} s)  {defect.missed or 'no reason is known'}"
    where = f"after {finding.seeds} (seed {finding.seed}, {took:.0f} s)"
    return f"{defect.patch:46} {where:28} {finding.judge}: {finding.sentence}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.planted", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NN", default=(), help="the numbers of the defects to plant")
    parser.add_argument("--known", action="store_true", help="run only the seed that the table has for each")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many seeds each defect gets")
    parser.add_argument("--hours", type=float, default=HOURS, help="how long a story is, in virtual hours")
    parser.add_argument("--at-once", type=int, default=1, help="how many stories run side by side")
    return parser


if __name__ == "__main__":
    sys.exit(main())
