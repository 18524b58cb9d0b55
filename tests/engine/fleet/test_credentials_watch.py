"""New credentials are noticed by the key in the file, however the file was replaced, and nothing else is."""

import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import pytest
from attrs import define
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession
from telethon.tl.types import User

from adapters.session.file import StatStamp, stat_stamp
from adapters.system import SystemClock
from adapters.telegram import TelegramConnector
from engine.fleet.connect_limiter import ConnectLimiter
from engine.fleet.credentials_watch import CredentialsWatch
from engine.fleet.supervisor import Supervisor
from states import Event, Snapshot, State
from states.events import AuthRejected, Connected, DatabaseCorrupt, NetworkLost, RetryRequested
from tests.engine.fakes import FakeConnector, MemoryJournal, runner_for
from tests.timeouts import TIMEOUT

OLD, NEW = b"\x01" * 256, b"\x02" * 256


def write(path: Path, key: bytes) -> Path:
    """Write a session file as Telethon does."""
    session = SQLiteSession(str(path))
    session.set_dc(2, "127.0.0.9", 443)
    session.auth_key = AuthKey(key)
    session.save()
    session.close()
    return path


@define
class KeyedConnector(FakeConnector):
    """A world whose credentials are those of a real session file."""

    session: Path = Path()
    hidden: bool = False

    async def credentials(self) -> str:
        """Return what the real connector says, unless the file is hidden from it."""
        if self.hidden:
            return ""
        return await TelegramConnector(session=self.session, api_id=1, api_hash="0" * 32).credentials()

    def session_stamp(self) -> StatStamp:
        """Return the stamp of the file."""
        return stat_stamp(self.session)


@define
class WatchHarness:
    """One account on a real file, and the watch over it."""

    fleet: Supervisor
    watch: CredentialsWatch
    journal: MemoryJournal
    session: Path

    @property
    def snapshot(self) -> Snapshot:
        """Where the account is."""
        return self.fleet.snapshots["A"]

    async def until(self, holds: Callable[["WatchHarness"], bool]) -> None:
        """Wait until something holds."""
        with anyio.fail_after(TIMEOUT):
            while not holds(self):
                await anyio.sleep(0.005)

    def events(self, name: str) -> int:
        """Return how often an event was recorded."""
        return sum(record.event == name for _, record in self.journal.records)

    async def looks(self, count: int = 3) -> None:
        """Look some times, and let the account take what comes of it."""
        for _ in range(count):
            await self.watch.check("A")
            await anyio.sleep(0.02)


@asynccontextmanager
async def watching(directory: Path, *outcomes: object, key: bytes = OLD) -> AsyncIterator[WatchHarness]:
    """Run account ``A`` on a real session file for the length of the block; the test itself looks."""
    session = write(directory / "a.session", key)
    journal = MemoryJournal()
    connector = KeyedConnector(outcomes=list(outcomes), connect_takes=0.0, close_takes=0.0, session=session)
    fleet = Supervisor({"A": runner_for(connector, journal, clock=SystemClock())}, anyio.Event(), grace=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fleet.run)
        yield WatchHarness(fleet, CredentialsWatch(fleet), journal, session)
        fleet.stop.set()


def by_rename(session: Path, key: bytes) -> None:
    """Replace the file as a careful program does."""
    write(session.with_name("new.session"), key).rename(session)


def by_copy(session: Path, key: bytes) -> None:
    """Write over the file as ``cp`` does."""
    shutil.copyfile(write(session.with_name("new.session"), key), session)


def by_login(session: Path, key: bytes) -> None:
    """Log in with the file as a script does: one row is updated, and neither name nor size changes."""
    with closing(sqlite3.connect(session)) as database, database:
        database.execute("update sessions set auth_key = ?", (key,))


@pytest.mark.parametrize("replace", [by_rename, by_copy, by_login])
@pytest.mark.parametrize(
    ("loss", "state"), [(AuthRejected(), State.AUTH_FAILED), (NetworkLost(), State.BACKOFF)], ids=["dead", "waiting"]
)
async def test_another_key_is_noticed(
    tmp_path: Path, replace: Callable[[Path, bytes], None], loss: Event, state: State
) -> None:
    """However the new key came into the file, the account is told once, and knows it as its own."""
    async with watching(tmp_path, loss) as harness:
        await harness.until(lambda at: at.snapshot.state is state)
        await harness.looks()
        assert harness.events("CredentialsReplaced") == 0
        failed = harness.snapshot.credentials
        replace(harness.session, NEW)
        await harness.until(lambda at: at.snapshot.state is state)
        await harness.looks()
        assert harness.events("CredentialsReplaced") == 1
        assert harness.snapshot.credentials not in ("", failed)
        assert harness.snapshot.state is (State.HEALTHY if state is State.AUTH_FAILED else state)


async def test_a_key_in_the_log_beside_the_file_is_noticed(tmp_path: Path) -> None:
    """In WAL mode a login changes only the log, as long as a program has the file open."""
    async with watching(tmp_path, AuthRejected()) as harness:
        await harness.until(lambda at: at.snapshot.state is State.AUTH_FAILED)
        with closing(sqlite3.connect(harness.session, isolation_level=None)) as script:
            script.execute("pragma journal_mode = wal")
            script.execute("pragma wal_autocheckpoint = 0")
            script.execute("update sessions set port = 80")
            await harness.looks()
            before = stat_stamp(harness.session)
            script.execute("update sessions set auth_key = ?", (NEW,))
            assert stat_stamp(harness.session)[0] == before[0]
            await harness.looks()
            assert harness.events("CredentialsReplaced") == 1


async def test_a_file_that_could_not_be_read_is_read_again(tmp_path: Path) -> None:
    """What a lock hid at one look is seen at the next, although the file did not change in between."""
    async with watching(tmp_path, AuthRejected()) as harness:
        await harness.until(lambda at: at.snapshot.state is State.AUTH_FAILED)
        by_rename(harness.session, NEW)
        connector = harness.fleet.runners["A"].connector
        assert isinstance(connector, KeyedConnector)
        connector.hidden = True
        await harness.looks(1)
        connector.hidden = False
        await harness.looks()
        assert harness.events("CredentialsReplaced") == 1


async def test_an_account_that_waits_for_a_turn_keeps_its_place(tmp_path: Path) -> None:
    """An attempt that has not begun reads the new key when its turn comes; it does not queue anew for it."""
    async with watching(tmp_path) as harness:
        runner = harness.fleet.runners["A"]
        runner.limiter = ConnectLimiter(1, 0.0)
        async with runner.limiter.turn():
            await harness.until(lambda at: at.snapshot.credentials != "")
            by_rename(harness.session, NEW)
            await harness.looks()
        await harness.until(lambda at: at.snapshot.state is State.HEALTHY)
        await harness.looks()
        assert harness.events("CredentialsReplaced") == 0


async def test_what_telethon_writes_means_nothing(tmp_path: Path) -> None:
    """Entities and the state of updates change the file, and the account is not told."""
    async with watching(tmp_path, AuthRejected()) as harness:
        await harness.until(lambda at: at.snapshot.state is State.AUTH_FAILED)
        for number in range(3):
            session = SQLiteSession(str(harness.session))
            session.process_entities([User(id=number + 1, access_hash=7, first_name="A")])
            session.save()
            session.close()
            os.utime(harness.session)
            await harness.looks(1)
        assert harness.events("CredentialsReplaced") == 0
        assert harness.snapshot.state is State.AUTH_FAILED


async def test_new_credentials_that_fail_are_not_tried_again(tmp_path: Path) -> None:
    """A key that was noticed and refused is the one that failed: neither a look nor a restart tries it again."""
    async with watching(tmp_path, AuthRejected(), AuthRejected()) as harness:
        await harness.until(lambda at: at.snapshot.state is State.AUTH_FAILED)
        by_rename(harness.session, NEW)
        await harness.watch.check("A")
        await harness.until(lambda at: at.events("AuthRejected") == 2)
        await harness.looks()
        assert harness.events("CredentialsReplaced") == 1
        stored = harness.snapshot
    connector = KeyedConnector(session=tmp_path / "a.session")
    fleet = Supervisor({"A": runner_for(connector, MemoryJournal(), restored=stored)}, anyio.Event(), grace=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fleet.run)
        await CredentialsWatch(fleet).check("A")
        await anyio.sleep(0.1)
        assert fleet.snapshots["A"].state is State.AUTH_FAILED
        fleet.stop.set()
    assert connector.opened == []


async def test_an_attempt_that_read_the_new_key_itself_is_left_alone(tmp_path: Path) -> None:
    """A retry right after a login uses the new key already; a look later does not cut the link for it."""
    async with watching(tmp_path, NetworkLost()) as harness:
        await harness.until(lambda at: at.snapshot.state is State.BACKOFF)
        by_rename(harness.session, NEW)
        await harness.fleet.runners["A"].post(RetryRequested())
        await harness.until(lambda at: at.snapshot.state is State.HEALTHY)
        await harness.looks()
        assert harness.events("CredentialsReplaced") == 0
        assert harness.events(Connected.__name__) == 1


async def test_a_healthy_account_changes_to_its_new_key(tmp_path: Path) -> None:
    """A login beside a running link is taken over, before the old link writes its own key back."""
    async with watching(tmp_path) as harness:
        await harness.until(lambda at: at.snapshot.state is State.HEALTHY)
        by_rename(harness.session, NEW)
        await harness.looks()
        assert harness.events("CredentialsReplaced") == 1
        assert harness.snapshot.state is State.HEALTHY


async def test_a_file_that_goes_and_comes_back_is_nothing_new(tmp_path: Path) -> None:
    """A missing or unreadable file has no credentials, so nothing is told until there are others."""
    async with watching(tmp_path, AuthRejected()) as harness:
        await harness.until(lambda at: at.snapshot.state is State.AUTH_FAILED)
        kept = harness.session.read_bytes()
        harness.session.unlink()
        await harness.looks(1)
        harness.session.write_bytes(b"no database")
        await harness.looks(1)
        harness.session.write_bytes(kept)
        await harness.looks(1)
        assert harness.events("CredentialsReplaced") == 0


async def test_a_restored_backup_of_a_damaged_file_is_noticed(tmp_path: Path) -> None:
    """The key is the same as before, yet the file is another one: that is what the advice asks for."""
    async with watching(tmp_path, DatabaseCorrupt()) as harness:
        await harness.until(lambda at: at.snapshot.state is State.AUTH_FAILED)
        await harness.looks()
        assert harness.events("CredentialsReplaced") == 0
        await anyio.sleep(0.6)  # what is written at once after the failure is the closing of the link
        by_rename(harness.session, OLD)
        await harness.looks()
        assert harness.events("CredentialsReplaced") == 1
        assert harness.snapshot.state is State.HEALTHY


async def test_it_looks_by_itself(tmp_path: Path) -> None:
    """The task looks at every account again and again."""
    async with watching(tmp_path, AuthRejected()) as harness, anyio.create_task_group() as tasks:
        watch = CredentialsWatch(harness.fleet, every=0.01)
        tasks.start_soon(watch.run)
        await harness.until(lambda at: at.snapshot.state is State.AUTH_FAILED)
        by_rename(harness.session, NEW)
        await harness.until(lambda at: at.snapshot.state is State.HEALTHY)
        assert harness.events("CredentialsReplaced") == 1
        tasks.cancel_scope.cancel()
