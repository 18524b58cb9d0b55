"""What is kept for programs: nothing is missed because it resembles something else, or because an engine restarts."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from telethon.tl import types

from adapters.session.errors import SessionError
from adapters.telegram.remote_updates import decode_update, encode_update, is_numbered, mark_of
from engine.app.remote import RemoteParts
from engine.config.remote import RemoteProgram, RemoteSection
from engine.remote.feeds import Feed, Feeds
from engine.remote.programs import Programs
from tests.adapters.sqlite.support import a_journal

ACCOUNT = "Account 1"
BLOCKED = types.UpdatePeerBlocked(types.PeerUser(7), blocked=True)
UNBLOCKED = types.UpdatePeerBlocked(types.PeerUser(7))
MESSAGE = types.UpdateNewMessage(types.Message(5, types.PeerUser(7), date=None, message="x"), 3, 1)
SECTION = RemoteSection(programs={"one": RemoteProgram(accounts=("*",), updates=True)}, keep_for=100.0)


class Nobody:
    """A client that knows nobody."""

    session = SimpleNamespace()


@asynccontextmanager
async def feeds(path: Path, now: float = 1000.0) -> AsyncIterator[Feeds]:
    """Yield what an engine on this file keeps for programs."""
    async with a_journal(path) as journal:
        found = Feeds(
            journal.remote, Programs(lambda: SECTION), lambda: SECTION, lambda: [ACCOUNT], now=lambda: clock.time
        )
        clock.time = now
        await found.load()
        yield found


clock = SimpleNamespace(time=1000.0)


async def add(to: Feeds, *updates: Any) -> Feed:
    """Store updates as they come; return their feed."""
    for update in updates:

        async def encode(update: Any = update) -> bytes:
            return await encode_update(update, Nobody)

        await to.add(ACCOUNT, mark_of(update), encode, numbered=is_numbered(update))
    return to.feeds[ACCOUNT]


async def test_a_change_that_is_made_again_is_another_update(tmp_path: Path) -> None:
    """Somebody is blocked, let in and blocked again: three updates, of which two are equal. A message is one."""
    async with feeds(tmp_path / "engine.db") as kept:
        await kept.subscribe(ACCOUNT, "one")
        feed = await add(kept, BLOCKED, UNBLOCKED, BLOCKED, MESSAGE, MESSAGE)
        stored = [decode_update(body)[0] for _, body in await kept.store.after(ACCOUNT, 0, 10)]
        assert list(map(bytes, stored)) == list(map(bytes, (BLOCKED, UNBLOCKED, BLOCKED, MESSAGE)))
        assert feed.last == 4


async def test_what_came_last_before_a_crash_may_come_once_more(tmp_path: Path) -> None:
    """It is known again once, and what is older not at all: after a minute it is another change."""
    async with feeds(tmp_path / "engine.db") as kept:
        await kept.subscribe(ACCOUNT, "one")
        await add(kept, UNBLOCKED)
        clock.time += 90
        await add(kept, BLOCKED, MESSAGE)
    async with feeds(tmp_path / "engine.db") as kept:
        assert (await add(kept, BLOCKED, MESSAGE)).last == 3
        assert (await add(kept, BLOCKED)).last == 4
        assert (await add(kept, UNBLOCKED)).last == 5


async def test_numbers_go_on_when_all_has_fallen_out(tmp_path: Path) -> None:
    """The next engine gives no number twice, so a program that was away sees how many updates it missed."""
    async with feeds(tmp_path / "engine.db") as kept:
        _, cursor = await kept.subscribe(ACCOUNT, "one")
        feed = await add(kept, BLOCKED, UNBLOCKED, BLOCKED)
        clock.time += SECTION.keep_for + 1
        await kept.prune(feed)
        assert cursor.told == 2
    async with feeds(tmp_path / "engine.db", now=2000.0) as kept:
        feed = await add(kept, UNBLOCKED)
        assert [number for number, _ in await kept.store.after(ACCOUNT, 0, 10)] == [3, 4]
        assert feed.cursors["one"].acknowledged == 0


async def test_a_cursor_that_could_not_be_stored_is_stored_by_the_next_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program is told that its updates are kept only when that is in the file."""
    async with feeds(tmp_path / "engine.db") as kept:
        begin = type(kept.store).begin

        async def fail(*_: Any) -> None:
            raise OSError

        monkeypatch.setattr(type(kept.store), "begin", fail)
        with pytest.raises(OSError):  # noqa: PT011  # the test's own
            await kept.subscribe(ACCOUNT, "one")
        monkeypatch.setattr(type(kept.store), "begin", begin)
        await kept.subscribe(ACCOUNT, "one")
    async with feeds(tmp_path / "engine.db") as kept:
        assert kept.wants(ACCOUNT)


async def test_an_update_is_kept_though_the_session_file_cannot_be_read() -> None:
    """Who it is about is addressed by nobody then, and it is not lost."""

    class Locked:
        class session:
            @staticmethod
            def get_input_entity(peer: int) -> object:
                raise SessionError("it is locked")

    assert bytes(decode_update(await encode_update(BLOCKED, Locked))[0]) == bytes(BLOCKED)


async def test_an_update_that_is_handed_over_again_is_stored_once(tmp_path: Path) -> None:
    """Another handler of the same update was cancelled: that is no other update."""
    update = types.UpdatePeerBlocked(types.PeerUser(7), blocked=True)
    update._client = Nobody
    async with feeds(tmp_path / "engine.db") as kept:
        await kept.subscribe(ACCOUNT, "one")
        parts: Any = SimpleNamespace(feeds=kept)
        for _ in range(2):
            await RemoteParts._keep(parts, ACCOUNT, update)
        assert kept.feeds[ACCOUNT].last == 1


async def test_an_update_that_was_cancelled_on_its_way_into_the_file_is_stored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be in the file already, and comes again."""
    async with feeds(tmp_path / "engine.db") as kept:
        await kept.subscribe(ACCOUNT, "one")
        flush = type(kept.store).flush
        monkeypatch.setattr(type(kept.store), "flush", lambda _: anyio.sleep_forever())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(add, kept, BLOCKED)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        monkeypatch.setattr(type(kept.store), "flush", flush)
        assert (await add(kept, BLOCKED)).last == 1


async def test_whoever_has_updates_by_a_former_name_looks_again(tmp_path: Path) -> None:
    """So the cursor is free at once for the program that asks by the new name."""
    async with feeds(tmp_path / "engine.db") as kept:
        feed, _ = await kept.subscribe(ACCOUNT, "one")
        changed = feed.changed.upcoming
        kept.rename({ACCOUNT: "Other"})
        assert changed.is_set()
        assert kept.feeds == {"Other": feed}


async def test_no_update_is_old_because_the_clock_was_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that starts in 1970 and hears the time later drops nothing that has just come."""
    real, ahead = time.time, 0
    monkeypatch.setattr(time, "time", lambda: real() + ahead)
    async with a_journal(tmp_path / "engine.db") as journal:
        accounts: Any = SimpleNamespace(names=[ACCOUNT], connectors={})
        config: Any = SimpleNamespace(remote=SECTION)
        parts = RemoteParts(lambda: config, accounts, journal.remote, SimpleNamespace())  # type: ignore[arg-type]
        await parts.begin()
        await parts.feeds.subscribe(ACCOUNT, "one")
        feed = await add(parts.feeds, BLOCKED, UNBLOCKED)
        ahead = 10 * 365 * 86_400
        await parts.feeds.prune(feed)
        assert [number for number, _ in await parts.feeds.store.after(ACCOUNT, 0, 10)] == [1, 2]
