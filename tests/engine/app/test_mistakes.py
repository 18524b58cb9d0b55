"""Mistakes in a program that uses the library: one sentence each, where the mistake is made."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from telethon import TelegramClient, events
from telethon.sessions import MemorySession

from adapters.sandbox import Sandbox
from adapters.telegram.client import LinkClient
from engine import BadJob, ConnectionMonitor, Engine, on
from tests.engine.harness import EngineHarness

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}
accounts:
  - {name: News, session: one}
"""


def plain(_: Any) -> None:
    """Be no coroutine function."""


async def handler(_: Any, __: Any = None) -> None:
    """Be one."""


@functools.wraps(handler)
def wrapping(event: Any) -> Any:
    """Give the coroutine of another function."""
    return handler(event)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """Return an engine that does not run."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    return Engine.from_config(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (lambda engine: engine.on(events.NewMessage())(plain), "a handler is a coroutine function, and plain is none"),
        (lambda engine: engine.on(events.NewMessage())(None), "a handler is a coroutine function"),
        (lambda engine: engine.on(handler), "write: @on"),
        (lambda engine: engine.on(events.NewMessage(), accounts=["News"]), "accounts is one name or pattern"),
        (lambda engine: engine.while_healthy(5), "a background task is a coroutine function, and 5 is none"),
        (lambda engine: engine.while_healthy(plain), "a background task is a coroutine function, and plain is none"),
        (lambda engine: engine.while_healthy(accounts=7), "accounts is one name or pattern"),
        (lambda engine: engine.job_kind(handler), "a kind of jobs has a name"),
        (lambda engine: engine.job_kind("count", data={"n": 1}), "is an attrs class"),
        (lambda engine: engine.job_kind("count")(plain), "is a coroutine function, and plain is none"),
        (lambda engine: engine.job_kind("send"), "there is a kind 'send' already"),
        (lambda _: on(handler), "write: @on"),
    ],
)
def test_a_function_that_cannot_work_is_refused(
    engine: Engine, mistake: Callable[[Engine], Any], sentence: str
) -> None:
    """It is refused at its decorator, and not when its first update comes."""
    with pytest.raises((TypeError, ValueError), match=sentence):
        mistake(engine)


def test_what_gives_a_coroutine_may_be_decorated(engine: Engine) -> None:
    """A wrapper of a coroutine function, a partial one, and an object that is called as one."""

    class Called:
        async def __call__(self, _: Any) -> None:
            """Do nothing."""

    for function in (wrapping, functools.partial(handler, None), Called()):
        assert engine.on(events.NewMessage())(function) is function


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"data": None}, "are a mapping, not None"),
        ({"data": ["a"]}, "are a mapping, not a value of the type list"),
        ({"data": {"to": "me", "text": "hi"}, "account": 5}, "account is a name"),
        ({"data": {"to": "me", "text": "hi"}, "priority": "high"}, "priority is a whole number"),
        ({"data": {"to": "me", "text": "hi"}, "due": "tomorrow"}, "due is a time in Unix seconds"),
        ({"kind": 5, "data": {}}, "kind is a name"),
    ],
)
async def test_a_job_of_wrong_types_is_a_bad_job(engine: Engine, values: dict[str, Any], sentence: str) -> None:
    """A program gets ``BadJob``, whatever it passes."""
    with pytest.raises(BadJob, match=sentence):
        await engine.add_job(**{"kind": "send", **values})


async def test_an_engine_is_entered_once(harness: EngineHarness) -> None:
    """Within its own block and after it, the second ``async with`` is refused; the first goes on."""
    async with Sandbox() as dc:
        harness.at(dc, "+9996620001")
        engine = Engine.from_config(harness.config)
        async with engine:
            with pytest.raises(RuntimeError, match="an Engine is entered once"):
                await engine.__aenter__()
            assert engine.info.running
        with pytest.raises(RuntimeError, match="an Engine is entered once"):
            await engine.__aenter__()


def client() -> TelegramClient:
    """Return a client that is not connected."""
    return TelegramClient(MemorySession(), 1, "0" * 32)


@pytest.mark.parametrize("interval", ["5m", None, True, 0, -1, float("nan"), float("inf")])
def test_an_interval_is_a_number(interval: Any) -> None:
    """Anything else is refused when the monitor is made."""
    with pytest.raises(ValueError, match="check_interval is a number of seconds above 0"):
        ConnectionMonitor(check_interval=interval)


@pytest.mark.parametrize(("name", "given"), [("a", None), ("a", "session"), ("", None), (5, None)])
def test_only_a_client_is_registered(name: Any, given: Any) -> None:
    """What is no client, or has no name, is refused at once."""
    with pytest.raises(TypeError):
        ConnectionMonitor().register_client(name, given)


async def test_what_is_no_client_starts_nothing() -> None:
    """The start refuses it, and watches nobody."""
    monitor = ConnectionMonitor()
    monitor.register_client("a", object())
    with pytest.raises(TypeError, match="a: the monitor watches a TelegramClient of Telethon, not object"):
        monitor.start_monitoring()
    assert "not watching" in repr(monitor)


async def test_a_client_of_the_engine_is_not_watched() -> None:
    """The engine reconnects it, and its key is nobody's to read."""
    monitor = ConnectionMonitor()
    monitor.register_client("a", LinkClient(MemorySession(), 1, "0" * 32))
    with pytest.raises(TypeError, match="a: an engine keeps this client connected already"):
        monitor.start_monitoring()


async def test_a_client_is_watched_once() -> None:
    """Two who reconnect one client would cut each other off."""
    monitor, one = ConnectionMonitor(), client()
    monitor.register_client("a", one)
    with pytest.raises(ValueError, match="registered already, as 'a'"):
        monitor.register_client("b", one)
    assert monitor.get_stats()["a"]["status"] == "unknown"


def test_monitoring_needs_a_loop() -> None:
    """Without one nothing has begun: a later start works."""
    monitor = ConnectionMonitor()
    with pytest.raises(RuntimeError, match="start_monitoring needs a running event loop"):
        monitor.start_monitoring()
    assert "not watching" in repr(monitor)
