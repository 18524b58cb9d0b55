"""One connection: packets in, answers out, until either side has had enough."""

import contextlib
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
from adapters.sandbox.desk import Desk
from adapters.sandbox.errors import UNKNOWN_KEY, BadMessage, ProtocolError, RpcRefusal
from adapters.sandbox.exchange import Exchange
from adapters.sandbox.faults import Fault, FaultKind, Point
from adapters.sandbox.line import CHUNK_BYTES, Line
from adapters.sandbox.session import BAD_SALT, OF_THE_LAYER, Incoming, Session, check_parity
from adapters.sandbox.store import Account

IDLE_SECONDS: Final = 600.0
"""A client pings every minute or so; one that is silent for this long is gone."""
DARK_SECONDS: Final = 0.25
"""How often a connection that should have been closed looks whether the black hole is over."""
MOST_REQUESTS_IN_FLIGHT: Final = 256
SALT_LIFETIME_SECONDS: Final = 3600
ON_REQUESTS: Final = (Point.REQUEST, Point.ANSWER)


@attrs.define(eq=False)
class Connection:
    """Serves one client. `serve` returns when the connection is over and leaves no socket behind."""

    _centre: Centre
    _reader: StreamReader
    _writer: StreamWriter
    _dc_id: int
    """The data centre that the client takes us for."""
    _port_account: str | None
    """The phone number that the port belongs to, on a port of one account."""
    _tasks: TaskGroup = attrs.field(init=False)
    _line: Line = attrs.field(init=False)
    _desk: Desk = attrs.field(init=False)
    _slots: anyio.Semaphore = attrs.field(factory=lambda: anyio.Semaphore(MOST_REQUESTS_IN_FLIGHT))
    _patience: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    _exchange: Exchange | None = None
    _key: AuthKey | None = None
    _session: Session = attrs.field(init=False)
    _disconnect_at: float | None = None
    _proven: bool = False
    _plain_stamp: int = 0

    def __attrs_post_init__(self) -> None:
        self._line = Line(self._reader, self._writer)
        self._desk = Desk(self._centre, self, self._dc_id)

    @property
    def _place(self) -> int | None:
        return self._centre.office.place(self._dc_id)

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
            self._desk.leave()
            self._prove()
            self._centre.stats.connections -= 1
            await self._line.aclose()

    def hurt(self, fault: Fault) -> bool:
        """Does to the whole connection, now, what the fault does to one; False when there is nothing it could do."""
        line = self._line
        if line.over:
            return False
        match fault.kind:
            case FaultKind.RESET | FaultKind.RESET_BEFORE | FaultKind.RESET_AFTER:
                line.reset()
            case FaultKind.FORGET_KEY if self._owner() is None:
                return False
            case FaultKind.TRANSPORT_ERROR | FaultKind.FORGET_KEY:
                if line.framing is None:
                    return False
                line.refuse(fault.code or UNKNOWN_KEY)
            case FaultKind.GARBAGE:
                line.babble()
            case _:
                line.hang_up()
        self._patience.deadline = self._next_deadline()
        return True

    def push(self, update: Any) -> None:
        """Sends an update that nobody asked for."""
        if not self._desk.is_for(self._owner()):
            return
        board = self._centre.switchboard
        # A login that was revoked is told nothing; what is lost here is in the difference, where it is not.
        if not board.at(Point.LOGIN, self.account) and not board.strike(Point.UPDATE, self.account):
            self._send(tl.dump(update), reply=False, content=True)

    # Reading

    async def _read(self) -> None:
        try:
            with anyio.fail_after(IDLE_SECONDS):
                self._line.framing = await transport.detect(self._reader)
            while True:
                packet = await self._next_packet(self._line.framing)
                if not self._line.over and not self._hurts(packet):
                    await self._take(packet)
        except ProtocolError as error:
            self._centre.stats.note(self._centre.stats.protocol_errors, error.reason)
            log.warning("protocol error: %s, account %s", error, self.account)
            if self._is_cut_off():
                self._line.hang_up()
            else:
                self._line.refuse(error.code)
            await self._line.drop_input()
        except TimeoutError:
            self._line.hang_up()
            await self._line.drop_input()

    def _next_deadline(self) -> float:
        limits = (anyio.current_time() + IDLE_SECONDS, self._disconnect_at, self._line.give_up_at)
        return min(limit for limit in limits if limit is not None)

    async def _next_packet(self, framing: transport.Framing) -> bytes:
        """The next packet. Raises TimeoutError when the client was silent for too long, or asked for it."""
        with anyio.CancelScope(deadline=self._next_deadline()) as self._patience:
            return await framing.read(self._reader)
        # A FIN would not come through a black hole either, so it is held back until the client can see it.
        while self._is_cut_off() and not self._reader.at_eof():
            with anyio.move_on_after(DARK_SECONDS):
                await self._reader.read(CHUNK_BYTES)
        raise TimeoutError

    def _hurts(self, packet: bytes) -> bool:
        """Asks the switchboard about a packet; True when it must not be looked at."""
        self._recognise(packet)
        if self._line.over:
            return True
        board = self._centre.switchboard
        fault = board.strike(Point.PACKET, self.account)
        if fault is None and self._owner() is not None:
            fault = board.strike(Point.KEY, self.account)
        if fault is None:
            return False
        if fault.kind is not FaultKind.BLACKHOLE:
            self.hurt(fault)
        return True

    def _recognise(self, packet: bytes) -> None:
        """Learns the key from the first encrypted packet. Raises ProtocolError for one that nobody knows.

        On a port shared by all this is the moment at which faults of accepting can act for one account.
        """
        key_id = cipher.key_id_of(packet)
        if key_id == 0 or self._key is not None:
            return
        key = self._centre.store.key(key_id, self._place)
        if key is None:
            raise ProtocolError("unknown_auth_key")
        self._use(key)
        if self._port_account is not None:
            return
        board = self._centre.switchboard
        listening = board.at(Point.LISTEN, self.account)
        if (listening and listening.kind is FaultKind.REFUSE) or board.strike(Point.ACCEPT, self.account):
            self._centre.stats.turned_away += 1
            self._line.hang_up()

    def _use(self, key: AuthKey) -> None:
        seed = self._centre.salt_seed + key.id.to_bytes(8, "little")
        salt = int.from_bytes(sha256(seed).digest()[:8], "little", signed=True)
        self._key, self._session = key, Session(salt, self._centre.clock)

    async def _take(self, packet: bytes) -> None:
        if cipher.key_id_of(packet) == 0:
            self._take_plain(packet)
        elif self._key is None or cipher.key_id_of(packet) != self._key.id:
            raise ProtocolError("other_auth_key")
        elif self._centre.store.key(self._key.id, self._place) is None:
            raise ProtocolError("unknown_auth_key")
        else:
            await self._take_encrypted(cipher.decrypt(self._key, packet))
        await self._line.drain()

    def _take_plain(self, packet: bytes) -> None:
        if self._key is not None:
            raise ProtocolError("plain_after_encrypted")
        if self._exchange is None:
            self._exchange = Exchange(self._centre.key, self._centre.half, self._centre.clock)
        step = self._exchange.proceed(exchange.read_plain(packet))
        if step.key is not None:
            self._centre.store.add_key(step.key, place=self._place)
            self._centre.stats.keys_made += 1
        self._plain_stamp = max(int(self._centre.clock() * 2**32) & ~3, self._plain_stamp) + 5 & ~3 | 1
        self._write(exchange.write_plain(self._plain_stamp, step.answer))

    async def _take_encrypted(self, envelope: Envelope) -> None:
        session, board = self._session, self._centre.switchboard
        session.set_clock(_seconds(board.at(Point.CLOCK, self.account)))
        try:
            session.open(envelope)
            if board.strike(Point.SALT, self.account):
                session.change_salt()
                raise BadMessage(envelope.msg_id, envelope.seq_no, BAD_SALT)
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
            query = tl.unwrap(value)
        except BadMessage as bad:
            self._reject(bad)
        except RpcRefusal as refusal:
            self._centre.stats.note(self._centre.stats.protocol_errors, "unreadable_request")
            self._send(tl.rpc_error(message.msg_id, refusal), reply=True, content=True)
        else:
            await self._take_on(message, value, query)

    async def _take_on(self, message: Incoming, value: Any, query: tl.Query) -> None:
        """Answers at once what is of the message layer, and everything else in a task of its own."""
        if not tl.is_request(value):
            self._serve_layer(message.msg_id, value)
            return
        board, account, name = self._centre.switchboard, self.account, tl.method_name(query.request)
        if (fault := board.strike(Point.MESSAGE, account, name)) is not None:
            self._notify(BadMessage(message.msg_id, message.seq_no, fault.code or 0))
        elif isinstance(value, OF_THE_LAYER) and not any(board.at(point, account, name) for point in ON_REQUESTS):
            self._serve_layer(message.msg_id, value)
        else:
            await self._slots.acquire()
            self._tasks.start_soon(self._answer, message.msg_id, value, query)

    def _reject(self, bad: BadMessage) -> None:
        if bad.code == BAD_SALT:
            answer = types.BadServerSalt(bad.msg_id, bad.seq_no, bad.code, self._session.salt)
            self._send(tl.dump(answer), reply=True, content=False)
        else:
            self._centre.stats.note(self._centre.stats.protocol_errors, f"bad_msg_{bad.code}")
            self._notify(bad)

    def _notify(self, bad: BadMessage) -> None:
        answer = types.BadMsgNotification(bad.msg_id, bad.seq_no, bad.code)
        self._send(tl.dump(answer), reply=True, content=False)

    # Answering

    def _serve_layer(self, msg_id: int, value: Any) -> None:
        """Answers what belongs to the message layer itself."""
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
                self._desk.leave()
                self._centre.store.remove_key(self._key)
                answer = types.DestroyAuthKeyOk()
            case functions.RpcDropAnswerRequest():
                self._send(tl.rpc_result(msg_id, types.RpcAnswerUnknown()), reply=True, content=True)
                return
            case types.MsgsStateReq() | types.MsgResendReq():
                # 4: received, and no answer will be repeated.
                answer = types.MsgsStateInfo(msg_id, "\x04" * len(value.msg_ids))
            case _:
                return
        self._send(tl.dump(answer), reply=True, content=False)

    def _future_salts(self, msg_id: int) -> Any:
        now = int(self._centre.clock())
        since, until = (views.date(second) for second in (now, now + SALT_LIFETIME_SECONDS))
        return types.FutureSalts(msg_id, now, [types.FutureSalt(since, until, self._session.salt)])

    async def _answer(self, msg_id: int, value: Any, query: tl.Query) -> None:
        """One request, in a task of its own: an answer that takes its time must not hold up pings."""
        board, name = self._centre.switchboard, tl.method_name(query.request)
        # Whoever is nobody yet may say who they want to be.
        account = self.account or services.named_number(query.request)
        try:
            fault = board.strike(Point.REQUEST, account, name)
            if fault is None and services.asks_for_updates(query.request):
                fault = board.strike(Point.LOGIN, account, name)
            if fault is not None and fault.kind is FaultKind.RESET_BEFORE:
                self.hurt(fault)
                return
            assert self._key is not None
            of_the_layer = fault is None and isinstance(value, OF_THE_LAYER)
            answer = b"" if of_the_layer else self._desk.answer(msg_id, self._key, query, fault)
            late = board.strike(Point.ANSWER, account, name)
            if late is not None and late.kind is FaultKind.RESET_AFTER:
                self.hurt(late)
                return
            await anyio.sleep(_seconds(late))
            if of_the_layer:
                self._serve_layer(msg_id, value)
            else:
                self._send(answer, reply=True, content=True)
            self._prove()
        finally:
            self._slots.release()

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
        board = self._centre.switchboard
        skew = _seconds(board.strike(Point.CLOCK, self.account))
        packet = cipher.encrypt(self._key, self._session.seal(body, reply=reply, content=content, skew=skew))
        self._write(cipher.spoil(packet) if board.strike(Point.SEAL, self.account) else packet)

    def _write(self, packet: bytes) -> None:
        """Hands a packet to the kernel, unless it would fall into a black hole."""
        if not self._is_cut_off() and not self._line.send(packet):
            log.warning("account %s does not read its answers and was cut off", self.account)

    def _is_cut_off(self) -> bool:
        fault = self._centre.switchboard.at(Point.PACKET, self.account)
        return fault is not None and fault.kind is FaultKind.BLACKHOLE

    def _owner(self) -> Account | None:
        return None if self._key is None else self._centre.store.owner(self._key.id)


def _seconds(fault: Fault | None) -> float:
    return 0 if fault is None or fault.seconds is None else fault.seconds
