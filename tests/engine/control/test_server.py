"""The server at a real socket: private, bounded, and unhurt by whatever comes."""

import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from attrs import define, field
from structlog.testing import capture_logs

from engine.console.messages import render
from engine.control import CommandOutcome, ControlServer, EngineSilent, Request, Verb, ask, server
from engine.control.protocol import MAX_REQUEST_BYTES, RefusalReason
from engine.fleet import watchers
from tests.timeouts import TIMEOUT


@define
class Engine:
    """Commands that write down what was asked."""

    asked: list[tuple[str, str]] = field(factory=list)
    names: Sequence[str] = ("News 1", "News 2", "Jobs")
    timeout: float = 5.0

    def info(self) -> dict[str, Any]:
        """Say who it is."""
        return {"pid": 1}

    def memory(self) -> dict[str, Any]:
        """Say what one account has."""
        return {"Jobs": {"bytes": 5}}

    async def look(self) -> None:
        """Do nothing."""

    async def pause(self, account: str) -> CommandOutcome:
        """Do it."""
        self.asked.append(("pause", account))
        return CommandOutcome(account, True, f"{account} is paused")

    async def hold(self, account: str) -> CommandOutcome:
        """Do it."""
        self.asked.append(("hold", account))
        return CommandOutcome(account, True, f"{account} is paused")

    async def release(self, account: str) -> None:
        """Do it."""
        self.asked.append(("release", account))

    async def resume(self, account: str) -> CommandOutcome:
        """Never come back."""
        await anyio.sleep_forever()
        raise AssertionError

    async def retry(self, account: str) -> CommandOutcome:
        """Fail in an unforeseen way."""
        raise RuntimeError("a bug")


@asynccontextmanager
async def serving(directory: Path, engine: Engine | None = None) -> AsyncIterator[Path]:
    """Serve for the length of the block."""
    path = directory / "engine.sock"
    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(TIMEOUT):
            await tasks.start(ControlServer(path, engine or Engine()).run)
        yield path
        tasks.cancel_scope.cancel()


async def asking(path: Path, verb: Verb, account: str = "") -> dict[str, Any]:
    """Ask as a command does, in a thread."""
    return await anyio.to_thread.run_sync(lambda: ask(path, Request(verb, account), timeout=TIMEOUT))


async def saying(path: Path, said: bytes) -> bytes:
    """Return all that the server answers to raw bytes, until it hangs up or one line has come."""
    async with await anyio.connect_unix(path) as stream:
        await stream.send(said)
        heard = b""
        with anyio.fail_after(TIMEOUT):
            while not heard.endswith(b"\n"):
                try:
                    heard += await stream.receive()
                except anyio.EndOfStream:
                    break
        return heard


async def test_each_account_of_a_pattern_is_answered_for(tmp_path: Path) -> None:
    """A glob is performed for every account that fits, and the answer keeps their order."""
    engine = Engine()
    async with serving(tmp_path, engine) as path:
        answer = await asking(path, Verb.PAUSE, "News *")
    assert [each["account"] for each in answer["accounts"]] == ["News 1", "News 2"]
    assert all(each["done"] for each in answer["accounts"])
    assert sorted(engine.asked) == [("pause", "News 1"), ("pause", "News 2")]


async def test_what_accounts_have_in_memory_is_told(tmp_path: Path) -> None:
    """The answer is the engine's, by account."""
    async with serving(tmp_path) as path:
        assert (await asking(path, Verb.MEMORY))["memory"] == {"Jobs": {"bytes": 5}}


async def test_the_socket_is_its_owner_s_and_goes_with_the_engine(tmp_path: Path) -> None:
    """No other user may connect, and no file is left at the end."""
    async with serving(tmp_path) as path:
        mode = path.stat().st_mode & 0o777
        assert (await asking(path, Verb.INFO))["pid"] == 1
    assert mode == 0o600
    assert not path.exists()


async def test_the_socket_of_a_dead_engine_is_replaced(tmp_path: Path) -> None:
    """A socket file that a killed engine left behind does not keep the next one from listening."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "engine.sock"))
    with pytest.raises(EngineSilent, match="refused"):
        ask(tmp_path / "engine.sock", Request(Verb.INFO), timeout=TIMEOUT)
    async with serving(tmp_path) as path:
        assert (await asking(path, Verb.INFO))["ok"]


async def test_an_unknown_account_gets_a_suggestion(tmp_path: Path) -> None:
    """The answer names the account that was probably meant."""
    async with serving(tmp_path) as path:
        answer = await asking(path, Verb.PAUSE, "News1")
    assert answer["kind"] == RefusalReason.UNKNOWN_ACCOUNT
    assert "did you mean 'News 1'?" in answer["error"]


@pytest.mark.parametrize("said", [b"nonsense\n", b"\xff\x00\n", b"{}\n", b"x" * (MAX_REQUEST_BYTES + 2)])
async def test_a_bad_client_is_told_so_and_hurts_no_other(tmp_path: Path, said: bytes) -> None:
    """Garbage and lines without an end are answered with a sentence, and the next client is served."""
    async with serving(tmp_path) as path:
        assert json.loads(await saying(path, said))["kind"] == RefusalReason.BAD_REQUEST
        assert (await asking(path, Verb.INFO))["ok"]


async def test_a_client_that_says_nothing_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a line is not waited for longer than the patience for reading."""
    monkeypatch.setattr(server, "READ_TIMEOUT", 0.1)
    async with serving(tmp_path) as path:
        assert await saying(path, b'{"do"') == b""


async def test_more_clients_than_there_is_room_for_are_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is kept, and room that becomes free is used again."""
    monkeypatch.setattr(server, "MAX_CLIENTS", 1)
    async with serving(tmp_path) as path:
        async with await anyio.connect_unix(path) as first:
            await first.send(b'{"do": "info"}\n')
            await first.receive()
            assert json.loads(await saying(path, b""))["kind"] == RefusalReason.BUSY
        with anyio.fail_after(TIMEOUT):
            while not (await asking(path, Verb.INFO)).get("ok"):
                await anyio.sleep(0.01)


async def test_a_mistake_of_ours_ends_one_command_only(tmp_path: Path) -> None:
    """An exception in a command hangs up on that client; the server goes on."""
    async with serving(tmp_path) as path:
        with pytest.raises(EngineSilent):
            await asking(path, Verb.RETRY, "Jobs")
        assert (await asking(path, Verb.INFO))["ok"]


async def test_a_command_that_takes_too_long_is_answered_for(tmp_path: Path) -> None:
    """After the engine's own patience the answer says that nothing came of it."""
    async with serving(tmp_path, Engine(timeout=0.1)) as path:
        answer = await asking(path, Verb.RESUME, "Jobs")
    assert [each["done"] for each in answer["accounts"]] == [False]


async def test_an_engine_that_cannot_listen_runs_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that takes no socket costs the commands, not the engine: one sentence says so."""
    monkeypatch.setattr(watchers, "PAUSES", (0.01,))
    (tmp_path / "file").touch()  # a directory that is only missing is made
    with capture_logs() as logged, anyio.move_on_after(0.3):
        await ControlServer(tmp_path / "file" / "engine.sock", Engine()).run()
    (event,) = logged  # told once, however often it is tried
    assert "pause, resume and retry cannot reach this engine" in render(event["event"], event)
