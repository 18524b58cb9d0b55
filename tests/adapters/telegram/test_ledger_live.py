"""What an account has handled over a real link is in the ledger before its session file says that it was seen."""

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from telethon import events

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.sandbox.faults.kinds import WRONG_PTS_BY
from adapters.sqlite import JournalWriter
from adapters.telegram import TelegramConnector, account_ledger, update_proof
from adapters.telegram.account_ledger import AccountLedger
from adapters.telegram.boxes import Advance, MessageRange
from states.events import UpdatesConfirmed, UpdatesStalled
from states.ledger import Interval
from tests.adapters.sqlite.support import TIMEOUTS
from tests.adapters.telegram.harness import PHONE, DatacenterHarness, caught_up
from tests.adapters.telegram.test_inbox import delivering, linked, listening, until
from tests.adapters.telegram.test_update_proof import NEWS, ProvenLink, in_channels
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


def until_of(path: Path, box: int) -> float:
    """Return until when a box is proven."""
    with closing(sqlite3.connect(path)) as db:
        return float(db.execute("SELECT max(until) FROM ledger WHERE box = ?", (box,)).fetchone()[0])


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


@pytest.fixture
def quick_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every wait of a proof be short."""
    for name, seconds in {"GRACE": 0.05, "POLL": 0.05, "CHANNELS_EVERY": 0.0}.items():
        monkeypatch.setattr(update_proof, name, seconds)


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


@pytest.mark.usefixtures("quick_proofs")
async def test_a_quiet_box_is_proven_until_the_datacenter_said_that_nothing_is_missing(
    harness: DatacenterHarness, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers that are equal cover no event, and move the time until which nothing was missed; a stall moves none."""
    async with harness as dc:
        account = harness.connector()
        channel = await in_channels(dc, account)
        async with recorded(account, file), delivering(account), ProvenLink(account) as proven:
            before = time.time()
            await proven.prove()
            await rows_up_to(file, 1)
            assert await rows_up_to(file, 1, channel) == [(1, 1)]
            assert before <= until_of(file, channel) <= time.time()
            await dc.inject(Fault(FaultKind.LOST_UPDATE, channel=NEWS))
            await dc.post(NEWS, "lost")
            known = until_of(file, channel)
            monkeypatch.setattr(account_ledger, "RENEWED_AFTER", 0.0)
            await proven.prove()
            await proven.hear(UpdatesStalled)
            assert account.inbox.ledger is not None
            await account.inbox.ledger.flush()
            assert until_of(file, channel) == known
            assert until_of(file, 0) > known


@pytest.mark.usefixtures("quick_proofs")
async def test_a_number_that_was_too_high_is_claimed_no_more(harness: DatacenterHarness, file: Path) -> None:
    """The wrong number of a pushed update was claimed as handled; from where the box is set back all begins anew."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with recorded(account, file), delivering(account), ProvenLink(account) as proven:
            channel = await dc.create_channel(NEWS, NEWS, members=[PHONE])
            await dc.inject(Fault(FaultKind.WRONG_PTS, times=1))
            await dc.post(NEWS, "with a wrong number")
            await until(heard, 1)
            await rows_up_to(file, WRONG_PTS_BY, channel)
            await dc.post(NEWS, "ignored")
            await proven.prove()
            await proven.hear(UpdatesStalled)
            proven.link.fetch_updates(TIMEOUT)
            await proven.hear(UpdatesConfirmed)
            await dc.post(NEWS, "heard")
            await until(heard, 2)
            with anyio.fail_after(TIMEOUT):
                while rows_of(file, channel) != [(3, 4)]:
                    await anyio.sleep(0.02)
            assert holes_of(file) == [(channel, "renumbered", 3, 3)]


async def test_what_was_proven_below_the_number_stays(file: Path) -> None:
    """A row that goes beyond it ends there; when, and with which message, is not known any more."""
    journal = await JournalWriter.open(file, on_trouble=lambda *_: None, timeouts=TIMEOUTS)
    try:
        store = journal.make_ledger()
        ledger = AccountLedger(store, "a", clock=lambda: 1000.0)
        ledger.begin(7, "login")
        for number, after, upto in ((1, 0, 40), (2, 60, 70), (3, 70, 10)):
            ledger.add(number, [Advance(0, Interval(after, upto), MessageRange(1, 9, 50.0, 60.0))])
            ledger.handled(number)
            await ledger.flush()
    finally:
        await journal.aclose(TIMEOUT)
    with closing(sqlite3.connect(file)) as db:
        found = db.execute("SELECT after, upto, since, until, first_id, last_id FROM ledger").fetchall()
    assert found == [(0, 10, 50.0, 50.0, 1, None)]
