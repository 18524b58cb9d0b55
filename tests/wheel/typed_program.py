"""A user's program, typed as strictly as mypy can check it."""

import asyncio
from typing import Any, assert_type

import attrs
from telethon import TelegramClient, events

from engine import (
    Account,
    BadJob,
    Config,
    ConfigError,
    ConnectionMonitor,
    Engine,
    Entry,
    HoldfastSession,
    Job,
    JobHandle,
    JobState,
    LockHeld,
    Message,
    NotReady,
    Snapshot,
    State,
    StorageError,
    UnknownAccount,
    job_kind,
    on,
    while_healthy,
)


@attrs.frozen
class Count:
    """What a job that counts words is given."""

    chat: str
    word: str


@job_kind("count_words", data=Count)
async def count_words(job: JobHandle[Count], client: Any) -> dict[str, int]:
    """Count a word in a chat; the data have the class of the kind."""
    assert_type(job.data, Count)
    count = int(job.saved.get("count", 0))
    async for message in client.iter_messages(job.data.chat, min_id=int(job.saved.get("seen", 0))):
        count += message.raw_text.split().count(job.data.word)
        await job.checkpoint({"seen": message.id, "count": count}, done=message.id)
    return {"count": count}


@job_kind("plain")
async def plain(job: JobHandle, client: Any) -> None:
    """Do a job whose data are any mapping."""
    job.progress(1, job.data["total"])


@on(events.NewMessage(pattern="ping"))
async def answer(event: Any) -> None:
    """Answer a message."""
    await event.reply("pong")


@while_healthy
async def watch(client: Any) -> None:
    """Look once a minute."""
    await asyncio.sleep(60)


engine = Engine.from_config("config.yaml")


@engine.on(events.NewMessage(), accounts="News *")
async def note(event: Any) -> int:
    """Hear of a message."""
    return len(event.raw_text)


@engine.while_healthy
async def hourly(client: Any) -> None:
    """Look once an hour."""
    await asyncio.sleep(3600)


@engine.while_healthy(accounts="News *")
async def minutely(client: Any) -> None:
    """Look once a minute, with some accounts."""
    await asyncio.sleep(60)


@engine.job_kind("mine", data=Count)
async def mine(job: JobHandle[Count], client: Any) -> str:
    """Do a job of the program's own."""
    return job.data.word


async def call_what_was_decorated(job: JobHandle[Count]) -> None:
    """Call the functions, which have the types that they were written with."""
    assert_type(await note(event=None), int)
    assert_type(await mine(job, client=None), str)
    assert_type(await count_words(job, client=None), dict[str, int])
    await asyncio.gather(answer(event=None), watch(client=None), hourly(client=None), minutely(client=None))


async def main() -> None:
    """Use an engine."""
    assert_type(engine.config, Config)
    try:
        async with engine:
            account = engine.account("Account 1")
            assert_type(account, Account)
            await account.ready()
            snapshot = account.snapshot
            assert_type(snapshot, Snapshot)
            assert_type(snapshot.state, State)
            job = await engine.finished(await engine.add_job("count_words", {"chat": "@a", "word": "b"}))
            assert_type(job, Job)
            print(job.state is JobState.DONE, Message)
            async for entry in engine.subscribe():
                assert_type(entry, Entry)
    except (BadJob, ConfigError, LockHeld, NotReady, StorageError, UnknownAccount) as exc:
        print(exc)


async def script() -> None:
    """Use the session and the monitor alone."""
    client = TelegramClient(HoldfastSession("account1"), 1, "0" * 32)
    monitor = ConnectionMonitor(check_interval=60)
    monitor.register_client("Account 1", client)
    monitor.start_monitoring()
    print(monitor.get_stats()["Account 1"]["status"])


if __name__ == "__main__":
    asyncio.run(main())
