"""``doctor``, ``session backup`` and ``session restore``: the real commands on real files."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import rsa
from telethon.sessions import SQLiteSession

from adapters.sandbox import Sandbox
from engine.cli import app
from tests.adapters.session.support import HOLDS, KEY, program, telethons
from tests.engine.workplace import Workplace

WELL = (
    "the data centre answers",
    "clock: agrees",
    "Account 1: has a login",
    "Account 1: journal mode is wal",
)


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    """Return a config of two accounts, at a data centre that nobody runs, with private session files."""
    (tmp_path / "dc.pem").write_bytes(rsa.newkeys(512)[0].save_pkcs1())
    place = Workplace(tmp_path)
    accounts = "  - {name: Account 1, session: account1}\n  - {name: Account 2, session: account2}"
    place.write("{id: 2, host: 127.0.0.1, port: 9, public_key: dc.pem}", accounts)
    tmp_path.chmod(0o700)
    for number in (1, 2):
        path = telethons(tmp_path / f"account{number}.session")
        path.chmod(0o600)
        wal(path)
    return place


def wal(path: Path) -> None:
    """Turn WAL on."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma journal_mode = wal")


def doctor(place: Workplace, capsys: Any, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """Run it; return the exit code and what it found."""
    with pytest.raises(SystemExit) as left:
        app(["doctor", str(place.config), "--json", *options])
    code = left.value.code
    return int(code or 0) if not isinstance(code, str) else 1, json.loads(capsys.readouterr().out)


def wrong(findings: list[dict[str, Any]], about: str) -> list[str]:
    """Return what is wrong with something, without what nobody runs a data centre for."""
    return [one["text"] for one in findings if one["well"] is False and one["about"] == about]


async def test_a_healthy_place_is_all_well(tmp_path: Path) -> None:
    """With a data centre that answers, and after a backup, every line is a ✅ and the exit code is 0."""
    tmp_path.chmod(0o700)
    place = Workplace(tmp_path)
    async with Sandbox() as dc:
        place.at(dc, "+9996620001")
        (tmp_path / "account1.session").chmod(0o600)
        wal(tmp_path / "account1.session")
        assert (await place.command("session", "backup"))[0] == 0
        code, said = await place.command("doctor")
    assert code == 0, said
    assert "❌" not in said
    assert "⚠️" not in said
    for line in (
        "the data centre answers",
        "clock: agrees",
        "Account 1: has a login",
        "Account 1: journal mode is wal",
    ):
        assert line in said


def test_nobody_at_the_data_centre_is_said(place: Workplace, capsys: Any) -> None:
    """The way that leads nowhere is named, and the clock is not compared."""
    code, findings = doctor(place, capsys)
    assert code == 1
    assert wrong(findings, "network") == ["127.0.0.1:9 through no proxy: nobody is there"]
    assert {key: findings[-1][key] for key in ("about", "well")} == {"about": "clock", "well": None}
    assert wrong(findings, "Account 1") == []


def test_a_journal_mode_is_told_and_mended(place: Workplace, capsys: Any) -> None:
    """The guide's check: a file that is not in WAL mode is a ❌ with the command; ``--fix`` turns WAL on."""
    path = place.directory / "account1.session"
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma journal_mode = delete")
    _, findings = doctor(place, capsys)
    (bad,) = [one for one in findings if one["text"] == "journal mode is delete"]
    assert (bad["about"], bad["well"]) == ("Account 1", False)
    assert bad["mend"].startswith("python -m engine doctor ")
    assert bad["mend"].endswith(" --fix")
    _, findings = doctor(place, capsys, "--fix")
    assert wrong(findings, "Account 1") == []
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("pragma journal_mode").fetchone() == ("wal",)


def test_a_file_in_use_is_not_changed(place: Workplace, capsys: Any) -> None:
    """Who holds a session is named, and ``--fix`` leaves that file alone."""
    path = place.directory / "account1.session"
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma journal_mode = delete")
    with program(HOLDS, path) as other:
        assert other.say() == "held"
        _, findings = doctor(place, capsys, "--fix")
    assert wrong(findings, "Account 1") == ["journal mode is delete"]
    assert any(f"is used by process {other.process.pid} " in one["text"] for one in findings)


def test_loose_permissions_are_told_and_mended(place: Workplace, capsys: Any) -> None:
    """A file that others can read is a ❌ with its chmod; ``--fix`` makes it its owner's alone."""
    path = place.directory / "account2.session"
    path.chmod(0o644)
    _, findings = doctor(place, capsys)
    (bad,) = [one for one in findings if "can be used by others" in one["text"]]
    assert bad["mend"] == f"chmod 600 {path}"
    doctor(place, capsys, "--fix")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_lock_of_somebody_else_is_told(place: Workplace, capsys: Any) -> None:
    """A program that holds SQLite's own lock is noticed, though it has no name."""
    with closing(sqlite3.connect(place.directory / "account1.session", isolation_level=None)) as other:
        other.execute("begin immediate")
        _, findings = doctor(place, capsys)
    assert wrong(findings, "Account 1") == ["another program holds its write lock"]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "the file is empty"), (b"junk" * 1000, "no session and no SQLite database at all")],
)
def test_what_is_no_session_is_told_and_left_alone(place: Workplace, capsys: Any, content: bytes, says: str) -> None:
    """The mistake, and the command that puts the backup in its place; not a byte is changed, also with ``--fix``."""
    path = place.directory / "account1.session"
    path.write_bytes(content)
    path.with_name("account1.session-wal").unlink(missing_ok=True)
    _, findings = doctor(place, capsys, "--fix")
    (told,) = wrong(findings, "Account 1")
    assert says in told
    assert path.read_bytes() == content


def test_a_login_that_is_missing_is_told(place: Workplace, capsys: Any) -> None:
    """No file and a file without a key are a ❌ each, with the command that logs in."""
    (place.directory / "account1.session").unlink()
    telethons(place.directory / "account2.session", key=None)
    with closing(sqlite3.connect(place.directory / "account2.session")) as database, database:
        database.execute("update sessions set auth_key = x''")
    _, findings = doctor(place, capsys)
    for account in ("Account 1", "Account 2"):
        bad = [one for one in findings if one["about"] == account and one["well"] is False]
        assert [one["mend"].endswith(f"'{account}'") and " login " in one["mend"] for one in bad] == [True]


def test_a_bad_config_is_exit_code_2(tmp_path: Path) -> None:
    """What cannot be read cannot be examined."""
    with pytest.raises(SystemExit) as left:
        app(["doctor", str(tmp_path / "none.yaml")])
    assert left.value.code == 2


def command(capsys: Any, *words: str) -> tuple[Any, str]:
    """Run a command in this process; return exit code and output."""
    code: Any = 0
    try:
        app(list(words))
    except SystemExit as left:
        code = left.code or 0
    said = capsys.readouterr()
    return code, said.out + said.err


def test_a_backup_is_restored(place: Workplace, capsys: Any) -> None:
    """What was backed up is put in place again, what was there is kept, and Telethon opens it."""
    path, config = place.directory / "account1.session", str(place.config)
    assert command(capsys, "session", "backup", config, "Account 1")[0] == 0
    telethons(path, b"n" * 256)
    code, said = command(capsys, "session", "restore", config, "Account 1")
    assert (code, "what was there is in" in said) == (0, True)
    opened = SQLiteSession(str(path))
    assert opened.auth_key.key == KEY
    opened.close()
    _, listed = command(capsys, "session", "restore", config, "Account 1", "--list", "--json")
    assert [json.loads(line)["good"] for line in listed.splitlines()] == [True, True]


def test_a_session_in_use_is_not_restored(place: Workplace, capsys: Any) -> None:
    """Whoever holds it is named, and nothing is changed."""
    path, config = place.directory / "account1.session", str(place.config)
    command(capsys, "session", "backup", config)
    with program(HOLDS, path) as other:
        assert other.say() == "held"
        code, said = command(capsys, "session", "restore", config, "Account 1")
    assert code == 1
    assert f"used by process {other.process.pid} " in said


def test_without_a_backup_there_is_nothing_to_restore(place: Workplace, capsys: Any) -> None:
    """A sentence that says where it looked, and to log in."""
    code, said = command(capsys, "session", "restore", str(place.config), "Account 1")
    assert code == 1
    assert "Account 1 has no good backup in" in said
    code, said = command(capsys, "session", "restore", str(place.config), "Acount 1")
    assert code == 2
    assert "did you mean 'Account 1'?" in said


def test_a_key_that_is_none_is_told(place: Workplace, capsys: Any) -> None:
    """A public key that cannot be read is a line, not a traceback."""
    (place.directory / "dc.pem").write_text("-----BEGIN RSA PUBLIC KEY-----\nabcde\n-----END RSA PUBLIC KEY-----\n")
    code, findings = doctor(place, capsys)
    assert code == 1
    assert "could not be looked at" in wrong(findings, "network")[0]
