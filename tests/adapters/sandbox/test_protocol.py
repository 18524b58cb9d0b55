"""The message layer and the key exchange against peers that break the rules."""

import asyncio
import struct
from typing import Any

import pytest
from telethon.crypto import AuthKey as ClientKey
from telethon.errors import AuthKeyNotFound
from telethon.tl import functions, types
from telethon.tl.core import GzipPacked

from adapters.sandbox import Sandbox
from adapters.sandbox.mtproto import tl
from adapters.sandbox.mtproto.cipher import AuthKey
from tests.adapters.sandbox.harness import Connect, NewSession, OpenPeer, RawPeer
from tests.timeouts import TIMEOUT

PHONE = "+9996620001"
SELF = functions.messages.SendMessageRequest(types.InputPeerSelf(), "hi", random_id=5)


def container(*messages: tuple[int, int, Any]) -> bytes:
    """Return a msg_container of (msg_id, seq_no, request)."""
    body = struct.pack("<Ii", tl.CONTAINER, len(messages))
    for msg_id, seq_no, request in messages:
        body += struct.pack("<qii", msg_id, seq_no, len(bytes(request))) + bytes(request)
    return body


async def ended(peer: RawPeer) -> None:
    """Wait for the end of the stream."""
    async with asyncio.timeout(TIMEOUT):
        assert await peer.reader.read() == b""


async def test_a_wrong_msg_key_is_answered_with_404(raw: OpenPeer) -> None:
    """A packet whose contents do not match its msg_key is a protocol error: -404, then FIN."""
    async with Sandbox() as dc, raw(dc) as peer:
        packet = bytearray(peer.seal(bytes(functions.PingRequest(1)), peer.new_id(), 1))
        packet[-1] ^= 1
        peer.write(bytes(packet))
        assert await peer.receive() == -404
        await ended(peer)
        assert dc.stats()["protocol_errors"] == {"wrong_msg_key": 1}


async def test_an_unknown_key_raises_auth_key_not_found(new_session: NewSession, connected: Connect) -> None:
    """Telethon with a key that the datacenter does not know gets -404."""
    async with Sandbox() as dc:
        session = new_session(dc)
        session.auth_key = ClientKey(bytes(range(256)))
        with pytest.raises(AuthKeyNotFound):
            async with connected(dc, session=session):
                pass
        assert dc.stats()["protocol_errors"] == {"unknown_auth_key": 1}


async def test_another_session_on_the_same_connection_begins_anew(raw: OpenPeer) -> None:
    """Sessions belong to keys, not to connections: a new one gets new_session_created, and its numbers start again."""
    async with Sandbox() as dc, raw(dc) as peer:
        await peer.settle()
        peer.session_id += 1
        peer.send(functions.PingRequest(1), seq_no=1)
        assert isinstance(await peer.receive(), types.NewSessionCreated)
        assert isinstance(await peer.receive(), types.Pong)
        assert dc.stats()["protocol_errors"] == {}


async def test_a_wrong_salt_names_the_container(raw: OpenPeer) -> None:
    """bad_server_salt carries the id of the outer message, and nothing inside was executed."""
    async with Sandbox() as dc, raw(dc) as peer:
        inner = peer.new_id()
        outer = peer.send(container((inner, 1, SELF)), seq_no=2)
        answer = await peer.receive()
        assert (type(answer), answer.bad_msg_id, answer.error_code) == (types.BadServerSalt, outer, 48)
        assert dc.messages(PHONE) == []


@pytest.mark.parametrize(("offset", "code"), [(-400, 16), (400, 17)])
async def test_an_id_out_of_time_is_refused(raw: OpenPeer, offset: int, code: int) -> None:
    """An id 400 s in the past or in the future is answered with bad_msg 16 or 17."""
    async with Sandbox() as dc, raw(dc) as peer:
        sent = peer.send(functions.PingRequest(1), msg_id=peer.new_id(offset))
        answer = await peer.receive()
        assert (answer.bad_msg_id, answer.error_code) == (sent, code)


async def test_an_id_that_four_does_not_divide_is_refused(raw: OpenPeer) -> None:
    """Client ids are multiples of four: bad_msg 18."""
    async with Sandbox() as dc, raw(dc) as peer:
        peer.send(functions.PingRequest(1), msg_id=peer.new_id() + 1)
        assert (await peer.receive()).error_code == 18
        assert dc.stats()["protocol_errors"] == {"bad_msg_18": 1}


@pytest.mark.parametrize(
    ("request_", "seq_no", "code"),
    [(functions.help.GetConfigRequest(), 2, 35), (types.MsgsAck([1]), 1, 34)],
)
async def test_the_parity_of_a_sequence_number_is_checked(raw: OpenPeer, request_: Any, seq_no: int, code: int) -> None:
    """Requests are odd and acknowledgements even: bad_msg 35 and 34."""
    async with Sandbox() as dc, raw(dc) as peer:
        await peer.settle()
        peer.send(request_, seq_no=seq_no)
        assert isinstance(await peer.receive(), types.NewSessionCreated)
        assert (await peer.receive()).error_code == code


async def test_a_sequence_number_that_falls_is_refused(raw: OpenPeer) -> None:
    """A later message with a lower number is answered with bad_msg 32."""
    async with Sandbox() as dc, raw(dc) as peer:
        await peer.settle()
        peer.send(functions.PingRequest(1), seq_no=9)
        await peer.receive()
        await peer.receive()
        peer.send(functions.PingRequest(2), seq_no=7)
        assert (await peer.receive()).error_code == 32


async def test_an_earlier_message_with_a_higher_number_is_refused(raw: OpenPeer) -> None:
    """A message that arrives late must have a lower number than the later one: bad_msg 33."""
    async with Sandbox() as dc, raw(dc) as peer:
        await peer.settle()
        early = peer.new_id()
        peer.send(functions.PingRequest(1), seq_no=3)
        await peer.receive()
        await peer.receive()
        peer.send(functions.PingRequest(2), seq_no=5, msg_id=early)
        assert (await peer.receive()).error_code == 33


async def test_a_message_received_twice_is_executed_once(raw: OpenPeer) -> None:
    """The same id again is acknowledged and counted, not executed."""
    async with Sandbox() as dc, raw(dc) as peer:
        await peer.settle()
        sent = peer.send(functions.PingRequest(1))
        assert [type(await peer.receive()) for _ in range(2)] == [types.NewSessionCreated, types.Pong]
        peer.send(functions.PingRequest(1), msg_id=sent)
        assert (await peer.receive()).msg_ids == [sent]
        assert dc.stats()["protocol_errors"] == {"duplicate_message": 1}


@pytest.mark.parametrize("body", [struct.pack("<Ii", tl.CONTAINER, 2), struct.pack("<Ii", tl.CONTAINER, -1)])
async def test_a_broken_container_is_refused(raw: OpenPeer, body: bytes) -> None:
    """A container that does not hold what it announces: bad_msg 64."""
    async with Sandbox() as dc, raw(dc) as peer:
        await peer.settle()
        peer.send(body, seq_no=2)
        assert (await peer.receive()).error_code == 64


async def test_a_container_in_a_container_is_refused(raw: OpenPeer) -> None:
    """Containers do not nest: bad_msg 64."""
    async with Sandbox() as dc, raw(dc) as peer:
        await peer.settle()
        inner, outer = peer.new_id(), peer.new_id()
        peer.send(container((inner, 2, container())), seq_no=2, msg_id=outer)
        assert (await peer.receive()).error_code == 64


async def test_a_packed_request_is_unpacked(raw: OpenPeer) -> None:
    """gzip_packed around a request changes nothing."""
    async with Sandbox() as dc, raw(dc) as peer:
        await peer.settle()
        peer.send(bytes(GzipPacked(bytes(functions.PingRequest(77)))))
        assert isinstance(await peer.receive(), types.NewSessionCreated)
        assert (await peer.receive()).ping_id == 77


async def test_an_unknown_constructor_is_an_rpc_error(raw: OpenPeer) -> None:
    """A body that is not a known object is refused in Telegram's words, and the connection goes on."""
    async with Sandbox() as dc, raw(dc) as peer:
        await peer.settle()
        peer.send(b"\x01\x02\x03\x04")
        await peer.receive()
        assert (await peer.receive()).error.error_message.startswith("INPUT_METHOD_INVALID")
        peer.send(functions.PingRequest(3), seq_no=3)
        assert (await peer.receive()).ping_id == 3


async def test_the_state_of_messages_can_be_asked(raw: OpenPeer) -> None:
    """msgs_state_req is answered with one byte for each message."""
    async with Sandbox() as dc, raw(dc) as peer:
        await peer.settle()
        peer.send(types.MsgsStateReq([1, 2]), seq_no=2)
        await peer.receive()
        assert (await peer.receive()).info == "\x04\x04"


async def test_a_delayed_disconnect_is_kept(raw: OpenPeer) -> None:
    """ping_delay_disconnect ends the connection when no other follows in time."""
    async with Sandbox() as dc, raw(dc) as peer:
        await peer.settle()
        peer.send(functions.PingDelayDisconnectRequest(1, 0))
        await peer.receive()
        assert isinstance(await peer.receive(), types.Pong)
        await ended(peer)


async def test_a_later_ping_puts_the_disconnect_off(raw: OpenPeer) -> None:
    """The next ping_delay_disconnect replaces the timer of the one before."""
    async with Sandbox() as dc, raw(dc) as peer:
        await peer.settle()
        peer.send(functions.PingDelayDisconnectRequest(1, 1))
        peer.send(functions.PingDelayDisconnectRequest(2, 60), seq_no=3)
        for _ in range(3):
            await peer.receive()
        await asyncio.sleep(0.95)
        peer.send(functions.PingRequest(3), seq_no=5)
        assert (await peer.receive()).ping_id == 3
        await asyncio.sleep(0.15)
        assert not peer.reader.at_eof()


async def test_noise_on_a_new_connection_harms_no_other(raw: OpenPeer, connected: Connect) -> None:
    """64 random bytes end their own connection and no other."""
    async with Sandbox() as dc, connected(dc, PHONE) as client, raw(dc) as peer:
        peer.writer.write(b"\x55" * 64)
        await ended(peer)
        assert await client.get_me() is not None


async def test_a_plain_packet_that_is_not_an_exchange_is_refused(raw: OpenPeer) -> None:
    """Without a key only the key exchange is answered."""
    async with Sandbox() as dc, raw(dc) as peer:
        body = bytes(functions.help.GetConfigRequest())
        peer.write(struct.pack("<qqi", 0, peer.new_id(), len(body)) + body)
        assert await peer.receive() == -404
        assert dc.stats()["protocol_errors"] == {"exchange_request": 1}


def test_a_key_has_256_bytes() -> None:
    """A shorter key is refused rather than padded."""
    with pytest.raises(ValueError, match="256 bytes"):
        AuthKey.of(bytes(255))
