"""A reload changes what leaves the machine: web server, health, metrics, heartbeat, alerts. No account reconnects."""

import asyncio
import json
import shlex
import socket
import sys
from http.client import HTTPConnection

import anyio
import pytest

from adapters.sandbox import Fault, FaultKind, Sandbox
from tests.engine.app.test_strange_reloads import PHONES, all_healthy, healthy, reload, running, until
from tests.engine.harness import FAST, EngineHarness

HOST = "127.0.0.1"


def free_port() -> int:
    """Return a port that nothing listens at."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        return int(taken.getsockname()[1])


async def get(port: int, path: str) -> tuple[int, str]:
    """Return status and text of an answer; 0 if nothing listens there."""

    def ask() -> tuple[int, str]:
        connection = HTTPConnection(HOST, port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    return await anyio.to_thread.run_sync(ask)


async def until_status(port: int, path: str, status: int) -> None:
    """Wait for an answer with this status."""
    while (await get(port, path))[0] != status:
        await anyio.sleep(0.02)


def write(harness: EngineHarness, text: str, sections: str) -> None:
    """Write the config with these sections."""
    harness.config.write_text(f"{text}{sections}", encoding="utf-8")


async def test_the_web_server_comes_moves_and_goes(harness: EngineHarness) -> None:
    """It listens where the config of the time says, and by what that counts as ready and as a series."""
    first, second = free_port(), free_port()
    async with Sandbox() as dc, running(harness, dc, rest=FAST) as engine:
        text = harness.config.read_text()
        write(harness, text, f"web: {{listen: '{HOST}:{first}'}}\n")
        assert (await reload(engine))["lines"][0] == f"web: left out → {{listen: {HOST}:{first}}}"
        with anyio.fail_after(60):
            await until_status(first, "/healthz", 200)
        assert 'account="Account 1"' not in (await get(first, "/metrics"))[1]
        await dc.inject(Fault(FaultKind.REVOKE, PHONES[0]))
        await until(lambda: len(healthy(engine)) == 1)
        with anyio.fail_after(60):
            await until_status(first, "/readyz", 503)
        wanted = "health: {ready_when: 50%}\nmetrics: {accounts: all}\n"
        write(harness, text, f"web: {{listen: '{HOST}:{second}'}}\n{wanted}")
        assert (await reload(engine))["ok"]
        with anyio.fail_after(60):
            await until_status(second, "/readyz", 200)
        assert (await get(first, "/healthz"))[0] == 0
        assert 'account="Account 2"' in (await get(second, "/metrics"))[1]
        write(harness, text, "")
        assert (await reload(engine))["ok"]
        with anyio.fail_after(60):
            await until_status(second, "/healthz", 0)
        assert dc.stats()["accepted"] <= 3  # the account whose login was revoked may have looked once more


async def test_a_heartbeat_begins_and_moves(harness: EngineHarness) -> None:
    """The URL of the config of the time is fetched, and no other; no line of the answer shows it."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).decode().split()[1])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Sandbox() as dc, running(harness, dc, 1) as engine:
            text = harness.config.read_text()
            for path in ("/key-one", "/key-two"):
                write(harness, text, f"heartbeat: {{url: 'http://{HOST}:{port}{path}', every: 1s}}\n")
                answer = await reload(engine)
                assert answer["ok"], answer
                assert path not in json.dumps(answer)
                await until(lambda path=path: path in asked)  # type: ignore[misc]  # mypy knows no defaults of lambdas
            write(harness, text, "")
            assert (await reload(engine))["ok"]
            assert set(asked) == {"/key-one", "/key-two"}
            assert dc.stats()["accepted"] == 1


async def test_a_new_channel_hears_of_the_incidents_that_are_open(harness: EngineHarness) -> None:
    """A command that a reload brings is told of the account that needs a person since before."""
    told = harness.directory / "told.json"
    words = [sys.executable, "-c", f"import sys; open({str(told)!r}, 'w').write(sys.stdin.read())"]
    async with Sandbox() as dc, running(harness, dc, rest=FAST) as engine:
        text = harness.config.read_text()
        await dc.inject(Fault(FaultKind.REVOKE, PHONES[0]))
        await until(lambda: bool(engine.incidents.open))
        write(harness, text, f"alerts: [{{exec: {json.dumps(shlex.join(words))}, on: needs_person}}]\n")
        answer = await reload(engine)
        assert answer["lines"][0] == "alerts: none → {exec: …, on: needs_person}", answer
        await until(lambda: told.exists() and bool(told.read_text()))
        assert "Account 1" in told.read_text()
        assert healthy(engine) == {"Account 2"}


@pytest.mark.parametrize("sections", ["incidents: {after: 1s}\n"])
async def test_incidents_go_by_the_new_wait(harness: EngineHarness, sections: str) -> None:
    """A trouble that has lasted as long as the new config says becomes an incident, without a restart."""
    async with Sandbox() as dc, running(harness, dc, rest=FAST) as engine:
        await dc.inject(Fault(FaultKind.RESET))
        await dc.inject(Fault(FaultKind.REFUSE))
        await until(lambda: not healthy(engine))
        assert not engine.incidents.open
        write(harness, harness.config.read_text(), sections)
        assert (await reload(engine))["lines"][0] == "incidents.after: 2 min → 1 s"
        await until(lambda: bool(engine.incidents.open))
        await dc.clear()
        await all_healthy(engine, 2)
