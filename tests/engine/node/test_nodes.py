"""Several nodes with one store, in virtual time: who is declared dead and when, and who has which accounts."""

from collections import Counter
from contextlib import AsyncExitStack
from itertools import count

import anyio
import anyio.lowlevel
import pytest

from tests.engine.node.fakes import AccountRow, FakeNode, FakeStore, running, seen, times_of

pytestmark = pytest.mark.virtual


def fleet(size: int, accounts: int, **more: object) -> list[FakeNode]:
    """Return nodes with one store and one set of accounts."""
    store, acting = FakeStore(), dict[str, str]()
    store.add_accounts(accounts)
    return [FakeNode(store, f"n{number}", acting=acting, **more) for number in range(size)]  # type: ignore[arg-type]


def shares(nodes: list[FakeNode]) -> list[int]:
    """Return for how many accounts each node acts."""
    counts = Counter(nodes[0].acting.values())
    return [counts[node.name] for node in nodes]


async def test_nodes_that_start_together_share_evenly() -> None:
    """Each waits for the join delay, so that it sees the others before it claims."""
    nodes = fleet(4, 100)
    async with running(*nodes):
        await anyio.sleep(2.9)
        assert shares(nodes) == [0] * 4
        await anyio.sleep(5)
        assert shares(nodes) == [25] * 4


async def test_a_silent_node_is_declared_dead_and_its_accounts_live_on() -> None:
    """Fifteen seconds after its last beat was seen, not before; a moment later they are connected elsewhere."""
    nodes = fleet(3, 30)
    async with running(*nodes):
        await anyio.sleep(10)
        nodes[0].kill()
        last = times_of(nodes[0], "beat")[-1]
        while nodes[0].begun[0] in [row.life for row in nodes[0].store.rows.values() if row.alive]:
            await anyio.sleep(0.1)
        assert last + 15 <= anyio.current_time() <= last + 15 + 3.2
        await anyio.sleep(1.1)
        assert shares(nodes) == [0, 15, 15]


async def test_a_node_that_is_late_is_not_declared_dead() -> None:
    """A death is on condition of the beat that was seen."""
    nodes = fleet(2, 10)
    async with running(*nodes):
        await anyio.sleep(10)
        (life,) = nodes[0].begun
        row = nodes[0].store.rows[life]
        line = await nodes[1].way.connect()
        assert not await line.declare_dead(life, row.beat - 1, "a")
        assert row.alive


@pytest.mark.parametrize("what", ["the connection is lost", "the server is another one"])
async def test_observations_start_anew(what: str) -> None:
    """What was seen before says nothing: a server that took over may have forgotten beats."""
    nodes = fleet(2, 10)
    async with running(*nodes):
        await anyio.sleep(10)
        nodes[0].kill()
        await anyio.sleep(12)
        if what == "the connection is lost":
            nodes[1].way.lose_lines()
        else:
            nodes[0].store.server = "b"
            nodes[0].store.settled.add("b")
        changed = anyio.current_time()
        await anyio.sleep(14.5)
        assert nodes[0].store.rows[nodes[0].begun[0]].alive
        while shares(nodes) != [0, 10]:
            await anyio.sleep(0.1)
        assert anyio.current_time() <= changed + 3 + 15 + 3.2


async def test_nothing_is_claimed_from_a_server_that_is_not_settled() -> None:
    """For the length of the lease: it may have forgotten who has what. Then a node notes for all that it is."""
    nodes = fleet(2, 10)
    nodes[0].store.settled.clear()
    async with running(*nodes):
        await anyio.sleep(14.9)
        assert shares(nodes) == [0, 0]
        await anyio.sleep(6)
        assert nodes[0].store.settled == {"a"}
        assert shares(nodes) == [5, 5]


async def test_a_grant_that_comes_too_late_does_not_count() -> None:
    """Nobody acts for it, and what is this life's still is given back and claimed anew."""
    nodes = fleet(1, 3)
    (node,) = nodes
    claim_late = node.way.connect

    async def connect() -> object:
        line = await claim_late()
        claim = line.claim

        async def late(*values: object) -> object:
            found = await claim(*values)  # type: ignore[arg-type]
            if len(times_of(node, "claim")) == 1:
                node.store.server = "b"
                node.store.settled.add("b")
                await anyio.sleep(4)
            return found

        line.claim = late  # type: ignore[method-assign, assignment]
        return line

    node.way.connect = connect  # type: ignore[method-assign, assignment]
    async with running(node):
        await anyio.sleep(5)
        assert len(node.store.owned(node.begun[0])) == 3
        assert not node.acting
        await anyio.sleep(10)
        assert len(node.acting) == 3
        assert {row.epoch for row in node.store.accounts.values()} == {2}
        assert times_of(node, "release")


async def test_a_grant_that_comes_when_the_node_leaves_does_not_count() -> None:
    """It has given all up already, and gives this back."""
    (node,) = fleet(1, 3)
    async with running(node):
        await anyio.sleep(2.5)
        node.way.after = 1.0
        while not times_of(node, "claim"):
            await anyio.sleep(0.1)
        assert not seen(node, "take")
        node.work.close_seconds = 5
        node.holder.leave()
        await anyio.sleep(4)
        assert node.holder.may_act
        assert not node.store.owned(node.begun[0])
        assert not seen(node, "take")


async def test_a_release_that_is_carried_out_late_frees_nothing_new() -> None:
    """The account may be this life's again, under another epoch."""
    (node,) = fleet(1, 1)
    async with running(node):
        await anyio.sleep(5)
        (name,) = node.store.accounts
        line = await node.way.connect()
        assert not await line.release(node.begun[0], {name: 0})
        assert await line.release(node.begun[0], {name: 1}) == [name]


async def test_a_node_that_joins_gets_accounts_one_by_one() -> None:
    """Until nobody has over 20 % more than the mean; each goes when nothing acts for it, and nothing moves after."""
    nodes = fleet(3, 30)
    async with running(*nodes[:2]):
        await anyio.sleep(60)
        assert shares(nodes) == [15, 15, 0]
        async with running(nodes[2]):
            await anyio.sleep(90)
            assert shares(nodes)[2] >= 6
            assert max(shares(nodes)) <= 12
            given = sorted(at for node in nodes[:2] for at, _ in seen(node, "give up"))
            assert len(given) == shares(nodes)[2]
            await anyio.sleep(300)
            assert len([1 for node in nodes for _ in seen(node, "give up")]) == len(given)


@pytest.mark.parametrize(("host", "at_work", "got"), [("eu-1", False, 24), ("eu-1", True, 6), ("eu-2", False, 6)])
async def test_a_node_that_joins_on_the_same_host_gets_its_share_soon(host: str, at_work: bool, got: int) -> None:
    """Some at a time, for no address changes; one at a time those with which jobs run, and those that change it."""
    nodes = fleet(2, 60)
    nodes[1].host = nodes[1].way.host = host
    async with running(nodes[0]):
        await anyio.sleep(37)  # long before the next look at the balance
        if at_work:
            nodes[0].work.at_work = frozenset(nodes[0].work.acting)
        async with running(nodes[1]):
            await anyio.sleep(20)
            assert (shares(nodes)[1] >= got) == (got > 6)
            assert shares(nodes)[1] >= 4
            await anyio.sleep(200)
            assert max(shares(nodes)) <= 36


async def test_a_draining_node_gives_all_away() -> None:
    """To the others, while its life goes on, and takes none back."""
    nodes = fleet(2, 80)
    nodes[0].work.close_seconds = 1
    async with running(*nodes):
        await anyio.sleep(10)
        nodes[0].store.of_name("n0").draining = True
        await anyio.sleep(15)
        assert shares(nodes) == [0, 80]
        assert nodes[0].store.of_name("n0").alive
        await anyio.sleep(60)
        assert shares(nodes) == [0, 80]


async def test_an_account_whose_giving_away_fails_is_given_away_once_more() -> None:
    """It is closed here already, so nobody would run it otherwise."""
    nodes = fleet(2, 2)
    nodes[0].work.fails = 1
    async with running(*nodes):
        await anyio.sleep(10)
        account = next(name for name, node in nodes[0].acting.items() if node == "n0")
        nodes[0].work.idle = lambda hosts: []  # type: ignore[method-assign]
        nodes[0].store.accounts[account].move_to = "n1"
        await anyio.sleep(4)
        nodes[0].store.accounts[account].move_to = None  # nobody asks for it any more
        await anyio.sleep(20)
        assert sorted(nodes[0].acting) == sorted(nodes[0].store.accounts)


async def test_a_node_that_fails_to_give_accounts_away_drains_all_the_same() -> None:
    """An error in one group of accounts leaves none of the others behind."""
    nodes = fleet(2, 160)
    nodes[0].work.fails = 2
    async with running(*nodes):
        await anyio.sleep(10)
        nodes[0].store.of_name("n0").draining = True
        await anyio.sleep(60)
        assert shares(nodes) == [0, 160]


async def test_an_account_moves_on_request() -> None:
    """Its owner ends what it does for it, frees it, and the other node takes it."""
    nodes = fleet(2, 2)
    async with running(*nodes):
        await anyio.sleep(10)
        account = next(name for name, node in nodes[0].acting.items() if node == "n0")
        nodes[0].store.accounts[account].move_to = "n1"
        await anyio.sleep(8)
        assert shares(nodes) == [0, 2]
        assert [name for _, name in seen(nodes[0], "give up")] == [account]


async def test_accounts_stay_within_their_hosts_and_nodes_within_their_limits() -> None:
    """What nobody may have stays free."""
    store, acting = FakeStore(), dict[str, str]()
    store.add_accounts(10, "eu-*")
    store.add_accounts(10, "us-*")
    eu = FakeNode(store, "eu", "eu-1", acting=acting, accounts_at_most=4)
    us = FakeNode(store, "us", "us-1", acting=acting)
    async with running(eu, us):
        await anyio.sleep(10)
        assert shares([eu, us]) == [4, 10]
        assert all(name.startswith(acting[name]) for name in acting)


async def test_a_rolling_restart_has_no_second_owner() -> None:
    """One node after the other leaves and comes back; what it had is taken by the others at once."""
    nodes = fleet(3, 30)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(*nodes))
        await anyio.sleep(10)
        for number in range(3):
            left = nodes[number]
            left.holder.leave()
            await anyio.sleep(4)
            assert len(left.acting) == 30
            back = FakeNode(left.store, left.name, acting=left.acting)
            back._numbers = count(10**6 * (number + 1))
            await stack.enter_async_context(running(back))
            await anyio.sleep(5)
            assert back.holder.may_act


async def test_where_an_account_was_before_is_told() -> None:
    """Its next owner may have to be quiet for a while."""
    store, acting = FakeStore(), dict[str, str]()
    store.accounts["a"] = AccountRow(last_host="elsewhere")
    node = FakeNode(store, acting=acting)
    told: list[str | None] = []
    node.work.take = lambda account, epoch, last_host: told.append(last_host)  # type: ignore[method-assign]
    async with running(node):
        await anyio.sleep(5)
    assert told == ["elsewhere"]
