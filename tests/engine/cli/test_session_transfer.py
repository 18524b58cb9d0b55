"""``session import`` and ``session export``: the real commands on real files."""

import subprocess
import sys
from pathlib import Path

import pytest
import rsa
from telethon.crypto import AuthKey
from telethon.sessions import StringSession

from adapters.session import OwnerLock
from adapters.session.transfer import from_text, read
from engine.cli import app
from tests.engine.harness import EngineHarness

KEY = bytes(range(256))


@pytest.fixture
def harness(tmp_path: Path) -> EngineHarness:
    """Return a config of one account without a session."""
    (tmp_path / "dc.pem").write_bytes(rsa.newkeys(512)[0].save_pkcs1())
    harness = EngineHarness(tmp_path)
    harness.write("{id: 2, host: 127.0.0.1, port: 9, public_key: dc.pem}", "  - {name: Account 1, session: account1}")
    return harness


def run(harness: EngineHarness, *words: str) -> int:
    """Run a command of ``session``; return its exit code."""
    verb, *rest = words
    try:
        app(["session", verb, str(harness.config), "Account 1", *rest])
    except SystemExit as left:
        return int(left.code or 0) if not isinstance(left.code, str) else 1
    return 0


def string(harness: EngineHarness) -> Path:
    """Return a file with a string session of Telethon's."""
    theirs = StringSession()
    theirs.set_dc(2, "149.154.167.51", 443)
    theirs.auth_key = AuthKey(KEY)
    path = harness.directory / "login.txt"
    path.write_text(theirs.save())
    return path


def test_a_login_comes_in_and_goes_out(harness: EngineHarness, capsys: pytest.CaptureFixture[str]) -> None:
    """Out goes the very string that came in, into a private file; neither command prints it, both warn."""
    given = string(harness)
    assert run(harness, "import", str(given)) == 0
    out = harness.directory / "out.txt"
    assert run(harness, "export", str(out), "--to", "string") == 0
    assert out.read_text().strip() == given.read_text().strip()
    assert out.stat().st_mode & 0o777 == 0o600
    assert (harness.directory / "account1.session").stat().st_mode & 0o777 == 0o600
    said = "".join(capsys.readouterr())
    assert said.count("One login is for one program") == 2
    assert from_text(given.read_text()).key == KEY
    assert given.read_text()[:30] not in said


def test_nothing_is_overwritten(harness: EngineHarness, capsys: pytest.CaptureFixture[str]) -> None:
    """A session that is there, and a file that is there, stay as they are."""
    given = string(harness)
    assert run(harness, "import", str(given)) == 0
    before = (harness.directory / "account1.session").read_bytes()
    assert run(harness, "import", str(given)) == 1
    assert (harness.directory / "account1.session").read_bytes() == before
    assert run(harness, "export", str(given), "--to", "string") == 1
    assert "not overwritten" in "".join(capsys.readouterr())


def test_a_session_in_use_is_not_exported(harness: EngineHarness, capsys: pytest.CaptureFixture[str]) -> None:
    """The owner's lock counts, and no file is made."""
    assert run(harness, "import", str(string(harness))) == 0
    lock = OwnerLock(harness.directory / "account1.session")
    lock.acquire()
    out = harness.directory / "out.session"
    assert run(harness, "export", str(out), "--to", "string") == 1
    assert not out.exists()
    lock.release()


def test_pyrogram_needs_the_owner(harness: EngineHarness, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the user's number there is a sentence with what to do, and with it a file that is read again."""
    assert run(harness, "import", str(string(harness))) == 0
    out = harness.directory / "out.session"
    assert run(harness, "export", str(out), "--to", "pyrogram") == 1
    assert "let the account connect once" in "".join(capsys.readouterr())
    assert not out.exists()


def test_a_string_on_the_command_line_is_refused(harness: EngineHarness, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not quoted, and nothing is imported."""
    text = string(harness).read_text()
    assert run(harness, "import", text) == 2
    assert text[:30] not in "".join(capsys.readouterr())
    assert not (harness.directory / "account1.session").exists()


def test_a_session_of_telethons_keeps_all_it_knows(harness: EngineHarness) -> None:
    """A file is copied; ``read`` says that by None."""
    assert run(harness, "import", str(string(harness))) == 0
    mine, other = harness.directory / "account1.session", harness.directory / "other.session"
    mine.rename(other)
    assert read(other) is None
    assert run(harness, "import", str(other)) == 0
    assert mine.exists()


def test_a_login_comes_in_on_standard_input(harness: EngineHarness) -> None:
    """A dash alone is a word as any other, and needs none before it; the whole command line understands it."""
    done = subprocess.run(
        [sys.executable, "-m", "engine", "session", "import", str(harness.config), "Account 1", "-"],
        input=string(harness).read_bytes(),
        env=harness.environment,
        cwd=harness.directory,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (harness.directory / "account1.session").exists()


def test_an_account_whose_directory_does_not_exist_is_not_logged_in(
    harness: EngineHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is said, and not that a lock file cannot be made."""
    text = harness.config.read_text().replace("session: account1", "session: sub/account1")
    harness.config.write_text(text)
    assert run(harness, "export", str(harness.directory / "out.txt"), "--to", "string") == 1
    assert "Account 1 is not logged in" in capsys.readouterr().err


def test_what_is_said_where_sessions_are_in_a_database(
    harness: EngineHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    """A backup is no session that a node uses, and a file that came in is none before it is brought."""
    with harness.config.open("a") as config:
        config.write('\nstorage: {database: "postgresql://holdfast@127.0.0.1:1/fleet"}\n')
    assert run(harness, "restore") == 1
    said = "".join(capsys.readouterr())
    assert "its session is in the database, and not in a file; to write it into one: " in said
    assert "log in again" not in said
    assert run(harness, "import", str(string(harness))) == 0
    assert "No node uses a file; into the database: " in capsys.readouterr().out
