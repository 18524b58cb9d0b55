"""One connection: packets in, answers out, until either side has had enough."""

import contextlib
import socket
import struct
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from hashlib import sha256
from typing import Any, Final

import anyio
import attrs
from anyio.abc import TaskGroup
from telethon.tl import functions, types

from adapters.sandbox import cipher, exchange, services, tl, transport, views
from adapters.sandbox.centre import Centre, log
from adapters.sandbox.cipher import AuthKey, Envelope
from adapters.sandbox.errors import BadMessage, ProtocolError, RpcRefusal
from adapters.sandbox.exchange import Exchange
from adapters.sandbox.faults import FaultKind, Point
from adapters.sandbox.services import Call
from adapters.sandbox.session import BAD_SALT, Incoming, Session, check_parity
from adapters.sandbox.store import Account

IDLE_SECONDS: Final = 600.0
"""A client pings every minute or so; one that is silent for this long is gone."""
HANG_UP_SECONDS: Final = 2.0
"""After our FIN, how long we wait for the client's."""
DARK_SECONDS: Final = 0.25
"""How often a connection that should have been closed looks whether the black hole is over."""
CHUNK_BYTES: Final = 65536
SEND_SECONDS: Final = 30.0
LARGEST_BACKLOG_BYTES: Final = 4 * 1024 * 1024
"""Answers that a client does not read; with more than this it is cut off."""
MOST_REQUESTS_IN_FLIGHT: Final = 256
LINGER_ZERO: Final = struct.pack("ii", 1, 0)
SALT_LIFETIME_SECONDS: Final = 3600


@attrs.define(eq=False)
class Connection:
    """Serves one client. `serve` returns when the connection is over and leaves no socket behind."""

    _centre: Centre
    _reader: StreamReader
    _writer: StreamWriter
    _port_account: str | None
    """The phone number that the port belongs to, on a port of one account."""
    _tasks: TaskGroup = attrs.field(init=False)
    _slots: anyio.Semaphore = attrs.field(factory=lambda: anyio.Semaphore(MOST_REQUESTS_IN_FLIGHT))
    _patience: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    _framing: transport.Framing | None = None
    _exchange: Exchange | None = None
    _key: AuthKey | None = None
    _session: Session = attrs.field(init=False)
    _hung_up: bool = False
    _subscribed: int | None = None
    _disconnect_at: float | None = None
    _proven: bool = False
    _plain_stamp: int = 0

    @property
    def account(self) -> str | None:
        """The phone number of the account, as far as it is known."""
        owner = self._owner()
        return owner.phone if owner else self._port_account

    async def serve(self) -> None:
        """Reads until the end. Whatever a client sends, nothing is raised."""
        self._centre.stats.connections += 1
        self._centre.stats.begin_handshake()
        try:
            async with anyio.create_task_group() as self._tasks:
                with contextlib.suppress(IncompleteReadError, OSError):
                    await self._read()
                self._tasks.cancel_scope.cancel()
        finally:
            self._unsubscribe()
            self._prove()
            self._centre.stats.connections -= 1
            self._writer.transport.abort()
            with anyio.move_on_after(1, shield=True), contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def hurt(self, kind: FaultKind) -> None:
        """Ends the connection now, with RST for `reset` and FIN for any other kind."""
        if kind is FaultKind.RESET:
            self.reset()
        else:
            self.hang_up()

    def reset(self) -> None:
        """RST: closing a socket that lingers for zero seconds."""
        sock = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        self._hung_up = True
        self._writer.transport.abort()

    def hang_up(self) -> None:
        """FIN, then whatever the client still sends is read and dropped: unread bytes would turn it into RST."""
        if self._hung_up:
            return
        self._hung_up = True
        with contextlib.suppress(OSError):
            self._writer.write_eof()
        self._disconnect_at = anyio.current_time() + HANG_UP_SECONDS
        self._patience.deadline = self._disconnect_at

    def push(self, update: Any) -> None:
        """Sends an update that nobody asked for."""
        self._send(tl.dump(update), reply=False, content=True)

    # Reading

    async def _read(self) -> None:
        try:
            with anyio.fail_after(IDLE_SECONDS):
                self._framing = await transport.detect(self._reader)
            while True:
                packet = await self._next_packet(self._framing)
                if not self._hung_up and not self._hurts(packet):
                    await self._take(packet)
        except ProtocolError as error:
            self._centre.stats.note(self._centre.stats.protocol_errors, error.reason)
            log.warning("protocol error: %s, account %s", error, self.account)
            await self._refuse(error.code)
        except TimeoutError:
            self.hang_up()
            await self._drain_input()

    async def _next_packet(self, framing: transport.Framing) -> bytes:
        """The next packet. Raises TimeoutError when the client was silent for too long, or asked for it."""
        limits = (anyio.current_time() + IDLE_SECONDS, self._disconnect_at)
        deadline = min(limit for limit in limits if limit is not None)
        with anyio.CancelScope(deadline=deadline) as self._patience:
            return await framing.read(self._reader)
        # A FIN would not come through a black hole either, so it is held back until the client can see it.
        while self._is_cut_off() and not self._reader.at_eof():
            with anyio.move_on_after(DARK_SECONDS):
                await self._reader.read(CHUNK_BYTES)
        raise TimeoutError

    async def _refuse(self, code: int) -> None:
        """A transport error: four bytes in place of a packet."""
        if self._framing is not None and not self._hung_up and not self._is_cut_off():
            with contextlib.suppress(OSError):
                self._writer.write(self._framing.encode(struct.pack("<i", code)))
        self.hang_up()
        await self._drain_input()

    async def _drain_input(self) -> None:
        with anyio.move_on_after(HANG_UP_SECONDS):
            while await self._reader.read(CHUNK_BYTES):
                pass

    def _hurts(self, packet: bytes) -> bool:
        """Asks the switchboard about a packet; True when it must not be looked at."""
        self._recognise(packet)
        kind = self._centre.switchboard.at(Point.PACKET, self.account)
        if kind is None:
            return False
        if kind is not FaultKind.BLACKHOLE:
            self.hurt(kind)
        return True

    def _recognise(self, packet: bytes) -> None:
        """Learns the key from the first encrypted packet. Raises ProtocolError for one that nobody knows.

        On a port shared by all this is the moment at which faults of accepting can act for one account.
        """
        key_id = cipher.key_id_of(packet)
        if key_id == 0 or self._key is not None:
            return
        key = self._centre.store.key(key_id)
        if key is None:
            raise ProtocolError("unknown_auth_key")
        self._use(key)
        if self._port_account is not None:
            return
        board = self._centre.switchboard
        if board.at(Point.LISTEN, self.account) or board.at(Point.ACCEPT, self.account):
            self._centre.stats.turned_away += 1
            self.hang_up()

    def _use(self, key: AuthKey) -> None:
        seed = self._centre.salt_seed + key.id.to_bytes(8, "little")
        salt = int.from_bytes(sha256(seed).digest()[:8], "little", signed=True)
        self._key, self._session = key, Session(salt, self._centre.clock)

    async def _take(self, packet: bytes) -> None:
        if cipher.key_id_of(packet) == 0:
            self._take_plain(packet)
        elif self._key is None or cipher.key_id_of(packet) != self._key.id:
            raise ProtocolError("other_auth_key")
        elif self._centre.store.key(self._key.id) is None:
            raise ProtocolError("unknown_auth_key")
        else:
            await self._take_encrypted(cipher.decrypt(self._key, packet))
        with anyio.fail_after(SEND_SECONDS):
            await self._writer.drain()

    def _take_plain(self, packet: bytes) -> None:
        if self._key is not None:
            raise ProtocolError("plain_after_encrypted")
        if self._exchange is None:
            self._exchange = Exchange(self._centre.key, self._centre.half, self._centre.clock)
        step = self._exchange.proceed(exchange.read_plain(packet))
        if step.key is not None:
            self._centre.store.add_key(step.key)
            self._centre.stats.keys_made += 1
        self._plain_stamp = max(int(self._centre.clock() * 2**32) & ~3, self._plain_stamp) + 5 & ~3 | 1
        self._write(exchange.write_plain(self._plain_stamp, step.answer))

    async def _take_encrypted(self, envelope: Envelope) -> None:
        session = self._session
        try:
            session.open(envelope)
            messages = session.unpack(envelope)
            for message in messages:
                await self._take_message(message)
            if messages[:1] != [Incoming(envelope.msg_id, envelope.seq_no, envelope.body)]:
                session.admit(Incoming(envelope.msg_id, envelope.seq_no, b""))
        except BadMessage as bad:
            self._reject(bad)

    async def _take_message(self, message: Incoming) -> None:
        try:
            if not self._session.admit(message):
                self._centre.stats.note(self._centre.stats.protocol_errors, "duplicate_message")
                self._send(tl.dump(types.MsgsAck([message.msg_id])), reply=True, content=False)
                return
            self._greet(message.msg_id)
            value = tl.read(message.body)
            check_parity(message, value)
        except BadMessage as bad:
            self._reject(bad)
        except RpcRefusal as refusal:
            self._centre.stats.note(self._centre.stats.protocol_errors, "unreadable_request")
            self._send(tl.rpc_error(message.msg_id, refusal), reply=True, content=True)
        else:
            if self._serve_layer(message.msg_id, value) or not tl.is_request(value):
                return
            await self._slots.acquire()
            self._tasks.start_soon(self._answer, message.msg_id, value)

    def _reject(self, bad: BadMessage) -> None:
        if bad.code == BAD_SALT:
            answer = types.BadServerSalt(bad.msg_id, bad.seq_no, bad.code, self._session.salt)
        else:
            self._centre.stats.note(self._centre.stats.protocol_errors, f"bad_msg_{bad.code}")
            answer = types.BadMsgNotification(bad.msg_id, bad.seq_no, bad.code)
        self._send(tl.dump(answer), reply=True, content=False)

    # Answering

    def _serve_layer(self, msg_id: int, value: Any) -> bool:
        """Answers what belongs to the message layer itself; False when it is not for us."""
        answer: Any = None
        match value:
            case functions.PingRequest():
                answer = types.Pong(msg_id, value.ping_id)
            case functions.PingDelayDisconnectRequest():
                self._disconnect_at = anyio.current_time() + max(value.disconnect_delay, 0)
                answer = types.Pong(msg_id, value.ping_id)
            case functions.GetFutureSaltsRequest():
                answer = self._future_salts(msg_id)
            case functions.DestroySessionRequest():
                answer = types.DestroySessionNone(value.session_id)
            case functions.DestroyAuthKeyRequest():
                assert self._key is not None
                self._unsubscribe()
                self._centre.store.remove_key(self._key)
                answer = types.DestroyAuthKeyOk()
            case functions.RpcDropAnswerRequest():
                self._send(tl.rpc_result(msg_id, types.RpcAnswerUnknown()), reply=True, content=True)
                return True
            case types.MsgsStateReq() | types.MsgResendReq():
                # 4: received, and no answer will be repeated.
                answer = types.MsgsStateInfo(msg_id, "\x04" * len(value.msg_ids))
            case _:
                return False
        self._send(tl.dump(answer), reply=True, content=False)
        return True

    def _future_salts(self, msg_id: int) -> Any:
        now = int(self._centre.clock())
        since, until = (views.date(second) for second in (now, now + SALT_LIFETIME_SECONDS))
        return types.FutureSalts(msg_id, now, [types.FutureSalt(since, until, self._session.salt)])

    async def _answer(self, msg_id: int, request: Any) -> None:
        """One request, in a task of its own: an answer that takes its time must not hold up pings."""
        try:
            self._send(self._perform(msg_id, request), reply=True, content=True)
            self._prove()
        finally:
            self._slots.release()

    def _perform(self, msg_id: int, request: Any) -> bytes:
        stats = self._centre.stats
        try:
            query = tl.unwrap(request)
            name = tl.method_name(query.request)
            stats.note(stats.requests, name)
            if not services.is_known(query.request):
                stats.note(stats.unknown_requests, name)
                log.warning("request %s is not in the sandbox", name)
            assert self._key is not None
            call = Call(self._centre.office, self._key, self._owner())
            value = services.perform(call, query.request)
            self._follow(call, query)
            self._centre.deliver(call.deliveries, self)
            return tl.rpc_result(msg_id, value)
        except RpcRefusal as refusal:
            return tl.rpc_error(msg_id, refusal)
        except Exception:
            # A mistake of ours must reach the client as an answer, not as a connection that ends.
            log.exception("request failed")
            stats.note(stats.protocol_errors, "internal")
            return tl.rpc_error(msg_id, RpcRefusal(500, "INTERNAL_SERVER_ERROR"))

    def _follow(self, call: Call, query: tl.Query) -> None:
        """Keeps the subscription to updates in step with who is logged in."""
        account = call.account.id if call.account else None
        if self._subscribed is not None and self._subscribed != account:
            self._unsubscribe()
        wanted = services.asks_for_updates(query.request) and not query.without_updates
        if wanted and account is not None and self._subscribed is None:
            self._subscribed = account
            self._centre.subscribe(account, self)

    def _unsubscribe(self) -> None:
        if self._subscribed is not None:
            self._centre.unsubscribe(self._subscribed, self)
            self._subscribed = None

    def _greet(self, first_msg_id: int) -> None:
        if self._session.greeted:
            return
        self._session.greeted = True
        created = types.NewSessionCreated(first_msg_id, self._session.id, self._session.salt)
        self._send(tl.dump(created), reply=False, content=True)

    def _prove(self) -> None:
        """The handshake is over: a request was answered, or the connection ended before."""
        if not self._proven:
            self._proven = True
            self._centre.stats.handshakes -= 1

    # Writing

    def _send(self, body: bytes, *, reply: bool, content: bool) -> None:
        assert self._key is not None
        self._write(cipher.encrypt(self._key, self._session.seal(body, reply=reply, content=content)))

    def _write(self, packet: bytes) -> None:
        """Hands a packet to the kernel; never waits. A client that does not read is cut off in the end."""
        if self._hung_up or self._is_cut_off() or self._framing is None or self._writer.is_closing():
            return
        self._writer.write(self._framing.encode(packet))
        if self._writer.transport.get_write_buffer_size() > LARGEST_BACKLOG_BYTES:
            log.warning("account %s does not read its answers and was cut off", self.account)
            self.reset()

    def _is_cut_off(self) -> bool:
        return self._centre.switchboard.at(Point.PACKET, self.account) is FaultKind.BLACKHOLE

    def _owner(self) -> Account | None:
        return None if self._key is None else self._centre.store.owner(self._key.id)
