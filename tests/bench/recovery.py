"""Recovery, fault by fault: the engine against a bare Telethon client, on the same sandbox, in one run.

    uv run python -m tests.bench.recovery [--quick] [--only NAME ...] [--json]

Each program has an account and a port of its own at a datacenter in another process. The engine's accounts run with
the default policy, but that a link counts as stable early (``STABLE_AFTER``), so that nobody waits a minute before each
fault; each is a fleet of its own, so nothing but its own schedule brings it back. The bare client has every setting its
default: it reconnects by itself. Both listen for messages and send nothing of their own.

The whole run takes about four minutes. ``--quick`` is for those who change it: a scaled-down policy and shorter faults,
for which Telethon cannot be scaled, so its figures are not to be compared.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from attrs import asdict

from adapters.sandbox import SandboxProcess
from adapters.sqlite import JournalWriter
from adapters.telegram import Datacenter
from engine.console import logs
from states import Policy
from states.schedules import Backoff, BackoffSchedules, Health, Patience, Suspicion
from tests.bench.harness import Outcomes, RecoveryHarness
from tests.bench.recovery_faults import LONG, QUIET, STORMS, Row, Scale
from tests.bench.recovery_table import behind, legend, markdown, target
from tests.bench.table import add_option, hand_over

STABLE_AFTER = 0.2
FLUSH_SECONDS = 10.0

FULL = Scale()
FULL_POLICY = Policy(healthy=Health(stable_after=STABLE_AFTER))
QUICK = Scale(strokes=3, samples=2, spell_samples=2, spell=3, flood=2, outage=1.5, bound=8, silence=8, phase=2)
QUICK_POLICY = Policy(
    healthy=Health(stable_after=STABLE_AFTER, probe_every=1, prove_every=2),
    timeout=Suspicion(patience=(0.5, 1)),
    reconnecting=Patience(patience=(3, 4, 5)),
    backoff=BackoffSchedules(network=Backoff(first=1, cap=12), transport_flood=Backoff(first=3, cap=90)),
)


@asynccontextmanager
async def prepared(policy: Policy) -> AsyncIterator[RecoveryHarness]:
    """Start a sandbox and a journal for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="holdfast-recovery-") as name:
        directory = Path(name)
        async with SandboxProcess.start() as sandbox:
            Datacenter(sandbox.dc_id, "127.0.0.1", sandbox.port, sandbox.public_key).trust()
            journal = await JournalWriter.open(directory / "engine.db", on_trouble=lambda *_: None)
            yield RecoveryHarness(directory, sandbox, journal, policy)
            await journal.aclose(FLUSH_SECONDS)


async def run(harness: RecoveryHarness, scale: Scale, only: Iterable[str] = ()) -> dict[str, Outcomes]:
    """Run the rows: those that count milliseconds alone, those that wait side by side, and the storms last."""
    found: dict[str, Outcomes] = {}
    wanted = set(only)

    async def one(row: Row) -> None:
        if not wanted or row.key in wanted:
            began = time.perf_counter()
            found[row.key] = await row.run(harness, scale)
            print(f"{row.key}: done in {time.perf_counter() - began:.0f} s", file=sys.stderr)

    for row in QUIET:
        await one(row)
    async with anyio.create_task_group() as tasks:
        for row in LONG:
            tasks.start_soon(one, row)
    async with anyio.create_task_group() as tasks:
        for row in STORMS:
            tasks.start_soon(one, row)
            await anyio.sleep(scale.flood + 2 if not wanted else 0)
    return found


async def measure(options: argparse.Namespace) -> dict[str, Outcomes]:
    """Run everything that is asked for."""
    policy, scale = (QUICK_POLICY, QUICK) if options.quick else (FULL_POLICY, FULL)
    async with prepared(policy) as harness:
        with logs.opened(harness.directory / "logs", recent=logs.RecentLines()):
            logging.getLogger("telethon").setLevel(logging.CRITICAL)  # the bare clients' complaints
            logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # exceptions of Telethon's that nothing awaits
            return await run(harness, scale, options.only)


def main() -> int:
    """Exit code 0 if the engine is behind nowhere, 1 if it is."""
    keys = [row.key for row in (*QUIET, *LONG, *STORMS)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter faults and a scaled-down policy, about 20 s")
    parser.add_argument("--only", action="append", default=[], choices=keys, help="a row; may be given several times")
    parser.add_argument("--json", action="store_true", help="every single outcome")
    add_option(parser)
    options = parser.parse_args()
    scale = QUICK if options.quick else FULL
    found = anyio.run(measure, options)
    rows = [row for row in (*QUIET, *LONG, *STORMS) if row.key in found]
    hand_over(options.results, [target(row, found[row.key], scale) for row in rows])
    if options.json:
        print(json.dumps({key: _plain(outcomes) for key, outcomes in found.items()}, indent=2))
    else:
        print("\n".join([*markdown(rows, found, scale), "", *legend(rows, found, scale)]))
    late = [sentence for row in rows if (sentence := behind(row, found[row.key])) is not None]
    print("\n".join(late) if late else "The engine is ahead or equal in all that is judged.", file=sys.stderr)
    return 1 if late else 0


def _plain(outcomes: Outcomes) -> dict[str, Any]:
    return {kind: [asdict(outcome) for outcome in several] for kind, several in outcomes.items()}


if __name__ == "__main__":
    sys.exit(main())
