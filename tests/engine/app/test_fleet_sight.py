"""What a node's page knows of the others: from a real database, and from the beats that the node watches."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import anyio
import psycopg
import pytest
from attrs import define, field, frozen

from engine.app import page_reads
from engine.app.fleet_sight import FleetLook, FleetSight
from engine.app.page_reads import PageReads
from engine.console.account_status import UNKNOWN
from engine.web.page.nodes import AccountWhere
from states import Policy, Snapshot, State
from states.lease import BeatSight, LeaseTimes, NodeWatch
from states.nodes import NodeRecord, NodeState
from tests.postgres.support import Node, node
from tests.storage.postgres_store import PostgresStore
from tests.timeouts import TIMEOUT


@frozen
class Place:
    """Where a config keeps its data."""

    database: str | None
    directory: Path = Path("nowhere")


@define(eq=False)
class Holder:
    """What watches the beats: its clock stands at 100 s."""

    sights: dict[int, BeatSight] = field(factory=dict)
    times: LeaseTimes = field(factory=LeaseTimes)

    @property
    def clock(self) -> SimpleNamespace:
        return SimpleNamespace(now=lambda: 100.0)

    @property
    def watcher(self) -> SimpleNamespace:
        return SimpleNamespace(watch=NodeWatch(sights=self.sights))


@define(eq=False)
class Stage:
    """Two nodes, of which ``eu-1`` has the page; ``a`` runs there, ``b`` at the other, and nobody has ``c``."""

    sight: FleetSight
    holder: Holder
    other: Node
    store: PostgresStore
    place: Place

    async def looked(self) -> FleetSight:
        """Look now."""
        self.sight._due = float("-inf")
        await self.sight.look()
        return self.sight


@pytest.fixture
async def stage(store_url: str) -> AsyncIterator[Stage]:
    """Return the stage."""
    store = PostgresStore(store_url)
    async with node(store_url, "eu-1") as one, node(store_url, "eu-2") as two:
        await one.accounts.set_accounts({"a": "*", "b": "*", "c": "eu-9"})
        assert set(await one.claim(1)) == {"a"}
        assert set(await two.claim(1)) == {"b"}
        holder, place = Holder(), Place(store_url)
        reads = PageReads(lambda: place)
        sight = FleetSight(lambda: holder, reads, "eu-1", {"a": None})  # type: ignore[arg-type, return-value]  # fakes
        yield Stage(sight, holder, two, store, place)


async def store_healthy(stage: Stage, account: str = "b", at: float = 1000.0) -> None:
    """Have the other node store that an account is healthy."""
    async with stage.store.journal_of(stage.other.life, engine=str(stage.other.life)) as journal:
        snapshot = Snapshot(state=State.HEALTHY, since=at, last_success=at + 7, life=1)
        await journal.begin_life(account, at, Policy(), snapshot)
        await journal.flush()


async def test_accounts_of_others_are_as_stored_with_the_time(stage: Stage) -> None:
    """And known, for the node that has them lives; an account that never ran is at nobody's."""
    await store_healthy(stage)
    sight = await stage.looked()
    assert (sight.status("b").state, sight.status("b").known) == ("healthy", True)
    assert sight.whereabouts("b") == AccountWhere("eu-2", here=False, stored=1007.0)
    assert sight.whereabouts("a") == AccountWhere("eu-1", here=True)
    assert sight.whereabouts("c").node == ""
    assert "a node takes it" in sight.whereabouts("c").note
    assert sight.status("c").state == UNKNOWN
    found = sight.nodes()
    assert (found.own, found.trouble) == ("eu-1", "")
    assert [(each.node.name, each.state, each.node.accounts) for each in found.nodes] == [
        ("eu-1", "alive", 1),
        ("eu-2", "alive", 1),
    ]


async def test_what_has_not_changed_is_the_same_object(stage: Stage) -> None:
    """So that no row of a page is drawn again; what has changed is another one."""
    await store_healthy(stage)
    before = (await stage.looked()).status("b")
    assert (await stage.looked()).status("b") is before
    await store_healthy(stage, at=2000.0)
    assert (await stage.looked()).status("b") is not before


async def test_a_node_without_beats_is_silent_and_its_accounts_are_unknown(stage: Stage) -> None:
    """By the beats that this node watches: two may be missing, not more."""
    await store_healthy(stage)
    stage.holder.sights[stage.other.life] = BeatSight(beat=1, since=94.0)
    assert (await stage.looked()).status("b").known
    stage.holder.sights[stage.other.life] = BeatSight(beat=1, since=92.0)
    sight = await stage.looked()
    assert (sight.status("b").known, sight.status("b").state) == (False, UNKNOWN)
    assert [(each.state, each.silent_for) for each in sight.nodes().nodes][1] == ("silent", 8.0)


async def test_what_the_last_owner_has_stored_is_not_known_to_hold_at_the_next(stage: Stage) -> None:
    """Until that one has stored something itself; a move that is asked for is told."""
    await store_healthy(stage, "c")
    sight = await stage.looked()
    assert not sight.status("c").known
    assert sight.whereabouts("c").stored == 1007.0
    await stage.other.accounts.move("b", "eu-1")
    assert (await stage.looked()).whereabouts("b").note == "it is to go to node eu-1"


async def test_a_database_that_does_not_answer_costs_a_page_one_wait(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence is kept with what was seen last, other reads fail at once, and it is asked again later."""
    await store_healthy(stage)
    before = (await stage.looked()).status("b")
    monkeypatch.setattr(page_reads, "READ_SECONDS", 0.3)
    monkeypatch.setattr(page_reads, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr(page_reads, "SILENT_SECONDS", 1.0)
    async with held(stage.store.url):
        sight = await stage.looked()
        assert "The database could not be read within 0.3 s" in sight.nodes().trouble
        assert sight.status("b") is before
        with pytest.raises(page_reads.PageUnreadable, match="could not be read within"):
            await sight.reads.within(lambda place: pytest.fail("it asked"))
    with anyio.fail_after(TIMEOUT):
        while (await stage.looked()).nodes().trouble:
            await anyio.sleep(0.1)


@asynccontextmanager
async def held(url: str) -> AsyncIterator[None]:
    """Let nobody read the accounts."""
    async with await psycopg.AsyncConnection.connect(url) as other:
        await other.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.virtual
async def test_who_watches_no_beats_sees_them_by_its_looks() -> None:
    """As the parent of workers does: a node whose beat stays the same falls silent, one that beats does not."""
    beats = {1: 5, 2: 5}

    async def within(read: object) -> FleetLook:
        beats[1] += 1
        return FleetLook(0.0, [record(life, beat) for life, beat in beats.items()])

    reads = SimpleNamespace(within=within)
    sight = FleetSight(lambda: None, reads, "", {})  # type: ignore[arg-type]  # a fake
    states = []
    for _ in range(4):
        await sight.look()
        states.append([each.state for each in sight.nodes().nodes])
        await anyio.sleep(3.5)
    assert states[:3] == [["alive", "alive"]] * 3
    assert states[3] == ["alive", "silent"]


def record(life: int, beat: int) -> NodeRecord:
    """Return a node that lives."""
    return NodeRecord(
        life=life, name=f"eu-1#{life}", host="eu-1", epoch=1, beat=beat, state=NodeState.ALIVE, lease=15.0,
        accounts_at_most=None, accounts=1, jobs=0, started_at=0.0,
    )  # fmt: skip


@pytest.mark.virtual
async def test_looks_are_rare_and_rarer_where_they_take_long() -> None:
    """Whoever asks meanwhile gets what the last one has found; a look of 4 s is the tenth part of the time."""
    looks = []

    async def within(read: object) -> FleetLook:
        await anyio.sleep(4.0 if len(looks) else 0.1)
        looks.append(anyio.current_time())
        return FleetLook(0.0)

    reads = SimpleNamespace(within=within)
    sight = FleetSight(lambda: None, reads, "eu-1", {})  # type: ignore[arg-type]  # a fake
    with anyio.move_on_after(60.0):
        while True:
            async with anyio.create_task_group() as tasks:  # two browsers
                tasks.start_soon(sight.look)
                tasks.start_soon(sight.look)
            await anyio.sleep(0.5)
    first, second, third = looks
    assert 2.9 <= second - 4.0 - first <= 3.6
    assert 39.9 <= third - 4.0 - second <= 40.6
