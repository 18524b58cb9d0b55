"""Each fault as the unmodified client sees it."""

import asyncio
from typing import Any

import pytest
from telethon import events
from telethon.tl import functions

from adapters.sandbox import Fault, FaultKind, Sandbox
from tests.adapters.sandbox.harness import (
    ALICE,
    BOB,
    PING,
    QUIET,
    Connect,
    connection_end,
    faults_end,
    is_alive,
)
from tests.timeouts import TIMEOUT


async def test_reset_is_a_connection_reset(connected: Connect) -> None:
    """RST: the client's connection ends in ConnectionResetError."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        assert await is_alive(client)
        await dc.inject(Fault(FaultKind.RESET))
        with pytest.raises(ConnectionResetError):
            await connection_end(client)


async def test_close_is_the_end_of_the_stream(connected: Connect) -> None:
    """FIN: the client's connection ends in IncompleteReadError, which is an EOFError."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        assert await is_alive(client)
        await dc.inject(Fault(FaultKind.CLOSE))
        with pytest.raises(asyncio.IncompleteReadError):
            await connection_end(client)


async def test_close_is_a_fin_even_while_the_client_sends(connected: Connect) -> None:
    """A request that crosses the FIN does not turn it into a reset."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        assert await is_alive(client)
        asking = asyncio.ensure_future(client(PING(1)))
        await dc.inject(Fault(FaultKind.CLOSE))
        with pytest.raises(asyncio.IncompleteReadError):
            await connection_end(client)
        with pytest.raises(asyncio.IncompleteReadError):
            await asking


async def test_a_black_hole_answers_nothing_and_ends(connected: Connect) -> None:
    """A black hole leaves the connection up and silent, and works again when it is cleared."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await dc.inject(Fault(FaultKind.BLACKHOLE))
        assert not await is_alive(client, within=QUIET)
        assert client.is_connected()
        await dc.clear()
        assert await is_alive(client)


async def test_a_black_hole_swallows_updates(connected: Connect) -> None:
    """What is pushed into a black hole is lost and only in the difference afterwards."""
    # A getDifference that the black hole swallows is never repeated: this client must not be catching up.
    async with Sandbox() as dc, connected(dc, ALICE, catch_up=False) as client:
        texts: asyncio.Queue[str] = asyncio.Queue()

        async def note(event: Any) -> None:
            await texts.put(event.raw_text)

        client.add_event_handler(note, events.NewMessage())
        await dc.inject(Fault(FaultKind.BLACKHOLE))
        await dc.push(ALICE, "lost")
        await dc.clear()
        assert await is_alive(client)
        await asyncio.sleep(0.05)
        assert texts.empty()
        await dc.push(ALICE, "heard")
        async with asyncio.timeout(TIMEOUT):
            assert [await texts.get(), await texts.get()] == ["lost", "heard"]


async def test_a_black_hole_of_one_account_spares_the_other(connected: Connect) -> None:
    """On the shared port a fault of one account acts once its key is known, and on no other account."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice, connected(dc, BOB) as bob:
        await dc.inject(Fault(FaultKind.BLACKHOLE, ALICE))
        assert not await is_alive(alice, within=QUIET)
        assert await is_alive(bob)


async def test_a_reset_of_one_account_spares_the_other(connected: Connect) -> None:
    """Only the connections of the account are reset."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice, connected(dc, BOB) as bob:
        assert await is_alive(alice)
        await dc.inject(Fault(FaultKind.RESET, ALICE))
        with pytest.raises(ConnectionResetError):
            await connection_end(alice)
        assert await is_alive(bob)


async def test_a_reset_with_a_time_hits_new_connections_too(connected: Connect) -> None:
    """With a duration every connection that sends is reset, until the time is over."""
    async with Sandbox() as dc:
        await dc.inject(Fault(FaultKind.RESET, duration=0.5))
        with pytest.raises(ConnectionError):
            async with connected(dc, ALICE):
                pass
        await faults_end(dc)
        async with connected(dc, ALICE) as client:
            assert await is_alive(client)


async def test_refused_is_a_connection_error(connected: Connect) -> None:
    """A port that refuses fails the connect, and the connections that exist stay."""
    async with Sandbox() as dc, connected(dc, BOB) as bob:
        await dc.inject(Fault(FaultKind.REFUSE))
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", dc.port)
        with pytest.raises(ConnectionError, match="failed"):
            async with connected(dc, ALICE):
                pass
        assert await is_alive(bob)


async def test_a_refused_port_opens_again(connected: Connect) -> None:
    """After its time the same port accepts again."""
    async with Sandbox() as dc, connected(dc, BOB) as bob:
        assert await is_alive(bob)
        port = dc.port
        await dc.inject(Fault(FaultKind.REFUSE, duration=0.5))
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await faults_end(dc)
        async with connected(dc, ALICE) as client:
            assert (dc.port, await is_alive(client)) == (port, True)


async def test_accept_then_close_with_a_key(connected: Connect) -> None:
    """A dead backend: connect() raises ConnectionError at once."""
    async with Sandbox() as dc:
        await dc.inject(Fault(FaultKind.ACCEPT_THEN_CLOSE))
        with pytest.raises(ConnectionError):
            async with connected(dc, ALICE):
                pass
        assert dc.stats()["turned_away"] == 1


async def test_accept_then_close_without_a_key(connected: Connect) -> None:
    """A dead backend during the key exchange: the stream ends, or is reset."""
    async with Sandbox() as dc:
        await dc.inject(Fault(FaultKind.ACCEPT_THEN_CLOSE))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            async with connected(dc, connection_retries=0):
                pass


async def test_accept_then_close_of_one_account_on_the_shared_port(connected: Connect) -> None:
    """There the account is known by its key, and its new connection is closed then."""
    async with Sandbox() as dc, connected(dc, BOB) as bob:
        await dc.inject(Fault(FaultKind.ACCEPT_THEN_CLOSE, ALICE))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            async with connected(dc, ALICE):
                pass
        assert await is_alive(bob)


async def test_a_port_of_ones_own_is_refused_alone(connected: Connect) -> None:
    """With a dedicated port one account is refused at TCP level while the other connects."""
    async with Sandbox() as dc:
        mine, other = await dc.listen(ALICE), await dc.listen(BOB)
        assert (mine, len({mine, other, dc.port})) == (await dc.listen(ALICE), 3)
        await dc.inject(Fault(FaultKind.REFUSE, ALICE))
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", mine)
        async with connected(dc, BOB, port=other) as bob:
            assert await is_alive(bob)


async def test_a_port_of_ones_own_turns_away_alone(connected: Connect) -> None:
    """accept_then_close of one account acts on its own port before the first byte."""
    async with Sandbox() as dc:
        port = await dc.listen(ALICE)
        await dc.inject(Fault(FaultKind.ACCEPT_THEN_CLOSE, ALICE))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
        async with connected(dc, BOB) as bob:
            assert await is_alive(bob)


async def test_a_black_hole_eats_the_delayed_disconnect(connected: Connect) -> None:
    """The FIN of a disconnect timer does not come through a black hole."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await client(functions.PingDelayDisconnectRequest(1, 1))
        await dc.inject(Fault(FaultKind.BLACKHOLE))
        await asyncio.sleep(0.6)
        await asyncio.sleep(0.6)
        assert not client.disconnected.done()
        await dc.clear()
        with pytest.raises(asyncio.IncompleteReadError):
            await connection_end(client)


async def test_handshakes_are_counted(connected: Connect) -> None:
    """The statistics show how many clients were connecting at once, and that none is left."""
    async with Sandbox() as dc:
        async with connected(dc, ALICE), connected(dc, BOB):
            pass
        await asyncio.sleep(0.05)
        stats = dc.stats()
        assert (stats["accepted"], stats["connections"], stats["handshakes"]) == (2, 0, {"now": 0, "most": 1})


def test_a_sandbox_can_be_made_before_any_loop_runs() -> None:
    """Only entering it needs a loop; fixtures make one without."""
    assert "0 connections" in repr(Sandbox(port=4430))
