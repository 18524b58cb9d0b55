"""The senders of a lent client: the doors through which every request of it goes out.

Telethon sends requests in four ways: ``client(request)``, ``client._call(sender, request)`` (downloads, and requests to
other datacenters), ``sender.send(request)`` (statistics of channels), and pings of its own. All but the pings come
through ``LinkSender.send``. Once a link is proven, that hands them to the client, the gate where holds, deadlines and
the classification of failures are; the gate lets them out through ``direct``. A sender refers to its client weakly, so
that both are gone as soon as nobody uses them, and not at the next collection.
"""

import asyncio
import time
import weakref
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from telethon.crypto import AuthKey
from telethon.errors import rpc_message_to_error
from telethon.network.mtprotostate import MTProtoState
from telethon.network.requeststate import RequestState
from telethon.tl import TLRequest, types
from telethon.tl.core import GzipPacked, MessageContainer, RpcResult
from telethon.tl.core.tlmessage import TLMessage
from telethon.tl.functions import InvokeWithLayerRequest, PingRequest

from adapters.telegram.boxes import affected_update
from adapters.telegram.classify import kind_of
from adapters.telegram.inbound import InboundAccount
from adapters.telegram.lean import Idle, RecentNumbers
from adapters.telegram.lean_client import LeanSender
from adapters.telegram.lent import LentClientError
from adapters.telegram.protocol_watch import ProtocolWatch, bound_error_text
from adapters.telegram.transport import FullConnection
from adapters.telegram.unreadable import ADVICE, UnreadableAnswer, open_message, read_messages
from adapters.tl_reader import BoundedReader, HostileData

KEY_TRIES = 3
"""How often a connection to another datacenter is tried: one key exchange in 256 has to be repeated."""
EPOCH = datetime.fromtimestamp(0, UTC)
"""The date of updates that have none, as Telethon has it."""
UPDATES = types.UpdatesTooLong.SUBCLASS_OF_ID
HANDLERS: Final = {
    kind.CONSTRUCTOR_ID: method
    for method, kinds in {
        "_handle_rpc_result": (RpcResult,),
        "_handle_container": (MessageContainer,),
        "_handle_gzip_packed": (GzipPacked,),
        "_handle_pong": (types.Pong,),
        "_handle_bad_server_salt": (types.BadServerSalt,),
        "_handle_bad_notification": (types.BadMsgNotification,),
        "_handle_detailed_info": (types.MsgDetailedInfo,),
        "_handle_new_detailed_info": (types.MsgNewDetailedInfo,),
        "_handle_new_session_created": (types.NewSessionCreated,),
        "_handle_ack": (types.MsgsAck,),
        "_handle_future_salts": (types.FutureSalts,),
        "_handle_state_forgotten": (types.MsgsStateReq, types.MsgResendReq),
        "_handle_msg_all": (types.MsgsAllInfo,),
        "_handle_destroy_session": (types.DestroySessionOk, types.DestroySessionNone),
        "_handle_destroy_auth_key": (types.DestroyAuthKeyOk, types.DestroyAuthKeyNone, types.DestroyAuthKeyFail),
    }.items()
    for kind in kinds
}
"""Telethon's methods for each kind of message."""


class Outlet:
    """What is behind the gate: sends at once. Telethon's client uses it as a sender."""

    __slots__ = ("send",)

    def __init__(self, send: Callable[..., Any]) -> None:
        self.send = send


class LinkState(InboundAccount, ProtocolWatch, MTProtoState):  # type: ignore[misc]  # Telethon ships no types
    """Telethon's message layer of one sender, watched and accounted."""

    __slots__ = (
        "_highest_remote_id", "_ignore_count", "_last_msg_id", "_logger", "_recent_remote_ids", "_sender", "_sequence",
        "auth_key", "id", "salt", "time_offset",
    )  # fmt: skip

    def __init__(self, sender: "LinkSender") -> None:
        super().__init__(sender.auth_key, loggers=sender._loggers)
        self._recent_remote_ids = RecentNumbers()
        self.updates = sender._updates_queue
        self._sender = weakref.ref(sender)

    def salvage(self, body: bytes, exc: Exception) -> TLMessage | None:
        """Return what can be read of a packet that Telethon cannot read; None if it came before."""
        sender = self._sender()
        return sender._salvage(body) if sender is not None else None


class LinkSender(LeanSender):
    """A sender that never reconnects by itself, whose requests pass the gate, and that only its client closes."""

    __slots__ = (
        "_client", "_is_main", "_note_unreadable", "_processing", "dc_id", "gated", "heard_at", "lent", "missed_pong",
        "refused",
    )  # fmt: skip
    # Beside Telethon's own attributes, whose dictionary would be twice as large with these in it.

    dc_id: int
    """The datacenter, as Telethon notes it on a sender to another one than the account's own."""
    refused: bool
    """Whether that datacenter does not accept its login any more."""
    gated: bool
    """Whether requests pass the client's gate: not before it is connected."""
    lent: bool
    """Whether closing it is the engine's business alone."""
    heard_at: float
    """When something was last received, by ``time.monotonic``."""
    missed_pong: bool
    """Whether Telethon has given the connection up because a pong is missing."""

    def __init__(self, client: Any, auth_key: AuthKey | None = None, *, main: bool = False) -> None:
        super().__init__(
            auth_key,
            logger=client._log,
            retries=client._connection_retries if main else KEY_TRIES,
            timeout=client._timeout,
            updates_queue=client._updates_queue if main else None,
        )
        self._client: weakref.ref[Any] = weakref.ref(client)
        self._note_unreadable: Callable[[Exception], str] = client.note_unreadable
        self._is_main, self.dc_id, self.refused, self.lent, self.gated = main, 0, False, False, False
        self.heard_at, self.missed_pong, self._processing = 0.0, False, False

    def _make_state(self) -> "LinkState":
        return LinkState(self)

    @property
    def _auto_reconnect(self) -> bool:
        """Always off, whatever is set: two parties that reconnect make thousands of connections."""
        return False

    @_auto_reconnect.setter
    def _auto_reconnect(self, value: bool) -> None:
        pass

    def send(self, request: Any, ordered: bool = False) -> Any:
        """Return what to await for the answer to a request, or a list of that for several."""
        client = self._client() if self.gated else None
        if isinstance(request, PingRequest):
            pong = super().send(request, ordered=ordered)
            pong.add_done_callback(retrieve)  # Telethon awaits none, and asyncio would warn of a link's error in it
            return pong
        if client is None:
            return super().send(request, ordered=ordered)
        return client._call(self, request, ordered=ordered)

    @property
    def direct(self) -> Outlet:
        """What sends at once."""
        return Outlet(super().send)

    def _keepalive_ping(self, rnd_id: int) -> None:
        self.missed_pong = self._ping is not None
        super()._keepalive_ping(rnd_id)

    async def disconnect(self) -> None:
        """Close the connection. Raises ``LentClientError`` while it is lent."""
        if self.lent:
            raise LentClientError("the sender of a lent client is not closed by hand; end the job or handler instead")
        await super().disconnect()

    # --- Telethon's two loops run while there is something to send or to read: nothing waits in an idle one ---

    def begin_sending(self) -> None:
        """Send what is in the queue."""
        if self._send_loop_handle is None or self._send_loop_handle.done():
            self._send_loop_handle = asyncio.get_running_loop().create_task(self._send_loop())

    def _begin_receiving(self) -> None:
        if self._recv_loop_handle is None or self._recv_loop_handle.done():
            self._recv_loop_handle = asyncio.get_running_loop().create_task(self._recv_loop())

    async def _recv_loop(self) -> None:
        """Process what has arrived. A connection of Telethon's own calls nobody when more does: that loop waits."""
        connection = self._connection
        if isinstance(connection, FullConnection):
            connection.listener = self._begin_receiving
        try:
            await super()._recv_loop()
        except Idle:
            self._recv_loop_handle = None

    async def _send_loop(self) -> None:
        """Send what is in the queue, and acknowledgements along with it.

        Telethon's loop sends those in a packet of their own, behind the next request.
        """
        await self._send_all()
        self._send_loop_handle = None

    async def _send_all(self) -> None:
        queue = self._send_queue
        while queue._deque and self._user_connected and not self._reconnecting:
            if self._pending_ack:
                ack = RequestState(types.MsgsAck(list(self._pending_ack)))
                self._pending_ack.clear()
                self._last_acks.append(ack)
                queue.append(ack)
            batch, data = await queue.get()
            if not data:
                continue
            packet = self._state.encrypt_message_data(data)
            for state in batch:
                if isinstance(state.request, TLRequest):
                    self._pending_state[state.msg_id] = state
            try:
                await self._connection.send(packet)
            except OSError as exc:
                self._log.info("Connection closed while sending data")
                self._start_reconnect(exc)
                return

    # --- what Telethon cannot read ---

    def _unread(self, exc: Exception) -> None:
        """Count a message that belongs to no request. It may have been an update, so the difference is asked for."""
        self._note_unreadable(exc)
        client = self._client() if self._is_main else None
        if client is not None:
            client.fetch_unread()

    def _read(self, number: int, sequence: int, content: bytes) -> list[TLMessage]:
        """Return the messages in a content that can be read, count the others, and acknowledge them all."""
        found = []
        for item in read_messages(number, sequence, content):
            if isinstance(item, TLMessage):
                found.append(item)
            else:
                self._pending_ack.add(item[0])  # or the datacenter sends it again and again
                self._unread(item[1])
        return found

    def _salvage(self, packet: bytes) -> TLMessage | None:
        """Return what can be read of a packet; None if it came before."""
        number, sequence, content = open_message(self._state, packet)
        if number in self._state._recent_remote_ids:
            return None
        self._state._recent_remote_ids.append(number)
        self._state._highest_remote_id = max(self._state._highest_remote_id, number)
        return TLMessage(number, sequence, MessageContainer(self._read(number, sequence, content)))

    async def _process_message(self, message: TLMessage) -> None:
        """Process a message, and let others have their share of the loop if it took long.

        One that fails costs no other of its packet, and its content is in no log.
        """
        outermost, began = not self._processing, time.perf_counter()
        self.heard_at = time.monotonic()
        self._processing = True
        self._pending_ack.add(message.msg_id)
        try:
            await self._handler_of(message.obj.CONSTRUCTOR_ID)(message)
        except asyncio.InvalidStateError:
            pass  # a pong that came too late: nobody waits for it any more
        except Exception as exc:
            self._unread(exc)
        finally:
            if outermost:
                self._processing = False
                self._state.add(time.perf_counter() - began)
        if outermost and (pause := self._state.pause()) is not None:
            await asyncio.sleep(pause)

    def _handler_of(self, constructor: int) -> Callable[[TLMessage], Awaitable[None]]:
        handler: Callable[[TLMessage], Awaitable[None]] = getattr(self, HANDLERS.get(constructor, "_handle_update"))
        return handler

    async def _handle_gzip_packed(self, message: TLMessage) -> None:
        for inner in self._read(message.msg_id, message.seq_no, message.obj.data):
            await self._process_message(inner)

    async def _handle_rpc_result(self, message: TLMessage) -> None:
        """Give a request its answer, or ``UnreadableAnswer``."""
        result = message.obj
        bound_error_text(result)
        state = self._pending_state.get(result.req_msg_id)
        if result.error and state is not None and state.future.done():
            self._note_late_error(rpc_message_to_error(result.error, state.request))
        if result.error or state is None:
            if result.error:  # an answer to nothing is dropped; Telethon would log it
                await super()._handle_rpc_result(message)
            return
        try:
            answer = state.request.read_result(BoundedReader(result.body))
        except HostileData as exc:
            del self._pending_state[result.req_msg_id]
            if not state.future.done():
                state.future.set_exception(exc)
            return
        except Exception as exc:
            what = self._note_unreadable(exc)
            del self._pending_state[result.req_msg_id]
            if state.future.done():
                return
            if isinstance(state.request, InvokeWithLayerRequest):
                state.future.set_result(None)  # how a connection begins; Telethon does not use the answer
            else:
                state.future.set_exception(
                    UnreadableAnswer(f"the answer to {kind_of(state.request)} is {what}; {ADVICE}")
                )
            return
        del self._pending_state[result.req_msg_id]
        self._count_own(state.request, answer)
        if not state.future.done():
            state.future.set_result(answer)

    def _count_own(self, request: Any, answer: Any) -> None:
        """Have Telethon count what the request itself has changed: that takes numbers of a box, too."""
        affected = affected_update(request, answer)
        if affected is not None:
            answer = types.UpdateShort(affected, EPOCH)
        self._store_own_updates(answer)

    def _note_late_error(self, error: Exception) -> None:
        client = self._client() if self.gated else None
        if client is not None:
            client.note_late_error(error, own=self._is_main)

    async def _handle_update(self, message: TLMessage) -> None:
        if getattr(message.obj, "SUBCLASS_OF_ID", 0) != UPDATES:
            self._note_unreadable(TypeError())
        elif self._updates_queue is not None:
            self._updates_queue.take(message.obj)


def retrieve(pong: "asyncio.Future[Any]") -> None:
    """Take note of how a ping that nobody awaits has ended."""
    if not pong.cancelled():
        pong.exception()
