"""A login changes nothing until it is proven, and then everything at once; a log-out leaves a copy."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.session import OwnerLock, SessionHeld
from adapters.telegram import ByCode, Login, LoginFailed, TelegramConnector, log_out
from states.events import AuthRejected, Connected
from tests.adapters.telegram.fakes import CODE, ScriptedAnswers
from tests.adapters.telegram.harness import PHONE, DatacenterHarness
from tests.timeouts import TIMEOUT

OTHER = "+9996620002"


async def outcome(connector: TelegramConnector) -> str:
    """Return how an attempt with the session ends."""
    link = connector.link(1)
    events = await link.open(timeout=TIMEOUT)
    await link.close(timeout=TIMEOUT)
    await connector.settle()
    return type(events[-1]).__name__


def key_in(path: Path) -> bytes:
    """Return the key that a session file holds."""
    with closing(sqlite3.connect(path)) as database:
        return bytes(database.execute("select auth_key from sessions").fetchone()[0])


def left_over(account: TelegramConnector) -> list[str]:
    """Return what a login has left beside the session, besides backups."""
    names = {path.name for path in account.session.parent.iterdir()}
    return sorted(names - {account.session.name, "backups"})


async def test_the_old_session_is_kept_and_open_readers_see_the_new_one(harness: DatacenterHarness) -> None:
    """The same file gets the new key in one transaction, and the backup has the old one."""
    async with harness:
        account = harness.connector()
        old = key_in(account.session)
        with closing(sqlite3.connect(account.session)) as reader:
            reader.execute("select * from sessions").fetchall()
            backup = (await Login(account, ScriptedAnswers([CODE]), TIMEOUT).run(ByCode(PHONE))).backup
            new = bytes(reader.execute("select auth_key from sessions").fetchone()[0])
        assert backup is not None
        assert (key_in(backup), key_in(account.session)) == (old, new)
        assert old != new
        assert (account.session.stat().st_mode | backup.stat().st_mode) & 0o077 == 0
        assert left_over(account) == []
        assert await outcome(account) == Connected.__name__


class Gone(Exception):
    """The person went away."""


async def test_a_login_that_is_given_up_changes_nothing(harness: DatacenterHarness) -> None:
    """What the person raises ends the login, and the session is as it was to the byte."""
    async with harness:
        account = harness.connector()
        before = account.session.read_bytes()
        login = Login(account, ScriptedAnswers(["11111", Gone()]), TIMEOUT)
        with pytest.raises(Gone):
            await login.run(ByCode(PHONE))
        assert account.session.read_bytes() == before
        assert left_over(account) == []
        assert not login.placed


async def test_a_login_that_is_cancelled_changes_nothing(harness: DatacenterHarness) -> None:
    """Ctrl+C at a question leaves the session as it was to the byte, and without an owner."""
    async with harness:
        account = harness.connector()
        before = account.session.read_bytes()
        with anyio.CancelScope() as scope:

            async def stop() -> str:
                scope.cancel()
                await anyio.sleep_forever()
                return ""

            await Login(account, ScriptedAnswers([stop]), TIMEOUT).run(ByCode(PHONE))
        assert scope.cancelled_caught
        assert account.session.read_bytes() == before
        assert left_over(account) == []


async def test_a_login_that_does_not_hold_is_not_put_in_place(harness: DatacenterHarness) -> None:
    """The proof is another connection: what is refused there replaces nothing."""
    async with harness as dc:
        account = harness.connector()
        before = account.session.read_bytes()

        async def code() -> str:
            fault = Fault(
                FaultKind.RPC_ERROR, code=401, text="AUTH_KEY_UNREGISTERED", request="updates.getState", duration=60
            )
            await dc.inject(fault)
            return CODE

        with pytest.raises(LoginFailed, match="is not logged in"):
            await Login(account, ScriptedAnswers([code]), TIMEOUT).run(ByCode(PHONE))
        assert account.session.read_bytes() == before
        assert left_over(account) == []


async def test_a_session_in_use_is_not_touched_and_no_code_is_sent(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that owns the session is named before anything is asked."""
    monkeypatch.setattr("adapters.telegram.login.OWN_TIMEOUT", 0.1)
    async with harness as dc:
        account = harness.connector()
        owner = OwnerLock(account.session)
        owner.acquire()
        try:
            with pytest.raises(SessionHeld, match="already"):
                await Login(account, ScriptedAnswers(), TIMEOUT).run(ByCode(PHONE))
        finally:
            owner.release()
        assert dc.stats()["accepted"] == 0


async def _logged_in(harness: DatacenterHarness) -> TelegramConnector:
    account = harness.connector()
    await Login(account, ScriptedAnswers([CODE]), TIMEOUT).run(ByCode(PHONE))
    return account


async def test_another_user_is_asked_about_and_logged_out_again(harness: DatacenterHarness) -> None:
    """A no leaves the old session to the byte, and no login behind at the datacenter."""
    async with harness as dc:
        account = await _logged_in(harness)
        before = account.session.read_bytes()
        person = ScriptedAnswers([CODE])
        with pytest.raises(LoginFailed, match="logged out again"):
            await Login(account, person, TIMEOUT).run(ByCode(OTHER))
        assert person.heard[-1].startswith("Until now account was logged in as another user")
        assert PHONE[1:] not in person.heard[-1]
        assert account.session.read_bytes() == before
        assert dc.stats()["requests"]["auth.logOut"] == 1
        assert await outcome(account) == Connected.__name__


async def test_another_user_takes_the_place_after_a_yes(harness: DatacenterHarness) -> None:
    """A yes puts the other user's session in place; the same user is not asked about."""
    async with harness:
        account = await _logged_in(harness)
        same = ScriptedAnswers([CODE])
        await Login(account, same, TIMEOUT).run(ByCode(PHONE))
        assert len(same.heard) == 1
        before = key_in(account.session)
        await Login(account, ScriptedAnswers([CODE], yes=True), TIMEOUT).run(ByCode(OTHER))
        assert key_in(account.session) != before


async def test_what_is_not_a_session_is_set_aside_and_never_overwritten(harness: DatacenterHarness) -> None:
    """Another program's database, named by mistake, is whole under another name."""
    async with harness:
        account = harness.connector()
        account.session.unlink()
        with closing(sqlite3.connect(account.session)) as database, database:
            database.execute("create table precious (value text)")
        before = account.session.read_bytes()
        aside = (await Login(account, ScriptedAnswers([CODE]), TIMEOUT).run(ByCode(PHONE))).backup
        assert aside is not None
        assert aside.read_bytes() == before
        assert await outcome(account) == Connected.__name__


async def test_a_login_that_cannot_be_put_in_place_is_kept(harness: DatacenterHarness) -> None:
    """Where no backup can be made the old session stays, and the sentence names the file with the new one."""
    async with harness:
        account = harness.connector()
        before = account.session.read_bytes()
        account.backups.write_text("this is in the way")
        with pytest.raises(LoginFailed, match=r"the new login is in .*/\.account\.login\.session"):
            await Login(account, ScriptedAnswers([CODE]), TIMEOUT).run(ByCode(PHONE))
        assert account.session.read_bytes() == before
        kept = account.session.with_name(".account.login.session")
        assert len(key_in(kept)) == 256
        assert kept.stat().st_mode & 0o077 == 0


async def test_what_a_killed_login_left_behind_is_not_a_hindrance(harness: DatacenterHarness) -> None:
    """The next login begins with a file of its own."""
    async with harness:
        account = harness.connector()
        account.session.with_name(".account.login.session").write_bytes(os.urandom(5000))
        await Login(account, ScriptedAnswers([CODE]), TIMEOUT).run(ByCode(PHONE))
        assert left_over(account) == []


async def test_a_log_out_ends_the_login_and_keeps_a_copy(harness: DatacenterHarness) -> None:
    """The datacenter forgets the key, the session is gone, and its copy is not a backup that would be restored."""
    async with harness:
        account = await _logged_in(harness)
        key = key_in(account.session)
        copy = await log_out(account, timeout=TIMEOUT)
        assert left_over(account) == []
        assert not account.session.exists()
        assert (copy.parent, key_in(copy)) == (account.backups, key)
        assert copy.name.startswith("account.logged-out-")
        assert await outcome(account) == AuthRejected.__name__
        harness.write_session(account.session, key)
        assert await outcome(harness.reopened(account)) == AuthRejected.__name__


async def test_a_log_out_of_a_dead_login_moves_it_away(harness: DatacenterHarness) -> None:
    """A key that the datacenter no longer knows is as good as logged out."""
    async with harness:
        account = harness.connector(key=os.urandom(256))
        harness.write_session(account.session, await _dead_key(harness.dc))
        await log_out(account, timeout=TIMEOUT)
        assert not account.session.exists()


async def _dead_key(dc: Sandbox) -> bytes:
    key = dc.authorize(OTHER)
    await dc.inject(Fault(FaultKind.REVOKE, account=OTHER))
    return key


async def test_a_log_out_without_an_answer_changes_nothing(harness: DatacenterHarness) -> None:
    """Without the datacenter the login stays, and so does its file."""
    async with harness as dc:
        account = harness.connector()
        key = key_in(account.session)
        await dc.inject(Fault(FaultKind.REFUSE, duration=60))
        with pytest.raises(LoginFailed, match="is still logged in: connection refused"):
            await log_out(account, timeout=TIMEOUT)
        assert key_in(account.session) == key
        assert left_over(account) == []


async def test_there_is_nothing_to_log_out(harness: DatacenterHarness) -> None:
    """A session that does not exist is said to be logged out already."""
    async with harness:
        account = harness.connector()
        account.session.unlink()
        with pytest.raises(LoginFailed, match="nothing to log out"):
            await log_out(account, timeout=TIMEOUT)


async def test_a_good_login_that_was_never_put_in_place_is_not_deleted(harness: DatacenterHarness) -> None:
    """A login that was killed in its last step, or found no room, left a key: the next login keeps it, and says so."""
    async with harness:
        account = harness.connector()
        account.backups.write_text("this is in the way")
        with pytest.raises(LoginFailed):
            await Login(account, ScriptedAnswers([CODE]), TIMEOUT).run(ByCode(PHONE))
        key = key_in(account.session.with_name(".account.login.session"))
        account.backups.unlink()
        answers = ScriptedAnswers([CODE])
        await Login(account, answers, TIMEOUT).run(ByCode(PHONE))
        kept = [path for path in account.backups.iterdir() if ".not-placed-" in path.name]
        assert [key_in(path) for path in kept] == [key]
        assert key_in(account.session) != key
        assert left_over(account) == []
