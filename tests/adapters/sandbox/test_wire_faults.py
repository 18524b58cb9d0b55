"""The faults of transport, encryption and numbering, as the unmodified client sees them."""

import asyncio
import contextlib
from typing import Any

import anyio
import pytest
from telethon.errors import AuthKeyNotFound, InvalidBufferError

from adapters.sandbox import Fault, FaultKind, Sandbox, SandboxError
from tests.adapters.sandbox.harness import (
    ALICE,
    BOB,
    QUIET,
    STATE,
    Connect,
    NewSession,
    OpenPeer,
    connection_end,
    faults_end,
    is_alive,
    is_answered,
    next_item,
    record_texts,
)
from tests.timeouts import TIMEOUT


async def lives_on(client: Any) -> bool:
    """Return whether the client still has its connection."""
    with contextlib.suppress(ConnectionError):
        return await is_alive(client)
    return False


def ignored(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    """Return whether Telethon has logged these words."""
    return any(words in record.getMessage() for record in caplog.records)


# Connecting


async def test_a_dropped_syn_hangs_until_the_patience_is_over(connected: Connect) -> None:
    """Connecting hangs until Telethon's own timeout; connections that exist stay, and the port opens again."""
    async with Sandbox() as dc, connected(dc, BOB) as bob:
        port = dc.port
        await dc.inject(Fault(FaultKind.SYN_DROP))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(ConnectionError, match="failed"):
            async with connected(dc, ALICE, timeout=0.3):
                pass
        assert await is_alive(bob)
        await dc.clear()
        async with connected(dc, ALICE) as client:
            assert (dc.port, await is_alive(client)) == (port, True)


async def test_a_dropped_syn_of_one_account(connected: Connect) -> None:
    """On its own port one account hangs while the other connects."""
    async with Sandbox() as dc:
        mine, other = await dc.listen(ALICE), await dc.listen(BOB)
        await dc.inject(Fault(FaultKind.SYN_DROP, ALICE))
        with pytest.raises(ConnectionError, match="failed"):
            async with connected(dc, ALICE, port=mine, timeout=0.3):
                pass
        async with connected(dc, BOB, port=other) as bob:
            assert await is_alive(bob)


async def test_a_dropped_syn_needs_a_port_of_ones_own() -> None:
    """The kernel does not know accounts, so ``syn_drop`` of one account is refused without a port of its own."""
    async with Sandbox() as dc:
        with pytest.raises(SandboxError, match="ask for it with listen first"):
            await dc.inject(Fault(FaultKind.SYN_DROP, ALICE))


async def test_a_port_changes_from_one_closed_way_to_the_other() -> None:
    """Refusing after dropping, dropping after refusing, and then neither."""
    async with Sandbox() as dc:
        await dc.inject(Fault(FaultKind.SYN_DROP))
        await dc.inject(Fault(FaultKind.REFUSE, duration=0.5))
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", dc.port)
        await faults_end(dc, left=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await asyncio.open_connection("127.0.0.1", dc.port)
        await dc.clear()
        _, writer = await asyncio.open_connection("127.0.0.1", dc.port)
        writer.close()
        assert dc.stats()["accepted"] <= 1


async def test_a_dead_backend_counts_its_connections(connected: Connect) -> None:
    """accept_then_close with ``times`` turns away so many, and the next one gets in."""
    async with Sandbox() as dc:
        await dc.inject(Fault(FaultKind.ACCEPT_THEN_CLOSE, times=2))
        for _ in range(2):
            with pytest.raises(ConnectionError):
                async with connected(dc, ALICE):
                    pass
        async with connected(dc, ALICE) as client:
            assert await is_alive(client)


async def test_a_reset_counts_its_connections(connected: Connect) -> None:
    """A reset with ``times`` hits the connection that exists and then new ones."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        assert await is_alive(client)
        await dc.inject(Fault(FaultKind.RESET, ALICE, times=2))
        with pytest.raises(ConnectionResetError):
            await connection_end(client)
        with pytest.raises(ConnectionError):
            async with connected(dc, ALICE):
                pass
        async with connected(dc, ALICE) as again:
            assert await is_alive(again)


async def test_times_are_counted_over_all_accounts(connected: Connect) -> None:
    """A fault of all accounts with ``times`` hits so many in all, not each of them."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice, connected(dc, BOB) as bob:
        assert await is_alive(alice)
        assert await is_alive(bob)
        await dc.inject(Fault(FaultKind.RESET, times=1))
        assert sorted([await lives_on(alice), await lives_on(bob)]) == [False, True]


# Packets


@pytest.mark.parametrize(("code", "error"), [(-404, AuthKeyNotFound), (-429, None), (-444, None)])
async def test_a_transport_error(connected: Connect, code: int, error: type[Exception] | None) -> None:
    """Instead of a packet: the call, the end of the link and connect() raise; the code is in InvalidBufferError."""
    async with Sandbox() as dc, connected(dc, ALICE) as client, connected(dc, BOB) as bob:
        assert await is_answered(client, STATE())
        await dc.inject(Fault(FaultKind.TRANSPORT_ERROR, ALICE, code=code))
        with pytest.raises(error or InvalidBufferError) as ended:
            await connection_end(client)
        with pytest.raises(error or InvalidBufferError) as refused:
            async with connected(dc, ALICE):
                pass
        if error is None:
            assert (ended.value.code, refused.value.code) == (-code, -code)
        assert await is_alive(bob)
        assert dc.stats()["protocol_errors"] == {}


async def test_a_transport_error_during_the_key_exchange(connected: Connect) -> None:
    """During the key exchange even -404 is an InvalidBufferError, raised from connect()."""
    async with Sandbox() as dc:
        await dc.inject(Fault(FaultKind.TRANSPORT_ERROR, code=-404, times=1))
        with pytest.raises(InvalidBufferError) as caught:
            async with connected(dc, connection_retries=0):
                pass
        assert caught.value.code == 404


async def test_a_transport_error_twice(connected: Connect) -> None:
    """With ``times`` the existing connection and the next one are hit; then all is well."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        assert await is_answered(client, STATE())
        await dc.inject(Fault(FaultKind.TRANSPORT_ERROR, ALICE, code=-404, times=2))
        with pytest.raises(AuthKeyNotFound):
            await connection_end(client)
        with pytest.raises(AuthKeyNotFound):
            async with connected(dc, ALICE):
                pass
        async with connected(dc, ALICE) as again:
            assert await is_alive(again)


async def test_garbage_is_an_invalid_buffer(connected: Connect) -> None:
    """Bytes that are not a packet end the link in InvalidBufferError with a code that means nothing."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        assert await is_answered(client, STATE())
        await dc.inject(Fault(FaultKind.GARBAGE, ALICE))
        with pytest.raises(InvalidBufferError) as caught:
            await connection_end(client)
        assert caught.value.code not in (404, 429, 444)
        async with connected(dc, ALICE) as again:
            assert await is_alive(again)


async def test_garbage_in_answer_to_a_packet(connected: Connect) -> None:
    """With ``times`` a new connection is answered with it, and connect() raises."""
    async with Sandbox() as dc:
        await dc.inject(Fault(FaultKind.GARBAGE, times=1))
        with pytest.raises(InvalidBufferError):
            async with connected(dc, ALICE):
                pass


async def test_garbage_is_followed_by_nothing(raw: OpenPeer) -> None:
    """After the garbage the connection is open and dead."""
    async with Sandbox() as dc, raw(dc) as peer:
        await peer.settle()
        await dc.inject(Fault(FaultKind.GARBAGE))
        async with asyncio.timeout(TIMEOUT):
            assert await peer.reader.read(100) == b"\xde\xad\xbe\xef" * 8
        peer.send(STATE())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await peer.reader.read(1)


async def test_a_forgotten_key(connected: Connect, new_session: NewSession) -> None:
    """-404 to the existing connection and to new ones, while others and new keys are known; then it is known again."""
    async with Sandbox() as dc, connected(dc, BOB) as bob:
        session = new_session(dc, ALICE)
        async with connected(dc, session=session) as client:
            assert await is_answered(client, STATE())
            await dc.inject(Fault(FaultKind.FORGET_KEY, ALICE))
            with pytest.raises(AuthKeyNotFound):
                await connection_end(client)
        with pytest.raises(AuthKeyNotFound):
            async with connected(dc, session=session):
                pass
        async with connected(dc) as newcomer:
            assert await is_alive(newcomer)
        assert await is_alive(bob)
        await dc.clear()
        async with connected(dc, session=session) as again:
            assert await is_answered(again, STATE())


async def test_only_keys_that_are_logged_in_are_forgotten(connected: Connect) -> None:
    """A client that is about to log in keeps its connection, even when all keys are forgotten."""
    async with Sandbox() as dc, connected(dc) as newcomer:
        assert await is_alive(newcomer)
        await dc.inject(Fault(FaultKind.FORGET_KEY))
        assert await is_alive(newcomer)


# Encryption and numbering


async def test_a_bad_salt_once(connected: Connect) -> None:
    """Telethon takes the new salt and sends again; the caller does not notice."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await dc.inject(Fault(FaultKind.BAD_SALT, ALICE))
        assert await is_answered(client, STATE())
        assert dc.stats()["acted"] == {"bad_salt": 1}
        assert dc.stats()["protocol_errors"] == {}


async def test_each_bad_salt_names_another_one(raw: OpenPeer) -> None:
    """While the fault is active each new salt is refused again, and a new one follows."""
    async with Sandbox() as dc, raw(dc) as peer:
        await peer.settle()
        await dc.inject(Fault(FaultKind.BAD_SALT, ALICE, times=3))
        salts = {peer.salt}
        for _ in range(3):
            peer.send(STATE())
            peer.salt = (await peer.receive()).new_server_salt
            salts.add(peer.salt)
        assert len(salts) == 4


async def test_a_bad_salt_for_ever_is_a_loop(connected: Connect) -> None:
    """Telethon sends again and again without an error; when the fault ends the request is answered."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await dc.inject(Fault(FaultKind.BAD_SALT, ALICE, duration=60))
        asking = asyncio.ensure_future(client(STATE()))
        async with asyncio.timeout(TIMEOUT):
            while dc.stats()["acted"].get("bad_salt", 0) < 20:
                await asyncio.sleep(0.02)
        assert not asking.done()
        await dc.clear()
        async with asyncio.timeout(TIMEOUT):
            assert (await asking).pts == 1


@pytest.mark.parametrize(("seconds", "words"), [(-400, "very old"), (60, "very new")])
async def test_a_wrong_clock_on_a_link_that_exists(
    connected: Connect, caplog: pytest.LogCaptureFixture, seconds: int, words: str
) -> None:
    """Telethon ignores the answers with a log line, and the call hangs; when the clock is right again it goes on."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        assert await is_alive(client)
        await dc.inject(Fault(FaultKind.CLOCK_OFFSET, ALICE, seconds=seconds))
        assert not await is_answered(client, STATE(), within=QUIET)
        assert ignored(caplog, words)
        await dc.clear()
        assert await is_answered(client, STATE())


@pytest.mark.parametrize("seconds", [-400, 60])
async def test_a_wrong_clock_before_the_link_is_adopted(connected: Connect, seconds: int) -> None:
    """A new client sets its own clock by the first bad_server_salt, works, and mends it when the clock is right."""
    async with Sandbox() as dc:
        await dc.inject(Fault(FaultKind.CLOCK_OFFSET, seconds=seconds))
        async with connected(dc, ALICE) as client:
            assert await is_answered(client, STATE())
            await dc.clear()
            assert await is_answered(client, STATE())
            assert await is_alive(client)


async def test_a_wrong_msg_key_is_a_log_line(connected: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """Telethon throws the answer away with a log line, and the call hangs; the link stays up."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await dc.inject(Fault(FaultKind.WRONG_MSG_KEY, ALICE))
        assert not await is_answered(client, STATE(), within=QUIET)
        assert ignored(caplog, "msg_key doesn't match")
        await dc.clear()
        assert await is_answered(client, STATE())


async def test_a_lost_update_is_in_the_difference(connected: Connect) -> None:
    """A lost update is not pushed; the next one shows the gap, and Telethon fetches both."""
    async with Sandbox() as dc, connected(dc, ALICE, catch_up=False) as client:
        texts = record_texts(client)
        assert await is_answered(client, STATE())
        await dc.inject(Fault(FaultKind.LOST_UPDATE, ALICE))
        await dc.push(ALICE, "lost")
        assert await is_alive(client)
        assert texts.empty()
        await dc.clear()
        await dc.push(ALICE, "found")
        assert [await next_item(texts), await next_item(texts)] == ["lost", "found"]


async def test_what_is_injected_ends_with_the_block(connected: Connect) -> None:
    """A sandbox that ends in the middle of every fault leaves nothing behind."""
    async with Sandbox() as dc, anyio.create_task_group() as tasks:
        await dc.listen(ALICE)
        async with connected(dc, ALICE) as client:
            assert await is_answered(client, STATE())
            for fault in (Fault(FaultKind.SLOW, seconds=60), Fault(FaultKind.SYN_DROP), Fault(FaultKind.BLACKHOLE)):
                await dc.inject(fault)

            async def ask() -> None:
                with contextlib.suppress(asyncio.CancelledError):
                    assert await is_answered(client, STATE())

            tasks.start_soon(ask)
            await asyncio.sleep(0.05)
