"""The accounts that a node has claimed, at the port of its work: a fleet and parts of fakes, in virtual time."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager

import anyio
import pytest
from attrs import define, field
from structlog.testing import capture_logs

from adapters.sqlite.errors import StorageError
from engine.app.node_work import ClaimedAccounts
from states import Snapshot, begin

pytestmark = pytest.mark.virtual


@define(eq=False)
class FakeFleet:
    """Has accounts; it takes ``close_seconds`` to remove one, also one that was dropped."""

    runners: dict[str, object] = field(factory=dict)
    said: list[tuple[float, str, str]] = field(factory=list)
    """When what was done to which account."""
    close_seconds: float = 0.0

    def note(self, what: str, name: str) -> None:
        self.said.append((anyio.current_time(), what, name))

    def abort(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            self.note("abort", name)

    async def remove(self, name: str, reason: str) -> bool:
        await anyio.sleep(self.close_seconds)
        del self.runners[name]
        self.note("remove", name)
        return True


@define(eq=False)
class FakeParts:
    """What an engine does with accounts."""

    fleet: FakeFleet
    stored: dict[str, Snapshot] = field(factory=dict)
    silent: int = 0
    """How often the store fails to say where accounts were left."""
    read_seconds: float = 0.0
    jobs: set[str] = field(factory=set)
    epochs: dict[str, int] = field(factory=dict)
    lefts: dict[str, Snapshot | None] = field(factory=dict)

    async def left(self, names: Collection[str]) -> Mapping[str, Snapshot]:
        found = {name: self.stored[name] for name in names if name in self.stored}
        await anyio.sleep(self.read_seconds)
        if self.silent:
            self.silent -= 1
            raise StorageError("the server does not answer")
        return found

    def begin(self, epochs: Mapping[str, int], left: Mapping[str, Snapshot]) -> None:
        for name, epoch in epochs.items():
            assert name not in self.fleet.runners, "it runs already"
            self.fleet.runners[name] = object()
            self.fleet.note("begin", name)
            self.epochs[name], self.lefts[name] = epoch, left.get(name)

    async def end(self, names: Collection[str]) -> None:
        for name in sorted(names):
            await self.fleet.remove(name, "given up")
        self.forget(names)

    def forget(self, names: Collection[str]) -> None:
        for name in sorted(names):
            self.fleet.note("forget", name)

    def busy(self) -> Collection[str]:
        return self.jobs


@define(eq=False)
class Scene:
    fleet: FakeFleet
    parts: FakeParts
    work: ClaimedAccounts
    lost: list[bool]

    def done(self, *whats: str) -> list[tuple[float, str, str]]:
        """Return what was done of these kinds."""
        return [each for each in self.fleet.said if each[1] in whats]


@asynccontextmanager
async def running(gap: float = 0.0) -> AsyncIterator[Scene]:
    """Run the work of a node on the host ``eu-1`` for the length of the block."""
    fleet, lost = FakeFleet(), list[bool]()
    hosts = {"A": "*", "B": "*", "C": "eu-*"}
    work = ClaimedAccounts(fleet=fleet, hosts=hosts, host="eu-1", takeover_gap=gap, lost=lambda: lost.append(True))
    work.parts = parts = FakeParts(fleet)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work.run)
        yield Scene(fleet, parts, work, lost)
        tasks.cancel_scope.cancel()


async def test_claimed_accounts_go_on_where_they_were_left() -> None:
    """Those that were never anywhere begin anew; each has the number of its ownership."""
    async with running() as scene:
        scene.parts.stored["A"] = at = begin(None, now=5.0)
        scene.work.take("A", 7, None)
        scene.work.take("B", 3, "eu-1")
        await anyio.sleep(0.1)
        assert scene.parts.lefts == {"A": at, "B": None}
        assert scene.parts.epochs == {"A": 7, "B": 3}


async def test_an_account_from_another_host_is_silent_for_a_while() -> None:
    """One that was never connected, or was here, begins at once."""
    async with running(gap=20.0) as scene:
        for name, last in (("A", "us-1"), ("B", "eu-1"), ("C", None)):
            scene.work.take(name, 1, last)
        await anyio.sleep(30)
        assert scene.done("begin") == [(0, "begin", "B"), (0, "begin", "C"), (20, "begin", "A")]


async def test_a_store_that_does_not_say_where_accounts_were_left_is_asked_again() -> None:
    """Nothing begins by a guess."""
    async with running() as scene:
        scene.parts.silent = 3
        scene.work.take("A", 1, None)
        await anyio.sleep(10)
        assert scene.done("begin") == [(3, "begin", "A")]


async def test_an_account_that_is_dropped_before_it_begins_does_not_begin() -> None:
    """Neither in its quiet gap nor while it is read where it was left."""
    async with running(gap=5.0) as scene:
        scene.parts.read_seconds = 2.0
        scene.work.take("A", 1, "us-1")
        scene.work.take("B", 1, None)
        await anyio.sleep(1)
        scene.work.abort({"A", "B"})
        await anyio.sleep(20)
        assert scene.done("begin") == []


async def test_an_ownership_that_ended_during_the_reading_begins_nothing() -> None:
    """The next one reads again: another node may have been in between."""
    async with running() as scene:
        scene.parts.read_seconds = 2.0
        scene.work.take("A", 1, None)
        await anyio.sleep(1)
        scene.work.abort({"A"})
        scene.work.take("A", 2, None)
        await anyio.sleep(10)
        assert scene.done("begin") == [(4, "begin", "A")]
        assert scene.parts.epochs == {"A": 2}


async def test_a_dropped_account_is_removed_and_begins_again_only_then() -> None:
    """Its link is dropped in the same instant; the claim that follows waits for the end of its life."""
    async with running() as scene:
        scene.work.take("A", 1, None)
        await anyio.sleep(1)
        scene.fleet.close_seconds = 4.0
        scene.work.abort({"A"})
        assert scene.done("abort") == [(1, "abort", "A")]
        scene.work.take("A", 2, None)
        await anyio.sleep(10)
        assert scene.fleet.said[2:] == [(5, "remove", "A"), (5, "forget", "A"), (5, "begin", "A")]
        assert scene.parts.epochs == {"A": 2}


async def test_all_are_dropped_when_the_lease_is_lost_and_the_engine_ends() -> None:
    """``gone`` waits for the end of each, and nothing begins any more."""
    async with running(gap=3.0) as scene:
        scene.work.take("A", 1, None)
        scene.work.take("B", 1, None)
        scene.work.take("C", 1, "us-1")
        await anyio.sleep(1)
        scene.fleet.close_seconds = 2.0
        scene.work.abort_all()
        assert scene.lost == [True]
        assert scene.done("abort") == [(1, "abort", "A"), (1, "abort", "B")]
        await scene.work.gone()
        assert anyio.current_time() == 3
        assert scene.fleet.runners == {}
        scene.work.take("A", 2, None)
        await anyio.sleep(20)
        assert len(scene.done("begin")) == 2


async def test_gone_needs_nobody_beside_it() -> None:
    """After the end of the engine's tasks the holder waits for the accounts by itself."""
    async with running() as scene:
        scene.work.take("A", 1, None)
        await anyio.sleep(1)
    scene.work.abort_all()
    await scene.work.gone()
    assert scene.fleet.runners == {}


async def test_a_removal_that_was_cut_off_is_made_again() -> None:
    """An account counts as gone when the fleet has it no more, not when somebody stopped waiting for that."""
    async with running() as scene:
        scene.work.take("A", 1, None)
        await anyio.sleep(1)
        scene.fleet.close_seconds = 2.0
        scene.work.abort_all()
        await anyio.sleep(1)
    await scene.work.gone()
    assert (anyio.current_time(), scene.fleet.runners) == (4, {})


async def test_accounts_are_given_up_in_order() -> None:
    """When ``give_up`` returns they are closed; one that has not begun never does."""
    async with running(gap=5.0) as scene:
        scene.work.take("A", 1, None)
        scene.work.take("B", 1, "us-1")
        await anyio.sleep(1)
        scene.fleet.close_seconds = 2.0
        await scene.work.give_up({"A", "B"})
        assert scene.done("remove") == [(3, "remove", "A")]
        assert scene.done("abort") == []
        await anyio.sleep(20)
        assert len(scene.done("begin")) == 1


async def test_idle_accounts_are_offered_first() -> None:
    """Of the pattern that is asked for, those last with which jobs run."""
    async with running(gap=5.0) as scene:
        scene.work.take("A", 1, None)
        scene.work.take("B", 1, "us-1")
        scene.work.take("C", 1, None)
        await anyio.sleep(1)
        scene.parts.jobs = {"A"}
        assert scene.work.idle("*") == ["B", "A"]
        assert scene.work.idle("eu-*") == ["C"]


async def test_an_account_of_no_config_is_told_and_left_alone() -> None:
    """The store may have what this node's config lacks."""
    async with running() as scene:
        with capture_logs() as told:
            scene.work.take("Z", 1, None)
        assert [(each["event"], each["account"]) for each in told] == [("node_account_unknown", "Z")]
        await anyio.sleep(1)
        assert scene.done("begin") == []
