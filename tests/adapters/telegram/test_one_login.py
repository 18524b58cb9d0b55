"""One login in two files: the second waits, and the datacenter never sees two connections with one key."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import attrs
import pytest

from adapters.session import login_claim
from adapters.session.backup import BROUGHT, set_aside
from adapters.session.errors import SessionHeld
from adapters.session.inspect import inspect
from adapters.session.login_claim import LoginClaim, LoginUser, runtime_directory, user_of_login
from adapters.telegram import TelegramConnector
from states.events import ConfigRefused, Connected, DatabaseLocked, Event
from tests.adapters.session.support import KEY, telethons
from tests.adapters.telegram.harness import DatacenterHarness
from tests.timeouts import TIMEOUT


def plain(source: Path, target: Path) -> None:
    """Copy a file that nobody has open."""
    shutil.copyfile(source, target)


def with_log(source: Path, target: Path) -> None:
    """Copy a file whose key is still in its write-ahead log."""
    with closing(sqlite3.connect(source)) as database:
        key = database.execute("select auth_key from sessions").fetchone()[0]
        with database:
            database.execute("update sessions set auth_key = x''")
        database.execute("pragma journal_mode = wal")
        with database:
            database.execute("update sessions set auth_key = ?", (key,))
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{source}{suffix}", f"{target}{suffix}")


def twin(connector: TelegramConnector, path: Path, name: str) -> TelegramConnector:
    """Return the connector of another account."""
    return TelegramConnector(
        session=path,
        api_id=connector.api_id,
        api_hash=connector.api_hash,
        datacenter=connector.datacenter,
        name=name,
    )


def pair(harness: DatacenterHarness) -> tuple[TelegramConnector, TelegramConnector]:
    """Return the connectors of two accounts with a login each."""
    first, path = harness.connector(), harness.directory / "other.session"
    harness.write_session(path, harness.dc.authorize("+9996620007"))
    return first, twin(first, path, "Other")


@contextmanager
def elsewhere(login: str) -> Iterator[subprocess.Popen[str]]:
    """Run another program that uses a login."""
    command = [sys.executable, "-c", HOLD, login]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "taken\n"
        yield process
        process.kill()


async def attempt(connector: TelegramConnector) -> Event:
    """Return what comes of an attempt, whose link is closed again."""
    link = connector.link(1)
    try:
        return (await link.open(timeout=TIMEOUT))[-1]
    finally:
        await link.close(timeout=TIMEOUT)


@pytest.mark.parametrize("copy", [plain, with_log])
async def test_the_second_file_of_a_login_waits_with_the_name_of_the_first(
    harness: DatacenterHarness, tmp_path: Path, copy: object
) -> None:
    """It is refused before it connects; when the first account has ended, the second one connects."""
    async with harness as dc:
        first = harness.connector()
        copy(first.session, tmp_path / "copy.session")  # type: ignore[operator]
        second = twin(first, tmp_path / "copy.session", "The Copy")
        link = first.link(1)
        assert (await link.open(timeout=TIMEOUT))[-1] == Connected(link=1)
        refused = await attempt(second)
        assert isinstance(refused, ConfigRefused)
        assert f"{first.name} ({first.session}) uses the same login" in refused.detail
        assert KEY.hex() not in refused.detail
        assert dc.stats()["accepted"] == 1
        await link.close(timeout=TIMEOUT)
        await first.settle()
        assert isinstance(await attempt(second), Connected)
        await second.settle()


async def test_another_name_of_the_same_file_is_refused_before_it_connects(
    harness: DatacenterHarness, tmp_path: Path
) -> None:
    """A hard link is the very file, which is in use already."""
    async with harness as dc:
        first = harness.connector()
        os.link(first.session, tmp_path / "link.session")
        assert isinstance(await attempt(first), Connected)
        accepted = dc.stats()["accepted"]
        assert isinstance(await attempt(twin(first, tmp_path / "link.session", "Link")), DatabaseLocked | ConfigRefused)
        assert dc.stats()["accepted"] == accepted
        await first.settle()


async def test_a_login_that_is_copied_over_while_accounts_run_is_seen(harness: DatacenterHarness) -> None:
    """A file that is given another account's login is compared again when it is opened again."""
    async with harness as dc:
        first, other = pair(harness)
        for connector in (first, other):
            assert isinstance(await attempt(connector), Connected)
        accepted = dc.stats()["accepted"]
        await other.settle()
        shutil.copyfile(first.session, other.session)
        assert isinstance(await attempt(other), ConfigRefused)
        assert dc.stats()["accepted"] == accepted
        await first.settle()


async def test_two_accounts_whose_files_were_swapped_come_back(harness: DatacenterHarness, tmp_path: Path) -> None:
    """The first to notice waits for a moment until the second has taken its new login, and needs no person."""
    async with harness:
        one, two = pair(harness)
        for connector in (one, two):
            assert isinstance(await attempt(connector), Connected)
            await connector.settle()
            assert isinstance(await attempt(connector), Connected)
        copies = [shutil.copyfile(each.session, tmp_path / each.session.name.swapcase()) for each in (one, two)]
        for copy, target in zip(copies, (two.session, one.session), strict=True):
            os.replace(copy, target)
        assert isinstance(await attempt(one), DatabaseLocked)
        assert isinstance(await attempt(two), Connected)
        assert isinstance(await attempt(one), Connected)
        await one.settle()
        await two.settle()


HOLD = """
import sys
from pathlib import Path
from adapters.session.login_claim import LoginClaim
claim = LoginClaim("Elsewhere", Path("/srv/other.session"))
claim.take(sys.argv[1])
print("taken", flush=True)
sys.stdin.read()
"""


async def test_another_engine_of_this_user_is_seen_and_its_death_too(harness: DatacenterHarness) -> None:
    """A copy under another config is named with its process; a lock of a process that was killed holds nobody."""
    async with harness as dc:
        connector = harness.connector()
        login = inspect(connector.session).login
        with elsewhere(login) as process:
            refused = await attempt(connector)
            assert isinstance(refused, DatabaseLocked)
            assert f"process {process.pid} (Elsewhere, /srv/other.session) uses the same login" in refused.detail
            user = user_of_login(login)
            assert user is not None
            assert attrs.astuple(user) == (process.pid, "Elsewhere", "/srv/other.session")
            assert dc.stats()["accepted"] == 0
        assert user_of_login(login) is None
        assert isinstance(await attempt(connector), Connected)
        await connector.settle()
        assert list(runtime_directory().iterdir()) == []


async def test_a_place_for_locks_that_somebody_else_has_is_not_used(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What cannot be locked keeps nobody from connecting: in this process the logins are compared all the same."""
    (tmp_path / "run").symlink_to(tmp_path)
    monkeypatch.setenv("HOLDFAST_LOGINS", str(tmp_path / "run"))
    async with harness:
        first = harness.connector()
        shutil.copyfile(first.session, tmp_path / "copy.session")
        assert isinstance(await attempt(first), Connected)
        assert isinstance(await attempt(twin(first, tmp_path / "copy.session", "Copy")), ConfigRefused)
        await first.settle()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names of sockets that are in no directory")
@pytest.mark.parametrize("lost", ["removed", "read-only"])
def test_a_claim_needs_no_lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    """What tidies up in /tmp, and a /tmp that cannot be written, let no second program use a login."""
    if lost == "read-only":
        monkeypatch.setenv("HOLDFAST_LOGINS", "/proc/none")
    with elsewhere("0123456789abcdef") as process:
        if lost == "removed":
            shutil.rmtree(runtime_directory())
        claim = LoginClaim("A", tmp_path / "a.session")
        with pytest.raises(SessionHeld, match=f"process {process.pid} uses the same login, and Telegram destroys"):
            claim.take("0123456789abcdef")
        assert user_of_login("0123456789abcdef") == LoginUser(process.pid, "", "")
    claim.take("0123456789abcdef")
    assert user_of_login("0123456789abcdef") is not None
    claim.release()
    assert user_of_login("0123456789abcdef") is None


def test_the_lock_reveals_nothing_of_the_key(tmp_path: Path) -> None:
    """Neither the fingerprint of doctor's report nor the key is in a name or a content."""
    path = telethons(tmp_path / "a.session")
    login = inspect(path).login
    claim = LoginClaim("A", path)
    claim.take(login)
    (lock,) = runtime_directory().iterdir()
    assert login not in lock.name + lock.read_text()
    assert lock.stat().st_mode & 0o77 == 0 == lock.parent.stat().st_mode & 0o77
    claim.release()


@pytest.mark.parametrize("name", ["XDG_RUNTIME_DIR", "TMPDIR", "HOME"])
def test_a_service_and_a_shell_see_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """The place of the locks does not depend on what a login shell has in its environment and a service has not."""
    monkeypatch.delenv("HOLDFAST_LOGINS")
    monkeypatch.setattr(login_claim, "_SHARED", tmp_path)
    monkeypatch.delenv(name, raising=False)
    claim = LoginClaim("A", tmp_path / "a.session")
    claim.take("fingerprint")
    monkeypatch.setenv(name, str(tmp_path / "other"))
    assert user_of_login("fingerprint") is not None
    claim.release()


async def test_a_file_whose_login_was_moved_into_a_database(harness: DatacenterHarness) -> None:
    """Nobody is told to log in again, beside the nodes that use the login: it is said where it went."""
    async with harness:
        connector = harness.connector()
        aside = set_aside(connector.session, BROUGHT)
        event = await attempt(connector)
        assert isinstance(event, ConfigRefused), event
        assert f"its login was moved into a database, and the file is {aside.name} now" in event.detail
        aside.rename(connector.session)
        assert isinstance(await attempt(connector), Connected)
