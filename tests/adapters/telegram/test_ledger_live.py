"""What an account has handled over a real link is in the ledger before its session file says that it was seen."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from telethon import events

from adapters.sandbox import Sandbox
from adapters.sqlite import JournalWriter
from adapters.telegram import TelegramConnector
from adapters.telegram.account_ledger import AccountLedger
from tests.adapters.sqlite.support import TIMEOUTS
from tests.adapters.telegram.harness import PHONE, DatacenterHarness, caught_up
from tests.adapters.telegram.test_inbox import delivering, linked, listening, until
from tests.timeouts import TIMEOUT

USER = int(PHONE.removeprefix("+"))


@asynccontextmanager
async def recorded(connector: TelegramConnector, path: Path, *, runs: bool = True) -> AsyncIterator[None]:
    """Have a connector's ledger in a real file; unless it ``runs``, nothing gets there."""
    journal = await JournalWriter.open(path, on_trouble=lambda *_: None, timeouts=TIMEOUTS)
    ledger = journal.make_ledger()
    connector.inbox.use_ledger(AccountLedger(ledger, connector.name))
    try:
        async with anyio.create_task_group() as tasks:
            if runs:
                tasks.start_soon(ledger.run)
            yield
            tasks.cancel_scope.cancel()
    finally:
        await journal.aclose(TIMEOUT)


def rows_of(path: Path, box: int = 0) -> list[tuple[int, int]]:
    """Return the intervals of a box in the file."""
    with closing(sqlite3.connect(path)) as db:
        query = "SELECT after, upto FROM ledger WHERE user = ? AND box = ? ORDER BY after"
        return db.execute(query, (USER, box)).fetchall()


def holes_of(path: Path) -> list[tuple[int, str, int, int]]:
    """Return the holes in the file."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT box, cause, after, upto FROM ledger_holes ORDER BY after").fetchall()


async def rows_up_to(path: Path, number: int, box: int = 0) -> list[tuple[int, int]]:
    """Return the intervals of a box as soon as they end here."""
    with anyio.fail_after(TIMEOUT):
        while not (rows := rows_of(path, box)) or rows[-1][1] < number:
            await anyio.sleep(0.02)
    return rows


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where the ledger is."""
    return tmp_path / "engine.db"


async def test_live_and_missed_messages_are_one_chain(harness: DatacenterHarness, file: Path) -> None:
    """What came live, what was fetched after an outage, and what came to another process has no gap between."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with recorded(account, file), delivering(account):
            async with linked(account):
                await dc.push(PHONE, "one")
                await until(heard, 1)
            await dc.push(PHONE, "missed")
            async with linked(account, 2):
                await until(heard, 2)
                await rows_up_to(file, 3)
            await account.settle()
        again = harness.reopened(account)
        heard = listening(again)
        async with recorded(again, file), delivering(again), linked(again):
            await dc.push(PHONE, "three")
            await until(heard, 1)
            assert (await rows_up_to(file, 4))[0] == (1, 3)
        assert rows_of(file) in ([(1, 3), (3, 4)], [(1, 4)])


async def test_the_session_waits_for_the_ledger(harness: DatacenterHarness, file: Path) -> None:
    """A handled update of which the ledger does not durably say so counts as unseen: a crash repeats it."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with recorded(account, file, runs=False), delivering(account), linked(account) as link:
            await caught_up(link)
            await dc.push(PHONE, "one")
            await until(heard, 1)
            assert not await link.client.save()
            assert account.memory.session is not None
            assert account.memory.handled_states(account.inbox).get(0) is None
            assert rows_of(file) == []
            assert account.inbox.ledger is not None
            await account.inbox.ledger.flush()
            assert rows_of(file) == [(1, 2)]
            assert await link.client.save()
            assert account.memory.handled_states(account.inbox)[0].pts == 2


async def test_what_this_client_sends_is_in_the_chain(harness: DatacenterHarness, file: Path) -> None:
    """Messages of its own and deletions take numbers, too, and no handler is waited for."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with recorded(account, file), delivering(account), linked(account) as link:
            sent = await link.client.send_message("me", "mine")
            await link.client.delete_messages("me", [sent.id])
            await dc.push(PHONE, "theirs")
            await until(heard, 1)
            rows = await rows_up_to(file, dc.messages(PHONE)[-1].pts)
    assert len(rows) == 1


async def test_a_channel_is_a_box_of_its_own(harness: DatacenterHarness, file: Path) -> None:
    """Its posts are numbered apart; those that came while away are fetched, and close the chain."""
    async with harness as dc:
        channel = await dc.create_channel("news", "News", members=[PHONE])
        account = harness.connector()
        heard = listening(account)
        async with recorded(account, file), delivering(account):
            async with linked(account) as link:
                await caught_up(link)
                await dc.post("news", "one")
                await until(heard, 1)
            await dc.post("news", "two")
            await dc.post("news", "three")
            async with linked(account, 2):
                await until(heard, 3)
                assert await rows_up_to(file, 4, channel) == [(1, 4)]


async def test_without_a_handler_nothing_is_proven(harness: DatacenterHarness, file: Path) -> None:
    """What arrives while the program listens to nothing is a hole that says so."""
    async with harness as dc:
        account = harness.connector()
        async with recorded(account, file), delivering(account), linked(account) as link:
            await caught_up(link)
            await dc.push(PHONE, "one")
            with anyio.fail_after(TIMEOUT):
                while (0, "no_handler", 1, 2) not in holes_of(file):
                    await anyio.sleep(0.02)
        assert rows_of(file) == []


async def test_a_difference_that_is_too_long_is_a_hole(tmp_path: Path, file: Path) -> None:
    """Telegram does not send what was missed; the ledger names the numbers, and goes on behind them."""
    harness = DatacenterHarness(tmp_path, Sandbox(max_missed=3))
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with recorded(account, file), delivering(account):
            async with linked(account):
                await dc.push(PHONE, "first")
                await until(heard, 1)
            for number in range(5):
                await dc.push(PHONE, str(number))
            async with linked(account, 2) as link:
                await caught_up(link)
                await dc.push(PHONE, "last")
                await until(heard, 2)
                assert await rows_up_to(file, 8) == [(1, 2), (7, 8)]
        assert (0, "too_long", 2, 7) in holes_of(file)


@pytest.mark.parametrize("chat", ["private", "channel"])
async def test_changes_that_were_missed_reach_handlers(harness: DatacenterHarness, chat: str) -> None:
    """Edits and deletions of a difference are handled; Telethon takes them for handled and drops them."""
    async with harness as dc:
        where = PHONE
        if chat == "channel":
            where = "news"
            await dc.create_channel("news", "News", members=[PHONE])
        account, changes = harness.connector(), list[str]()

        async def note(event: Any) -> None:
            changes.append(type(event.original_update).__name__)

        account.on(note, events.MessageEdited())
        account.on(note, events.MessageDeleted())
        heard = listening(account)
        async with delivering(account):
            async with linked(account):
                send = dc.post if chat == "channel" else dc.push
                first, second = await send(where, "one"), await send(where, "two")
                await until(heard, 2)
            await dc.edit(where, first, "uno")
            await dc.delete(where, [second])
            async with linked(account, 2):
                await until(changes, 2)
    middle = "Channel" if chat == "channel" else ""
    assert sorted(changes) == [f"UpdateDelete{middle}Messages", f"UpdateEdit{middle}Message"]
