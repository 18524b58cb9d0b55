"""A link's client is as Telethon's constructor would make it, and is gone as soon as nobody uses it."""

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from telethon import TelegramClient
from telethon.sessions import MemorySession

from adapters.sandbox import Fault, FaultKind
from adapters.telegram import TelegramConnector
from adapters.telegram.client import LinkClient
from adapters.telegram.lean_client import LeanSender
from adapters.telegram.protocol_watch import ProtocolStuck
from adapters.telegram.proxy import Proxy
from adapters.telegram.sender import LinkSender
from states.events import CaughtUp, Connected, Failure
from tests.adapters.telegram.harness import DatacenterHarness, events_of
from tests.timeouts import TIMEOUT

CALLBACKS = {"_auth_key_callback", "_auto_reconnect_callback"}
"""What Telethon's client wants to know of its sender, and a link does not."""
OWN_KINDS = {
    "_event_handler_tasks",
    "_mb_entity_cache",
    "_updates_queue",
    "_message_box",
    "_log",
    "_sender",
    "_loggers",
    "_state",
    "_last_acks",
    "_send_queue",
}
"""Attributes of which a link has another kind than Telethon."""


def attributes(one: Any) -> dict[str, Any]:
    """Return what a constructor has set, in the dictionary or in slots."""
    slots = [name for kind in type(one).__mro__ for name in vars(kind).get("__slots__", ()) if hasattr(one, name)]
    return {name: getattr(one, name) for name in (*slots, *vars(one))}


def made(session: Any, proxy: Proxy | None) -> tuple[LinkClient, TelegramClient]:
    """Return two clients with the same settings: a link's, and one that Telethon's constructor has made."""
    connector = TelegramConnector(session=Path("a.session"), api_id=12345, api_hash="0" * 32)
    lean = connector.make_client(session, timeout=7, proxy=proxy)
    whole = connector.make_client(session, timeout=7, proxy=proxy, kind=TelegramClient)
    return lean, whole


@pytest.mark.parametrize(
    "proxy",
    [None, Proxy("socks5", "127.0.0.1", 1080), Proxy("mtproxy", "127.0.0.1", 443, secret=bytes(16))],
    ids=["direct", "socks5", "mtproxy"],
)
async def test_a_client_has_all_that_telethon_gives_it(proxy: Proxy | None) -> None:
    """No attribute is missing after an update of Telethon, and each has the value or the kind of Telethon's."""
    session = MemorySession()
    session.set_dc(2, "127.0.0.1", 443)
    lean, whole = made(session, proxy)
    for name, value in attributes(whole).items():
        own = getattr(lean, name, "absent")
        if name == "_init_request":
            assert own.to_dict() == value.to_dict()
        elif isinstance(value, int | float | str | type | None) and name != "_last_request":
            assert own == value, name
        elif name not in OWN_KINDS:
            assert type(own) is type(value), name
        assert own != "absent", name


async def test_a_sender_has_all_that_telethon_gives_it() -> None:
    """The same for the sender and its message layer."""
    lean, whole = made(MemorySession(), None)
    own, telethons = LinkSender(lean, main=True), whole._sender
    for name, value in attributes(telethons).items():
        assert hasattr(own, name), name
        if isinstance(value, int | float | str | None) and name not in CALLBACKS:
            assert getattr(own, name) == value, name
    assert attributes(telethons._state).keys() <= attributes(own._state).keys() | {"_log"}  # which is a property
    assert vars(telethons._send_queue).keys() == vars(own._send_queue).keys()


async def test_an_impossible_time_is_noticed_by_the_layer_of_a_link() -> None:
    """Telethon only logs it: no attribute of the layer may take the place of the watch's logger."""
    state = LinkSender(made(MemorySession(), None)[0], main=True)._state
    with pytest.raises(ProtocolStuck, match="behind this machine's"):
        state._log.warning("Server sent a very old message with ID %d, ignoring (see FAQ for details)", 1 << 32)


async def test_clients_share_nothing_that_changes() -> None:
    """What one link learns does not reach the next."""
    one, other = made(MemorySession(), None)[0], made(MemorySession(), None)[0]
    for name, value in attributes(one).items():
        shared = value is getattr(other, name) and isinstance(value, list | dict | set)
        assert not shared, name
    for kind in (*LinkClient.__mro__, *LeanSender.__mro__):
        if kind.__module__.startswith("adapters."):
            changeable = {name for name, value in vars(kind).items() if isinstance(value, list | set | dict) and value}
            assert not changeable - {"__annotations__"}, kind


@contextmanager
def no_collections() -> Iterator[None]:
    """Let nothing be collected that refers to itself."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def parts_of_a_link(
    harness: DatacenterHarness, fault: Fault | None, *, at_connect: bool, failed: bool
) -> list["weakref.ref[Any]"]:
    """Open a link, let it end, close it; return weak references to what it had."""
    connector = harness.connector()
    if fault is not None and at_connect:
        await harness.dc.inject(fault)
    link = connector.link(1)
    silent = fault is not None and fault.kind is FaultKind.BLACKHOLE
    outcome = (await link.open(timeout=0.2 if silent else TIMEOUT))[-1]
    assert isinstance(outcome, Failure if failed else Connected)
    if fault is not None and not at_connect:
        with anyio.fail_after(TIMEOUT):
            async for event in events_of(link):
                if isinstance(event, CaughtUp):  # nothing is in flight any more that Telethon would log with its frames
                    await harness.dc.inject(fault)
    parts = [link, link.client, link.client._sender, link.client._message_box, link.client.differences]
    await link.close(timeout=TIMEOUT)
    return [weakref.ref(part) for part in parts if hasattr(part, "__weakref__")]


@pytest.mark.parametrize(
    ("fault", "at_connect", "failed"),
    [
        (None, False, False),
        (Fault(FaultKind.RESET), False, False),
        (Fault(FaultKind.CLOSE), False, False),
        (Fault(FaultKind.RPC_ERROR, code=500, text="INTERNAL"), True, True),
        (Fault(FaultKind.ACCEPT_THEN_CLOSE), True, True),
        (Fault(FaultKind.REFUSE), True, True),
        (Fault(FaultKind.BLACKHOLE), True, True),
    ],
    ids=["closed", "reset", "FIN", "500", "accepted and closed", "refused", "silent"],
)
async def test_a_closed_link_leaves_nothing_to_collect(
    harness: DatacenterHarness, fault: Fault | None, *, at_connect: bool, failed: bool
) -> None:
    """Whatever ended it: client, sender and updates' state are gone with the last reference, not at a collection."""
    async with harness:
        with no_collections():
            parts = await parts_of_a_link(harness, fault, at_connect=at_connect, failed=failed)
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
            assert [part() for part in parts if part() is not None] == []


async def test_a_kept_client_of_a_closed_link_says_that_it_is_over(harness: DatacenterHarness) -> None:
    """Who still holds it gets an error from each request, as before."""
    async with harness:
        link = harness.connector().link(1)
        await link.open(timeout=TIMEOUT)
        client, number = link.client, link.number
        await link.close(timeout=TIMEOUT)
        del link
        with pytest.raises(ConnectionError):
            await client.get_me()
        assert client.number == number
