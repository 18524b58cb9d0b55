"""The watch over incidents: what it hears becomes incidents, in time, stored in order, and never twice."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from attrs import define, field
from structlog.testing import capture_logs

from engine.incidents.watch import COME_WITHIN, MAX_UNSTORED, IncidentWatch
from states.events import (
    AuthRejected,
    ClockJumped,
    Connected,
    DatabaseUnavailable,
    NetworkLost,
    StopRequested,
)
from states.incident import Incident, IncidentKind
from states.incidents import Book, Change, Closed, IncidentPolicy, Opened, restore
from states.job import Job, JobState
from tests.engine.fakes import EPOCH, VirtualClock
from tests.states.harness import AccountDriver
from tests.states.incident_support import replayed

pytestmark = pytest.mark.virtual
LOST = NetworkLost(detail="connection reset")


@define
class FakeStorage:
    """A file that has what it was told, and may be slow or out of order."""

    changes: list[Change] = field(factory=list)
    rows: list[Any] = field(factory=list)
    acked: set[int] = field(factory=set)
    anew: int = 0
    works: anyio.Event = field(factory=anyio.Event)

    def __attrs_post_init__(self) -> None:
        self.works.set()

    async def keep(self, changes: Iterable[Change], also: Sequence[Any] = ()) -> None:
        await self.works.wait()
        self.changes += changes
        self.rows += also

    async def keep_all(self, book: Book) -> None:
        await self.works.wait()
        self.anew += 1

    async def acknowledged(self) -> set[int]:
        return self.acked

    async def flush(self) -> None:
        await self.works.wait()


@define
class Fleet:
    """Accounts whose decisions the watch hears."""

    watch: IncidentWatch
    drivers: dict[str, AccountDriver] = field(factory=dict)

    def take(self, account: str, *events: Any) -> None:
        """Let an account decide on events."""
        driver = self.drivers.setdefault(account, AccountDriver())
        for event in events:
            self.watch.observe(account, driver.take(event))

    def connect(self, *accounts: str) -> None:
        """Connect accounts, or connect them again."""
        for account in accounts:
            driver = self.drivers.setdefault(account, AccountDriver())
            driver.connect()
            self.watch.see(account, driver.snapshot)

    @property
    def store(self) -> FakeStorage:
        """What was stored."""
        assert isinstance(self.watch.store, FakeStorage)
        return self.watch.store

    @property
    def open(self) -> list[Incident]:
        """The incidents that are open, as they are stored."""
        return [each for each in replayed(self.store.changes)[0].values() if each.is_open]


@asynccontextmanager
async def watched(book: Book | None = None, **options: Any) -> AsyncIterator[Fleet]:
    """Run a watch for the block."""
    watch = IncidentWatch(
        store=FakeStorage(),
        clock=VirtualClock(),
        policy=IncidentPolicy(),
        book=book or Book(),
        database="/data/engine.db",
        disk="the disk at /data",
        ways=lambda account: ("the proxy a", "the network"),
        disk_of=lambda account: "the disk at /data",
        **options,
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch.run)
        yield Fleet(watch)
        tasks.cancel_scope.cancel()


async def test_an_outage_opens_in_time_and_closes() -> None:
    """It opens when ``after`` is over and closes when the calm is, though nothing is told at those times."""
    async with watched() as fleet:
        fleet.connect("A", "B", "C", "D")
        fleet.take("A", LOST)
        await anyio.sleep(118)
        assert fleet.store.changes == []
        await anyio.sleep(4)
        (found,) = fleet.open
        assert (found.accounts, found.kind, found.detail) == (("A",), IncidentKind.OUTAGE, "connection reset")
        fleet.connect("A")
        await anyio.sleep(304)
        assert fleet.open == []


async def test_a_person_is_told_of_at_once() -> None:
    """What needs a person is stored at once, and logged with what to do; a pause ends it."""
    with capture_logs() as said:
        async with watched() as fleet:
            fleet.connect("A")
            fleet.take("A", AuthRejected(detail="AUTH_KEY_UNREGISTERED\n(401)"))
            await anyio.sleep(0.1)
            assert [each.cause for each in fleet.open] == ["log_in"]
            fleet.take("A", StopRequested(paused=True))
            await anyio.sleep(0.1)
            assert fleet.open == []
    opened, closed = [each for each in said if each["event"].startswith("incident_")]
    assert (opened["event"], opened["incident"], opened["todo"]) == ("incident_opened", 1, "log in again")
    assert "\n" not in opened["detail"]
    assert (closed["event"], closed["account"], closed["into"]) == ("incident_closed", "A", None)


async def test_all_behind_a_proxy_are_one() -> None:
    """Fifty accounts that lose their connection one after the other are one incident, told once."""
    names = [f"Account {number:02}" for number in range(50)]
    with capture_logs() as said:
        async with watched() as fleet:
            fleet.connect(*names)
            for name in names:
                fleet.take(name, LOST)
                await anyio.sleep(0.5)
            await anyio.sleep(130)
            (found,) = fleet.open
            assert (found.cause, found.accounts) == ("the proxy a", tuple(names))
            fleet.connect(*names)
            await anyio.sleep(310)
            assert fleet.open == []
    assert [each["event"] for each in said] == ["incident_opened", "incident_closed"]


async def test_what_is_sent_is_stored_with_it() -> None:
    """Rows of others go with the changes from which they follow, and listeners hear what was stored."""
    heard: list[Change] = []
    async with watched(companions=[lambda changes: [f"row of {each.incident.id}" for each in changes]]) as fleet:
        fleet.watch.listeners.append(heard.extend)
        fleet.connect("A", "B")
        for name in ("A", "B"):
            fleet.take(name, AuthRejected())
        await anyio.sleep(0.1)
        assert fleet.store.rows == ["row of 1", "row of 2"]
        assert heard == fleet.store.changes


async def test_a_file_that_waits_loses_nothing() -> None:
    """While the file cannot be written, accounts wait for nothing; what they did is stored later, in order, once."""
    async with watched() as fleet:
        fleet.store.works = anyio.Event()
        fleet.connect("A", "B")
        fleet.take("A", AuthRejected())
        await anyio.sleep(1)
        fleet.take("B", AuthRejected())
        fleet.watch.forget("A")
        await anyio.sleep(100)
        assert fleet.store.changes == []
        fleet.store.works.set()
        await anyio.sleep(1)
        assert [(type(each), each.incident.id) for each in fleet.store.changes] == [
            (Opened, 1),
            (Opened, 2),
            (Closed, 1),
        ]


@pytest.mark.slow
async def test_what_waits_is_bounded() -> None:
    """If the file is not written for ever, incidents that are over are left out, and those that are open are not."""
    with capture_logs():
        async with watched() as fleet:
            fleet.store.works = anyio.Event()
            fleet.connect("A", "B")
            fleet.take("B", AuthRejected())
            await anyio.sleep(1)
            for _ in range(MAX_UNSTORED):
                fleet.take("A", AuthRejected())
                fleet.watch.forget("A")
                fleet.drivers.pop("A")
                fleet.connect("A")
            assert len(fleet.watch._unstored) <= MAX_UNSTORED + 1
            fleet.store.works.set()
            await anyio.sleep(1)
            assert [each.accounts for each in fleet.open] == [("B",)]


async def test_the_journal_is_one_with_the_files_on_its_disk() -> None:
    """Trouble of the engine's own file is an incident, and ends when it is written again."""
    async with watched() as fleet:
        fleet.watch.storage_trouble(DatabaseUnavailable(detail="disk full"))
        await anyio.sleep(60)
        fleet.watch.storage_trouble(DatabaseUnavailable(detail="disk full"))
        await anyio.sleep(62)
        (found,) = fleet.open
        assert (found.kind, found.cause, found.accounts) == (IncidentKind.STORAGE, "the disk at /data", ())
        fleet.watch.storage_trouble(None)
        await anyio.sleep(302)
        assert fleet.open == []


@pytest.mark.parametrize(
    ("database", "advice"), [("postgresql://db/fleet", "see that the database runs"), ("/data/engine.db", "free space")]
)
async def test_a_store_that_nodes_share_is_told_of_as_that(database: str, advice: str) -> None:
    """Not as the disk of this machine, where it may not be, nor is what it costs that rows wait."""
    async with watched() as fleet:
        fleet.watch.database, fleet.watch.is_shared = database, True
        fleet.watch.storage_trouble(DatabaseUnavailable(detail=f"{database}: it has no room"))
        await anyio.sleep(122)
        (found,) = fleet.open
        cause = f"the shared store {database}"
        assert (found.cause, found.detail, found.accounts) == (cause, f"{database}: it has no room", ())
        assert found.meaning == f"{cause} cannot be used; nodes and workers without it close their connections"
        assert found.action.startswith(advice)
        fleet.watch.storage_trouble(None)
        await anyio.sleep(302)
        assert fleet.open == []


async def test_jobs_that_were_retried_are_no_trouble() -> None:
    """Failed jobs are an incident until none is left, which is counted; the word of a command makes it look."""
    failed = {"send": {"failed": 1}}

    async def count() -> dict[str, dict[str, int]]:
        return failed

    async with watched(count_jobs=count) as fleet:
        job = Job(id=7, kind="send", state=JobState.FAILED, detail="no such chat")
        fleet.watch.job_ended(job, "A")
        await anyio.sleep(1000)
        (found,) = fleet.open
        assert (found.cause, found.detail, found.accounts) == ("send", "job 7 of A: no such chat", ())
        failed["send"] = {"done": 1}
        fleet.watch.commands_changed()
        await anyio.sleep(302)
        assert fleet.open == []


async def test_what_a_command_acknowledged_is_known() -> None:
    """What another process has written is in the book, and so is what is acknowledged here."""
    async with watched() as fleet:
        fleet.connect("A", "B")
        for name in ("A", "B"):
            fleet.take(name, AuthRejected())
        await anyio.sleep(1)
        fleet.store.acked = {1}
        fleet.watch.commands_changed()
        await anyio.sleep(0.1)
        acked = fleet.watch.acknowledge(2)
        assert acked is not None
        assert {each.id: each.acked is not None for each in fleet.watch.book.open.values()} == {1: True, 2: True}
        assert fleet.watch.acknowledge(3) is None


async def test_a_clock_that_is_set_moves_what_is_stored() -> None:
    """Open incidents are stored anew, with their lengths as they were."""
    async with watched() as fleet:
        fleet.connect("A")
        fleet.take("A", AuthRejected())
        await anyio.sleep(50)
        assert isinstance(fleet.watch.clock, VirtualClock)
        fleet.watch.clock.shift = -3600
        fleet.watch.clock_jumped(ClockJumped(seconds=-3600, slept=0.0))
        await anyio.sleep(1)
        (found,) = fleet.watch.book.open.values()
        assert found.since == EPOCH - 3600
        assert fleet.store.anew == 1


async def test_the_next_engine_goes_on() -> None:
    """Accounts that are gone from the config or paused leave; the others go on in the incidents that they were in."""
    async with watched() as fleet:
        for name in ("A", "B", "C"):
            fleet.connect(name)
            fleet.take(name, AuthRejected())
        await anyio.sleep(1)
        incidents, inside = replayed(fleet.store.changes)
    members = [(number, each) for number, of in inside.items() for each in of]
    async with watched(restore(incidents.values(), members, 4, EPOCH)) as fleet:
        fleet.watch.begin(["B", "C"], paused=["C"])
        fleet.connect("B")
        fleet.take("B", AuthRejected())
        await anyio.sleep(1000)
        assert [(type(each), each.incident.accounts) for each in fleet.store.changes] == [
            (Closed, ("A",)),
            (Closed, ("C",)),
        ]


async def test_a_node_waits_for_the_accounts_of_its_earlier_incidents() -> None:
    """Those that it claims again go on in them; the others are elsewhere after a while, and leave."""
    async with watched() as fleet:
        for name in ("A", "B"):
            fleet.connect(name)
            fleet.take(name, AuthRejected())
        await anyio.sleep(1)
        incidents, inside = replayed(fleet.store.changes)
    members = [(number, each) for number, of in inside.items() for each in of]
    async with watched(restore(incidents.values(), members, 3, EPOCH)) as fleet:
        fleet.watch.begin(None)
        await anyio.sleep(COME_WITHIN - 50)
        fleet.connect("B")
        fleet.take("B", AuthRejected())
        assert fleet.store.changes == []
        await anyio.sleep(100)
        assert [(type(each), each.incident.accounts) for each in fleet.store.changes] == [(Closed, ("A",))]


async def test_the_last_changes_are_stored_at_the_end() -> None:
    """What was said just before the end is stored by ``close``, in bounded time also where the file hangs."""
    async with watched() as fleet:
        fleet.connect("A")
    fleet.take("A", AuthRejected())
    await fleet.watch.close()
    assert len(fleet.open) == 1
    fleet.store.works = anyio.Event()
    fleet.watch.forget("A")
    with anyio.fail_after(60):
        await fleet.watch.close()
    assert len(fleet.watch._unstored) == 1


async def test_a_decision_that_says_nothing_new_costs_nothing() -> None:
    """Further errors of an account that is in trouble are not told to the law again."""
    async with watched() as fleet:
        fleet.connect("A")
        fleet.take("A", LOST)
        before = fleet.watch.book
        fleet.watch.see("A", fleet.drivers["A"].snapshot)
        assert fleet.watch.book is before
        fleet.take("A", Connected())
