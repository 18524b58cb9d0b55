"""The socket for commands outlives whatever happens to it: no descriptors, a deleted file, something in its place."""

import errno
import os
import resource
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.abc import SocketStream
from attrs import define
from structlog.testing import capture_logs

from engine.control import CommandOutcome, ControlServer, EngineSilent, Request, Verb, ask, server
from engine.fleet import watchers
from tests.timeouts import TIMEOUT

REFUSALS = [
    OSError(errno.EMFILE, os.strerror(errno.EMFILE)), OSError(errno.ENFILE, os.strerror(errno.ENFILE)),
    ConnectionAbortedError(errno.ECONNABORTED, "aborted"), OSError(errno.ENOMEM, "no memory"),
]  # fmt: skip


@define
class Commands:
    """Commands of an engine without accounts."""

    names: tuple[str, ...] = ()
    timeout: float = 5.0
    unwritten: None = None

    def info(self) -> dict[str, Any]:
        """Say who it is."""
        return {"pid": 1}

    def jobs_changed(self) -> None:
        """Do nothing."""

    def memory(self) -> dict[str, Any]:
        """Say what one account has."""
        return {"Jobs": {"bytes": 5}}

    async def look(self) -> None:
        """Do nothing."""

    async def pause(self, account: str) -> CommandOutcome:
        """Never be asked."""
        raise AssertionError

    resume = retry = pause


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for milliseconds where the engine waits for seconds."""
    monkeypatch.setattr(server, "ACCEPT_PAUSE", 0.01)
    monkeypatch.setattr(server, "CHECK_EVERY", 0.02)
    monkeypatch.setattr(watchers, "PAUSES", (0.01,))


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[None]:
    """Serve for the length of the block."""
    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(TIMEOUT):
            await tasks.start(ControlServer(path, Commands()).run)
        yield
        tasks.cancel_scope.cancel()


async def answered(path: Path) -> bool:
    """Return whether a command is answered."""
    return bool((await anyio.to_thread.run_sync(lambda: ask(path, Request(Verb.INFO), timeout=TIMEOUT)))["ok"])


async def answered_again(path: Path) -> bool:
    """Ask until a command is answered."""
    with anyio.fail_after(TIMEOUT):
        while True:
            try:
                return await answered(path)
            except EngineSilent:
                await anyio.sleep(0.01)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: errno.errorcode[refusal.errno])
async def test_what_accept_refuses_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: OSError
) -> None:
    """The system has no room for a client for a while: it is told once, and the client is served when there is room."""
    accept, refused = socket.socket.accept, 0

    def refusing(self: socket.socket) -> Any:
        nonlocal refused
        if self.family == socket.AF_UNIX and refused < 5:
            refused += 1
            raise refusal
        return accept(self)

    with capture_logs() as logged:
        async with serving(tmp_path / "engine.sock"):
            monkeypatch.setattr(socket.socket, "accept", refusing)
            assert await answered(tmp_path / "engine.sock")
    assert refused == 5
    assert [event["event"] for event in logged] == ["command_not_heard"]


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Take every descriptor of the process that is free."""
    used: list[int] = []
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limit[1]))
    try:
        with suppress(OSError):
            while True:
                used.append(os.dup(0))
        yield
    finally:
        for descriptor in used:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


@pytest.mark.parametrize("thieves", range(server.SPARES))
async def test_a_process_without_descriptors_hears_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thieves: int
) -> None:
    """Every descriptor is in use, and threads take some that are freed for the command: it is answered all the same."""
    path, close, stolen = tmp_path / "engine.sock", os.close, []

    def close_among_thieves(descriptor: int) -> None:
        close(descriptor)
        if len(stolen) < thieves:
            stolen.append(os.dup(0))

    async with serving(path):
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            with no_descriptors(), monkeypatch.context() as patched:
                patched.setattr(os, "close", close_among_thieves)
                client.connect(str(path))
                client.sendall(b'{"do": "info"}\n')
                with anyio.fail_after(TIMEOUT):
                    await anyio.wait_readable(client)
                assert b'"ok": true' in client.recv(4096)
    for descriptor in stolen:
        os.close(descriptor)
    assert len(stolen) == thieves


async def test_a_deleted_socket_is_made_again(tmp_path: Path) -> None:
    """Somebody has tidied up: commands find the engine again a moment later, and the end leaves no file."""
    path = tmp_path / "engine.sock"
    with capture_logs() as logged:
        async with serving(path):
            path.unlink()
            assert await answered_again(path)
    assert [event["event"] for event in logged] == ["control_unreachable", "control_reachable"]
    assert not path.exists()


async def test_a_deleted_directory_is_made_again(tmp_path: Path) -> None:
    """With the socket in it, and for nobody else: ``workers/2`` looks like something to tidy up."""
    path = tmp_path / "data" / "workers" / "engine.sock"
    path.parent.mkdir(parents=True)
    async with serving(path):
        shutil.rmtree(tmp_path / "data")
        assert await answered_again(path)
        assert [each.stat().st_mode & 0o777 for each in (path.parent, path.parent.parent)] == [0o700, 0o700]


@pytest.mark.parametrize("kind", ["file", "directory", "fifo", "link"])
async def test_what_is_in_the_socket_s_place_stays(tmp_path: Path, kind: str) -> None:
    """A file, a directory, a pipe or a link there is nobody's leftover: one sentence, and nothing is destroyed."""
    path, target = tmp_path / "engine.sock", tmp_path / "precious"
    target.write_text("precious")
    {
        "file": lambda: path.write_text("mine"), "directory": path.mkdir, "fifo": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to(target),
    }[kind]()  # fmt: skip
    before = os.lstat(path)
    with capture_logs() as logged:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ControlServer(path, Commands()).run)
            await anyio.sleep(0.1)
            assert os.path.samestat(os.lstat(path), before)
            path.rmdir() if kind == "directory" else path.unlink()
            assert await answered_again(path)
            tasks.cancel_scope.cancel()
    assert [event["event"] for event in logged] == ["control_unreachable", "control_reachable"]
    assert "something else than a socket" in logged[0]["detail"]
    assert target.read_text() == "precious"


async def test_a_client_s_own_trouble_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever serving one client raises, the next one is served."""
    path, failures = tmp_path / "engine.sock", 0
    serve = ControlServer._answer_requests

    async def failing(self: ControlServer, stream: SocketStream) -> None:
        nonlocal failures
        if failures < 3:
            failures += 1
            raise [MemoryError(), OSError(errno.EMFILE, "none"), RuntimeError("a bug")][failures - 1]
        await serve(self, stream)

    monkeypatch.setattr(ControlServer, "_answer_requests", failing)
    async with serving(path):
        assert await answered_again(path)
    assert failures == 3
