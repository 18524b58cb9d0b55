"""``account``: edits of the config that leave every other line alone, and refuse what an engine would refuse."""

import errno
import json
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.cli.account import add_account, list_accounts, remove_account
from engine.config import edit_file as edit_file_module
from engine.config import load
from engine.config.edit import CannotEdit, with_account, without_account
from engine.config.edit_file import EditRefused, edit_file

HASH = "0123456789abcdef0123456789abcdef"
TEXT = f"""\
# My accounts
telegram: {{api_id: 1, api_hash: {HASH}}}   # from my.telegram.org

accounts:
  # the first one
  - {{name: A, session: a}}   # trailing
  # about B
  - name: B  # why B
    session: "b"
    proxy:
      - direct
    # the end of B

  - {{name: C,   session: c}}
# the rest
states: {{healthy: {{probe_every: 30s}}}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write the config."""
    path = tmp_path / "config.yaml"
    path.write_text(TEXT)
    return path


def outcome(command: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command; return its exit code and what it printed."""
    code = 0
    try:
        command()
    except SystemExit as exc:
        code = int(exc.code or 0)
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_an_account_is_added_as_the_last_one(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line is new, in the form of the entry before it; a phone number is in quotes."""
    code, said = outcome(lambda: add_account(str(config), "N: 1", session="sessions/n", phone="+9996620001"), capsys)
    assert code == 0, said
    new = '  - {name: "N: 1", session: sessions/n, phone: "+9996620001"}\n'
    assert config.read_text() == TEXT.replace("session: c}\n", f"session: c}}\n{new}")
    assert [account.name for account in load(config).accounts] == ["A", "B", "C", "N: 1"]
    assert "reload" in said
    assert config.with_name("config.yaml.bak").read_text() == TEXT


def test_a_block_entry_is_followed_by_a_block_entry() -> None:
    """The new entry has the form of the last one, also at the end of a file that has no end of line."""
    text = "accounts:\n- name: A\n  session: a"
    assert with_account(text, {"name": "B", "session": "b"}) == f"{text}\n- name: B\n  session: b"
    assert with_account("accounts:\r\n- name: A\r\n  session: a\r\n", {"name": "B", "session": "b"}) == (
        "accounts:\r\n- name: A\r\n  session: a\r\n- name: B\r\n  session: b\r\n"
    )


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("A", "  - {name: A, session: a}   # trailing\n"),
        ("B", '  - name: B  # why B\n    session: "b"\n    proxy:\n      - direct\n'),
        ("C", "  - {name: C,   session: c}\n"),
    ],
)
def test_a_removed_account_takes_its_own_lines_along(
    config: Path, capsys: pytest.CaptureFixture[str], name: str, gone: str
) -> None:
    """Comments on lines of their own stay, whomever they are about: nothing that a person wrote is lost unseen."""
    code, said = outcome(lambda: remove_account(str(config), name), capsys)
    assert code == 0, said
    assert config.read_text() == TEXT.replace(gone, "")
    assert name not in [account.name for account in load(config).accounts]


def test_a_list_in_brackets_is_edited_as_well() -> None:
    """What has no lines of its own is edited within its line."""
    text = "accounts: [{name: A, session: a}, {name: B, session: b}] # mine\n"
    assert without_account(text, 0) == "accounts: [{name: B, session: b}] # mine\n"
    assert with_account(text, {"name": "C", "session": "c"}).endswith("{name: C, session: c}] # mine\n")


def test_the_last_account_stays() -> None:
    """A config has at least one account."""
    with pytest.raises(CannotEdit, match="the only account"):
        without_account("accounts:\n  - {name: A, session: a}\n", 0)


@pytest.mark.parametrize(
    ("name", "session", "said"),
    [
        ("A", "new", "A"),
        ("New", "a", "session"),
        ("New", "x/", "must name a file"),
        (" New", "new", "name"),
    ],
)
def test_what_an_engine_would_refuse_is_not_written(
    config: Path, capsys: pytest.CaptureFixture[str], name: str, session: str, said: str
) -> None:
    """The sentence names the config and the line that would be wrong; the file is as it was, and alone."""
    code, printed = outcome(lambda: add_account(str(config), name, session=session), capsys)
    assert code == 2, printed
    assert said in printed
    assert "config.yaml" in printed
    assert str(os.getpid()) not in printed
    assert config.read_text() == TEXT
    assert [path.name for path in config.parent.iterdir()] == ["config.yaml"]


def test_a_link_stays_a_link_and_a_mode_a_mode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the link names is changed, and keeps its mode; the backup has it, too."""
    real = tmp_path / "real" / "mine.yaml"
    real.parent.mkdir()
    real.write_text(TEXT)
    real.chmod(0o640)
    link = tmp_path / "config.yaml"
    link.symlink_to(real)
    code, said = outcome(lambda: remove_account(str(link), "A"), capsys)
    assert code == 0, said
    assert link.is_symlink()
    assert "name: A" not in real.read_text()
    assert [stat.S_IMODE(each.stat().st_mode) for each in (real, real.with_name("mine.yaml.bak"))] == [0o640, 0o640]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "real"]


def test_edits_at_the_same_time_come_one_after_another(config: Path) -> None:
    """Eight at once: each is there, and no other line has changed."""
    with ThreadPoolExecutor(8) as threads:
        entries = [{"name": f"N{number}", "session": f"n{number}"} for number in range(8)]
        list(threads.map(lambda entry: edit_file(config, lambda text: with_account(text, entry)), entries))
    lines = config.read_text().splitlines()
    new = [f"  - {{name: N{number}, session: n{number}}}" for number in range(8)]
    assert sorted(line for line in lines if line in new) == new
    assert [line for line in lines if line not in new] == TEXT.splitlines()
    assert sorted(path.name for path in config.parent.iterdir()) == ["config.yaml", "config.yaml.bak"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "cannot be written to (permission denied)"),
        (OSError(errno.EROFS, "Read-only file system"), "could not be replaced (read-only file system)"),
        (OSError(errno.ENOSPC, "No space left on device"), "could not be replaced (no space left on device)"),
    ],
)
def test_a_directory_that_takes_no_file_is_told(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    """One sentence names the place, and the config is as it was."""

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(edit_file_module, "_write", refuse)
    code, printed = outcome(lambda: remove_account(str(config), "A"), capsys)
    assert (code, printed.count("\n")) == (1, 1)
    assert said in printed
    assert config.read_text() == TEXT


def test_only_a_file_on_a_disk_is_edited(tmp_path: Path) -> None:
    """A pipe, which a config can come from, cannot be replaced."""
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(EditRefused, match="only a file on a disk"):
        edit_file(tmp_path / "config.yaml", str)


def test_an_account_of_a_wildcard_is_not_in_the_file(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The sentence says what to do instead."""
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "one.session").touch()
    (tmp_path / "many" / "None.session").touch()
    config.write_text(TEXT.replace("# the rest", "  - {session: many/*}\n# the rest"))
    for name in ("one", "None"):
        code, said = outcome(lambda: remove_account(str(config), name), capsys)  # noqa: B023 - called at once
        assert code == 1
        assert "move the file away instead" in said


def test_an_unknown_account_is_answered_with_the_nearest(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written for a name that the config does not have."""
    code, said = outcome(lambda: remove_account(str(config), "Bb"), capsys)
    assert (code, "did you mean 'B'?" in said or "there are" in said) == (2, True)
    assert config.read_text() == TEXT


def test_accounts_are_listed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its session file, as people read it and as JSON."""
    assert outcome(lambda: list_accounts(config), capsys) == (0, "A  a.session\nB  b.session\nC  c.session\n")
    code, said = outcome(lambda: list_accounts(config, as_json=True), capsys)
    assert code == 0
    assert [each["name"] for each in json.loads(said)] == ["A", "B", "C"]
