"""A program that writes a journal and sessions as fast as it can, and says what is durable; it is to be killed.

``python tests/soak/victim.py DIRECTORY`` prints a line for each thing that it was told is durable.
"""

import os
import sys
import time
from hashlib import sha256
from pathlib import Path

import anyio
from telethon.crypto import AuthKey
from telethon.tl.types import User

from adapters.session import HoldfastSession
from adapters.session.holdfast_session import HoldfastSession as Session
from adapters.sqlite import JournalWriter
from states import Record, Snapshot, State

SESSIONS = 4
WRITERS = 8


def record(number: int) -> Record:
    """Return a record that can be found again by its number."""
    return Record(
        at=time.time(), source=State.HEALTHY, event="Stable", payload={"generation": number}, rule="soak",
        target=State.HEALTHY, attempt=0, failures=0, delay=None, draw=None, deadline=None, effects=(),
        detail=str(number), cause=(), dwell=0.0, quiet=False,
    )  # fmt: skip


async def write_journal(journal: JournalWriter, account: str) -> None:
    """Write a record, wait until it is durable, say so; again and again."""
    number = time.time_ns()
    while True:
        number += 1
        await journal.write(account, record(number), Snapshot(since=float(number % 10_000)))
        await journal.flush()
        print(f"record {account} {number}", flush=True)


async def log_in(session: Session) -> None:
    """Give a session one new key after the other, and say which is durable."""
    name = Path(session.filename).name
    while True:
        key = os.urandom(256)
        session.auth_key = AuthKey(key)
        await session.save()
        print(f"key {name} {sha256(key).hexdigest()}", flush=True)
        await anyio.sleep(0.005)


async def meet(session: Session) -> None:
    """Remember a new user, and say which are durable."""
    name, number = Path(session.filename).name, time.time_ns() // 1_000_000
    while True:
        number += 1
        session.process_entities([User(id=number, access_hash=number, first_name="Somebody")])
        await session.flush()
        print(f"entity {name} {number}", flush=True)


async def main(directory: Path) -> None:
    """Do all of it at once, for ever."""
    journal = await JournalWriter.open(directory / "engine.db", on_trouble=lambda *_: None)
    sessions = [HoldfastSession(directory / f"account{number}") for number in range(SESSIONS)]
    async with anyio.create_task_group() as tasks:
        for number in range(WRITERS):
            tasks.start_soon(write_journal, journal, f"account {number}")
        for session in sessions:
            tasks.start_soon(log_in, session)
            tasks.start_soon(meet, session)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
