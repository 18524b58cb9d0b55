"""One connection: packets in, answers out, until either side ends it."""

import contextlib
import logging
import struct
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from hashlib import sha256
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup
from attrs import define, field
from telethon.tl import functions, types

from adapters.sandbox import services
from adapters.sandbox.errors import UNKNOWN_KEY, BadMessage, ProtocolError, RpcRefusal
from adapters.sandbox.faults.fault import Fault
from adapters.sandbox.faults.hostile import HUGE_FRAME, hostile_body
from adapters.sandbox.faults.kinds import FaultKind, FaultPoint
from adapters.sandbox.mtproto import cipher, key_exchange, tl, transport
from adapters.sandbox.mtproto.cipher import AuthKey, Envelope
from adapters.sandbox.mtproto.key_exchange import KeyExchange
from adapters.sandbox.mtproto.message_layer import BAD_SALT, LAYER_REQUESTS, IncomingMessage, MessageLayer, check_parity
from adapters.sandbox.server.connection_socket import CHUNK_BYTES, ConnectionSocket
from adapters.sandbox.server.faulty_answers import channel_of, pushed_body
from adapters.sandbox.server.hub import Hub
from adapters.sandbox.server.layer_answers import layer_answer
from adapters.sandbox.server.read_patience import ReadPatience
from adapters.sandbox.server.requests import RequestHandler
from adapters.sandbox.store.database import StoredAccount

log = logging.getLogger(__name__)

IDLE_TIMEOUT_SECONDS: Final = 600.0
"""A client pings every minute or so; one that is silent for this long is gone."""
BLACKHOLE_POLL_SECONDS: Final = 0.25
"""How often a connection that should have been closed checks whether the black hole is over."""
MAX_REQUESTS_IN_FLIGHT: Final = 256
DRIP_SECONDS: Final = 1.0
"""Between two bytes of a frame that comes drop by drop."""
ENDLESS: Final = "differences"
"""The hostile answer that is an answer."""
REQUEST_POINTS: Final = (FaultPoint.REQUEST, FaultPoint.ANSWER)


@define(eq=False)
class Connection:
    """Serves one client. ``serve`` returns when the connection is over and leaves no socket behind."""

    _hub: Hub
    _reader: StreamReader
    _writer: StreamWriter
    _dc_id: int
    """The datacenter that the client connected to."""
    _port_account: str | None
    """The phone number that the port belongs to; None on the shared port."""
    _tasks: TaskGroup = field(init=False)
    _socket: ConnectionSocket = field(init=False)
    _requests: RequestHandler = field(init=False)
    _request_slots: anyio.Semaphore = field(factory=lambda: anyio.Semaphore(MAX_REQUESTS_IN_FLIGHT))
    _patience: ReadPatience = field(init=False)
    _exchange: KeyExchange | None = None
    _key: AuthKey | None = None
    _layer: MessageLayer = field(init=False)
    _disconnect_at: float | None = None
    _handshake_ended: bool = False
    _plain_stamp: int = 0

    def __attrs_post_init__(self) -> None:
        self._socket = ConnectionSocket(self._reader, self._writer)
        self._requests = RequestHandler(self._hub, self, self._dc_id)
        self._patience = ReadPatience(self._next_deadline)

    @property
    def _key_dc(self) -> int | None:
        return self._hub.shared.key_dc(self._dc_id)

    @property
    def account(self) -> str | None:
        """Return the phone number of the account, as far as it is known."""
        owner = self._owner()
        return owner.phone if owner else self._port_account

    async def serve(self) -> None:
        """Read until the end. No input of a client makes this raise."""
        self._hub.stats.connections += 1
        self._hub.stats.begin_handshake()
        try:
            async with anyio.create_task_group() as self._tasks:
                with contextlib.suppress(IncompleteReadError, OSError):
                    await self._read()
                self._tasks.cancel_scope.cancel()
        finally:
            self._requests.end(self._key)
            self._end_handshake()
            self._hub.stats.connections -= 1
            await self._socket.aclose()

    def apply_fault(self, fault: Fault) -> bool:
        """Apply a fault to the whole connection now; return False when it can have no effect here."""
        sock = self._socket
        if sock.closed:
            return False
        match fault.kind:
            case FaultKind.RESET | FaultKind.RESET_BEFORE | FaultKind.RESET_AFTER:
                sock.reset()
            case FaultKind.FORGET_KEY if self._owner() is None:
                return False
            case FaultKind.TRANSPORT_ERROR | FaultKind.FORGET_KEY:
                if sock.framing is None:
                    return False
                sock.send_error(fault.code or UNKNOWN_KEY)
            case FaultKind.GARBAGE:
                sock.send_garbage()
            case _:
                sock.close_gracefully()
        self._patience.shorten()
        return True

    def push(self, update: Any) -> None:
        """Send an update."""
        key, store = self._key, self._hub.store
        if key is None or store.is_destroyed(key.id) or not self._requests.may_receive(self._owner()):
            return
        # A login that was revoked gets no updates; a lost update is still in the difference.
        if self._find_fault(FaultPoint.LOGIN):
            return
        faults, fault = self._hub.faults, None
        if not faults.none:
            fault = faults.trigger(FaultPoint.UPDATE, self.account, channel=channel_of(update, store))
        if (body := pushed_body(update, fault)) is not None:
            self._send(body, reply=False, content=True)

    # Reading

    async def _read(self) -> None:
        try:
            with anyio.fail_after(IDLE_TIMEOUT_SECONDS):
                framing = self._socket.framing = await transport.detect(self._reader)
            with self._patience:
                while True:
                    packet = await self._next_packet(framing)
                    if not self._socket.closed and not self._apply_packet_faults(packet):
                        await self._process_packet(packet)
            await self._await_end_of_blackhole()
            raise TimeoutError
        except ProtocolError as error:
            self._hub.stats.count(self._hub.stats.protocol_errors, error.reason)
            log.warning("protocol error: %s, account %s", error, self.account)
            if self._is_blackholed():
                self._socket.close_gracefully()
            else:
                self._socket.send_error(error.code)
            await self._socket.discard_input()
        except TimeoutError:
            self._socket.close_gracefully()
            await self._socket.discard_input()

    def _next_deadline(self, since: float) -> float:
        """Return how long the client may be silent that has been so since then."""
        limits = (since + IDLE_TIMEOUT_SECONDS, self._disconnect_at, self._socket.close_deadline)
        return min(limit for limit in limits if limit is not None)

    async def _next_packet(self, framing: transport.Framing) -> bytes:
        self._patience.begin()
        try:
            return await framing.read(self._reader)
        finally:
            self._patience.end()

    async def _await_end_of_blackhole(self) -> None:
        """Hold the FIN back until the client can see it: it would not come through a black hole either."""
        while self._is_blackholed() and not self._reader.at_eof():
            with anyio.move_on_after(BLACKHOLE_POLL_SECONDS):
                await self._reader.read(CHUNK_BYTES)

    def _apply_packet_faults(self, packet: bytes) -> bool:
        """Apply the fault that hits this packet; return True when the packet must not be processed."""
        self._identify_key(packet)
        if self._socket.closed:
            return True
        fault = self._trigger_fault(FaultPoint.PACKET)
        if fault is None and self._owner() is not None:
            fault = self._trigger_fault(FaultPoint.KEY)
        if fault is None:
            return False
        if fault.kind is not FaultKind.BLACKHOLE:
            self.apply_fault(fault)
        return True

    def _identify_key(self, packet: bytes) -> None:
        """Learn the key from the first encrypted packet. Raises ProtocolError for an unknown key.

        On the shared port this is the moment at which faults of accepting can act for one account.
        """
        key_id = cipher.key_id_of(packet)
        if key_id == 0 or self._key is not None:
            return
        key = self._hub.store.key(key_id, self._key_dc)
        if key is None:
            raise ProtocolError("unknown_auth_key")
        self._use(key)
        if self._port_account is not None:
            return
        listening = self._find_fault(FaultPoint.LISTEN)
        if (listening and listening.kind is FaultKind.REFUSE) or self._trigger_fault(FaultPoint.ACCEPT):
            self._hub.stats.turned_away += 1
            self._socket.close_gracefully()

    def _use(self, key: AuthKey) -> None:
        seed = self._hub.salt_seed + key.id.to_bytes(8, "little")
        salt = int.from_bytes(sha256(seed).digest()[:8], "little", signed=True)
        self._key, self._layer = key, MessageLayer(salt, self._hub.clock)

    async def _process_packet(self, packet: bytes) -> None:
        if cipher.key_id_of(packet) == 0:
            self._process_plain(packet)
        elif self._key is None or cipher.key_id_of(packet) != self._key.id:
            raise ProtocolError("other_auth_key")
        elif self._hub.store.key(self._key.id, self._key_dc) is None:
            raise ProtocolError("unknown_auth_key")
        else:
            await self._process_encrypted(cipher.decrypt(self._key, packet))
        await self._socket.drain()

    def _process_plain(self, packet: bytes) -> None:
        if self._key is not None:
            raise ProtocolError("plain_after_encrypted")
        if self._exchange is None:
            self._exchange = KeyExchange(self._hub.key, self._hub.diffie_hellman, self._hub.clock)
        reply = self._exchange.proceed(key_exchange.read_plain(packet))
        if reply.key is not None:
            self._hub.store.add_key(reply.key, dc_id=self._key_dc)
            self._hub.stats.keys_made += 1
        self._plain_stamp = max(int(self._hub.clock() * 2**32) & ~3, self._plain_stamp) + 5 & ~3 | 1
        self._write(key_exchange.write_plain(self._plain_stamp, reply.answer))

    async def _process_encrypted(self, envelope: Envelope) -> None:
        layer = self._layer
        layer.set_clock(_seconds(self._find_fault(FaultPoint.CLOCK)))
        try:
            layer.check_envelope(envelope)
            if self._trigger_fault(FaultPoint.SALT):
                layer.change_salt()
                raise BadMessage(envelope.msg_id, envelope.seq_no, BAD_SALT)
            messages = layer.unpack(envelope)
            for message in messages:
                await self._process_message(message)
            if messages[:1] != [IncomingMessage(envelope.msg_id, envelope.seq_no, envelope.body)]:
                layer.accept(IncomingMessage(envelope.msg_id, envelope.seq_no, b""))
        except BadMessage as bad:
            self._reject(bad)

    async def _process_message(self, message: IncomingMessage) -> None:
        try:
            if not self._layer.accept(message):
                self._hub.stats.count(self._hub.stats.protocol_errors, "duplicate_message")
                self._send(tl.dump(types.MsgsAck([message.msg_id])), reply=True, content=False)
                return
            self._announce_session(message.msg_id)
            value = tl.read(message.body)
            check_parity(message, value)
            query = tl.unwrap(value)
        except BadMessage as bad:
            self._reject(bad)
        except RpcRefusal as refusal:
            self._hub.stats.count(self._hub.stats.protocol_errors, "unreadable_request")
            self._send(tl.rpc_error(message.msg_id, refusal), reply=True, content=True)
        else:
            await self._dispatch(message, value, query)

    async def _dispatch(self, message: IncomingMessage, value: Any, query: tl.Query) -> None:
        """Answer at once while no fault is active, which alone can let an answer take its time."""
        if not tl.is_request(value):
            self._answer_layer(message.msg_id, value)
            return
        name = tl.method_name(query.request)
        if (fault := self._trigger_fault(FaultPoint.MESSAGE, name)) is not None:
            self._notify(BadMessage(message.msg_id, message.seq_no, fault.code or 0))
            return
        calm = self._hub.faults.none
        if isinstance(value, LAYER_REQUESTS) and (
            calm or not any(self._find_fault(point, name) for point in REQUEST_POINTS)
        ):
            self._answer_layer(message.msg_id, value)
            return
        assert self._key is not None
        # A request that waited here while its connection ended and its client made another is no use in parallel.
        if not isinstance(value, LAYER_REQUESTS) and not self._socket.is_over:
            self._requests.note_use(self._key, query)
        if calm:
            self._send(self._requests.answer(message.msg_id, self._key, query, None), reply=True, content=True)
            self._end_handshake()
        else:
            await self._request_slots.acquire()
            self._tasks.start_soon(self._answer, message.msg_id, value, query)

    def _reject(self, bad: BadMessage) -> None:
        if bad.code == BAD_SALT:
            answer = types.BadServerSalt(bad.msg_id, bad.seq_no, bad.code, self._layer.salt)
            self._send(tl.dump(answer), reply=True, content=False)
        else:
            self._hub.stats.count(self._hub.stats.protocol_errors, f"bad_msg_{bad.code}")
            self._notify(bad)

    def _notify(self, bad: BadMessage) -> None:
        answer = types.BadMsgNotification(bad.msg_id, bad.seq_no, bad.code)
        self._send(tl.dump(answer), reply=True, content=False)

    # Answering

    def _answer_layer(self, msg_id: int, value: Any) -> None:
        """Answer what belongs to the message layer itself, and do what it asks of the connection."""
        match value:
            case functions.PingDelayDisconnectRequest():
                self._disconnect_at = anyio.current_time() + max(value.disconnect_delay, 0)
            case functions.DestroyAuthKeyRequest():
                assert self._key is not None
                self._requests.stop_updates()
                self._hub.store.remove_key(self._key)
        answer = layer_answer(msg_id, value, salt=self._layer.salt, now=int(self._hub.clock()))
        if answer is not None:
            self._send(answer.body, reply=True, content=answer.content)

    async def _answer(self, msg_id: int, value: Any, query: tl.Query) -> None:
        """Answer one request, in a task of its own: an answer that takes its time must not hold up pings."""
        faults, name = self._hub.faults, tl.method_name(query.request)
        # A client that is not logged in yet may name its number in the request.
        account = self.account or services.named_number(query.request)
        try:
            fault = faults.trigger(FaultPoint.REQUEST, account, name)
            if fault is None and services.asks_for_updates(query.request):
                fault = faults.trigger(FaultPoint.LOGIN, account, name)
            if fault is not None and fault.kind is FaultKind.RESET_BEFORE:
                self.apply_fault(fault)
                return
            if fault is not None and fault.kind is FaultKind.HOSTILE and fault.text != ENDLESS:
                await self._send_hostile(msg_id, str(fault.text))
                return
            assert self._key is not None
            of_the_layer = fault is None and isinstance(value, LAYER_REQUESTS)
            answer = b"" if of_the_layer else self._requests.answer(msg_id, self._key, query, fault)
            answer_fault = faults.trigger(FaultPoint.ANSWER, account, name)
            if answer_fault is not None and answer_fault.kind is FaultKind.RESET_AFTER:
                self.apply_fault(answer_fault)
                return
            await anyio.sleep(_seconds(answer_fault))
            if of_the_layer:
                self._answer_layer(msg_id, value)
            else:
                self._send(answer, reply=True, content=True)
            self._end_handshake()
        finally:
            self._request_slots.release()

    async def _send_hostile(self, msg_id: int, name: str) -> None:
        """Send what a hostile datacenter sends instead of the answer to this request."""
        match name:
            case "frame":
                self._socket.send_raw(HUGE_FRAME)
            case "drip":
                await self._socket.drip(bytes(64 * 1024), DRIP_SECONDS)
            case "gzip_result":
                result = struct.pack("<Iq", tl.RPC_RESULT, msg_id) + hostile_body(name)
                self._send(result, reply=True, content=True)
            case _:
                self._send(hostile_body(name), reply=False, content=True)

    def _announce_session(self, first_msg_id: int) -> None:
        if self._layer.announced:
            return
        self._layer.announced = True
        created = types.NewSessionCreated(first_msg_id, self._layer.id, self._layer.salt)
        self._send(tl.dump(created), reply=False, content=True)

    def _end_handshake(self) -> None:
        """End the handshake: a request was answered, or the connection ended before."""
        if not self._handshake_ended:
            self._handshake_ended = True
            self._hub.stats.handshakes -= 1

    # Writing

    def _send(self, body: bytes, *, reply: bool, content: bool) -> None:
        assert self._key is not None
        skew = _seconds(self._trigger_fault(FaultPoint.CLOCK))
        packet = cipher.encrypt(self._key, self._layer.wrap(body, reply=reply, content=content, skew=skew))
        self._write(cipher.corrupt(packet) if self._trigger_fault(FaultPoint.SEAL) else packet)

    def _write(self, packet: bytes) -> None:
        """Hand a packet to the kernel, unless it would fall into a black hole."""
        if not self._is_blackholed() and not self._socket.send(packet):
            log.warning("account %s does not read its answers and was cut off", self.account)

    def _is_blackholed(self) -> bool:
        fault = self._find_fault(FaultPoint.PACKET)
        return fault is not None and fault.kind is FaultKind.BLACKHOLE

    # Faults

    def _find_fault(self, point: FaultPoint, request: str | None = None) -> Fault | None:
        """Return the fault that hits this connection at this point. While there is none, nobody's name is asked."""
        faults = self._hub.faults
        return None if faults.none else faults.find(point, self.account, request)

    def _trigger_fault(self, point: FaultPoint, request: str | None = None) -> Fault | None:
        """Return the same fault, and count one act of it."""
        faults = self._hub.faults
        return None if faults.none else faults.trigger(point, self.account, request)

    def _owner(self) -> StoredAccount | None:
        return None if self._key is None else self._hub.store.owner(self._key.id)


def _seconds(fault: Fault | None) -> float:
    return 0 if fault is None or fault.seconds is None else fault.seconds
