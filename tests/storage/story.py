"""What the contract's tests write: real decisions of real accounts."""

import random
from collections.abc import Iterable

import attrs

from engine.journal.ports import JournalRecords, JournalStore
from states import Entry, Policy, Record, Snapshot, State, Step, begin, step
from states.events import (
    AccountLimited,
    AuthRejected,
    Connected,
    Elapsed,
    Event,
    NetworkLost,
    Stable,
    Started,
    StopRequested,
    TurnGranted,
)
from tests.states.harness import AccountDriver

FAILS: tuple[Event, ...] = (TurnGranted(generation=0), NetworkLost(detail="reset"), Elapsed(generation=0))
STORY: tuple[tuple[str, Event], ...] = (
    ("a", Connected(link=1)),  # 1: connecting → healthy
    ("b", NetworkLost(link=1, detail="gone")),  # 2: connecting → backoff
    ("a", Stable(generation=1)),  # 3: stays healthy
    ("c", AuthRejected(link=1)),  # 4: connecting → auth_failed
    ("a", AccountLimited(link=1)),  # 5: stays healthy
    ("a", NetworkLost(link=1)),  # 6: healthy → reconnecting
)
"""Entry n happens at n × 10 seconds."""


def decide(snapshot: Snapshot, event: Event, now: float) -> Step:
    """Make one real step with the default policy."""
    return step(snapshot, event, now=now, rng=random.Random(7), policy=Policy())


def walk(count: int, life: int = 1) -> list[Step]:
    """Return ``count`` real steps of one account that loses its network again and again."""
    snapshot, now, steps = Snapshot(since=1000.0, life=life), 1000.0, []
    while len(steps) < count:
        now += 1 / 3
        event: Event = NetworkLost(link=snapshot.link, detail="reset", chain=("OSError: reset",))
        if snapshot.state is State.BACKOFF:
            event = Elapsed(generation=snapshot.generation)
        elif snapshot.waiting_for_turn:
            event = TurnGranted(generation=snapshot.generation)
        steps.append(decide(snapshot, event, now))
        snapshot = steps[-1].snapshot
    return steps


async def tell(journal: JournalStore) -> None:
    """Write the story."""
    snapshots: dict[str, Snapshot] = {}
    for number, (account, event) in enumerate(STORY, start=1):
        made = decide(snapshots.get(account, Snapshot(link=1, links=1, attempt=1)), event, number * 10.0)
        snapshots[account] = made.snapshot
        await journal.write(account, made.record, made.snapshot)
    await journal.flush()


async def live(journal: JournalStore, account: str, driver: AccountDriver, events: Iterable[Event]) -> None:
    """Write a life; every event takes a second."""
    await journal.begin_life(account, driver.now, driver.policy, driver.snapshot)
    for event in events:
        made = driver.take(event)
        await journal.write(account, made.record, made.snapshot)


async def tell_lives(journal: JournalStore) -> None:
    """Write two accounts: 1–4 a's first life, 5–14 a's second, 15–18 b's only one."""
    first = AccountDriver(Policy())
    await live(journal, "a", first, (Started(), *FAILS[:2], StopRequested()))
    second = AccountDriver(Policy(), begin(first.snapshot, now=first.now + 100))
    second.now = first.now + 100
    await live(journal, "a", second, (Started(), *FAILS[2:], *FAILS * 2, *FAILS[:2]))
    third = AccountDriver(Policy())
    third.now = second.now
    await live(journal, "b", third, (Started(), *FAILS))
    await journal.flush()


def fields(record: Record) -> dict[str, object]:
    """Return what a record has, without what only an entry has, and without whether it is routine."""
    names = [field.name for field in attrs.fields(Record) if field.name != "quiet"]
    return {name: getattr(record, name) for name in names}


def stored(records: JournalRecords, account: str | None = None) -> list[dict[str, object]]:
    """Return the stored records, without what only an entry has."""
    with records:
        return [fields(entry) for entry in records.entries(accounts=None if account is None else [account])]


class Places:
    """The places of entries in the journal, from 1 on: a store may leave numbers out."""

    def __init__(self, records: JournalRecords) -> None:
        self._seqs = [entry.seq for entry in records.entries()]

    def of(self, entries: Iterable[Entry]) -> list[int]:
        """Return the places of entries."""
        return [self._seqs.index(entry.seq) + 1 for entry in entries]

    def seq(self, place: int) -> int:
        """Return the number of the entry at a place."""
        return self._seqs[place - 1]
