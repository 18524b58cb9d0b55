"""The contract of lives and accounts: what carries out ``states.lease``, asked of a file and of a database."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.storage.node_stores import (
    WHY,
    NodesUnderTest,
    NodeUnderTest,
    PostgresNodes,
    SqliteNodes,
    counts,
    put,
)


@pytest.fixture(params=["sqlite", "postgres"])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> NodesUnderTest:
    """Return an empty store of each kind."""
    if request.param == "sqlite":
        return SqliteNodes(tmp_path / "engine.db")
    return PostgresNodes(request.getfixturevalue("store_url"))


@pytest.fixture
async def a(fleet: NodesUnderTest) -> AsyncIterator[NodeUnderTest]:
    async with fleet.node("a", host="eu-1") as it:
        yield it


@pytest.fixture
async def b(fleet: NodesUnderTest, a: NodeUnderTest) -> AsyncIterator[NodeUnderTest]:
    async with fleet.node("b", host="us-1") as it:
        yield it


async def test_a_beat_counts_and_shows_the_others(a: NodeUnderTest, b: NodeUnderTest) -> None:
    """One transaction says everything that a node has to know."""
    await b.beat()
    answer = await a.beat()
    assert answer.beat == 1
    assert answer.others == {b.life: 1}
    assert (answer.accounts, answer.epochs, answer.draining, answer.has_free, answer.has_moves) == (0, 0, *[False] * 3)
    assert (await a.beat()).beat == 2
    assert (await b.beat()).server == answer.server


async def test_a_life_that_is_over_never_beats_again(a: NodeUnderTest, b: NodeUnderTest) -> None:
    """Neither after a death nor after its own end, and a number that nobody began has no beat either."""
    assert await b.nodes.end(a.life, WHY)
    assert await a.nodes.beat(a.life) is None
    assert (await b.beat()).others == {}
    assert not await b.nodes.end(a.life, WHY)
    assert await a.nodes.beat(17) is None


async def test_a_second_node_with_the_same_name_is_refused_in_a_sentence(
    fleet: NodesUnderTest, a: NodeUnderTest, b: NodeUnderTest
) -> None:
    """It says where the other one is, and has what is needed to see whether that one still beats."""
    answer = await a.beat()
    words = r"a node called a is alive already on host eu-1; give this one another name \(node\.name\), or stop"
    with pytest.raises(fleet.held, match=words) as caught:
        async with fleet.node("a"):
            pass
    assert (caught.value.life, caught.value.beat, caught.value.server) == (a.life, answer.beat, answer.server)  # type: ignore[attr-defined]


async def test_a_worker_whose_former_process_lives_is_given_no_advice_about_its_name(fleet: NodesUnderTest) -> None:
    """No person has given it, and there is nothing to stop."""
    async with fleet.node("a#2"):
        with pytest.raises(fleet.held, match=r"an earlier process of the worker a#2 .*is not known to be over$"):
            async with fleet.node("a#2"):
                pass


async def test_a_life_is_asked_for_again_under_its_number(fleet: NodesUnderTest, a: NodeUnderTest) -> None:
    """An answer that did not arrive costs nothing: the second time it is the same life, until it is over."""
    await a.nodes.begin(a.life, a.entry)
    assert [each.life for each in await a.nodes.living()] == [a.life]
    await a.nodes.end(a.life, WHY)
    with pytest.raises(fleet.ended):
        await a.nodes.begin(a.life, a.entry)


async def test_a_new_life_ends_the_one_before_in_the_same_transaction(a: NodeUnderTest) -> None:
    """A node that comes back after an outage need not wait until the others see its own silence."""
    before = a.life
    await a.begin()
    assert [(each.life, each.epoch) for each in await a.nodes.living()] == [(a.life, 2)]
    assert await a.nodes.beat(before) is None


async def test_a_death_needs_the_beat_and_the_server_that_the_watcher_saw(a: NodeUnderTest, b: NodeUnderTest) -> None:
    """A beat that came meanwhile, or another server, saves the life."""
    seen = await a.beat()
    server = (await b.beat()).server
    await a.beat()
    assert not await b.nodes.declare_dead(a.life, seen.beat, server)
    assert not await b.nodes.declare_dead(a.life, seen.beat + 1, "another server")
    assert await b.nodes.declare_dead(a.life, seen.beat + 1, server)
    assert not await b.nodes.declare_dead(a.life, seen.beat + 1, server)
    assert await a.nodes.beat(a.life) is None


async def test_a_server_is_settled_once_that_was_noted_of_it(a: NodeUnderTest, b: NodeUnderTest) -> None:
    """Whoever beats learns it; another server cannot be noted here."""
    before = await a.beat()
    assert not before.settled
    assert not await a.nodes.note_settled("another server")
    assert not (await b.beat()).settled
    assert await a.nodes.note_settled(before.server)
    assert [(await a.beat()).settled, (await b.beat()).settled] == [True, True]


async def test_accounts_that_are_claimed_at_once_have_one_owner_each(fleet: NodesUnderTest) -> None:
    """The one that was told so, and everybody gets what is asked for."""
    got: dict[int, dict[str, int]] = {}
    async with fleet.node("first") as first:
        names = await put(first, 400)

        async def claim(number: int) -> None:
            async with fleet.node(f"n{number}") as it:
                got[it.life] = {}
                while more := await it.claim(30):
                    got[it.life] |= more
                    answer = await it.beat()
                    assert (answer.accounts, answer.epochs) == (len(got[it.life]), len(got[it.life]))

        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(claim, number)
    assert Counter(name for accounts in got.values() for name in accounts) == Counter(names)


async def test_a_claim_takes_no_more_than_is_asked_for(a: NodeUnderTest) -> None:
    """The share of a node is a bound, for each pattern of hosts."""
    await put(a, 10)
    assert len(await a.claim(3)) == 3
    assert len(await a.claim(0)) == 0
    assert counts(await a.accounts.groups()) == [("*", 10, 7, {a.life: 3})]
    await a.accounts.set_accounts({"3": "eu-*", "4": "eu-*", "5": "us-*"})
    server = (await a.beat()).server
    got = await a.accounts.claim(a.life, server, {"*": 1, "eu-*": 5, "us-*": 5})
    assert sorted(each.name for each in got)[:2] == ["3", "4"]
    assert len(got) == 3


@pytest.mark.parametrize(
    ("hosts", "matches"),
    [
        ("*", True), ("eu-*", True), ("eu-?", True), ("eu-1", True), ("EU-1", False), ("eu-", False), ("e%", False),
        ("eu-[1]", False), ("eu_1", False),
    ],
)  # fmt: skip
async def test_an_account_goes_only_to_a_host_that_matches(a: NodeUnderTest, hosts: str, matches: bool) -> None:
    """The pattern has ``*`` and ``?``, so what GLOB and LIKE have beside them means itself."""
    await put(a, 1, hosts)
    assert (await a.beat()).has_free is matches
    assert (len(await a.claim(hosts=hosts)) == 1) is matches


async def test_who_may_not_claim_gets_nothing(a: NodeUnderTest, b: NodeUnderTest) -> None:
    """A life that is over or draining, and one that takes this server for another one."""
    await put(a, 1)
    server = (await a.beat()).server
    assert await a.accounts.claim(a.life, "another server", {"*": 1}) == ()
    await b.nodes.drain("a")
    assert (await a.beat()).draining
    assert await a.accounts.claim(a.life, server, {"*": 1}) == ()
    await b.nodes.end(a.life, WHY)
    assert await a.accounts.claim(a.life, server, {"*": 1}) == ()
    assert len(await b.claim()) == 1


async def test_what_a_dead_node_had_goes_to_others_with_a_new_epoch(a: NodeUnderTest, b: NodeUnderTest) -> None:
    """Its beat and its own list confirm nothing any more, even before somebody has freed them."""
    await put(a, 3)
    assert set((await a.claim()).values()) == {1}
    await b.nodes.end(a.life, WHY)
    assert await b.accounts.owned(a.life) == {}
    assert (await b.beat()).has_free
    assert set((await b.claim()).values()) == {2}
    assert not (await b.beat()).has_free
    assert await a.accounts.release(a.life, {"Account 1": 1}) == frozenset()
    assert len(await b.accounts.owned(b.life)) == 3


async def test_an_account_goes_back_to_the_host_from_which_it_was_connected(a: NodeUnderTest, b: NodeUnderTest) -> None:
    """A node takes those first, and learns where each was."""
    await put(a, 4)
    server = (await a.beat()).server
    [first] = await b.accounts.claim(b.life, server, {"*": 1})
    assert first.last_host is None
    rest = await a.claim()
    await b.accounts.release(b.life, {first.name: first.epoch})
    await a.accounts.release(a.life, rest)
    assert sorted(await a.claim(3)) == sorted(rest)
    [again] = await a.accounts.claim(a.life, server, {"*": 1})
    assert (again.name, again.last_host, again.epoch) == (first.name, "us-1", 2)


async def test_a_release_frees_what_is_its_own_in_this_ownership(a: NodeUnderTest, b: NodeUnderTest) -> None:
    """Neither another's account, nor one that was claimed once more after it was given up."""
    await put(a, 2)
    [mine], [other] = await a.claim(1), await b.claim(1)
    assert await a.accounts.release(a.life, {mine: 1, other: 1}) == {mine}
    assert await b.accounts.owned(b.life) == {other: 1}
    assert await a.claim() == {mine: 2}
    assert await a.accounts.release(a.life, {mine: 1}) == frozenset()
    assert await a.accounts.owned(a.life) == {mine: 2}


async def test_a_moved_account_goes_to_the_node_that_was_named(a: NodeUnderTest, b: NodeUnderTest) -> None:
    """Its owner learns it from the beat, and once it is free nobody but the named node can claim it."""
    await put(a, 2)
    await a.claim()
    await b.accounts.move("Account 1", "b")
    assert (await a.beat()).has_moves
    assert await a.accounts.moving(a.life) == ("Account 1",)
    assert await b.accounts.awaited(b.life) == {}
    await a.accounts.release(a.life, {"Account 1": 1})
    assert await b.accounts.awaited(b.life) == {"*": 1}
    assert await a.accounts.awaited(a.life) == {}
    assert await a.claim() == {}
    assert await b.claim(1) == {"Account 1": 2}
    assert not (await b.beat()).has_moves


async def test_an_account_whose_named_node_is_gone_goes_to_anybody(a: NodeUnderTest, b: NodeUnderTest) -> None:
    """It does not wait for a node that may never come back, and its owner keeps it."""
    await put(a, 2)
    await a.claim(1)
    for account in ("Account 0", "Account 1"):
        await a.accounts.move(account, "b")
    await a.nodes.end(b.life, WHY)
    assert await a.accounts.moving(a.life) == ()
    assert len(await a.claim()) == 1


async def test_a_move_that_cannot_be_is_refused_in_a_sentence(
    fleet: NodesUnderTest, a: NodeUnderTest, b: NodeUnderTest
) -> None:
    """Each names what stands against it; a move to the node where it is changes nothing."""
    await put(a, 1, "eu-*")
    await a.claim(hosts="eu-*")
    for account, to, words in (
        ("nobody", "b", "no account is called nobody"),
        ("Account 0", "c", "c"),
        ("Account 0", "b", r"Account 0 may be on hosts eu-\* alone, and b is on us-1; name another node, or change"),
    ):
        with pytest.raises(fleet.refused, match=words):
            await a.accounts.move(account, to)
    await a.accounts.move("Account 0", "a")
    assert not (await a.beat()).has_moves


async def test_a_node_that_cannot_have_an_account_is_refused_one(fleet: NodesUnderTest, a: NodeUnderTest) -> None:
    """Otherwise it would be given away, and nobody would have it."""
    await put(a, 2)
    await a.claim()
    async with fleet.node("full", accounts_at_most=1) as full, fleet.node("dead") as dead, fleet.node("empty") as empty:
        await a.accounts.move("Account 1", "full")
        await dead.nodes.end(dead.life, WHY)
        await empty.nodes.drain("empty")
        for to, words in (
            ("full", "node full is full: it has 1 of at most 1 accounts"),
            ("dead", "node dead is dead; start it, or name another one"),
            ("empty", "node empty is draining; name another one, or let it take accounts again with 'node resume'"),
        ):
            with pytest.raises(fleet.refused, match=words):
                await a.accounts.move("Account 0", to)
        assert (await full.accounts.awaited(full.life)) == {}


async def test_a_drain_is_taken_back(a: NodeUnderTest, b: NodeUnderTest) -> None:
    """Whoever asks learns whether the node lives, and whether there is one."""
    assert await b.nodes.drain("a") is True
    assert (await a.beat()).draining
    assert await b.nodes.resume("a") is True
    assert not (await a.beat()).draining
    assert await a.nodes.end(a.life, WHY)
    assert await b.nodes.drain("a") is False
    assert await b.nodes.drain("nobody") is None


async def test_accounts_are_set(a: NodeUnderTest) -> None:
    """A pattern that is changed counts from the next claim."""
    await put(a, 1)
    await a.claim(1)
    await a.accounts.set_accounts({"Account 2": "us-*"})
    assert await a.claim() == {}
    assert await a.claim(hosts="us-*") == {}
    assert [(each[0], each[1]) for each in counts(await a.accounts.groups())] == [("*", 1), ("us-*", 1)]
    assert await a.accounts.listed() == {"Account 0": "*", "Account 2": "us-*"}


async def test_a_node_says_what_it_is_to_all(fleet: NodesUnderTest, a: NodeUnderTest) -> None:
    """The list of living nodes has all that the commands show."""
    async with fleet.node("z", accounts_at_most=5, details={"version": "1.0"}) as z:
        await put(a, 2)
        await z.claim(2)
        await z.nodes.drain("z")
        one, two = await a.nodes.living()
    assert (one.name, one.host, one.accounts, one.draining, one.accounts_at_most) == ("a", "eu-1", 0, False, None)
    assert (two.name, two.accounts, two.draining, two.accounts_at_most, two.lease) == ("z", 2, True, 5, 15.0)
    assert two.details == {"version": "1.0"}
