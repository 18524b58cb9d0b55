"""``doctor``, ``session backup`` and ``session restore``: the real commands on real files."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from adapters.sandbox import Sandbox
from adapters.session.backup import BROUGHT, set_aside
from adapters.sqlite import open_database
from adapters.sqlite.schema import migrate
from adapters.telegram.datacenter_probe import DatacenterProbeResult
from engine import doctor as doctoring
from engine.cli import app
from engine.config import AccountConfig, Config, Telegram
from engine.doctor import directories, network, session_files
from tests.adapters.session.support import HOLDS, KEY, change, killed, program, stored_bytes, telethons
from tests.adapters.session.test_trouble import damage
from tests.engine.doctor.support import command, doctor, wal, wrong
from tests.engine.harness import ROOT, STARTED, EngineHarness, all_are

WELL = (
    "the datacenter answers",
    "clock: agrees",
    "Account 1: has a login",
    "Account 1: journal mode is wal",
)


async def test_a_healthy_place_is_all_well(tmp_path: Path) -> None:
    """With a datacenter that answers, and after a backup, every line is a ✅ and the exit code is 0."""
    tmp_path.chmod(0o700)
    harness = EngineHarness(tmp_path)
    async with Sandbox() as dc:
        harness.at(dc, "+9996620001")
        (tmp_path / "account1.session").chmod(0o600)
        wal(tmp_path / "account1.session")
        assert (await harness.command("session", "backup"))[0] == 0
        code, said = await harness.command("doctor")
    assert code == 0, said
    assert "❌" not in said
    assert "⚠️" not in said
    for line in (
        "the datacenter answers",
        "clock: agrees",
        "Account 1: has a login",
        "Account 1: journal mode is wal",
    ):
        assert line in said


def test_a_login_that_was_moved_into_a_database(harness: EngineHarness, capsys: Any) -> None:
    """The config of the files is still there after ``storage copy``: it says where its logins are."""
    aside = set_aside(harness.directory / "account1.session", BROUGHT)
    code, findings = doctor(harness, capsys)
    assert code == 1
    found = [each for each in findings if "moved into a database" in each["text"]]
    assert [(each["about"], aside.name in each["text"], each["mend"]) for each in found] == [("Account 1", True, "")]


def test_an_unreachable_datacenter_is_reported(harness: EngineHarness, capsys: Any) -> None:
    """The way that leads nowhere is named, and the clock is not compared."""
    code, findings = doctor(harness, capsys)
    assert code == 1
    assert wrong(findings, "network") == ["127.0.0.1:9 through no proxy: unreachable"]
    assert {key: findings[-1][key] for key in ("about", "well")} == {"about": "clock", "well": None}
    assert wrong(findings, "Account 1") == []


def test_a_journal_mode_is_told_and_mended(harness: EngineHarness, capsys: Any) -> None:
    """The guide's check: a file that is not in WAL mode is a ❌ with the command; ``--fix`` turns WAL on."""
    path = harness.directory / "account1.session"
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma journal_mode = delete")
    _, findings = doctor(harness, capsys)
    (bad,) = [one for one in findings if one["text"] == "journal mode is delete"]
    assert (bad["about"], bad["well"]) == ("Account 1", False)
    assert bad["mend"].startswith("python -m engine doctor ")
    assert bad["mend"].endswith(" --fix")
    _, findings = doctor(harness, capsys, "--fix")
    assert wrong(findings, "Account 1") == []
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("pragma journal_mode").fetchone() == ("wal",)


def test_a_file_in_use_is_not_changed(harness: EngineHarness, capsys: Any) -> None:
    """The process that holds a session is named, and ``--fix`` leaves that file alone."""
    path = harness.directory / "account1.session"
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma journal_mode = delete")
    with program(HOLDS, path) as other:
        assert other.say() == "held"
        _, findings = doctor(harness, capsys, "--fix")
    (bad,) = [one for one in findings if one["text"] == "journal mode is delete"]
    assert (bad["well"], bad["mend"].startswith("end the program that uses it, then ")) == (False, True)
    assert any(f"is used by process {other.process.pid} " in one["text"] for one in findings)


def test_an_engine_is_trusted_to_turn_wal_on(harness: EngineHarness, capsys: Any) -> None:
    """A file that an engine has not written to yet is no fault: its first commit turns WAL on."""
    path = harness.directory / "account1.session"
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma journal_mode = delete")
    with program("import sys; sys.argv[0] = 'engine'" + HOLDS, path) as other:
        assert other.say() == "held"
        _, findings = doctor(harness, capsys)
    (told,) = [one for one in findings if one["text"] == "journal mode is delete"]
    assert (told["well"], told["mend"]) == (None, "the engine turns WAL on when it next writes")


def test_loose_permissions_are_told_and_mended(harness: EngineHarness, capsys: Any) -> None:
    """A file that others can read is a ❌ with its chmod; ``--fix`` makes it its owner's alone."""
    path = harness.directory / "account2.session"
    path.chmod(0o644)
    _, findings = doctor(harness, capsys)
    (bad,) = [one for one in findings if "can be used by others" in one["text"]]
    assert bad["mend"] == f"chmod 600 {path}"
    doctor(harness, capsys, "--fix")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_lock_of_another_program_is_reported(harness: EngineHarness, capsys: Any) -> None:
    """A program that holds SQLite's own lock is noticed, though it has no name."""
    with closing(sqlite3.connect(harness.directory / "account1.session", isolation_level=None)) as other:
        other.execute("begin immediate")
        _, findings = doctor(harness, capsys)
    assert wrong(findings, "Account 1") == ["another program holds its write lock"]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "the file is empty"), (b"junk" * 1000, "neither a session nor any other SQLite database")],
)
def test_what_is_not_a_session_is_told_and_left_alone(
    harness: EngineHarness, capsys: Any, content: bytes, says: str
) -> None:
    """The mistake, and the command that puts the backup in its place; not a byte is changed, also with ``--fix``."""
    path = harness.directory / "account1.session"
    path.write_bytes(content)
    path.with_name("account1.session-wal").unlink(missing_ok=True)
    _, findings = doctor(harness, capsys, "--fix")
    (told,) = wrong(findings, "Account 1")
    assert says in told
    assert path.read_bytes() == content


def test_a_login_that_is_missing_is_told(harness: EngineHarness, capsys: Any) -> None:
    """No file and a file without a key are a ❌ each, with the command that logs in."""
    (harness.directory / "account1.session").unlink()
    telethons(harness.directory / "account2.session", key=None)
    with closing(sqlite3.connect(harness.directory / "account2.session")) as database, database:
        database.execute("update sessions set auth_key = x''")
    _, findings = doctor(harness, capsys)
    for account in ("Account 1", "Account 2"):
        bad = [one for one in findings if one["about"] == account and one["well"] is False]
        assert [one["mend"].endswith(f"'{account}'") and " login " in one["mend"] for one in bad] == [True]


def test_a_bad_config_is_exit_code_2(tmp_path: Path) -> None:
    """What cannot be read cannot be examined."""
    with pytest.raises(SystemExit) as left:
        app(["doctor", str(tmp_path / "none.yaml")])
    assert left.value.code == 2


def test_a_key_that_cannot_be_read_is_reported(harness: EngineHarness, capsys: Any) -> None:
    """A public key that is damaged is a problem of the config, not a traceback."""
    (harness.directory / "dc.pem").write_text("-----BEGIN RSA PUBLIC KEY-----\nabcde\n-----END RSA PUBLIC KEY-----\n")
    with pytest.raises(SystemExit) as left:
        app(["doctor", str(harness.config)])
    assert left.value.code == 2
    assert "holds a damaged key" in capsys.readouterr().err


# --- more of what can be wrong ---------------------------------------------------------------------------------------


def test_each_directory_is_told_once(harness: EngineHarness, capsys: Any) -> None:
    """A directory of many session files that others can read is one thing to mend, not one for each."""
    harness.directory.chmod(0o755)
    _, findings = doctor(harness, capsys)
    loose = [one for one in findings if "can be used by others" in one["text"]]
    assert [one["mend"] for one in loose] == [f"chmod 700 {harness.directory}"]
    _, findings = doctor(harness, capsys, "--fix")
    assert [one["text"] for one in findings if one["fixed"]] == [f"{harness.directory} is private to its owner now"]
    assert harness.directory.stat().st_mode & 0o777 == 0o700


def test_a_public_directory_is_not_closed(harness: EngineHarness, capsys: Any) -> None:
    """Sessions in a place like /tmp are advised to move; ``--fix`` does not take the place away from others."""
    harness.directory.chmod(0o1777)
    _, findings = doctor(harness, capsys, "--fix")
    (told,) = [one for one in findings if "can be used by others" in one["text"]]
    assert told["well"] is None
    assert harness.directory.stat().st_mode & 0o7777 == 0o1777


def test_two_files_of_one_login_are_told(harness: EngineHarness, capsys: Any) -> None:
    """A copy of a session beside it would have the datacenter end both; nothing of the key is shown."""
    change(harness.directory / "account2.session", f"update sessions set auth_key = x'{(b'o' * 256).hex()}'")
    assert not any("same login" in one["text"] for one in doctor(harness, capsys)[1])
    change(harness.directory / "account2.session", f"update sessions set auth_key = x'{KEY.hex()}'")
    assert any(
        text.startswith("has the same login as Account 1 (") for text in wrong(doctor(harness, capsys)[1], "Account 2")
    )


def test_every_proxy_of_every_account_is_looked_at(harness: EngineHarness, capsys: Any) -> None:
    """Also the second of a list, which a run needs only when the first one fails; each way once, and no password."""
    text = harness.config.read_text()
    proxies = 'session: account1, proxy: ["socks5://me:secret@127.0.0.1:9", "http://127.0.0.1:9", direct]'
    harness.config.write_text(text.replace("session: account1", proxies))
    _, findings = doctor(harness, capsys)
    ways = [one["text"] for one in findings if one["about"] == "network"]
    assert ways == [
        "127.0.0.1:9 through http://127.0.0.1:9 (of Account 1): unreachable",
        "127.0.0.1:9 through no proxy (of Account 1, Account 2): unreachable",
        "127.0.0.1:9 through socks5://127.0.0.1:9 (of Account 1): unreachable",
    ]


async def test_telegram_itself_is_looked_for_where_the_files_say() -> None:
    """Without a datacenter in the config each file names its own, and a new login goes where Telethon goes."""
    account = AccountConfig(name="A", session=Path("/nowhere/a.session"))
    other = AccountConfig(name="B", session=Path("/nowhere/b.session"))
    telegram = Telegram(api_id=1, api_hash="0" * 32)
    looked: list[Any] = []

    async def inspect_datacenter(address: Any, proxy: Any, *, timeout: float) -> DatacenterProbeResult:
        looked.append(address)
        return DatacenterProbeResult("answers", 400.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "inspect_datacenter", inspect_datacenter)
        config = Config(telegram=telegram, accounts=(account, other))
        found = await network.check(config, {"A": (4, "149.154.167.91", 443), "B": None})
    assert sorted(looked) == [(2, "149.154.167.51", 443), (4, "149.154.167.91", 443)]
    assert (found[-1].about, found[-1].ok) == ("clock", False)


def test_a_session_of_a_killed_program_is_advice(harness: EngineHarness, capsys: Any) -> None:
    """What it left is told, its login is found, and not a byte is changed."""
    path = killed(harness.directory / "account1.session", "delete")
    before = stored_bytes(path)
    _, findings = doctor(harness, capsys)
    texts = {one["text"]: one["well"] for one in findings if one["about"] == "Account 1"}
    assert (
        texts["the last program that wrote it was killed; the next one that opens it undoes the unfinished write"]
        is None
    )
    assert texts["has a login"] is True
    assert stored_bytes(path) == before


def test_a_locked_session_is_not_to_be_restored(harness: EngineHarness, capsys: Any) -> None:
    """A file that cannot be read because another program locks it is whole: no command offers to replace it."""
    command(capsys, "session", "backup", str(harness.config))
    path = change(harness.directory / "account1.session", "pragma journal_mode = delete")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin exclusive")
        _, findings = doctor(harness, capsys)
    (told,) = [one for one in findings if one["about"] == "Account 1" and one["well"] is False]
    assert "locked by another program" in told["text"]
    assert told["mend"] == ""


def test_the_database_of_another_program_is_told_and_stays_as_it_is(harness: EngineHarness, capsys: Any) -> None:
    """``--fix`` does not turn WAL on in it."""
    path = harness.directory / "data" / "engine.db"
    with closing(open_database(path)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("CREATE TABLE sessions (auth_key BLOB)")
    before = path.read_bytes()
    _, findings = doctor(harness, capsys, "--fix")
    (told,) = [one for one in findings if one["about"] == "journal"]
    assert "the database of another program" in told["text"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["junk", "newer", "loose", "not wal", "damaged"])
def test_what_is_wrong_with_the_journal_is_told(harness: EngineHarness, capsys: Any, kind: str) -> None:
    """Each fault is one line with what mends it, and the command that is given works."""
    path = harness.directory / "data" / "engine.db"
    with closing(open_database(path)) as database:
        migrate(database, path)
    match kind:
        case "junk":
            path.write_bytes(b"junk" * 2000)
        case "newer":
            change(path, "pragma user_version = 99")
        case "loose":
            path.chmod(0o640)
        case "not wal":
            change(path, "pragma journal_mode = delete")
        case _:
            damage(path)
    _, findings = doctor(harness, capsys)
    (told,) = [one for one in findings if one["about"] == "journal" and one["well"] is False]
    if kind in ("junk", "damaged"):
        subprocess.run(told["mend"], shell=True, check=True)
        assert not list(path.parent.glob("engine.db*"))
        assert (path.parent / "damaged" / "engine.db").exists()
    elif kind != "newer":
        assert told["mend"] in (f"chmod 600 {path}", f"python -m engine doctor {harness.config} --fix")
        doctor(harness, capsys, "--fix")
    if kind != "newer":
        assert wrong(doctor(harness, capsys)[1], "journal") == []


def test_a_check_that_fails_is_a_line(harness: EngineHarness, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens in one look, it is told, and the others are as ever."""
    real = session_files.inspect

    def inspect(path: Path) -> Any:
        if path.stem == "account1":
            raise RuntimeError("never thought of")
        return real(path)

    monkeypatch.setattr(session_files, "inspect", inspect)
    _, findings = doctor(harness, capsys)
    assert wrong(findings, "Account 1") == ["could not be checked (RuntimeError: never thought of)"]
    assert any(one["about"] == "Account 2" and one["text"] == "has a login" for one in findings)


def test_what_hangs_is_a_line(harness: EngineHarness, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not answer delays one check, for a time, and none of the others."""
    over = threading.Event()
    monkeypatch.setattr(doctoring, "CHECK_TIMEOUT", 0.3)
    monkeypatch.setattr(directories, "check_space", lambda _: (over.wait(10), iter(()))[1])
    try:
        _, findings = doctor(harness, capsys)
    finally:
        over.set()
    assert wrong(findings, "storage") == ["could not be checked within 0.3 s"]
    assert any(one["text"] == "does not run on this data" for one in findings)
    assert any(one["about"] == "Account 2" for one in findings)


def test_a_directory_that_cannot_be_made_is_told(harness: EngineHarness, capsys: Any) -> None:
    """A file stands where the data directory should be, or above it."""
    (harness.directory / "data").write_text("")
    assert "is a file where a directory should be" in wrong(doctor(harness, capsys)[1], "storage")[0]
    text = harness.config.read_text()
    harness.config.write_text(text + "storage: {directory: data/below}\n")
    assert "cannot be created in" in wrong(doctor(harness, capsys)[1], "storage")[0]


def test_a_disk_that_is_almost_full_is_told(
    harness: EngineHarness, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How much is free is said, once for all directories of one disk."""
    monkeypatch.setattr(directories, "MIN_FREE_BYTES", 10**18)
    _, findings = doctor(harness, capsys)
    (told,) = wrong(findings, "disk")
    assert told.endswith(f"MB are free for {harness.directory}")


def test_commands_start_without_telethon() -> None:
    """Its import takes a second, which ``status`` and ``log`` need not wait for."""
    code = "import sys, engine.cli, engine.cli.session_backup; sys.exit('telethon' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0


# --- backups ---------------------------------------------------------------------------------------------------------


def test_backups_that_others_can_read_are_reported(harness: EngineHarness, capsys: Any) -> None:
    """They hold the same keys as the sessions."""
    command(capsys, "session", "backup", str(harness.config))
    (harness.directory / "data" / "backups").chmod(0o755)
    assert "can be used by others" in wrong(doctor(harness, capsys)[1], "backups")[0]


@pytest.mark.slow
async def test_a_run_says_once_what_others_can_use(tmp_path: Path) -> None:
    """One line for all files and directories, with the command that mends it; nothing is changed, and all goes on."""
    tmp_path.chmod(0o755)
    harness = EngineHarness(tmp_path)
    async with Sandbox() as dc:
        harness.at(dc, "+9996620001", "+9996620002")
        for number in (1, 2):
            (tmp_path / f"account{number}.session").chmod(0o644)
        async with harness.running() as process:
            await harness.until(all_are("healthy", 2))
            assert await harness.finish(process, signal.SIGINT) == 0
    (line,) = [line for line in harness.text.splitlines() if "Others can use" in line]
    assert "account1.session and 2 more" in line
    assert line.endswith(f"{STARTED} doctor {harness.config} --fix")
    assert (tmp_path / "account1.session").stat().st_mode & 0o777 == 0o644
