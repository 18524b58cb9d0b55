"""Claims in a real server: each account has one owner, whoever claims, dies, moves or releases at the same time."""

from collections import Counter
from collections.abc import AsyncIterator

import anyio
import pytest

from adapters.postgres.errors import CannotMove
from adapters.postgres.fence import fence
from tests.postgres.support import WHY, Node, connected, node, waits_for_lock


@pytest.fixture
async def a(store_url: str) -> AsyncIterator[Node]:
    async with node(store_url, "a", host="eu-1") as it:
        yield it


@pytest.fixture
async def b(store_url: str, a: Node) -> AsyncIterator[Node]:
    async with node(store_url, "b", host="us-1") as it:
        yield it


async def free(on: Node, number: int, hosts: str = "*") -> list[str]:
    """Have so many accounts in the store."""
    names = [f"Account {n}" for n in range(number)]
    await on.accounts.set_accounts(dict.fromkeys(names, hosts))
    return names


async def test_four_that_claim_two_thousand_accounts_at_once_get_each_once(store_url: str) -> None:
    """Each account has exactly one owner, the one that was told so, and everybody gets what is asked for."""
    got: dict[int, dict[str, int]] = {}
    async with node(store_url, "first") as first:
        names = await free(first, 2000)

        async def claim(number: int) -> None:
            async with node(store_url, f"n{number}") as it:
                got[it.life] = {}
                while more := await it.claim(100):
                    got[it.life] |= more
                    answer = await it.beat()
                    assert (answer.accounts, answer.epochs) == (len(got[it.life]), len(got[it.life]))

        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(claim, number)
        owners = Counter(name for accounts in got.values() for name in accounts)
        assert owners == Counter(names)
        rows = await first.connection.execute("SELECT name, owner, epoch FROM accounts")
    assert {name: got[owner][name] for name, owner, _ in rows} == {name: epoch for name, _, epoch in rows}


async def test_an_underscore_in_a_pattern_is_an_underscore(store_url: str) -> None:
    """Hosts may well have one in their names."""
    async with node(store_url, "a", host="eu_1") as a, node(store_url, "b", host="eu-1") as b:
        await free(a, 1, "eu_*")
        assert await b.claim(hosts="eu_*") == {}
        assert len(await a.claim(hosts="eu_*")) == 1


async def test_a_claim_that_is_committed_just_before_the_death_is_freed_with_it(
    store_url: str, a: Node, b: Node
) -> None:
    """The death waits for it, because the claim has the fence; so no account stays with a dead owner."""
    await free(a, 1)
    async with connected(store_url) as look:
        server = (await a.beat()).server
        await a.connection.execute("BEGIN")
        assert len(await a.accounts.claim(a.life, server, {"*": 1})) == 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(b.nodes.end, a.life, WHY)
            await waits_for_lock(look)
            await a.connection.execute("COMMIT")
        assert await b.accounts.free_accounts_of_the_dead() == 1
        assert await b.accounts.free_accounts_of_the_dead() == 0


async def test_a_claim_that_meets_the_death_of_its_life_gets_nothing(store_url: str, a: Node, b: Node) -> None:
    """The lock of the fence, not what the claim had read before, says whether the life is over."""
    await free(a, 1)
    server = (await a.beat()).server
    got: list[object] = []

    async def claim() -> None:
        got.extend(await a.accounts.claim(a.life, server, {"*": 1}))

    async with connected(store_url) as look, anyio.create_task_group() as tasks:
        await b.connection.execute("BEGIN")
        await b.nodes.end(a.life, WHY)
        tasks.start_soon(claim)
        await waits_for_lock(look)
        await b.connection.execute("COMMIT")
    assert got == []
    assert len(await b.claim()) == 1


async def test_a_claim_passes_over_what_another_one_is_taking(a: Node, b: Node) -> None:
    """It does not wait for a node that was stopped in the middle of its own."""
    await free(a, 3)
    server = (await a.beat()).server
    await a.connection.execute("BEGIN")
    first = {each.name for each in await a.accounts.claim(a.life, server, {"*": 2})}
    second = {each.name for each in await b.accounts.claim(b.life, server, {"*": 2})}
    await a.connection.execute("COMMIT")
    assert (len(first), len(second), len(first | second)) == (2, 1, 3)


async def test_nodes_that_free_the_same_dead_do_not_wait_for_each_other(store_url: str, a: Node, b: Node) -> None:
    """Nor can they come into a deadlock: whoever is second finds nothing to do."""
    await free(a, 100)
    await a.claim()
    await b.nodes.end(a.life, WHY)
    async with connected(store_url) as one:
        await one.execute("BEGIN")
        await one.execute("SELECT id FROM nodes WHERE id = %s FOR UPDATE", (a.life,))
        assert await b.accounts.free_accounts_of_the_dead() == 0
        await one.execute("ROLLBACK")
    assert await b.accounts.free_accounts_of_the_dead() == 100


async def test_a_move_that_cannot_be_is_refused_in_a_sentence(a: Node, b: Node) -> None:
    """Each with what to do instead; a move to the node where it is changes nothing."""
    await free(a, 1, "eu-*")
    await a.claim(hosts="eu-*")
    for account, to, words in (
        ("nobody", "b", "no account is called nobody; see 'status'"),
        ("Account 0", "c", "no node is called c; see 'nodes'"),
        ("Account 0", "b", r"Account 0 may be on hosts eu-\* alone, and b is on us-1; name another node, or change"),
    ):
        with pytest.raises(CannotMove, match=words):
            await a.accounts.move(account, to)
    await b.nodes.drain("b")
    with pytest.raises(CannotMove, match="node b is draining; name another one, or let it take accounts again"):
        await a.accounts.move("Account 0", "b")
    await b.nodes.end(b.life, WHY)
    with pytest.raises(CannotMove, match="node b is dead; start it, or name another one: see 'nodes'"):
        await a.accounts.move("Account 0", "b")
    await a.accounts.move("Account 0", "a")
    assert not (await a.beat()).has_moves


async def test_a_full_node_takes_no_account_by_a_move(store_url: str, a: Node) -> None:
    """Also not one that would be over its bound with those that are on their way."""
    await free(a, 3)
    await a.claim()
    async with node(store_url, "c", accounts_at_most=1):
        await a.accounts.move("Account 0", "c")
        await a.accounts.move("Account 0", "c")
        with pytest.raises(CannotMove, match=r"node c is full: it has 1 of at most 1 accounts"):
            await a.accounts.move("Account 1", "c")


async def test_a_withheld_account_is_given_up_and_claimed_by_nobody_until_its_time(a: Node, b: Node) -> None:
    """It neither counts as free, so that nobody plans with it; then it goes on as any other."""
    await free(a, 2)
    await a.claim(1)
    await a.connection.execute("UPDATE accounts SET withheld_until = 'infinity'")
    assert ((await a.beat()).has_moves, (await a.beat()).has_free) == (True, False)
    assert await a.accounts.moving(a.life) == ("Account 0",)
    await a.accounts.release(a.life, {"Account 0": 1})
    assert await b.claim() == {}
    assert await a.accounts.groups() == ()
    await a.accounts.move("Account 1", "b")
    assert await b.accounts.awaited(b.life) == {}
    await a.connection.execute("UPDATE accounts SET withheld_until = clock_timestamp() - interval '1 s'")
    assert await b.claim() == {"Account 0": 2, "Account 1": 1}
    assert not (await b.beat()).has_moves
    assert await b.accounts.moving(b.life) == ()


async def test_a_release_waits_for_nothing_that_another_account_writes(store_url: str, a: Node) -> None:
    """A long write for one account, under the fence, does not hold up the others of its node."""
    await free(a, 2)
    await a.claim()
    async with connected(store_url) as writer:
        await writer.execute("BEGIN")
        await fence(writer, a.life)
        assert await a.accounts.release(a.life, {"Account 1": 1}) == {"Account 1"}
