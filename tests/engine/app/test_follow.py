"""``follow`` in a running engine: history, then live, edits and deletions, without a seam and each once."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import anyio
import pytest

from adapters.sandbox import Fault, FaultKind, Sandbox
from engine import Engine
from states.jobs import JobState
from tests.engine.harness import FAST, EngineHarness
from tests.timeouts import TIMEOUT

PHONES = ("+9996620001", "+9996620002")
QUICK = FAST + "work: {retry: {first: 50ms, cap: 100ms, tries: 3}}\n"


def stored(harness: EngineHarness, columns: str = "id, text") -> list[Any]:
    """Return the stored messages that are not deleted."""
    with closing(sqlite3.connect(harness.directory / "data" / "engine.db")) as db:
        return db.execute(f"SELECT {columns} FROM messages WHERE deleted IS NULL ORDER BY chat, id").fetchall()


def present(dc: Sandbox, username: str = "news") -> list[tuple[int, str]]:
    """Return what the datacenter has in a channel."""
    return [(each.id, each.text) for each in dc.channel_messages(username) if each.deleted is None]


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it is so."""
    with anyio.fail_after(TIMEOUT):
        while not holds():
            await anyio.sleep(0.02)


async def live(engine: Engine, number: int) -> None:
    """Wait until a job has read the history."""
    with anyio.fail_after(TIMEOUT):
        while not ((job := await engine.jobs.store.job(number)) and (job.checkpoint or {}).get("live")):
            await anyio.sleep(0.02)


async def test_history_then_live_with_edits_and_deletions(harness: EngineHarness) -> None:
    """The table is what the channel is: of before the job began, and of what is written, edited and deleted since."""
    async with Sandbox() as dc:
        await dc.create_channel("news", "News", members=PHONES[:1])
        for number in range(120):
            await dc.post("news", f"old {number}")
        await dc.edit("news", 3, "old but edited")
        harness.at(dc, PHONES[0], rest=QUICK)
        async with Engine.from_config(harness.config) as engine:
            await engine.account("Account 1").ready()
            number = await engine.add_job("follow", {"chat": "@news", "raw": True})
            await live(engine, number)
            new = await dc.post("news", "new", reply_to=3)
            await dc.edit("news", 5, "edited live")
            await dc.delete("news", [7, new - 1])
            await dc.post("news", "last")
            await until(lambda: stored(harness) == present(dc))
            job = await engine.jobs.store.job(number)
        with closing(sqlite3.connect(harness.directory / "data" / "engine.db")) as db:
            query = "SELECT text, deleted IS NOT NULL, edited IS NOT NULL, reply_to, raw FROM messages WHERE id = ?"
            rows = [db.execute(query, (id_,)).fetchone() for id_ in (3, 7, new)]
        assert [row[:4] for row in rows] == [
            ("old but edited", 0, 1, None),
            ("old 6", 1, 0, None),
            ("new", 0, 0, 3),
        ]
        assert '"message":"new"' in rows[2][4]
        assert job is not None
        assert (job.state, job.attempts) == (JobState.RUNNING, 0)


async def test_what_happens_while_the_engine_is_down_is_stored_after(harness: EngineHarness) -> None:
    """Messages, edits and deletions of an absence are there after it, and nothing twice."""
    async with Sandbox() as dc:
        await dc.create_channel("news", "News", members=PHONES[:1])
        for number in range(10):
            await dc.post("news", f"old {number}")
        harness.at(dc, PHONES[0], rest=QUICK)
        async with Engine.from_config(harness.config) as engine:
            await engine.account("Account 1").ready()
            number = await engine.add_job("follow", {"chat": "@news"})
            await live(engine, number)
        for count in range(130):
            await dc.post("news", f"missed {count}")
        await dc.edit("news", 2, "edited meanwhile")
        await dc.delete("news", [1, 20])
        async with Engine.from_config(harness.config):
            await until(lambda: stored(harness) == present(dc))


async def test_a_difference_that_is_too_long_is_read_from_the_history(harness: EngineHarness) -> None:
    """After too_long the new messages come from the history, and edits of the last ones are found there."""
    async with Sandbox(max_missed_in_channel=20) as dc:
        await dc.create_channel("news", "News", members=PHONES[:1])
        for number in range(10):
            await dc.post("news", f"old {number}")
        harness.at(dc, PHONES[0], rest=QUICK)
        async with Engine.from_config(harness.config) as engine:
            await engine.account("Account 1").ready()
            number = await engine.add_job("follow", {"chat": "@news"})
            await live(engine, number)
        await dc.edit("news", 2, "edited meanwhile")
        for count in range(30):
            await dc.post("news", f"missed {count}")
        async with Engine.from_config(harness.config):
            await until(lambda: stored(harness) == present(dc))


async def test_a_private_chat_has_both_sides_and_what_the_account_itself_writes(harness: EngineHarness) -> None:
    """Edits and deletions of a private chat are stored, also of messages that the engine's own client sends."""
    async with Sandbox() as dc:
        await dc.push(PHONES[0], "hello", sender=PHONES[1])
        await dc.push(PHONES[0], "of another chat")
        harness.at(dc, PHONES[0], rest=QUICK)
        async with Engine.from_config(harness.config) as engine:
            account = engine.account("Account 1")
            await account.ready()
            number = await engine.add_job("follow", {"chat": f"@user{PHONES[1][1:]}"}, account="Account 1")
            await live(engine, number)
            await account.client.send_message(f"user{PHONES[1][1:]}", "mine")
            await dc.push(PHONES[0], "noise")
            third = await dc.push(PHONES[0], "theirs", sender=PHONES[1])
            await dc.edit(PHONES[0], third, "theirs, edited")
            await dc.delete(PHONES[0], [1, 2])
            await until(lambda: [text for _, text in stored(harness)] == ["mine", "theirs, edited"])
        assert stored(harness, "owner, sender") == [
            ("Account 1", int(PHONES[0][1:])),
            ("Account 1", int(PHONES[1][1:])),
        ]


async def test_a_push_that_is_lost_is_fetched(harness: EngineHarness) -> None:
    """A message of which no push came is there a moment after the next one shows that something is missing."""
    async with Sandbox() as dc:
        await dc.create_channel("news", "News", members=PHONES[:1])
        await dc.post("news", "old")
        harness.at(dc, PHONES[0], rest=QUICK)
        async with Engine.from_config(harness.config) as engine:
            await engine.account("Account 1").ready()
            number = await engine.add_job("follow", {"chat": "@news"})
            await live(engine, number)
            await dc.inject(Fault(FaultKind.LOST_UPDATE, times=1))
            await dc.post("news", "lost")
            await dc.post("news", "pushed")
            await until(lambda: stored(harness) == present(dc))


async def test_two_accounts_follow_one_channel_and_it_is_stored_once(harness: EngineHarness) -> None:
    """Each message is one row, whichever account stored it."""
    async with Sandbox() as dc:
        await dc.create_channel("news", "News", members=PHONES)
        await dc.post("news", "old")
        harness.at(dc, *PHONES, rest=QUICK)
        async with Engine.from_config(harness.config) as engine:
            for name in ("Account 1", "Account 2"):
                await engine.account(name).ready()
                await live(engine, await engine.add_job("follow", {"chat": "@news"}, account=name))
            for number in range(20):
                await dc.post("news", f"new {number}")
            await until(lambda: stored(harness) == present(dc))


async def test_a_second_job_for_the_same_chat_and_account_fails_and_says_why(harness: EngineHarness) -> None:
    """By another spelling of the chat a second one is added; it names the first."""
    async with Sandbox() as dc:
        channel = await dc.create_channel("news", "News", members=PHONES[:1])
        harness.at(dc, PHONES[0], rest=QUICK)
        async with Engine.from_config(harness.config) as engine:
            await engine.account("Account 1").ready()
            first = await engine.add_job("follow", {"chat": "@news"}, account="Account 1")
            await live(engine, first)
            with anyio.fail_after(TIMEOUT):
                job = await engine.finished(await engine.add_job("follow", {"chat": int(f"-100{channel}")}))
        assert job.state is JobState.FAILED
        assert f"job {first} follows this chat with this account already" in job.detail


async def test_endless_jobs_take_no_place_of_other_jobs(harness: EngineHarness) -> None:
    """An account that may do one job at a time sends while it follows three chats."""
    async with Sandbox() as dc:
        for name in ("news1", "news2", "news3"):
            await dc.create_channel(name, "News", members=PHONES[:1])
        harness.at(dc, PHONES[0], rest=FAST + "work: {per_account: 1}\n")
        async with Engine.from_config(harness.config) as engine:
            await engine.account("Account 1").ready()
            for name in ("news1", "news2", "news3"):
                await live(engine, await engine.add_job("follow", {"chat": f"@{name}"}))
            with anyio.fail_after(TIMEOUT):
                job = await engine.finished(await engine.add_job("send", {"to": "me", "text": "hello"}))
        assert job.state is JobState.DONE


async def test_a_polled_chat_needs_no_push(harness: EngineHarness) -> None:
    """With ``fresh`` a message is stored although no push comes, and the polls keep their distance."""
    async with Sandbox() as dc:
        await dc.create_channel("news", "News", members=PHONES[:1])
        harness.at(dc, PHONES[0], rest=QUICK)
        async with Engine.from_config(harness.config) as engine:
            await engine.account("Account 1").ready()
            number = await engine.add_job("follow", {"chat": "@news", "fresh": "1s"})
            await live(engine, number)
            await dc.inject(Fault(FaultKind.LOST_UPDATE))
            await dc.post("news", "never pushed")
            await until(lambda: stored(harness) == present(dc))


async def test_a_bot_is_told_that_it_cannot(harness: EngineHarness) -> None:
    """What a bot may not ask becomes a sentence."""
    async with Sandbox() as dc:
        await dc.create_channel("news", "News", members=PHONES[:1])
        harness.at(dc, PHONES[0], rest=QUICK)
        refusal = {"request": "messages.getHistory", "code": 400, "text": "BOT_METHOD_INVALID", "times": 3}
        await dc.inject(Fault(FaultKind.RPC_ERROR, **refusal))
        async with Engine.from_config(harness.config) as engine:
            await engine.account("Account 1").ready()
            with anyio.fail_after(TIMEOUT):
                job = await engine.finished(await engine.add_job("follow", {"chat": "@news"}))
        assert "a bot cannot read the history" in job.detail


@pytest.mark.parametrize("fresh", ["0.5s", "2h", "soon"])
async def test_a_rhythm_out_of_range_is_refused(harness: EngineHarness, fresh: str) -> None:
    """A chat is polled once a second at most; nothing is added for other rhythms."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=QUICK)
        async with Engine.from_config(harness.config) as engine:
            with pytest.raises(ValueError, match="fresh"):
                await engine.add_job("follow", {"chat": "@news", "fresh": fresh})
