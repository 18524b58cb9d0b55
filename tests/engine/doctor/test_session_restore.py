"""``session backup`` and ``session restore``: the real commands on real files."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from telethon.sessions import SQLiteSession

from adapters.sandbox import Sandbox
from adapters.session.backup import backups_of
from tests.adapters.session.support import HOLDS, KEY, change, program, rows, stored_bytes, telethons
from tests.engine.doctor.support import command
from tests.engine.harness import COMPLAINTS, EngineHarness, all_are


def test_a_backup_is_restored(harness: EngineHarness, capsys: Any) -> None:
    """What was backed up is put in place again, what was there is kept, and Telethon opens it."""
    path, config = harness.directory / "account1.session", str(harness.config)
    assert command(capsys, "session", "backup", config, "Account 1")[0] == 0
    telethons(path, b"n" * 256)
    code, said = command(capsys, "session", "restore", config, "Account 1")
    assert (code, "the previous session is in" in said) == (0, True)
    opened = SQLiteSession(str(path))
    assert opened.auth_key.key == KEY
    opened.close()
    _, listed = command(capsys, "session", "restore", config, "Account 1", "--list", "--json")
    assert [json.loads(line)["good"] for line in listed.splitlines()] == [True, True]


def test_a_session_in_use_is_not_restored(harness: EngineHarness, capsys: Any) -> None:
    """The process that holds it is named, and nothing is changed."""
    path, config = harness.directory / "account1.session", str(harness.config)
    command(capsys, "session", "backup", config)
    with program(HOLDS, path) as other:
        assert other.say() == "held"
        code, said = command(capsys, "session", "restore", config, "Account 1")
    assert code == 1
    assert f"used by process {other.process.pid} " in said


def test_without_a_backup_there_is_nothing_to_restore(harness: EngineHarness, capsys: Any) -> None:
    """A sentence that says where it looked, and to log in."""
    code, said = command(capsys, "session", "restore", str(harness.config), "Account 1")
    assert code == 1
    assert "Account 1 has no good backup in" in said
    code, said = command(capsys, "session", "restore", str(harness.config), "Acount 1")
    assert code == 2
    assert "did you mean 'Account 1'?" in said


def test_the_oldest_backup_survives_its_own_restore(harness: EngineHarness, capsys: Any) -> None:
    """What is there now is backed up first, and pushes none out: it may be the one that is wanted."""
    path, config = harness.directory / "account1.session", str(harness.config)
    for number in range(8):
        change(path, f"update sessions set auth_key = x'{bytes([number + 1] * 256).hex()}'")
        if number < 7:
            command(capsys, "session", "backup", config, "Account 1")
    oldest = backups_of(harness.directory / "data" / "backups", "Account 1")[-1].path
    code, said = command(capsys, "session", "restore", config, "Account 1", "--from", str(oldest))
    assert code == 0, said
    assert rows(path, "select auth_key from sessions") == [b"\1" * 256]


def test_a_time_chooses_the_backup_of_then(harness: EngineHarness, capsys: Any) -> None:
    """The last good one of until then; with none of then, or what is neither time nor file, nothing is changed."""
    path, config = harness.directory / "account1.session", str(harness.config)
    directory = harness.directory / "data" / "backups"
    for stamp, key in (("20260101T100000Z", b"a"), ("20260102T100000Z", b"b"), ("20260103T100000Z", b"c")):
        change(path, f"update sessions set auth_key = x'{(key * 256).hex()}'")
        command(capsys, "session", "backup", config, "Account 1")
        backups_of(directory, "Account 1")[0].path.rename(directory / f"Account 1-{stamp}.session")
    for wrong_time, code in (("2025-12-31", 1), ("yesterday", 2)):
        before = stored_bytes(path)
        assert command(capsys, "session", "restore", config, "Account 1", "--from", wrong_time)[0] == code
        assert stored_bytes(path) == before
    code, said = command(capsys, "session", "restore", config, "Account 1", "--from", "2026-01-02T12:00", "--json")
    assert (code, json.loads(said)["restored"]) == (0, str(directory / "Account 1-20260102T100000Z.session"))
    assert rows(path, "select auth_key from sessions") == [b"b" * 256]


def test_what_is_not_a_session_is_set_aside_by_a_restore(harness: EngineHarness, capsys: Any) -> None:
    """Another program's database at that place is not lost, and where it is now is said."""
    path, config = harness.directory / "account1.session", str(harness.config)
    command(capsys, "session", "backup", config)
    assert sorted(one.name for one in harness.directory.glob("account1*")) == ["account1.session"]
    path.unlink()
    change(path, "create table precious (number)", "insert into precious values (7)")
    code, said = command(capsys, "session", "restore", config, "Account 1")
    (aside,) = harness.directory.glob("account1.session.damaged-*")
    assert (code, str(aside) in said) == (0, True)
    assert rows(aside, "select number from precious") == [7]


@pytest.mark.slow
async def test_a_running_engine_is_told_to_pause_first(tmp_path: Path) -> None:
    """Backups go on beside it; a restore needs a pause, as it says; resumed, the account is well again."""
    tmp_path.chmod(0o700)
    harness = EngineHarness(tmp_path)
    async with Sandbox() as dc:
        harness.at(dc, "+9996620001")
        (tmp_path / "account1.session").chmod(0o600)
        async with harness.running() as process:
            await harness.until(all_are("healthy", 1))
            code, said = await harness.command("session", "backup")
            assert code == 0, said
            code, said = await harness.command("doctor")
            assert f"engine: runs as process {process.pid} since" in said
            assert f"Account 1: is used by process {process.pid} " in said
            assert (code, "❌" in said) == (0, False), said
            code, said = await harness.command("session", "restore", "Account 1")
            assert code == 1
            assert "-m engine pause config.yaml 'Account 1'" in said
            assert (await harness.command("pause", "config.yaml", "Account 1"))[0] == 0
            code, said = await harness.command("session", "restore", "Account 1")
            assert code == 0, said
            assert (await harness.command("resume", "config.yaml", "Account 1"))[0] == 0
            await harness.until(all_are("healthy", 1))
            assert await harness.finish(process, signal.SIGINT) == 0
    assert COMPLAINTS.search(harness.text) is None
