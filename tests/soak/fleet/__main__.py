"""``python -m tests.soak.fleet``: nodes that share accounts over PostgreSQL, through all that can befall them.

Real processes, a real PostgreSQL with a synchronous standby, and one datacenter that destroys a login that is used
twice. Messages are sent and chats are followed, while processes are killed and stopped, ways are cut, slow or black
holes, and the store crashes, switches over and loses its host. Then all is compared: no login destroyed, nothing
missed, nothing doubled, every account owned and healthy. The same seed is the same plan, which is printed first.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import anyio

from tests.soak.fleet.plan import FleetPlan, Trouble
from tests.soak.fleet.run import soak
from tests.soak.fleet.store import STORES
from tests.soak.storage import Lost


def leaves(group: BaseExceptionGroup[Lost]) -> list[Lost]:
    """Return the exceptions in a group, at any depth."""
    found = list[Lost]()
    for each in group.exceptions:
        found += leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found


def main() -> int:
    """Do it, and say what came of it; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak.fleet", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (
        ("nodes", 4),
        ("accounts", 200),
        ("sends", 1000),
        ("channels", 20),
        ("workers", 2),
        ("seed", 7),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--posts", type=int, help="four a second, if left out")
    parser.add_argument("--faults", type=int, help="one for each two thirds of a lease, if left out")
    parser.add_argument("--for", dest="seconds", type=float, default=600.0)
    parser.add_argument("--lease", type=float, default=15.0)
    parser.add_argument("--store", choices=STORES, default="pair")
    kinds = [each.name.lower() for each in Trouble]
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds, metavar="KIND", help=", ".join(kinds))
    words = vars(parser.parse_args())
    plan = FleetPlan(**{**words, "kinds": tuple(Trouble[name.upper()] for name in words["kinds"])})
    print(
        f"{plan.nodes} nodes, {plan.accounts} accounts, {plan.sends} messages, {plan.channels} channels, "
        f"{plan.seconds:g} s, lease {plan.lease:g} s, seed {plan.seed}; {len(plan.troubles)} troubles:"
    )
    print("\n".join(fault.line() for fault in plan.troubles), flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory = Path(tempfile.mkdtemp(prefix="holdfast-fleet-"))
    kept = True
    try:
        figures = anyio.run(soak, directory, plan, lambda line: print(line, flush=True))
        print("\n".join(figures.lines()), flush=True)
        kept = bool(figures.complaints)
    except* Lost as group:
        print("\n".join(f"WRONG: {exc}" for exc in leaves(group)), flush=True)
    finally:
        if kept:
            print(f"seed {plan.seed}; the logs are kept in {directory}", flush=True)
        else:
            shutil.rmtree(directory)
    return int(kept)


if __name__ == "__main__":
    sys.exit(main())
