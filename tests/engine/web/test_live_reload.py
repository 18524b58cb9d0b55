"""Web server, health, heartbeat and metrics change while a real engine runs."""

import re
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest

from adapters.sandbox import Sandbox
from adapters.system import ServiceManager
from engine import Engine
from engine.app import reload
from tests.engine.app.test_reload import add
from tests.engine.harness import FAST, EngineHarness
from tests.engine.web.test_live import Web
from tests.timeouts import TIMEOUT

PHONES = ("+9996630001", "+9996630002")


@asynccontextmanager
async def running(harness: EngineHarness, rest: str, manager: ServiceManager | None = None) -> AsyncIterator["Live"]:
    """Run an engine with one account, until it is healthy and then for the block."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=FAST + rest)
        engine = Engine.from_config(harness.config)
        engine.manager = manager
        async with engine:
            live = Live(harness, dc, engine)
            await live.healthy("Account 1")
            yield live
            assert live.links() == 1, "the account has lost its connection by a reload of other things"


class Live:
    """A running engine whose config changes."""

    def __init__(self, harness: EngineHarness, dc: Sandbox, engine: Engine) -> None:
        self.harness, self.dc, self.engine = harness, dc, engine

    async def reload(self, rest: str, accounts: str = "") -> dict[str, Any]:
        """Write other sections, and more accounts, into the config; have it applied."""
        text = self.harness.config.read_text("utf-8")
        text = text[: text.index(FAST)] + FAST + rest
        self.harness.config.write_text(re.sub(r"^accounts:\n", f"accounts:\n{accounts}", text, flags=re.MULTILINE))
        assert self.engine._reloader is not None
        with anyio.fail_after(TIMEOUT):
            answer = await self.engine._reloader.answer(str(self.harness.config), dry_run=False)
        assert answer["ok"], answer
        return answer

    async def healthy(self, account: str) -> None:
        """Wait until an account is healthy."""
        with anyio.fail_after(TIMEOUT):
            await self.engine.account(account).ready()

    def links(self) -> int:
        """Return how many connections the first account has had."""
        return self.engine.fleet.runners["Account 1"].snapshot.links


async def refuses(port: int) -> None:
    """Wait until nobody listens at a port."""
    with anyio.fail_after(TIMEOUT):
        while True:
            try:
                await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
            except OSError:
                return
            await anyio.sleep(0.02)


async def test_the_port_moves_and_the_old_one_closes(harness: EngineHarness) -> None:
    """Also for a client that is connected; what was counted is still counted."""
    before, after = Web(harness), Web(harness)
    async with running(harness, before.section) as live:
        await before.until("/readyz", 200)
        async with await anyio.connect_tcp("127.0.0.1", before.port) as client:
            await live.reload(after.section)
            await after.until("/readyz", 200)
            with anyio.fail_after(TIMEOUT), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await client.receive()
        await refuses(before.port)
        assert (await after.samples("holdfast_connection_attempts_total"))[()] == 1


async def test_a_web_server_comes_and_goes(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its libraries are imported in a thread: the loop would stand still for a part of a second."""
    web, threads = Web(harness), list[threading.Thread]()
    preload = reload.preload
    monkeypatch.setattr(reload, "preload", lambda: (threads.append(threading.current_thread()), preload()))
    async with running(harness, "") as live:
        await live.reload(web.section)
        body = await web.until("/healthz", 200)
        assert body["why"] == []
        await live.reload("")
        await refuses(web.port)
        await live.reload(web.section)  # nobody has measured the loop meanwhile
        assert (await web.until("/healthz", 200))["why"] == []
    assert threads
    assert threading.main_thread() not in threads


async def test_a_new_port_that_is_in_use_is_one_sentence(
    harness: EngineHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """The config is applied all the same, the account does not notice, and the next reload mends it."""
    before, after = Web(harness), Web(harness)
    async with running(harness, before.section) as live:
        with socket.create_server(("127.0.0.1", after.port)):
            await live.reload(after.section)
            await refuses(before.port)
            with anyio.fail_after(TIMEOUT):
                while "cannot listen there" not in caplog.text:
                    await anyio.sleep(0.02)
            (line,) = [each for each in caplog.messages if "cannot listen there" in each]
            assert f"127.0.0.1:{after.port}" in line
            assert "address already in use" in line
        await live.reload(before.section)
        await before.until("/readyz", 200)


async def test_names_and_shares_change_and_the_server_answers_by_them(harness: EngineHarness) -> None:
    """``web.hosts``, ``health.ready_when`` and ``metrics.accounts``."""
    web = Web(harness)
    async with running(harness, web.section) as live:
        await web.until("/readyz", 200)
        assert (await web.get("/healthz", host="fleet.example")).status_code == 421
        section = f"web: {{listen: 127.0.0.1:{web.port}, hosts: [fleet.example]}}\n"
        await live.reload(section + "health: {ready_when: 55%}\nmetrics: {accounts: all}\n")
        with anyio.fail_after(TIMEOUT):
            while (await web.get("/healthz", host="fleet.example")).status_code != 200:
                await anyio.sleep(0.02)
        assert (await web.get("/readyz")).json()["ready_when"] == 0.55
        await anyio.sleep(1.1)  # a text of metrics is kept for a second
        assert len(await web.samples("holdfast_account_state_since_timestamp_seconds")) == 1


async def test_requests_of_an_account_that_was_added_are_measured(harness: EngineHarness) -> None:
    """As those of the others."""
    web = Web(harness)
    async with running(harness, web.section) as live:
        await live.reload(web.section, accounts=add(harness, live.dc, 2, PHONES[1]))
        await live.healthy("Account 2")
        before = (await web.samples("holdfast_requests_total")).get(("users", "answered"), 0)
        client = await live.engine.account("Account 2").ready()
        for _ in range(10):
            await client.get_me()
        await anyio.sleep(1.1)
        assert (await web.samples("holdfast_requests_total"))["users", "answered"] >= before + 10
        assert (await web.samples("holdfast_accounts"))["", "healthy"] == 2


class Switch:
    """A dead man's switch, which remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)

    def section(self, path: str, every: str = "1s") -> str:
        return f"heartbeat: {{url: 'http://127.0.0.1:{self.server.server_port}/{path}', every: {every}}}\n"

    async def hears(self, path: str) -> None:
        with anyio.fail_after(TIMEOUT):
            while path not in self.asked:
                await anyio.sleep(0.02)


@pytest.fixture
def switch() -> Iterator[Switch]:
    """Return a switch that listens."""
    made = Switch()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


async def test_heartbeats_begin_change_and_end(harness: EngineHarness, switch: Switch) -> None:
    """Another URL is asked at once, and a slow beat that becomes a quick one does not wait for the slow one."""
    async with running(harness, "") as live:
        await live.reload(switch.section("one", every="1h"))
        await switch.hears("/one")
        await live.reload(switch.section("two", every="1h"))
        await switch.hears("/two")
        switch.asked.clear()
        await live.reload(switch.section("two", every="1s"))
        await switch.hears("/two")
        await live.reload("")
        switch.asked.clear()
        await anyio.sleep(0.5)
        assert switch.asked == []


async def test_systemd_hears_when_a_reload_begins_and_ends(harness: EngineHarness, tmp_path: Path) -> None:
    """Also when it is refused: the unit would be reloading for ever."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(0)
        heard: list[str] = []

        def hear() -> list[str]:
            """Return what was told of reloads since the last time."""
            try:
                while True:
                    heard.append(listener.recv(4096).decode())
            except BlockingIOError:
                found = [each.split("\n")[0] for each in heard if each.startswith(("READY", "RELOADING"))]
                heard.clear()
                return found

        async with running(harness, "", ServiceManager(str(tmp_path / "notify"))) as live:
            assert hear() == ["READY=1"]
            await live.reload("health: {ready_when: 50%}\n")
            assert hear() == ["RELOADING=1", "READY=1"]
            with pytest.raises(AssertionError, match="ready_when"):
                await live.reload("health: {ready_when: most}\n")
            assert hear() == ["RELOADING=1", "READY=1"]
