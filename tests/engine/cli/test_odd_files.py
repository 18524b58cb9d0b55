"""Links, pipes, directories and sockets in the place of each file: one sentence, no wait, and nothing is destroyed."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import rsa
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession

from adapters.files import NoFile, open_file, open_input, replace_with
from adapters.session.backup import back_up
from adapters.sqlite.connect import open_database
from engine.cli import app
from engine.config import load as load_config
from tests.engine.harness import ROOT

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef,
           datacenter: {id: 2, host: 127.0.0.1, port: 9, public_key: dc.pem}}
accounts:
  - {name: A, session: a}
"""
KEY = rsa.PublicKey(int("c" * 512, 16) | 1, 65537)
PEM = KEY.save_pkcs1().decode()
COMMANDS = (
    "status", "log", "log stats", "jobs list config.yaml", "jobs show config.yaml 1", "jobs cancel config.yaml 1",
    "session backup", "session restore config.yaml A --list", "jobs add config.yaml send to=@n text=x",
)  # fmt: skip
OWN = ("engine.db", "engine.db-wal", "engine.lock", "engine.db.queue", "backups", "../a.session.lock")
"""The engine's own files, below its directory."""
KINDS = ("link", "dangling", "pipe", "directory", "socket")
SECONDS = 20
"""How long all commands of one place may take on a busy machine."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write a config, a session, a database with nothing in it and a backup; go there, with a limit of time."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "dc.pem").write_text(PEM)
    session = SQLiteSession(str(tmp_path / "a"))
    session.set_dc(2, "127.0.0.1", 9)
    session.auth_key = AuthKey(b"k" * 256)
    session.save()
    session.close()
    open_database(tmp_path / "data" / "engine.db").close()
    back_up(tmp_path / "a.session", tmp_path / "data" / "backups", name="A")
    (tmp_path / "precious").write_text("precious" * 100)
    monkeypatch.chdir(tmp_path)

    def expired(_: int, __: object) -> None:
        raise AssertionError("a command waits for something that never comes")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(SECONDS)
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def put(path: Path, kind: str) -> None:
    """Put something else in a file's place."""
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name("aside"))
    path.unlink(missing_ok=True)
    match kind:
        case "link":
            path.symlink_to(Path("precious").absolute())
        case "dangling":
            path.symlink_to(Path("nothing").absolute())
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
            (path / "x").touch()
        case "socket":
            here = Path.cwd()
            os.chdir(path.parent)
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
            os.chdir(here)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OWN)
def test_no_command_waits_or_destroys(place: Path, capsys: pytest.CaptureFixture[str], name: str, kind: str) -> None:
    """Each command says a sentence and ends; what is behind a link is as it was, and what was put there stays."""
    path = (place / "data" / name).resolve() if name.startswith("..") else place / "data" / name
    put(path, kind)
    there = os.lstat(path)
    for words in COMMANDS:
        with pytest.raises(SystemExit) as left:
            app(words.split())
        assert left.value.code in (None, 0, 1, 2, 3), words
        said = capsys.readouterr()
        assert "Traceback" not in said.err, words
        assert len(said.err.splitlines()) <= 3, said.err
    assert os.path.samestat(os.lstat(path), there)
    assert (place / "precious").read_text() == "precious" * 100
    assert not (place / "nothing").exists()


@pytest.mark.parametrize("kind", ["pipe", "dangling", "socket"])
@pytest.mark.parametrize("name", ["data/engine.db", "data/engine.lock", "a.session", "a.session.lock"])
@pytest.mark.slow
def test_run_says_a_sentence(place: Path, name: str, kind: str) -> None:
    """The engine does not start on what is no file, or its account waits and says why; it ends when it is told to."""
    signal.alarm(0)
    put(place / name, kind)
    done = subprocess.run(
        [sys.executable, "-m", "engine", "run", "config.yaml", "--for", "1s"],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode in (0, 1)
    assert "Traceback" not in done.stderr
    assert not (place / "nothing").exists() or name == "a.session"  # the config names what the link leads to


def test_a_config_and_jobs_come_through_a_pipe(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A secret store writes the config into a pipe, a program the jobs: both are read."""
    for name, text in (("config.fifo", CONFIG), ("jobs.fifo", '{"kind": "send", "data": {"to": "@n", "text": "x"}}\n')):
        os.mkfifo(name)
        threading.Thread(target=Path(name).write_text, args=(text,), daemon=True).start()
    assert load_config(Path("config.fifo")).accounts[0].name == "A"
    with pytest.raises(SystemExit):
        app(["jobs", "add", "config.yaml", "--file", "jobs.fifo"])
    assert "job 1" in capsys.readouterr().out


def test_a_pipe_that_nobody_writes_into_is_not_waited_for(place: Path) -> None:
    """The wait for a program at the other end is bounded."""
    os.mkfifo("silent")
    with pytest.raises(NoFile, match="nothing came out of this pipe"):
        open_input(Path("silent"), 0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_opened_and_nothing_else(place: Path, kind: str) -> None:
    """Whether it would be made, written or read."""
    put(place / "odd", kind)
    for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
        with pytest.raises(NoFile, match="is there, and no file; move it away"):
            open_file(place / "odd", flags)
    assert (place / "precious").read_text() == "precious" * 100
    if kind != "directory":
        replace_with(place / "odd", b"new")
        assert (place / "odd").read_bytes() == b"new"
        assert (place / "precious").read_text() == "precious" * 100


def test_files_are_private_whatever_the_umask_is(place: Path) -> None:
    """A umask of 000 opens nothing to others."""
    before = os.umask(0)
    try:
        for words in ("jobs add config.yaml send to=@n text=x", "session backup", "status"):
            with pytest.raises(SystemExit):
                app(words.split())
    finally:
        os.umask(before)
    made = [path for path in (place / "data").rglob("*") if not path.is_symlink()]
    assert made
    assert not [path for path in made if stat.S_IMODE(path.stat().st_mode) & 0o077]
