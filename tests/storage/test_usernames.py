"""Usernames in each store: a cache that the next engine begins with, and budgets that go where the account goes."""

import pytest
from telethon.tl.functions.contacts import ResolveUsernameRequest

from adapters.sqlite.usernames import StoredName
from adapters.telegram.username_budget import DAY
from adapters.telegram.usernames import LookupsUsedUp, Usernames
from tests.storage.part_stores import Parts, PartsUnderTest

REQUEST = ResolveUsernameRequest("somebody")


async def names_in(node: Parts) -> list[StoredName]:
    """Return the names that an engine would begin with."""
    await node.flush()
    return list((await node.usernames.load()).names)


async def test_names_are_what_was_put_last(parts: PartsUnderTest) -> None:
    """Those that were used last at the end; one that was forgotten is gone, and one that moved is the new peer's."""
    moved = StoredName("moved", -100_123, "", 4.0)
    nobody = StoredName("nobody", None, "USERNAME_NOT_OCCUPIED", 2.0)
    async with parts.node() as node:
        for name in (StoredName("moved", 7, "", 1.0), nobody, StoredName("gone", 8, "", 3.0), moved):
            node.usernames.put(name)
        node.usernames.forget("gone")
        node.usernames.forget("never there")
        assert await names_in(node) == [nobody, moved]
    async with parts.node("two") as node:
        assert await names_in(node) == [nobody, moved]


async def test_budgets_are_those_of_the_account(parts: PartsUnderTest) -> None:
    """Each has its own times, to a thousandth of a second, and they are there for whoever runs it next."""
    async with parts.node() as node:
        await node.usernames.put_lookups("A", [1.0])
        await node.usernames.put_lookups("A", [1.0, 2.25])
        await node.usernames.put_lookups("B", [3.00049])
        assert await node.usernames.lookups("A") == [1.0, 2.25]
    async with parts.node("two") as node:
        assert await node.usernames.lookups("A") == [1.0, 2.25]
        assert await node.usernames.lookups("B") == [3.0]
        assert await node.usernames.lookups("Account 1") == await node.usernames.lookups("never there") == []


@pytest.mark.parametrize(
    ("text", "found"), [('{"x": 1}', []), ("[" * 5000, []), ('[1e999, true, "x", 2.0]', [2.0]), ("", [])]
)
async def test_times_that_no_engine_wrote_are_left_out(parts: PartsUnderTest, text: str, found: list[float]) -> None:
    """What can be read counts."""
    async with parts.node() as node:
        await node.usernames.put_lookups("A", [1.0])
        parts.execute(f"UPDATE username_lookups SET times = '{text}'")
        assert await node.usernames.lookups("A") == found


def usernames(node: Parts, now: float = 1_700_000_000.0) -> Usernames:
    """Return the usernames of a process that has just begun; its clocks stand still."""
    return Usernames(per_day=3, keeper=node.usernames, now=lambda: now, clock=lambda: now - 1e6)


async def ask(found: Usernames, account: str, count: int) -> None:
    """Look names up, with an account that has just come."""
    mine = found.of(account)
    for _ in range(count):
        await mine._charge(REQUEST)


async def test_an_account_that_comes_from_elsewhere_goes_on_with_its_budget(parts: PartsUnderTest) -> None:
    """Also where it was before: what it asked for meanwhile is stored, and not in that memory."""
    async with parts.node("one") as node:
        first = usernames(node)
        first.begin(await node.usernames.load())
        await ask(first, "A", 1)
    async with parts.node("two") as node:
        second = usernames(node)  # it began before the account came
        await ask(second, "A", 1)
        await ask(second, "B", 1)
    async with parts.node("one") as node:
        first.keeper = node.usernames
        await ask(first, "A", 1)
        with pytest.raises(LookupsUsedUp):
            await ask(first, "A", 1)
        await ask(first, "B", 2)
        with pytest.raises(LookupsUsedUp):
            await ask(first, "B", 1)


async def test_a_day_later_an_account_may_ask_again(parts: PartsUnderTest) -> None:
    """Times are stored as those of the day, whatever the clock that measures them counts from."""
    async with parts.node("one") as node:
        await ask(usernames(node, now=1e9), "A", 3)
    async with parts.node("two") as node:
        with pytest.raises(LookupsUsedUp) as caught:
            await ask(usernames(node, now=1e9 + DAY - 60), "A", 1)
        assert 59 <= caught.value.seconds <= 61
        await ask(usernames(node, now=1e9 + DAY + 1), "A", 3)
