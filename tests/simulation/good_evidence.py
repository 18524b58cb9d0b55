"""Evidence of a run in which every promise was kept: what the tests of the judges begin with."""

from typing import Final

import attrs

from states import Entry, Event, Policy, begin
from states.events import Connected, Elapsed, NetworkLost, Started, TurnGranted
from tests.simulation.evidence import (
    AccountPromise,
    ConnectionSeen,
    ConnectionUse,
    Delivery,
    Ending,
    EngineLife,
    Evidence,
    FaultSeen,
    Following,
    Hearing,
    Inspection,
    JobAttempt,
    JobSeen,
    JournalSeen,
    LifeOfAccount,
    LogLine,
    ReaderSeen,
    RequestSeen,
    ResourceCount,
    ResourceMoment,
    Standing,
    UpdateSeen,
    Write,
)
from tests.states.harness import AccountDriver

ONE: Final = "Account 1"
TWO: Final = "Account 2"


def connection(number: int, account: str, began: float, closed: float | None, life: int = 1) -> ConnectionSeen:
    """Return a connection that proved itself at once, and sent requests to its end."""
    last = began + 30.0 if closed is None else closed - 1
    return ConnectionSeen(
        number=number, life=life, began=began, account=account, key=f"key of {account}", use=ConnectionUse.ACCOUNT,
        route=account, accepted=began + 0.1, first_request=began + 0.2, answered=began + 0.3, last_request=last,
        closed=closed,
    )  # fmt: skip


def journal() -> JournalSeen:
    """Return the journal of one account that connects, loses its link, and tries again."""
    driver, seen = AccountDriver(Policy(), begin(None, now=1_000_000.0)), JournalSeen(at=9000.0, first_seq=1)
    seen.lives[ONE, 1] = LifeOfAccount(
        at=driver.now, policy=driver.policy, snapshot=driver.snapshot, start=driver.snapshot
    )
    events: tuple[Event, ...] = (Started(), TurnGranted(generation=0), Connected(), NetworkLost(detail="reset"))
    for seq, event in enumerate(events, 1):
        record = attrs.asdict(driver.take(event).record, recurse=False)
        seen.entries.append(Entry(seq=seq, account=ONE, life=1, **record))
    seen.stored[ONE] = driver.snapshot, len(events)
    return seen


def outage(seconds: float = 600.0) -> tuple[JournalSeen, float, float]:
    """Return the journal of an account that loses its link for so long, and when that begins and ends."""
    driver, seen = AccountDriver(Policy(), begin(None, now=1_000_000.0)), JournalSeen(at=9000.0, first_seq=1)
    seen.lives[ONE, 1] = LifeOfAccount(
        at=driver.now, policy=driver.policy, snapshot=driver.snapshot, start=driver.snapshot
    )

    def take(event: Event) -> None:
        record = driver.take(event).record
        if not record.quiet:
            seen.entries.append(
                Entry(seq=len(seen.entries) + 1, account=ONE, life=1, **attrs.asdict(record, recurse=False))
            )

    for event in (Started(), TurnGranted(generation=0), Connected(), NetworkLost(detail="reset")):
        take(event)
    began = driver.now
    driver.now += seconds
    for event in (Elapsed(generation=0), TurnGranted(generation=0), Connected()):
        take(event)
    seen.stored[ONE] = driver.snapshot, len(seen.entries)
    return seen, began, driver.now


def clean() -> Evidence:
    """Return evidence of two lives, with a fault, a kill and work, in which every promise was kept."""
    seen = Evidence(seed=1, seconds=9000.0, quiet_from=2000.0)
    seen.accounts = [AccountPromise(name=ONE), AccountPromise(name=TWO)]
    seen.lives = [
        EngineLife(number=1, began=0.0, ended=1000.0, ending=Ending.KILLED),
        EngineLife(number=2, began=1010.0, ended=9001.0, ending=Ending.STOPPED, asked_to_stop=9000.0),
    ]
    seen.faults = [FaultSeen(at=500.0, kind="network.reset", ended=500.0)]
    seen.connections = [
        connection(1, ONE, 0.0, 500.0), connection(2, TWO, 0.1, 500.0), connection(3, ONE, 500.1, 1000.0),
        connection(4, TWO, 500.2, 1000.0), connection(5, ONE, 1010.0, None, 2), connection(6, TWO, 1010.1, None, 2),
    ]  # fmt: skip
    for each in seen.connections:
        for at in (each.first_request, each.last_request):
            assert at is not None
            seen.requests.append(
                RequestSeen(at=at, connection=each.number, account=each.account, method="users.getUsers", key=each.key)
            )
    seen.requests.sort(key=lambda each: each.at)
    seen.writes = [
        Write(kind="job", key="text 1", value="send", asked=10.0, acknowledged=10.1, life=1),
        Write(kind="checkpoint", key="2", value='{"done": 1}', asked=20.0, acknowledged=20.1, life=1),
        Write(kind="checkpoint", key="2", value='{"done": 2}', asked=999.9, life=1),
    ]
    found = {("job", "text 1"): "send", ("checkpoint", "2"): '{"done": 2}'}
    kinds = frozenset({"job", "checkpoint"})
    seen.inspections = [
        Inspection(at=1000.0, life=1, found=found, kinds=kinds),
        Inspection(at=9001.0, life=2, found=found, kinds=kinds),
    ]
    seen.jobs = [
        JobSeen(number=1, kind="send", added=10.1, account=ONE, text="text 1", state="done", ended=12.0, bound=60.0),
        JobSeen(number=2, kind="steps", added=15.0, state="done", bound=60.0),
    ]
    seen.attempts = [
        JobAttempt(number=2, life=1, account=ONE, began=16.0, ended=1000.0, attempt=1),
        JobAttempt(
            number=2,
            life=2,
            account=TWO,
            began=1011.0,
            checkpoint='{"done": 2}',
            ended=1100.0,
            attempt=1,
            returned=True,
        ),
    ]
    seen.deliveries = [Delivery(at=11.0, account=ONE, text="text 1")]
    seen.updates = [
        UpdateSeen(at=at, account=ONE, mark=f"update {at:g}") for at in (100.0, 998.5, 999.0, 999.5, 3000.0)
    ]
    heard: list[tuple[float, int, float | None]] = [
        (100.0, 1, 101.0), (998.5, 1, 998.6), (999.0, 1, None), (999.5, 1, 999.6),
        (998.5, 2, 1012.0), (999.0, 2, 1012.0), (999.5, 2, 1012.0), (3000.0, 2, 3001.0),
    ]  # fmt: skip
    seen.hearings = [
        Hearing(at=at if life == 1 else max(at, 1012.0), life=life, account=ONE, mark=f"update {at:g}", ended=ended)
        for at, life, ended in heard
    ]
    seen.readers = [ReaderSeen(name="follower", after=0, began=0.0)]
    seen.followings = [
        Following(at=each * 1.0, life=1 if each < 3 else 2, reader="follower", seq=each, account=ONE)
        for each in (1, 2, 3, 4)
    ]
    seen.standings = [Standing(at=at, account=name, state="healthy") for at in (3000.0, 9000.0) for name in (ONE, TWO)]
    seen.resources = [
        ResourceCount(at=0.0, life=0, moment=ResourceMoment.BASELINE, counts={"tasks": 3, "objects": 100_000}),
        ResourceCount(at=9001.0, life=2, moment=ResourceMoment.END, counts={"tasks": 3, "objects": 101_000}),
    ]
    seen.logs = [LogLine(at=500.0, life=1, level="error", event="alert_exhausted", account=ONE, text="it is exhausted")]
    seen.journals = [journal()]
    return seen
