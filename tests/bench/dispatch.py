"""The benchmark of the machine: our dispatch and step beside the alternatives, in one run, as ratios.

    uv run --group bench python -m tests.bench.dispatch [--json]

Every contender has the same rules and takes the same seeded walk of events. Before anything is timed, each one's state
is compared with the right one after every event; a contender that decides otherwise ends the run. Then come rounds in
which each contender takes the whole walk once, in an order that shifts from round to round. ``events/s`` is the median
over the rounds, and so is the ratio, which compares times of the same round. Seconds are the processor's: nobody here
waits for anything, and busy neighbours should not count. The garbage collector rests while a walk is timed, as in
``timeit``.
"""

import argparse
import gc
import json
import platform
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import attrs
from attrs import frozen

from states.machine import ROWS
from tests.bench.contenders import OURS, STOCK, Contender, Fleet, Stepped
from tests.bench.table import Table, Target, add_option, hand_over
from tests.bench.walk import Beat, first_attempts, long_lived, rules_taken, walk, weathered

ACCOUNTS = 40
"""Accounts that share the walk."""
BASE = "shared"
"""The named alternative: what ratios are against."""

NOTE = """\
The ratio is to the speed of one stock transitions.Machine that all accounts share. Every contender has all the rules.
Bytes are what one account adds once it is connected: here the whole snapshot, elsewhere the machinery alone, to which
comes what the guards look at. `step` does more than all others: it makes the snapshot, the effects and the record.
automat knows no guards: which one holds was found out beforehand and not timed. It searches its rules one by one.
In python-statemachine, shutting_down is not declared final, because final states there may have no rules."""


class Disagrees(Exception):
    """A contender went elsewhere than the table says; to compare its speed would mean nothing."""


@frozen(kw_only=True)
class Line:
    """One line of the table."""

    key: str
    name: str
    events_per_s: float
    ratio: float
    """Times the speed of the named alternative."""
    bytes_per_account: float


def disagreement(contender: Contender, beats: Sequence[Beat], accounts: int) -> str | None:
    """Return where the contender is in another state than it should be; None if it decides as we do."""
    fleet = contender.fleet(accounts)
    for number, beat in enumerate(beats):
        fleet.take((beat,))
        state = fleet.state(beat.account)
        if state != beat.target:
            return f"{contender.name}: beat {number}, {beat.row.name} → {beat.target}, but it is in {state}"
    return None


def seconds_taken(contender: Contender, beats: Sequence[Beat], accounts: int) -> float:
    """Return how many seconds of the processor new accounts take for the walk."""
    fleet = contender.fleet(accounts)
    gc.collect()
    gc.disable()
    try:
        begun = time.process_time()
        fleet.take(beats)
        return time.process_time() - begun
    finally:
        gc.enable()


def race(contenders: Sequence[Contender], beats: Sequence[Beat], *, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each contender in each round, by its key."""
    seconds: dict[str, list[float]] = {contender.key: [] for contender in contenders}
    for number in range(rounds):
        tell(f"round {number + 1} of {rounds}")
        first = number % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            seconds[contender.key].append(seconds_taken(contender, beats, ACCOUNTS))
    return seconds


def bytes_of(make: Callable[[int], object], count: int) -> float:
    """Return what each further account adds to what ``make`` returns for so many of them.

    What other threads of the process allocate meanwhile only adds: the least of three is what was made.
    """

    def size(accounts: int) -> int:
        gc.collect()
        tracemalloc.start()
        try:
            kept = make(accounts)
            gc.collect()
            size = tracemalloc.get_traced_memory()[0]
            del kept
            return size
        finally:
            tracemalloc.stop()

    more, one = (min(size(accounts) for _ in range(3)) for accounts in (count, 1))
    return (more - one) / (count - 1)


def bytes_per_account(contender: Contender) -> float:
    """Return what a connected account of this contender takes; of ours that is its snapshot, whoever dispatches."""
    kind = Stepped if contender in OURS else contender.fleet

    def connected(accounts: int) -> Fleet:
        fleet = kind(accounts)
        fleet.take(first_attempts(accounts))
        return fleet

    return bytes_of(connected, contender.crowd)


def table_of(contenders: Sequence[Contender], beats: Sequence[Beat], *, rounds: int) -> tuple[Line, ...]:
    """Check, race and weigh the contenders."""
    for contender in contenders:
        tell(f"checking the decisions of {contender.name}")
        if said := disagreement(contender, beats, ACCOUNTS):
            raise Disagrees(said)
    seconds = race(contenders, beats, rounds=rounds)
    tell("weighing ours")
    ours, lines = bytes_per_account(OURS[0]), []
    for contender in contenders:
        if contender not in OURS:
            tell(f"weighing {contender.name}")
        own = seconds[contender.key]
        lines.append(
            Line(
                key=contender.key,
                name=contender.name,
                events_per_s=len(beats) / median(own),
                ratio=median(base / mine for base, mine in zip(seconds[BASE], own, strict=True)),
                bytes_per_account=ours if contender in OURS else bytes_per_account(contender),
            )
        )
    return tuple(lines)


def targets_of(lines: Sequence[Line], snapshot_bytes: float) -> tuple[Target, ...]:
    """Compare with what was promised; ``snapshot_bytes`` is the size of a connected account late in a long life."""
    ratio = {line.key: line.ratio for line in lines}
    shared, automat = ratio["dispatch"], ratio["dispatch"] / ratio["automat"]
    return (
        Target(
            "events dispatched per second", shared, least=4, against="one shared `transitions.Machine`", headline=True
        ),
        Target("events dispatched per second", automat, least=2, against="automat"),
        Target("snapshot of a connected account, late in a long life", snapshot_bytes, most=500, unit="bytes"),
    )


def report(lines: Sequence[Line], targets: Sequence[Target], facts: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    title = (
        f"{facts['events']:,} events for {facts['accounts']} accounts, median of {facts['rounds']} rounds; "
        f"{facts['rules_taken']} of {facts['rules']} rules taken; Python {facts['python']}"
    )
    rows = [
        [line.name, f"{line.events_per_s:,.0f}", f"{line.ratio:.2f}", f"{line.bytes_per_account:,.0f}"]
        for line in lines
    ]
    table = Table(title, ["contender", "events/s", "ratio", "bytes per account"], rows, targets)
    heaviest = f"An account in back-off, with a cause, its sentence and a hold: {facts['heaviest_bytes']:,.0f} bytes."
    return "\n".join([*table.lines(), NOTE, heaviest, ""])


def tell(what: str) -> None:
    """Say on stderr what is being done; stdout is for the result."""
    print(what, file=sys.stderr, flush=True)


def main() -> int:
    """Run it all; return 0 if every target is met, 1 if not."""
    from tests.bench.others import OTHERS  # only here, so that the rest works without the group ``bench``

    parser = argparse.ArgumentParser(description="our state machine beside the alternatives")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--events", type=int, default=4_000, help="length of the walk (default 4000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender takes it (default 5)")
    parser.add_argument("--seed", type=int, default=7, help="another walk (default 7)")
    add_option(parser)
    wanted = parser.parse_args()

    beats = walk(events=wanted.events, accounts=ACCOUNTS, seed=wanted.seed)
    lines = table_of((*OURS, *STOCK, *OTHERS), beats, rounds=wanted.rounds)
    tell("weighing snapshots late in a long life")
    crowd = 2_000
    targets = targets_of(lines, bytes_of(lambda accounts: [long_lived(account) for account in range(accounts)], crowd))
    hand_over(wanted.results, targets)
    facts = {
        "events": len(beats),
        "accounts": ACCOUNTS,
        "rounds": wanted.rounds,
        "seed": wanted.seed,
        "rules": len(ROWS),
        "rules_taken": rules_taken(beats),
        "python": platform.python_version(),
        "heaviest_bytes": bytes_of(lambda accounts: [weathered(account) for account in range(accounts)], crowd),
    }
    if wanted.json:
        tables = {"contenders": [attrs.asdict(line) for line in lines], "targets": [attrs.asdict(t) for t in targets]}
        print(json.dumps({**facts, "base": BASE, **tables}))
    else:
        print(report(lines, targets, facts))
    return 0 if all(target.kept for target in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
