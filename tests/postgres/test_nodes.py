"""Lives and beats in a real server: one life for a name, deaths on condition of a beat, and what a fence holds up."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest

from adapters.postgres.connect import StoreConnection, StoreTimeouts
from adapters.postgres.errors import Fenced, LeasesDiffer, NodeNameTaken, StoreUnusable
from adapters.postgres.fence import fence
from adapters.postgres.nodes import NodeRows
from adapters.stores.nodes import KEPT_LIVES, NodeEntry
from tests.postgres.relay import relay
from tests.postgres.server import SUPERUSER, PostgresServer, private_server
from tests.postgres.support import WHY, Node, connected, new_life, node, waits_for_lock
from tests.postgres.template import template_of


@pytest.fixture
async def a(store_url: str) -> AsyncIterator[Node]:
    async with node(store_url, "a") as it:
        yield it


@pytest.fixture
async def b(store_url: str, a: Node) -> AsyncIterator[Node]:
    async with node(store_url, "b") as it:
        yield it


async def test_a_life_that_is_over_never_beats_again(a: Node, b: Node) -> None:
    """Neither after a death nor after its own end, and a number that nobody began has no beat either."""
    assert await b.nodes.end(a.life, WHY)
    assert await a.nodes.beat(a.life) is None
    assert (await b.beat()).others == {}
    assert not await b.nodes.end(a.life, WHY)
    assert await a.nodes.beat(new_life()) is None


async def test_a_second_node_with_the_same_name_is_refused_in_a_sentence(store_url: str, a: Node) -> None:
    """It says where the other one is, and has what is needed to see whether that one still beats."""
    answer = await a.beat()
    async with connected(store_url) as connection:
        with pytest.raises(
            NodeNameTaken,
            match=r"^postgresql://holdfast@/.+: a node called a is alive already on host a-host; give this one "
            r"another name \(node\.name\), or stop that one$",
        ) as caught:
            await NodeRows(connection).begin(new_life(), NodeEntry(name="a", host="other", lease=15))
        assert (caught.value.life, caught.value.beat) == (a.life, answer.beat)
        assert caught.value.server == answer.server
        assert [each.host for each in await NodeRows(connection).living()] == ["a-host"]


async def test_of_nodes_that_begin_at_once_under_one_name_one_does(store_url: str) -> None:
    """The others are refused, whatever the order of their statements."""
    begun, refused = [], []

    async def begin() -> None:
        async with connected(store_url) as connection:
            life = new_life()
            try:
                await NodeRows(connection).begin(life, NodeEntry(name="a", host="h", lease=15))
                begun.append(life)
            except NodeNameTaken as exc:
                refused.append(exc.life)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(begin)
    assert len(begun) == 1
    assert refused == begun * 4


async def test_of_nodes_with_different_leases_that_begin_at_once_one_does(store_url: str, a: Node) -> None:
    """Whose length the other one would not wait for; its row is there before the second one looks."""
    async with connected(store_url) as first, connected(store_url) as second:
        first_row, second_row = (NodeEntry(name=name, host="h", lease=lease) for name, lease in (("x", 15), ("y", 45)))
        with pytest.raises(LeasesDiffer, match=r"node.lease is 45 s here, and 15 s at the node a; "):
            await NodeRows(second).begin(new_life(), second_row)
        await a.nodes.end(a.life, WHY)
        async with first.transaction():
            await first.execute("LOCK TABLE settled_servers IN SHARE ROW EXCLUSIVE MODE")
            beginning = asyncio.create_task(NodeRows(second).begin(new_life(), second_row))
            await waits_for_lock(a.connection)
            await NodeRows(first)._insert(new_life(), first_row)
        with pytest.raises(LeasesDiffer, match="at the node x"):
            await beginning


async def test_a_life_is_asked_for_again_under_its_number(a: Node) -> None:
    """An answer that did not arrive costs nothing: the second time it is the same life, until it is over."""
    await a.nodes.begin(a.life, a.entry)
    assert [each.life for each in await a.nodes.living()] == [a.life]
    await a.nodes.end(a.life, WHY)
    with pytest.raises(Fenced):
        await a.nodes.begin(a.life, a.entry)


async def test_lives_that_are_long_over_leave_the_store(a: Node) -> None:
    """A node that begins a life every day for years does not fill it."""
    for _ in range(KEPT_LIVES + 3):
        await a.begin()
        await a.accounts.free_accounts_of_the_dead()
    [[lives]] = await a.connection.execute("SELECT count(*) FROM nodes")
    assert lives == KEPT_LIVES


async def test_a_death_waits_for_a_write_that_has_the_fence(store_url: str, a: Node, b: Node) -> None:
    """What the write does is there before the death is; a beat passes it."""
    seen = await b.beat()
    beat = seen.others[a.life]
    async with connected(store_url) as writer, connected(store_url) as look:
        await writer.execute("BEGIN")
        await fence(writer, a.life)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(b.nodes.declare_dead, a.life, beat, seen.server)
            await waits_for_lock(look)
            assert (await look.execute("SELECT state FROM nodes WHERE id = %s", (a.life,))) == [("alive",)]
            await writer.execute("INSERT INTO accounts (name) VALUES ('written under the fence')")
            await writer.execute("COMMIT")
        assert await look.execute("SELECT state FROM nodes WHERE id = %s", (a.life,)) == [("dead",)]
        with pytest.raises(Fenced, match="has ended, so nothing that it writes is taken"):
            await fence(writer, a.life)


async def test_beats_pass_the_fence(store_url: str, a: Node) -> None:
    """A long write does not make its own node look dead, and several writes of one node do not wait for another."""
    async with connected(store_url) as one, connected(store_url) as two:
        for writer in (one, two):
            await writer.execute("BEGIN")
            await fence(writer, a.life)
        assert (await a.beat()).beat == 1
        for writer in (one, two):
            await writer.execute("COMMIT")  # nobody has waited so long that the server ended it


async def test_a_plain_update_would_pass_the_fence(store_url: str, a: Node, b: Node) -> None:
    """The reason why a death takes the row first: without that, this server lets it pass."""
    async with connected(store_url) as writer:
        await writer.execute("BEGIN")
        await fence(writer, a.life)
        assert await b.connection.execute("UPDATE nodes SET state = 'dead' WHERE id = %s RETURNING 1", (a.life,))


async def interleaved(first: Node, hold: str, act: Callable[[], Awaitable[Any]], look: StoreConnection) -> Any:
    """Act while a transaction of ``first`` with the statement ``hold`` is open, and commit that when ``act`` waits."""
    await first.connection.execute("BEGIN")
    await first.connection.execute(hold)
    results = []

    async def run() -> None:
        results.append(await act())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await waits_for_lock(look)
        await first.connection.execute("COMMIT")
    return results[0]


async def test_of_a_beat_and_a_death_at_once_the_later_one_sees_the_earlier(store_url: str, a: Node, b: Node) -> None:
    """No write skew: a beat that is being committed saves the life, and a death that is refuses the beat."""
    seen = await b.beat()
    async with connected(store_url) as look:
        beating = f"UPDATE nodes SET beat = beat + 1 WHERE id = {a.life}"
        act = lambda: b.nodes.declare_dead(a.life, seen.others[a.life], seen.server)  # noqa: E731
        assert await interleaved(a, beating, act, look) is False
        dying = f"UPDATE nodes SET state = 'dead' WHERE id = {a.life}"
        assert await interleaved(b, dying, lambda: a.nodes.beat(a.life), look) is None


async def test_a_writer_that_is_stopped_in_its_transaction_holds_up_a_death_for_a_bounded_time(
    store_url: str, a: Node, b: Node
) -> None:
    """The server ends the transaction in which nothing happens, and with it what the life would have written."""
    seen = await b.beat()
    async with connected(store_url, StoreTimeouts(idle=0.3)) as stopped, connected(store_url) as look:
        await stopped.execute("BEGIN")
        await fence(stopped, a.life)
        await stopped.execute("INSERT INTO accounts (name) VALUES ('never committed')")
        assert await b.nodes.declare_dead(a.life, seen.others[a.life], seen.server)
        with pytest.raises(StoreUnusable) as caught:
            await stopped.execute("COMMIT")
        assert not caught.value.uncertain
        assert await look.execute("SELECT count(*) FROM accounts") == [(0,)]


async def test_a_beat_into_a_black_hole_ends_at_its_deadline_and_the_next_connection_beats_again(
    postgres: PostgresServer, store_url: str, a: Node
) -> None:
    """The beat that got lost on the way back has counted, and the node learns so."""
    async with relay(postgres.socket) as wire:
        name = store_url.partition("?")[0].rpartition("/")[2]
        async with connected(f"postgresql://{SUPERUSER}@{wire.address}/{name}") as connection:
            rows = NodeRows(connection, timeout=0.1)
            wire.swallow_answers()
            with pytest.raises(StoreUnusable, match="does not answer"):
                await rows.beat(a.life)
    assert (await a.beat()).beat == 2


@pytest.mark.slow
async def test_a_restart_of_the_server_is_seen_and_ends_what_was_settled() -> None:
    """A beat names the start of the server, so whoever watches begins anew; what it noted before does not count."""
    with private_server() as server:
        url = server.url(server.clone(template_of(server)))
        async with node(url, "a") as a, node(url, "b") as b:
            before = await a.beat()
            assert await a.nodes.note_settled(before.server)
            assert [(await a.beat()).settled, (await b.beat()).settled] == [True, True]
            await asyncio.to_thread(server.restart, signal.SIGKILL)
            with pytest.raises(StoreUnusable):
                await a.nodes.beat(a.life)
        async with connected(url) as connection:
            rows = NodeRows(connection)
            after = await rows.beat(a.life)
            assert after is not None
            assert after.server != before.server
            assert not after.settled
            assert after.beat == before.beat + 2, "a beat that was confirmed is forgotten"
            assert not await rows.declare_dead(b.life, after.others[b.life], before.server)
            assert not await rows.note_settled(before.server)
            assert await rows.note_settled(after.server)
            [[servers]] = await connection.execute("SELECT count(*) FROM settled_servers")
            assert servers == 1


async def test_a_database_that_was_restored_is_another_server(postgres: PostgresServer, store_url: str) -> None:
    """It has forgotten who claimed what since the dump, and that says it is settled: nobody may claim for a lease.

    Both as a database that takes the place of the former one, and as rows that are read into the same one again.
    """
    async with node(store_url, "a") as a:
        before = await a.beat()
        assert await a.nodes.note_settled(before.server)
        assert (await a.beat()).settled
    restored = postgres.clone(store_url.partition("?")[0].rpartition("/")[2])
    async with connected(postgres.url(restored)) as connection:
        rows = NodeRows(connection)
        after = await rows.beat(a.life)
        assert after is not None
        assert after.server != before.server
        assert not after.settled
        assert await rows.note_settled(after.server)
        await connection.execute(
            "CREATE TEMP TABLE dump AS TABLE nodes; TRUNCATE nodes CASCADE; INSERT INTO nodes SELECT * FROM dump"
        )
        again = await rows.beat(a.life)
        assert again is not None
        assert again.server != after.server
        assert not again.settled


async def test_tables_whose_indexes_are_not_there_yet_are_told_of(store_url: str) -> None:
    """A restore makes tables first and indexes last; a node that asks for a life meanwhile waits, and does not end."""
    async with connected(store_url) as connection:
        await connection.execute("DROP INDEX nodes_living")
        with pytest.raises(StoreUnusable, match="the tables of the database are not there, or are others; wait if a"):
            await NodeRows(connection).begin(new_life(), NodeEntry(name="a", host="h", lease=15))


async def test_a_node_that_is_to_drain_learns_it_from_its_beat(a: Node, b: Node) -> None:
    """It goes on beating and writing, for it has accounts to give away."""
    assert await b.nodes.drain("a")
    assert (await a.beat()).draining
    await fence(a.connection, a.life)
    assert not await b.nodes.drain("nobody")


async def test_what_a_foreign_row_holds_is_harmless_in_a_sentence(store_url: str) -> None:
    """A host may be called anything by whoever writes into the store."""
    entry = NodeEntry(name="a", host="\x1b[2J" + "h" * 5000, lease=15)
    async with connected(store_url) as connection:
        await NodeRows(connection).begin(new_life(), entry)
        with pytest.raises(NodeNameTaken) as caught:
            await NodeRows(connection).begin(new_life(), entry)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


async def test_a_drain_outlives_the_node_until_it_is_taken_back(a: Node, b: Node) -> None:
    """So that a machine that is started again takes no accounts before a person says so."""
    assert await b.nodes.drain("a") is True
    assert (await a.beat()).draining
    await a.begin()
    assert (await a.beat()).draining
    await a.nodes.end(a.life, WHY)
    assert await b.nodes.resume("a") is False
    await a.begin()
    assert not (await a.beat()).draining
    assert await b.nodes.drain("a") is True
    assert await b.nodes.resume("a") is True
    assert not (await a.beat()).draining
    assert await b.nodes.drain("nobody") is None
    assert not (await b.beat()).draining
