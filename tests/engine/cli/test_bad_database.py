"""What commands say of a ``storage.database`` that cannot be used: one sentence, its exit code, never the password."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres.migrate import migrations
from engine.cli import app, node, storage_copy
from tests.engine.config.texts import HEAD, ONE
from tests.postgres.server import GUARDED, PostgresServer

PASSWORD = "verys3cret"
COMMANDS = (
    ("status",),
    ("nodes",),
    ("jobs", "list"),
    ("log",),
    ("pause", "{account}"),
    ("move", "{account}", "eu-1"),
    ("node", "drain", "eu-1"),
    ("session", "take", "{account}"),
)


@pytest.fixture
def guarded(postgres: PostgresServer) -> Iterator[PostgresServer]:
    postgres.execute(f"CREATE ROLE {GUARDED} LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
    yield postgres
    postgres.execute(f"DROP ROLE {GUARDED}")


@pytest.fixture
def stranger() -> Iterator[int]:
    """Something else that listens at a port: it answers as a web server does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(64)
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def config_at(folder: Path, address: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(f"{HEAD}{ONE}storage: {{database: {json.dumps(address)}}}\n", "utf-8")
    return path


def said(path: Path, capsys: Any, command: tuple[str, ...], code: int) -> str:
    """Run a command, expect its exit code and nothing on stdout; return what it said."""
    verbs = {"jobs": 2, "node": 2, "session": 2}.get(command[0], 1)
    words = [*command[:verbs], str(path), *(word.format(account="A") for word in command[verbs:])]
    with pytest.raises(SystemExit) as left:
        app(words)
    found = capsys.readouterr()
    assert (left.value.code, found.out) == (code, ""), found
    assert PASSWORD not in found.err
    assert "Traceback" not in found.err
    assert found.err.count("\n") == 1, found.err
    return str(found.err)


def test_each_command_says_what_is_wrong(
    tmp_path: Path, capsys: Any, guarded: PostgresServer, stranger: int, store_url: str
) -> None:
    """An unknown database, a wrong password, no server, something else than PostgreSQL, a text that is no address."""
    user = f"{GUARDED}:{PASSWORD}"
    bad = (
        (guarded.url("nosuch", user=user), 1, "the server has no such database; create it with 'createdb', or mend"),
        (guarded.url(user=user + "x"), 1, "the server refuses this user or password; mend them in storage.database"),
        (f"postgresql://{user}@127.0.0.1:1/fleet", 1, "no server listens there; start PostgreSQL, or mend host and"),
        (f"postgresql://{user}@127.0.0.1:{stranger}/fleet", 1, "what answers there is no PostgreSQL; mend host and"),
        (f"postgresql://{user}@127.0.0.1:port/fleet", 2, "its host or port cannot be one; write special characters"),
        (f"postgresql://{GUARDED}:a/{PASSWORD}@127.0.0.1/fleet", 2, "its host or port cannot be one; write special"),
    )
    for address, code, words in bad:
        path = config_at(tmp_path, address)
        for command in COMMANDS if code == 1 else COMMANDS[:-1]:
            assert words in said(path, capsys, command, code), (address, command)


def test_a_schema_of_another_version(tmp_path: Path, capsys: Any, postgres: PostgresServer, store_url: str) -> None:
    """Newer, older, or none at all: neither read nor written, because each could be wrong."""
    name, path = store_url.partition("?")[0].rpartition("/")[2], config_at(tmp_path, store_url)
    newest = migrations()[-1].version
    for change, words in (
        ("INSERT INTO schema_versions (version, name) VALUES (9000, 'later')", "update holdfast on this host"),
        (
            "DELETE FROM schema_versions WHERE version IN (9000, {newest})",
            "start a node of this version, which upgrades",
        ),
        ("DROP TABLE schema_versions", "no engine has used this database yet; start a node on it with 'run'"),
    ):
        postgres.execute(change.format(newest=newest), database=name)
        for command in COMMANDS:
            assert words in said(path, capsys, command, 1), command


def test_what_is_not_there(tmp_path: Path, capsys: Any, store_url: str) -> None:
    """No node runs, none is called so, and a config of one engine has none."""
    path = config_at(tmp_path, store_url)
    assert "no node runs; start one with: " in said(path, capsys, ("pause", "{account}"), 3)
    assert "no account is called A; see 'status'" in said(path, capsys, ("move", "{account}", "eu-1"), 2)
    assert "no node is called 'eu-1'; check its spelling" in said(path, capsys, ("node", "drain", "eu-1"), 2)
    path.write_text(HEAD + ONE, "utf-8")
    for command in (("nodes",), ("move", "{account}", "eu-1"), ("node", "resume", "eu-1")):
        assert "has no storage.database and no node.workers, so its accounts are of one engine alone" in said(
            path, capsys, command, 2
        )


def test_many_accounts_that_cannot_move_have_one_sentence(
    tmp_path: Path, capsys: Any, postgres: PostgresServer, store_url: str
) -> None:
    """A pattern means thousands of accounts, and the reason is the same for all."""
    path = config_at(tmp_path, store_url)
    path.write_text(path.read_text("utf-8").replace(ONE, "accounts: [{name: A, session: a}, {name: B, session: b}]\n"))
    name = store_url.partition("?")[0].rpartition("/")[2]
    postgres.execute("INSERT INTO accounts (name) VALUES ('A'), ('B')", database=name)
    assert "no node is called eu-9" in said(path, capsys, ("move", "*", "eu-9"), 2)


def test_a_move_without_a_node_is_not_taken_for_one_of_an_account(tmp_path: Path, capsys: Any) -> None:
    """The config is no account that nobody has."""
    path = config_at(tmp_path, "postgresql://holdfast@127.0.0.1:1/fleet")
    assert f"name an account and a node, after {path}" in said(path, capsys, ("move", "{account}"), 2)


def test_ctrl_c_says_what_stands(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes a drain, or a copy that may be done already, for one that was called off."""

    def interrupted(*_: Any, **__: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(node, "_meant", lambda _, name: [name])
    monkeypatch.setattr(node, "drain_node", lambda *_, **__: 1)
    monkeypatch.setattr(node, "_until_empty", interrupted)
    monkeypatch.setattr(storage_copy, "_copy", interrupted)
    path, files = config_at(tmp_path, "postgresql://holdfast@127.0.0.1:1/fleet"), tmp_path / "files.yaml"
    files.write_text(HEAD + ONE, "utf-8")
    for words, sentence in (
        (["node", "drain", str(path), "eu-1"], "eu-1 goes on draining; to let it take accounts again: "),
        (["storage", "copy", str(files), str(path)], "interrupted: TO has all rows or none of them; give the same"),
        (["storage", "copy", str(files), str(path), "--check"], "interrupted: nothing was written"),
    ):
        with pytest.raises(SystemExit) as left:
            app(words)
        assert left.value.code == 130
        assert capsys.readouterr().err.startswith(sentence)
