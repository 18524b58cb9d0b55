"""The accounts that a node has claimed, at the port of its work: a fleet and parts of fakes, in virtual time."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager

import anyio
import pytest
from attrs import define, field
from structlog.testing import capture_logs

from adapters.sqlite.errors import StorageError
from engine.app.node_work import ClaimedAccounts
from engine.fleet.watchers import keep_running
from states import Snapshot, begin

pytestmark = pytest.mark.virtual


@define(eq=False)
class FakeFleet:
    """Has accounts; it takes ``close_seconds`` to remove one, and ``link_seconds`` until a dropped one has no link."""

    runners: dict[str, object] = field(factory=dict)
    said: list[tuple[float, str, str]] = field(factory=list)
    """When what was done to which account."""
    close_seconds: float = 0.0
    link_seconds: float = 0.0

    def note(self, what: str, name: str) -> None:
        self.said.append((anyio.current_time(), what, name))

    def abort(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            self.note("abort", name)

    async def unlinked(self, names: Iterable[str]) -> None:
        assert {name for _, what, name in self.said if what == "abort"}.issuperset(names)
        await anyio.sleep(self.link_seconds)

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
    fails: int = 0
    """How often an account cannot begin."""
    let_go_seconds: float = 0.0
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
            if name == "B" and self.fails:
                self.fails -= 1
                raise OSError("no descriptor is left")
            self.fleet.runners[name] = object()
            self.fleet.note("begin", name)
            self.epochs[name], self.lefts[name] = epoch, left.get(name)

    async def end(self, names: Collection[str]) -> None:
        for name in sorted(names):
            await self.fleet.remove(name, "given up")
        self.forget(names)

    def dropped(self, names: Collection[str]) -> None:
        assert self.fleet.said[-1][1] == "abort" or not names

    async def let_go(self, name: str) -> None:
        await anyio.sleep(self.let_go_seconds)

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

    def done(self, *whats: str) -> list[tuple[float, str, str]]:
        """Return what was done of these kinds."""
        return [each for each in self.fleet.said if each[1] in whats]


@asynccontextmanager
async def running(gap: float = 0.0) -> AsyncIterator[Scene]:
    """Run the work of a node on the host ``eu-1`` for the length of the block."""
    fleet = FakeFleet()
    work = ClaimedAccounts(fleet=fleet, hosts={"A": "*", "B": "*", "C": "eu-*"}, host="eu-1", takeover_gap=gap)
    work.parts = parts = FakeParts(fleet)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep_running, "accounts", work.run)
        yield Scene(fleet, parts, work)
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


async def test_an_account_that_a_reload_takes_out_before_it_begins_does_not_begin() -> None:
    """The others do; nothing of it is known any more, so it could not."""
    async with running() as scene:
        scene.parts.read_seconds = 1.0
        scene.work.take("A", 1, None)
        scene.work.take("B", 1, None)
        await anyio.sleep(0.5)
        scene.work.use_hosts({"B": "*", "C": "eu-*"})
        await anyio.sleep(5)
        assert list(scene.fleet.runners) == ["B"]


async def test_accounts_that_an_error_keeps_from_beginning_are_tried_again() -> None:
    """They are this node's, so no other one runs them; those that have begun stay."""
    async with running() as scene:
        scene.parts.fails = 1
        for name in ("A", "B", "C"):
            scene.work.take(name, 1, None)
        await anyio.sleep(5)
        assert sorted(scene.fleet.runners) == ["A", "B", "C"]
        assert len(scene.done("begin")) == 3


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


async def test_all_are_dropped_when_the_lease_is_lost_and_nothing_begins_until_the_next_life_writes() -> None:
    """What the next life claims waits for that; the quiet gap of what the last one had claimed is forgotten."""
    async with running(gap=3.0) as scene:
        scene.work.take("A", 1, None)
        scene.work.take("B", 1, None)
        scene.work.take("C", 1, "us-1")
        await anyio.sleep(1)
        scene.work.abort_all()
        assert scene.done("abort") == [(1, "abort", "A"), (1, "abort", "B")]
        await anyio.sleep(1)
        assert scene.fleet.runners == {}
        scene.work.take("A", 2, None)
        await anyio.sleep(8)
        assert len(scene.done("begin")) == 2
        scene.work.go_on()
        await anyio.sleep(8)
        assert scene.done("begin")[2:] == [(10, "begin", "A")]
        assert scene.parts.epochs == {"A": 2, "B": 1}


async def test_a_life_that_follows_without_a_word_holds_accounts_back_as_well() -> None:
    """What is written is still that of the life before it."""
    async with running() as scene:
        scene.work.wait_for_life()
        scene.work.take("A", 1, None)
        await anyio.sleep(5)
        assert scene.done("begin") == []
        scene.work.go_on()
        await anyio.sleep(1)
        assert scene.done("begin") == [(5, "begin", "A")]


async def test_gone_waits_for_the_links_alone_and_needs_nobody_beside_it() -> None:
    """What is left of a life may wait for a store that does not answer, and the kernel would end the process."""
    async with running() as scene:
        scene.work.take("A", 1, None)
        await anyio.sleep(1)
        scene.fleet.close_seconds, scene.fleet.link_seconds = 20.0, 0.5
        scene.work.abort_all()
        await scene.work.gone()
        assert (anyio.current_time(), scene.fleet.runners.keys()) == (1.5, {"A"})
    await scene.work.gone()
    assert anyio.current_time() == 2


async def test_an_account_begins_in_the_next_life_when_its_last_one_here_has_ended() -> None:
    """However long that takes."""
    async with running() as scene:
        scene.work.take("A", 1, None)
        await anyio.sleep(1)
        scene.fleet.close_seconds, scene.parts.let_go_seconds = 4.0, 1.0
        scene.work.abort_all()
        scene.work.go_on()
        scene.work.take("A", 2, None)
        await anyio.sleep(10)
        assert scene.done("begin") == [(0, "begin", "A"), (6, "begin", "A")]


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
