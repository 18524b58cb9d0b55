"""The accounts sections of nodes whose configs change one after the other, in the rows of a real server."""

import random

import pytest

from adapters.postgres.accounts import AccountRows
from adapters.postgres.connect import StoreConnection
from adapters.postgres.errors import Fenced
from adapters.postgres.nodes import NodeRows
from adapters.postgres.sections import apply_section, present_generation
from adapters.stores.nodes import NodeEntry
from tests.postgres.support import connected

A, B = 1, 2


async def begin(connection: StoreConnection, life: int, generation: int = 0) -> None:
    entry = NodeEntry(name=f"node {life}", host="eu-1", lease=15.0, generation=generation)
    await NodeRows(connection).begin(life, entry)


async def claim(connection: StoreConnection, life: int) -> set[str]:
    """Have a life take all that it may, and return what it has got."""
    answer = await NodeRows(connection).beat(life)
    assert answer is not None
    got = await AccountRows(connection).claim(life, answer.server, {"*": 100})
    assert answer.has_free == bool(got)
    return {each.name for each in got}


async def give_up(connection: StoreConnection, life: int) -> set[str]:
    """Have a life give up what it is to."""
    rows = AccountRows(connection)
    names, owned = await rows.moving(life), await rows.owned(life)
    return set(await rows.release(life, {name: owned[name] for name in names}))


def section(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "*")


async def test_an_added_account_waits_until_all_living_nodes_know_it(store_url: str) -> None:
    """A node whose config lacks it would be given it, and nobody would run it."""
    async with connected(store_url) as connection:
        await begin(connection, A)
        await begin(connection, B)
        applied = await apply_section(connection, section("x"), life=A, details={})
        assert applied.older == ("node 2",)
        assert await claim(connection, A) == await claim(connection, B) == set()
        assert (await AccountRows(connection).groups()) == ()
        assert (await apply_section(connection, section("x"), life=B, details={})).older == ()
        assert await claim(connection, B) == {"x"}


async def test_a_node_that_is_dead_is_not_waited_for(store_url: str) -> None:
    """Its next start needs the accounts of the others."""
    async with connected(store_url) as connection:
        await begin(connection, A)
        await begin(connection, B)
        await apply_section(connection, section("x"), life=A, details={})
        await NodeRows(connection).end(B, "it was stopped")
        assert await claim(connection, A) == {"x"}


async def test_a_removed_account_is_given_up_by_whoever_has_it(store_url: str) -> None:
    """Also by a node whose config has it still; and it comes back when a config has it again."""
    async with connected(store_url) as connection:
        await begin(connection, A)
        await begin(connection, B)
        await apply_section(connection, section("x", "y"), life=A, details={})
        await apply_section(connection, section("x", "y"), life=B, details={})
        assert await claim(connection, B) == {"x", "y"}
        await apply_section(connection, section("y"), life=A, details={"config": 2})
        answer = await NodeRows(connection).beat(B)
        assert answer is not None
        assert answer.has_moves
        assert await give_up(connection, B) == {"x"}
        assert await claim(connection, A) == await claim(connection, B) == set()
        assert (await apply_section(connection, section("x", "y"), life=B, details={})).older == ("node 1",)
        assert await claim(connection, B) == set()
        await apply_section(connection, section("x", "y"), life=A, details={})
        assert await claim(connection, A) == {"x"}


async def test_a_section_that_has_not_changed_takes_nothing_back(store_url: str) -> None:
    """A person may reload a node before it has the file that another one has applied."""
    async with connected(store_url) as connection:
        await begin(connection, A)
        await begin(connection, B)
        await apply_section(connection, section("x"), life=A, details={})
        assert (await apply_section(connection, section("y"), life=B, details={}, changed=False)).differs
        assert await AccountRows(connection).listed() == section("x")
        assert await claim(connection, A) == await claim(connection, B) == set()
        assert not (await apply_section(connection, section("x"), life=B, details={}, changed=False)).differs
        assert await claim(connection, A) == {"x"}


async def test_a_life_that_is_over_applies_nothing(store_url: str) -> None:
    """The reload is refused as a whole."""
    async with connected(store_url) as connection:
        await begin(connection, A)
        await NodeRows(connection).end(A, "it was stopped")
        with pytest.raises(Fenced, match="has no lease now"):
            await apply_section(connection, section("x"), life=A, details={})
        assert await AccountRows(connection).listed() == {}
        assert await present_generation(connection) == 0


@pytest.mark.parametrize("seed", range(4))
async def test_random_reloads_give_no_account_to_a_node_that_lacks_it(store_url: str, seed: int) -> None:
    """What was removed runs nowhere; when all have the last section, each of its accounts is owned once."""
    rng, names = random.Random(seed), [f"account {number}" for number in range(8)]
    async with connected(store_url) as connection:
        configs: dict[int, dict[str, str]] = {}
        last: dict[str, str] = {}
        lives = iter(range(1, 1000))
        for _ in range(60):
            doing = rng.choice(("start", "reload", "stop", "claim", "claim"))
            life = rng.choice(sorted(configs)) if configs else 0
            if doing == "start" and len(configs) < 4:  # with the accounts of the store, as ``prepare`` has it
                life = next(lives)
                configs[life] = last
                await begin(connection, life, await present_generation(connection))
            elif doing == "reload" and life:
                last = configs[life] = section(*rng.sample(names, rng.randint(1, 8)))
                await apply_section(connection, last, life=life, details={})
            elif doing == "stop" and life:
                del configs[life]
                await NodeRows(connection).end(life, "it was stopped")
                await AccountRows(connection).free_accounts_of_the_dead()
            elif doing == "claim" and life:
                await give_up(connection, life)
                assert await claim(connection, life) <= configs[life].keys() & last.keys()
        if not configs:
            return
        for life in configs:
            await apply_section(connection, last, life=life, details={})
            await give_up(connection, life)
        for life in configs:
            await claim(connection, life)
        owned = [name for life in configs for name in await AccountRows(connection).owned(life)]
        assert sorted(owned) == sorted(last)
