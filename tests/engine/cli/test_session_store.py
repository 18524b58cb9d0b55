"""``session bring`` and ``session take``: the real commands on real files and a real database."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from telethon.sessions import SQLiteSession

from adapters.postgres import session_moves
from adapters.session import OwnerLock
from engine.cli import app
from engine.config import load
from tests.adapters.session.support import KEY, telethons
from tests.storage.session_stores import RowSessions

HEAD = "telegram: {api_id: 1, api_hash: 0123456789abcdef0123456789abcdef}\n"


@pytest.fixture
def config(tmp_path: Path, store_url: str) -> Path:
    """A config of three accounts with a database; two of them have files."""
    telethons(tmp_path / "one.session", b"1" * 256, entities=3)
    telethons(tmp_path / "two.session", b"2" * 256)
    path = tmp_path / "config.yaml"
    path.write_text(
        f"{HEAD}storage: {{database: '{store_url}'}}\naccounts:\n"
        "- {name: One, session: one}\n- {name: Two, session: two}\n- {name: Three, session: three}\n"
    )
    return path


@pytest.fixture
def stored(store_url: str) -> Iterator[RowSessions]:
    """What the database has."""
    rows = RowSessions(store_url, "nobody")
    rows.execute("DELETE FROM accounts")
    yield rows
    rows.close()


def run(verb: str, *words: object) -> int:
    """Run a command of ``session``; return its exit code."""
    try:
        app(["session", verb, *map(str, words)])
    except SystemExit as left:
        return int(left.code or 0) if not isinstance(left.code, str) else 1
    return 0


def logins(stored: RowSessions) -> list[tuple[str, bytes]]:
    """Return which account has which key in the database."""
    question = "SELECT a.name, s.key FROM sessions s JOIN accounts a ON a.id = s.account ORDER BY 1"
    return [(name, bytes(key)) for name, key in stored.execute(question)]


def test_all_files_of_a_config_are_brought_and_one_is_taken_back(
    config: Path, stored: RowSessions, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line says what became of a file, and neither command prints a key."""
    assert run("bring", config) == 0
    said = capsys.readouterr()
    assert "✅ One: its session is in the database (with 3 users and chats); the file is" in said.out
    assert "one.session.brought-" in said.out
    assert logins(stored) == [("One", b"1" * 256), ("Two", b"2" * 256)]
    assert not list(config.parent.glob("*.session"))
    assert run("take", config, "One") == 0
    said = capsys.readouterr()
    assert "✅ One: " in said.out
    assert "one.session has its session, with 3 users and chats" in said.out
    assert "use it in one program only" in said.out
    with closing(SQLiteSession(str(config.parent / "one.session"))) as taken:
        assert taken.auth_key.key == b"1" * 256
    assert run("bring", config, "--json") == 0
    [line] = map(json.loads, capsys.readouterr().out.splitlines())
    assert line == {
        "account": "One",
        "file": str(config.parent / "one.session"),
        "aside": line["aside"],
        "known": False,
    }
    assert run("bring", config) == 0
    assert capsys.readouterr().out == "There is no session file to move\n"


def test_the_command_given_again_finishes_what_was_killed_after_the_rename(
    config: Path, stored: RowSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has another name then, and is not asked for."""
    monkeypatch.setattr(session_moves, "_finish", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    run("bring", config, config.parent / "one.session")
    monkeypatch.undo()
    assert not (config.parent / "one.session").exists()
    assert run("bring", config) == 0
    assert stored.execute("SELECT taken_to FROM sessions") == [(None,), (None,)]


def test_a_file_goes_to_the_account_of_its_path_or_name(
    config: Path, stored: RowSessions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of no account is refused before anything is moved."""
    telethons(tmp_path / "Three.session", KEY)
    telethons(tmp_path / "Thre.session", KEY)
    assert run("bring", config, tmp_path / "one.session", tmp_path / "Thre.session") == 2
    assert "or is called 'Thre'" in capsys.readouterr().err
    assert logins(stored) == []
    assert run("bring", config, tmp_path / "one", tmp_path / "Three.session") == 0
    assert logins(stored) == [("One", b"1" * 256), ("Three", KEY)]
    assert (tmp_path / "two.session").exists()


def test_one_that_is_in_use_keeps_no_other_from_being_moved(
    config: Path, stored: RowSessions, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named with its sentence, and the exit code is 1."""
    lock = OwnerLock(config.parent / "one.session")
    lock.acquire()
    assert run("bring", config) == 1
    lock.release()
    said = capsys.readouterr().out
    assert "❌ One: " in said
    assert "✅ Two: " in said
    assert logins(stored) == [("Two", b"2" * 256)]
    assert (config.parent / "one.session").exists()


def test_no_file_is_overwritten_and_no_database_made_up(
    config: Path, stored: RowSessions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sentences for a file that is there, an account without a login, and a config without a database."""
    assert run("take", config, "One") == 1
    assert "there is a file already, and it is not overwritten; name another with --to" in capsys.readouterr().err
    assert run("take", config, "Three", "--to", tmp_path / "out") == 1
    assert "the account Three has no login in the database" in capsys.readouterr().err
    config.write_text(config.read_text().replace("storage:", "#"))
    for verb, words in (("bring", [config]), ("take", [config, "One"])):
        assert run(verb, *words) == 2
        assert "name a PostgreSQL database there first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("database", "code", "said"),
    [
        ("postgresql://u:hunter%2@127.0.0.1/holdfast", 2, "the address of PostgreSQL cannot be used"),
        ("postgresql://u:hunter2@127.0.0.1:1/holdfast", 1, "no server listens there"),
    ],
)
def test_a_database_that_cannot_be_used_is_a_sentence(
    config: Path, capsys: pytest.CaptureFixture[str], database: str, code: int, said: str
) -> None:
    """Without the password, and with the file where it was."""
    head, _, *accounts = config.read_text().splitlines()
    config.write_text("\n".join([head, f"storage: {{database: '{database}'}}", *accounts]))
    assert run("bring", config) == code
    printed = "".join(capsys.readouterr())
    assert said in printed
    assert "hunter" not in printed
    assert (config.parent / "one.session").exists()


def test_accounts_that_a_wildcard_finds_are_named_when_they_are_gone(
    config: Path, stored: RowSessions, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their config has to name them from then on."""
    lines = config.read_text().splitlines()
    telethons(config.parent / "twin.session", b"3" * 256)
    config.write_text("\n".join([*lines[:2], "accounts: [{session: 't*'}, {name: One, session: one}]"]))
    assert {account.name for account in load(config).accounts} == {"twin", "two", "One"}
    assert run("bring", config, config.parent / "one.session", config.parent / "two.session") == 0
    assert "finds accounts by a wildcard in 'session', and two has no file any more (1 such" in capsys.readouterr().out
    assert run("bring", config) == 0
    assert "by a wildcard in 'session', and no file fits it any more" in capsys.readouterr().out
