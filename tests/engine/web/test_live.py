"""Health, metrics and reports of a real engine on real connections."""

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from adapters.sandbox import Fault, FaultKind, Sandbox
from engine import Engine
from engine.web import health
from tests.engine.harness import FAST, ROOT, EngineHarness
from tests.timeouts import TIMEOUT

PHONES = ("+9996620001", "+9996620002", "+9996620003")
LIBRARIES = ("apprise", "httpx", "jinja2", "prometheus_client", "starlette", "textual", "uvicorn")
"""What only those need whose config asks for it."""


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Web:
    """A client of an engine's web server."""

    def __init__(self, harness: EngineHarness) -> None:
        self.port = free_port()
        self.section = f"web: {{listen: 127.0.0.1:{self.port}}}\n"
        self.harness = harness

    async def get(self, path: str, host: str | None = None) -> httpx.Response:
        """Ask once, by another name if ``host`` is one; wait for a server that does not listen yet."""
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
            with anyio.fail_after(TIMEOUT):
                while True:
                    try:
                        headers = {} if host is None else {"host": host}
                        return await client.get(f"http://127.0.0.1:{self.port}{path}", headers=headers)
                    except httpx.TransportError:  # it does not listen yet, or not any more: a reload moves it
                        await anyio.sleep(0.02)

    async def until(self, path: str, status: int) -> dict[str, object]:
        """Ask until the answer has this status; return its body."""
        with anyio.fail_after(TIMEOUT):
            while (answer := await self.get(path)).status_code != status:
                await anyio.sleep(0.05)
        body: dict[str, object] = answer.json()
        return body

    async def samples(self, name: str) -> dict[tuple[str, ...], float]:
        """Return the series of a name, by the values of their labels in the order of the labels' names."""
        written = (await self.get("/metrics")).text
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for family in parse(written)
            for sample in family.samples
            if sample.name == name
        }


@pytest.fixture
def web(harness: EngineHarness) -> Web:
    """Return a client of the harness's engine."""
    return Web(harness)


@pytest.mark.slow
async def test_metrics_say_what_the_journal_says(harness: EngineHarness, web: Web) -> None:
    """After an outage every transition of the journal is counted, and nothing else; the requests are, too."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES, rest=FAST + web.section)
        engine = Engine.from_config(harness.config)
        async with engine:
            await web.until("/readyz", 200)
            await dc.inject(Fault(FaultKind.REFUSE, duration=0.4))
            await dc.inject(Fault(FaultKind.RESET))
            body = await web.until("/readyz", 503)
            assert "3 accounts are healthy, and ready_when is 90 %" in str(body["why"])
            await web.until("/readyz", 200)
            await (await engine.account("Account 1").ready()).get_me()
            await anyio.sleep(1.1)  # the text of the metrics is kept for a second
            counted = await web.samples("holdfast_transitions_total")
            await engine.flush()
            stored = Counter(
                (each.event, each.source.value, each.target.value)
                for each in harness.entries()
                if each.source is not each.target
            )
            assert {move: counted.get(move) for move in stored} == stored
            assert sum(counted.values()) <= sum(stored.values())
            assert (await web.samples("holdfast_reconnect_duration_seconds_count"))[()] >= 3
            requests = await web.samples("holdfast_requests_total")
            assert requests["users", "answered"] >= 1
            assert (await web.samples("holdfast_journal_batch_rows_count"))[()] >= 1
            assert (await web.samples("holdfast_accounts"))["", "healthy"] == 3


async def test_a_journal_that_cannot_be_written_is_not_live(
    harness: EngineHarness, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program holds the lock: ``/healthz`` says so, and when it is over; the engine goes on."""
    monkeypatch.setattr(health, "JOURNAL_BEHIND", 0.3)
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=FAST + web.section)
        engine = Engine.from_config(harness.config)
        async with engine:
            await web.until("/readyz", 200)
            assert (await web.get("/healthz")).json()["checks"]["journal"]["ok"]
            with closing(sqlite3.connect(harness.directory / "data" / "engine.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                await dc.inject(Fault(FaultKind.RESET))  # something to write down
                body = await web.until("/healthz", 503)
                other.execute("ROLLBACK")
            assert not body["live"]
            assert "no row of the journal was saved for" in str(body["why"])
            assert (await web.until("/healthz", 200))["why"] == []


@pytest.mark.slow
async def test_a_port_in_use_stops_no_account(harness: EngineHarness, web: Web) -> None:
    """The engine runs without its server, and says why in one line."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=FAST + web.section)
        with socket.create_server(("127.0.0.1", web.port)):
            async with harness.running() as process:
                await harness.until(lambda seen: seen.states() == ["healthy"])
                await harness.until(lambda seen: "cannot listen there" in seen.text)
                assert await harness.finish(process, signal.SIGTERM) == 0
    lines = [line for line in harness.text.splitlines() if f"127.0.0.1:{web.port}" in line]
    assert len(lines) == 1
    assert "address already in use" in lines[0]
    assert "Traceback" not in harness.text


@pytest.mark.slow
async def test_systemd_hears_of_the_whole_life_of_a_process(
    harness: EngineHarness, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ready, a status with the accounts, the watchdog, and the end: from ``run``, over a real socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0holdfast-live-{os.getpid()}-{web.port}")
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@holdfast-live-{os.getpid()}-{web.port}")
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        heard: list[str] = []

        async def listen() -> None:
            while True:
                heard.append((await asyncio.get_running_loop().sock_recv(listener, 4096)).decode())

        async with Sandbox() as dc, anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            harness.at(dc, PHONES[0], rest=FAST + web.section)
            async with harness.running(dev=True) as process:
                await harness.until(lambda _: "STATUS=1 of 1 accounts healthy" in heard)
                await web.until("/readyz", 200)
                assert "holdfast_ready 1.0" in (await web.get("/metrics")).text
                await harness.until(lambda _: heard.count("WATCHDOG=1") > 2)
                assert await harness.finish(process, signal.SIGTERM) == 0
            await harness.until(lambda _: "STOPPING=1" in heard)
            tasks.cancel_scope.cancel()
    assert heard[0] == "READY=1"
    assert "uvicorn" not in harness.text


async def test_a_page_of_another_name_is_refused(harness: EngineHarness, web: Web) -> None:
    """The check stands before every route."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=FAST + web.section)
        async with Engine.from_config(harness.config):
            assert (await web.get("/healthz")).status_code == 200
            assert (await web.get("/metrics", host="evil.example")).status_code == 421


@pytest.mark.slow
async def test_a_dead_mans_switch_hears_of_an_engine_that_lives(harness: EngineHarness) -> None:
    """A real server is asked again and again, and its URL is in no line of the log."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(500 if len(asked) == 1 else 200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        async with Sandbox() as dc:
            url = f"http://127.0.0.1:{server.server_port}/TheKeyOfIt"
            harness.at(dc, PHONES[0], rest=FAST + f"heartbeat: {{url: '{url}', every: 1s}}\n")
            async with harness.running() as process:
                await harness.until(lambda _: len(asked) >= 2)
                await harness.until(lambda seen: "reaches 127.0.0.1 again" in seen.text)
                assert await harness.finish(process, signal.SIGTERM) == 0
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert set(asked) == {"/TheKeyOfIt"}
    assert "TheKeyOfIt" not in harness.text
    assert "the answer was 500" in harness.text


PROGRAM = """
import atexit, json, sys
from engine.__main__ import holdfast
sys.argv[0] = "holdfast"
atexit.register(lambda: print("\\n" + json.dumps(sorted(sys.modules)), file=sys.stderr, flush=True))
holdfast()
"""


@pytest.mark.slow
async def test_a_run_without_these_sections_imports_none_of_the_libraries(harness: EngineHarness) -> None:
    """They take memory and a part of a second, and most fleets have no use for them."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        command = [sys.executable, "-c", PROGRAM, "run", str(harness.config), "--for", "300ms"]
        done = await anyio.run_process(command, cwd=harness.directory, env=harness.environment, check=False)
    assert done.returncode == 0, done.stderr
    found = set(json.loads(done.stderr.decode().splitlines()[-1]))
    assert {library for library in LIBRARIES if library in found} == set()


@pytest.mark.slow
def test_the_package_itself_imports_none_of_them() -> None:
    """A program that imports ``Engine`` for something else does not wait for them."""
    program = "import json, sys; from engine import Engine; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=True
    )
    found = set(json.loads(done.stdout.splitlines()[-1]))
    assert {library for library in LIBRARIES if library in found} == set()


def test_the_sections_are_in_the_config_that_is_shown_first() -> None:
    """Whoever reads ``config.yaml`` finds them."""
    text = Path(ROOT / "config.yaml").read_text("utf-8")
    for section in ("web", "health", "heartbeat", "metrics"):
        assert re.search(rf"^# ?{section}: ", text, re.MULTILINE), section
