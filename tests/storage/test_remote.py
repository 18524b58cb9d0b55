"""Updates for other programs in each store: none is lost or numbered twice, whichever engine has the account."""

from adapters.sqlite.remote import StoredCursor, StoredFeed
from engine.config.remote import RemoteProgram, RemoteSection
from engine.remote.feeds import Feed, Feeds
from engine.remote.programs import Programs
from tests.storage.part_stores import Parts, PartsUnderTest

SECTION = RemoteSection(programs={"one": RemoteProgram(accounts=("*",), updates=True)}, keep_for=100.0)


def add(node: Parts, *numbers: int, account: str = "A", size: int = 10) -> None:
    """Queue updates of this size each."""
    for number in numbers:
        body = number.to_bytes(2, "big") + bytes(size - 2)
        place = (number - 1) * size
        assert node.remote.add(account, number, at=100.0 + number, place=place, mark=f"m{number}", body=body)


async def numbers(node: Parts, after: int = 0, limit: int = 100, account: str = "A") -> list[int]:
    """Return the numbers of the updates that are stored."""
    await node.remote.flush()
    return [number for number, _ in await node.remote.after(account, after, limit)]


async def test_updates_are_read_in_their_order(parts: PartsUnderTest) -> None:
    """With whatever bytes they have, so many at a time, each account's its own."""
    body = bytes(range(256)) * 40
    async with parts.node() as node:
        add(node, 1, 2, 3)
        add(node, 1, account="B")
        assert node.remote.add("A", 4, at=1.0, place=30, mark="m4", body=body)
        assert await numbers(node) == [1, 2, 3, 4]
        assert await numbers(node, after=1, limit=2) == [2, 3]
        assert await numbers(node, account="B") == [1]
        assert await numbers(node, account="never there") == []
        assert await node.remote.after("A", 3, 5) == [(4, body)]


async def test_an_update_that_is_stored_again_is_there_once(parts: PartsUnderTest) -> None:
    """The later one counts: its number was given to nothing else."""
    async with parts.node() as node:
        for body in (b"x", b"y"):
            assert node.remote.add("A", 1, at=1.0, place=0, mark="m", body=body)
        await node.remote.flush()
        assert await node.remote.after("A", 0, 5) == [(1, b"y")]


async def test_what_falls_out_is_found_by_age_and_by_place(parts: PartsUnderTest) -> None:
    """The first update that is neither too old nor too far back; None if all are."""
    async with parts.node() as node:
        add(node, 1, 2, 3)
        await node.remote.flush()
        assert await node.remote.first_kept("A", 0.0, 0) == 1
        assert await node.remote.first_kept("A", 102.0, 0) == 2
        assert await node.remote.first_kept("A", 0.0, 11) == 3
        assert await node.remote.first_kept("A", 104.0, 0) is None
        await node.remote.prune("A", 2)
        await node.remote.prune("B", 9)
        assert await numbers(node) == [3]


async def test_the_next_engine_goes_on_where_the_last_was(parts: PartsUnderTest) -> None:
    """Cursors, the first and the last number, the bytes so far and what updates are known again by."""
    async with parts.node("one") as node:
        add(node, 1, 2, 3, 4)
        await node.remote.prune("A", 1)
        await node.remote.begin("A", "one", "feed", 1, 50.0)
        assert node.remote.save("A", "one", "feed", 3, 60.0)
        await node.remote.begin("A", "two", "feed", 0, 50.0)
        await node.remote.begin("B", "one", "other", 0, 50.0)
        await node.remote.begin("B", "gone", "other", 0, 50.0)
        await node.remote.forget("B", "gone")
        await node.remote.forget("B", "never there")
        await node.remote.flush()
    async with parts.node("two") as node:
        cursors, feeds = await node.remote.load()
        assert cursors == [
            StoredCursor("A", "one", "feed", 3),
            StoredCursor("A", "two", "feed", 0),
            StoredCursor("B", "one", "other", 0),
        ]
        assert feeds == {"A": StoredFeed(2, 4, 40, (("m2", 102.0), ("m3", 103.0), ("m4", 104.0)))}
        assert await node.remote.load(["B", "never there"]) == (cursors[2:], {})
        assert await node.remote.load(["A"]) == (cursors[:2], feeds)
        assert await node.remote.load([]) == ([], {})


async def test_how_far_programs_are_behind(parts: PartsUnderTest) -> None:
    """``status`` says it: by the last number, whatever has fallen out."""
    async with parts.node() as node:
        add(node, 1, 2, 3)
        await node.remote.prune("A", 2)
        await node.remote.begin("A", "one", "feed", 1, 50.0)
        await node.remote.begin("B", "one", "other", 7, 60.0)
    assert [(each.account, each.program, each.acknowledged, each.at, each.behind) for each in parts.cursor_lines()] == [
        ("A", "one", 1, 50.0, 2),
        ("B", "one", 7, 60.0, 0),
    ]


# --- the feeds of an engine over it -----------------------------------------------------------------------------------


def feeds_of(node: Parts) -> Feeds:
    """Return what a process that has just begun keeps for programs."""
    return Feeds(node.remote, Programs(lambda: SECTION), lambda: SECTION, lambda: ["A", "B"], now=lambda: 1000.0)


async def keep(feeds: Feeds, *marks: str) -> Feed:
    """Store updates of account A."""
    for mark in marks:

        async def encode(mark: str = mark) -> bytes:
            return mark.encode()

        await feeds.add("A", mark, encode)
    return feeds.feeds["A"]


async def test_an_account_that_comes_back_goes_on_with_what_was_stored_elsewhere(parts: PartsUnderTest) -> None:
    """The same feed, the next number, each update once, and the cursor where the program was meanwhile."""
    async with parts.node("one") as node:
        first = feeds_of(node)
        await first.load()
        feed, _ = await first.subscribe("A", "one")
        await keep(first, "a", "b")  # and then its life ends, without a farewell
    async with parts.node("two") as node:
        second = feeds_of(node)
        await second.load(["A"])
        there, cursor = await second.subscribe("A", "one")
        assert (there.name, there.last) == (feed.name, 2)
        await keep(second, "b", "c")
        second.acknowledge(there, cursor, 2)
        await node.remote.flush()
        second.leave("A")
        assert not second.wants("A")
    async with parts.node("one") as node:
        first.store = node.remote
        await first.load(["A"])
        back, cursor = await first.subscribe("A", "one")
        assert (back.name, back.last, cursor.acknowledged) == (feed.name, 3, 2)
        await keep(first, "c", "d")
        assert await node.remote.after("A", 0, 9) == [(1, b"a"), (2, b"b"), (3, b"c"), (4, b"d")]
