"""``prove``: what a real engine has handled, asked while it runs and after it has stopped; a dropped row is named."""

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import anyio
import anyio.to_thread
import pytest
from attrs import evolve
from telethon import events

from adapters.sandbox import Sandbox
from adapters.session.lookup import chat_named
from engine import Engine
from engine.config import load
from engine.console.ledger_lines import LedgerSummary, lines, summary_of
from states.completeness import Completeness, Hole
from states.ledger import HoleCause, Interval
from tests.engine.commands import Run, runs
from tests.engine.harness import FAST, EngineHarness
from tests.timeouts import TIMEOUT

PHONES = ("+9996620001", "+9996620002")
MARK = 10**12
MISSING = "nothing was noted: the engine did not run, or the session was used elsewhere"


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it is so."""
    with anyio.fail_after(TIMEOUT):
        while not holds():
            await anyio.sleep(0.02)


def listening(harness: EngineHarness) -> tuple[Engine, list[str]]:
    """Return an engine that does not run yet, and the texts that its accounts hear."""
    engine, heard = Engine.from_config(harness.config), list[str]()

    @engine.on(events.NewMessage())
    async def note(event: Any) -> None:
        heard.append(event.raw_text)

    return engine, heard


def rows_in(harness: EngineHarness, box: int) -> list[tuple[int, int]]:
    """Return the intervals of a box."""
    with closing(sqlite3.connect(harness.directory / "data" / "engine.db")) as db:
        return db.execute("SELECT after, upto FROM ledger WHERE box = ? ORDER BY after", (box,)).fetchall()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs ``prove`` with JSON."""
    return runs("prove", str(harness.config), capsys=capsys, within=harness.directory, monkeypatch=monkeypatch)


async def post_and_hear(dc: Sandbox, heard: list[str], *texts: str) -> None:
    """Post to the channel, and wait until all was handled."""
    before = len(heard)
    for text in texts:
        await dc.post("news", text)
    await until(lambda: len(heard) >= before + len(texts))


async def test_a_channel_is_complete_until_a_row_is_dropped(
    harness: EngineHarness, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Running and stopped it is complete; then exactly the interval that was taken out is named, and can be read."""
    async with Sandbox() as dc:
        channel = await dc.create_channel("news", "News", members=[PHONES[0]])
        harness.at(dc, PHONES[0], rest=FAST)
        chat = str(-MARK - channel)
        engine, heard = listening(harness)
        async with engine:
            await engine.account("Account 1").ready()
            await post_and_hear(dc, heard, "one", "two")
            await until(lambda: rows_in(harness, channel)[-1:] == [(1, 3)])
            session = load(harness.config).accounts[0].session
            await until(lambda: chat_named(session, "@news") is not None)  # the file is written a moment later
            code, out, err = await anyio.to_thread.run_sync(run, "--chat", "@news", "--json")
            assert (code, err) == (0, ""), out
            told = json.loads(out)
            assert (told["chat"], told["accounts"], told["complete"], told["holes"]) == (
                -MARK - channel, ["Account 1"], True, [],
            )  # fmt: skip
        await dc.post("news", "while nobody ran")
        engine, heard = listening(harness)
        async with engine:
            await engine.account("Account 1").ready()
            await until(lambda: bool(heard))
            await post_and_hear(dc, heard, "five")
        assert run("--chat", chat)[0] == 0
        with closing(sqlite3.connect(harness.directory / "data" / "engine.db")) as db:
            db.execute("DELETE FROM ledger WHERE box = ?", (channel,))
            insert = "INSERT INTO ledger VALUES (?, ?, 'x', ?, ?, ?, ?, ?, ?)"
            user = int(PHONES[0].removeprefix("+"))
            db.execute(insert, (user, channel, 1, 2, 1e9, 2e9, 1, 1))
            db.execute(insert, (user, channel, 4, 5, 3e9, 4e9, 4, 4))
            db.commit()
        code, out, err = run("--chat", "@news")
        assert (code, err) == (1, "")
        first, missing, how, whole = out.splitlines()
        assert first == f"@news ({chat}), as seen by Account 1:"
        assert f", pts 3 to 4, messages 2 to 3: {MISSING}" in missing
        status = runs("status", str(harness.config), capsys=capsys, within=harness.directory, monkeypatch=monkeypatch)
        command = f"python -m engine prove {harness.config} --chat {chat}"
        assert f"Missed in the last 7 days: 1 hole\n  channel {chat}: 1; see: {command}" in status()[1]
        (told,) = json.loads(status("--json")[1])["holes"]
        assert told == {"chat": int(chat), "account": None, "holes": 1, "command": command}
        with closing(sqlite3.connect(harness.directory / "data" / "engine.db")) as db:
            long_ago = time.time() - 8 * 86400
            db.execute("UPDATE ledger SET since = ?, until = ? WHERE after = 4", (long_ago, long_ago))
            db.commit()
        assert "Missed" not in status()[1]
        assert how == f"    read them: python -m engine jobs add {harness.config} collect chat={chat} since=2"
        assert whole.startswith("  complete but for that from ")


async def test_a_hole_is_filled_by_who_reads_the_history(harness: EngineHarness, run: Run) -> None:
    """``collect`` from the first missing message on, as ``prove`` says; what was filled says by what."""
    async with Sandbox() as dc:
        channel = await dc.create_channel("news", "News", members=[PHONES[0]])
        harness.at(dc, PHONES[0], rest=FAST)
        await dc.post("news", "before")
        engine, heard = listening(harness)
        async with engine:
            await engine.account("Account 1").ready()
            await post_and_hear(dc, heard, "one")
            await until(lambda: bool(rows_in(harness, channel)))
            assert (await anyio.to_thread.run_sync(run, "--chat", str(-MARK - channel), "--since", "7d"))[0] == 1
            job = await engine.add_job("collect", {"chat": -MARK - channel})
            assert (await engine.finished(job)).state == "done"
            code, out, _ = await anyio.to_thread.run_sync(run, "--chat", str(-MARK - channel), "--since", "7d")
    assert code == 0
    assert f"its messages were read later by job {job}" in out


async def test_private_chats_share_the_account_s_count(harness: EngineHarness, run: Run) -> None:
    """Each account has its own, so one must be named where there are several; a name that nobody met is refused."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES, rest=FAST)
        engine, heard = listening(harness)
        async with engine:
            for name in ("Account 1", "Account 2"):
                await engine.account(name).ready()
            await dc.push(PHONES[1], "hello")
            await until(lambda: heard == ["hello"])
    code, out, err = run("--chat", "777000", "--account", "Account 2", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["accounts"] == ["Account 2"]
    code, _, err = run("--chat", "4444")
    assert code == 2
    assert "say whose with --account (Account 1, Account 2" in err
    assert run("--chat", "@nobody")[0] == run("--chat", "x")[0] == run("--chat", "7", "--account", "X")[0] == 2


def test_status_counts_holes_and_says_since_when_nothing_is_missing() -> None:
    """Of an account with several boxes the latest counts; what no handler was there for is no hole of status."""
    whole = Completeness(since=10.0, until=90.0)
    late = Completeness(since=20.0, until=90.0)
    hole = Hole(interval=Interval(4, 9), cause=HoleCause.TOO_LONG, since=20.0, until=50.0)
    left = Hole(interval=None, cause=HoleCause.NOT_SUBSCRIBED, since=20.0, until=None)
    unheard = Hole(interval=Interval(9, 12), cause=HoleCause.NO_HANDLER, since=20.0, until=30.0)
    assert summary_of([whole, late, Completeness(since=None, until=None)]) == LedgerSummary(2, 0, 20.0)
    assert summary_of([whole, evolve(late, holes=(hole, unheard))]) == LedgerSummary(2, 1, 50.0)
    assert summary_of([whole, evolve(late, holes=(left,))]) == LedgerSummary(2, 1, None)
    text = list(
        lines(
            {"News": LedgerSummary(2, 1, None), "Shop": LedgerSummary(1, 0, 0.0), "New": LedgerSummary(0, 0, None)}, 1.0
        )
    )
    assert text[2] == "  News: 2 counts of updates, 1 hole"
    assert text[3].startswith("  Shop: 1 count of updates, no holes, nothing missing since ")
    assert len(text) == 4
