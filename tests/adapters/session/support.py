"""Files, other programs, and what a session says of them."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession
from telethon.tl.types import User

from adapters.session import HoldfastSession
from adapters.session.failures import LiveFileTimeouts
from states.events import Event
from tests.timeouts import TIMEOUT

KEY = b"k" * 256
QUICK = LiveFileTimeouts(gather=0.01, busy=0.3, retry=0.05, report_after=0.05, max_report_interval=0.1, idle=0.05)
"""The waits of a session in a test: the same in small."""


class RecordingSession(HoldfastSession):
    """A session that keeps what it would log."""

    def _report(self, event: Any) -> None:
        self.__dict__.setdefault("events", []).append(event)

    @property
    def told(self) -> list[Event]:
        """What it said so far."""
        return list(self.__dict__.get("events", ()))

    def names(self) -> list[str]:
        """Return the names of it, each once, in their order."""
        return list(dict.fromkeys(type(event).__name__ for event in self.told))


def user(number: int) -> User:
    """Return a user to remember."""
    return User(id=number, access_hash=number * 7, first_name=f"User {number}")


def telethons(path: Path, key: bytes | None = KEY, entities: int = 0) -> Path:
    """Make a file as Telethon does."""
    session = SQLiteSession(str(path))
    session.set_dc(2, "127.0.0.1", 443)
    if key is not None:
        session.auth_key = AuthKey(key)
    session.process_entities([user(number) for number in range(1, entities + 1)])
    session.close()
    return path


def rows(path: Path, question: str = "select id from entities order by id") -> list[Any]:
    """Return what a file holds, as another program reads it."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        found = database.execute(question).fetchall()
    return [row[0] if len(row) == 1 else row for row in found]


def until(condition: Callable[[], object]) -> None:
    """Wait for something that threads bring about."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.005)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the write lock of a file, as a backup tool does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("begin immediate")
        yield
        database.execute("rollback")


@define
class Program:
    """Another program, which ends at the latest with the block."""

    process: "subprocess.Popen[str]"
    lines: list[str] = field(factory=list)

    def say(self) -> str:
        """Return its next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextmanager
def program(code: str, *arguments: object) -> Iterator[Program]:
    """Run Python code in a process of its own; it ends when its input does."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        timer = threading.Timer(3 * TIMEOUT, process.kill)
        timer.start()
        try:
            yield Program(process)
        finally:
            timer.cancel()
            process.kill()


HOLDS = """
import sys
from adapters.session import HoldfastSession
session = HoldfastSession(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""
"""A program that opens a session and keeps it."""


KILLED = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute(f"pragma journal_mode = {sys.argv[2]}")
database.execute("pragma cache_size = 1")
database.execute("begin immediate")
database.execute("insert into entities with recursive some(n) as (select 1000 union all select n + 1 from some "
                 "where n < 9000) select n, n, '', '', '', 0 from some")
if sys.argv[2] == "wal":
    database.execute("commit")
os.kill(os.getpid(), 9)
"""
"""A program that dies while it writes to a session: in a transaction, or before what it committed left the log."""


def killed(path: Path, mode: str) -> Path:
    """Have a program killed while it writes to a file, whose journal mode is delete or wal."""
    subprocess.run([sys.executable, "-c", KILLED, str(path), mode], check=False)
    assert path.with_name(path.name + ("-wal" if mode == "wal" else "-journal")).stat().st_size > 0
    return path


def change(path: Path, *statements: str) -> Path:
    """Change a file as some other program does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)
    return path


def stored_bytes(path: Path) -> dict[str, tuple[bytes, int]]:
    """Return what a file and what belongs to it hold, and when each was written; the memory of a log is none of it."""
    found = {}
    for one in path.parent.glob(f"{path.name}*"):
        if not one.name.endswith("-shm"):
            found[one.name] = one.read_bytes(), one.stat().st_mtime_ns
    return found
