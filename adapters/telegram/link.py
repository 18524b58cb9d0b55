"""One link: one fresh Telethon client, from its connect to its last closed socket.

Telethon's own reconnection is not used. Measured on 1.45, it makes ten thousand connections in seconds to a dead
backend, hangs for ever with a silent one, and never notices a revoked login. So each link has a fresh client that may
not reconnect, one deadline around the whole attempt, health that an RPC proves, a probe of its own, and a bounded
close.
"""

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
from attrs import define, field
from telethon.tl.functions import PingDelayDisconnectRequest
from telethon.tl.functions.updates import GetStateRequest
from telethon.tl.types.updates import State

from adapters.sockets import reset_on_close
from adapters.telegram.cancellation import begin_request, translate_cancellation
from adapters.telegram.classify import (
    ClosedInside,
    LinkAborted,
    MissedPong,
    RequestDropped,
    chain_of,
    classify,
    forget_frames,
    kind_of,
)
from adapters.telegram.client import LinkClient
from adapters.telegram.engine_session import open_session
from adapters.telegram.failover import name_proxy
from adapters.telegram.holds import CLOCK
from adapters.telegram.proxy import Proxy
from adapters.telegram.sender import retrieve
from adapters.telegram.telethon_log import TELETHON_LOGGER
from adapters.telegram.unreadable import UnreadableAnswer
from adapters.telegram.update_proof import UpdateProof
from states.events import (
    AccountLimited,
    Connected,
    DatabaseCorrupt,
    DatabaseLocked,
    DatabaseUnavailable,
    Event,
    Failure,
    FloodWait,
    NetworkLost,
    ProbeAnswered,
)
from states.snapshot import Hold

ABORT_TIMEOUT = 2.0
"""Seconds that a close may take after its socket was aborted."""
HASTY_TIMEOUT = 0.3
"""The same where the whole link was aborted: the kernel ends a process that takes long to close its links."""
PROOF = GetStateRequest()
"""The authorised RPC that proves a link."""
MAX_EVENTS = 32
"""Events of one link that may wait until it is watched."""
SAVE_DELAY = 0.5
"""Seconds after an update until the session gets the state of the handled updates; the file has it a moment later."""


@define(eq=False)
class TelegramLink:
    """A link of one account. ``open`` once, then ``watch`` it and ``probe`` at will; ``close`` always.

    Results are returned as events; only cancellation is raised. An idle link has no task of its own.
    """

    number: int
    connector: Any  # a TelegramConnector; that of OwnedLink is an OwnedConnector
    holds: tuple[Hold, ...] = ()
    proxy: Proxy | None = None
    _client: Any = field(default=None, init=False)
    _events: list[Event] = field(factory=list, init=False)
    _watcher: Callable[[Event], None] | None = field(default=None, init=False)
    _save_timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _saving: "asyncio.Task[None] | None" = field(default=None, init=False)
    """What brings the session up to date; the link ends it at its close."""
    _closed: bool = field(default=False, init=False)
    _aborted: bool = field(default=False, init=False)
    _closing: anyio.CancelScope | None = field(default=None, init=False)
    """What a close is given time by."""
    _held: dict[str, float] = field(init=False)
    """When the hold of each kind of request ends, by ``CLOCK``."""
    _pinged_at: float | None = field(default=None, init=False)
    """When the last ping was sent, by ``time.monotonic``."""
    _proof: UpdateProof | None = field(default=None, init=False)
    """Compares the numbers of updates; from the first proof of the opened link on."""
    _pings: Any = field(factory=lambda: itertools.count(int.from_bytes(os.urandom(6))), init=False)

    @_held.default
    def _make_held(self) -> dict[str, float]:
        return {hold.request: _on_clock(hold.until) for hold in self.holds}

    @property
    def client(self) -> Any:
        """The Telethon client; None before ``open``."""
        return self._client

    def hold(self, request: str, until: float) -> None:
        """Send no request of this kind until then (Unix seconds)."""
        self._held[request] = _on_clock(until)
        if isinstance(self._client, LinkClient):
            self._client.hold(request, until)

    async def open(self, *, timeout: float) -> list[Event]:
        """Connect and prove the link within ``timeout`` seconds: session, TCP, key, and one RPC with initConnection.

        The last event is the outcome, ``Connected`` or a failure; a limit that the datacenter set may come before.
        """
        limits: list[Event] = []
        try:
            with anyio.fail_after(timeout):
                self._client = await self._make_client(timeout)
                if self._aborted:
                    raise LinkAborted
                await translate_cancellation(self._client.connect())
                if self._client.proof is None:
                    await self._prove()
                elif self._client.limit is not None:
                    limits = self._limits_of(self._client.limit)
        except Exception as exc:
            failure = self._classify_attempt(exc, timeout)
            forget_frames(exc)
            self.connector.failover.report_failure(self.proxy, failure)
            return [name_proxy(failure, self.proxy)]
        self.connector.inbox.use_client(self._client)
        self.connector.session_events.link = self.number
        return [*limits, name_proxy(Connected(link=self.number), self.proxy)]

    async def _make_client(self, timeout: float) -> LinkClient:
        connector = self.connector
        session = await open_session(connector)
        session.observer = connector.session_events.put
        session.admit()
        client: LinkClient = connector.make_client(session, timeout=timeout + 1, proxy=self.proxy)
        client.usernames = session.usernames = connector.usernames
        client.wait_up_to = connector.get_wait_up_to
        client.note_unreadable = connector.unreadable.note
        client.request_done = connector.requests.observer
        client.attach(self.number, connector.inbox, self._report, self.holds, connector.request_timeout)
        client.schedule_save = self._schedule_save
        client.proof = None if self._is_proof_held() else PROOF
        return client

    def _classify_attempt(self, exc: Exception, timeout: float) -> Failure:
        """Return the event that an exception of an attempt means."""
        sender = getattr(self._client, "_sender", None)
        if isinstance(exc, ConnectionError) and exc.__cause__ is None:
            exc.__cause__ = getattr(getattr(sender, "_connection", None), "connect_error", None)
        failure = classify(exc, link=self.number, what="connect")
        if isinstance(exc, TimeoutError) and failure.detail == "TimeoutError":
            failure = classify(TimeoutError(f"no proof within {timeout:g} s"), link=self.number, what="connect")
        return failure

    def begin_probe(
        self, *, proof: bool, timeout: float, report: Callable[[Sequence[Event]], None]
    ) -> Callable[[], None]:
        """Ask for a sign of life, without a task: a ping, or an authorised RPC if ``proof``.

        Within ``timeout`` seconds ``report`` gets events: the outcome, ``ProbeAnswered`` or a failure, and before it a
        limit that the datacenter may have set. Returns what gives the probe up; nothing is reported after that.
        """
        asked = proof and not self._is_proof_held()
        if asked:
            self._keep_from_disconnect()
            self._prove_updates()

        def conclude(answer: Callable[[], object]) -> None:
            try:
                limits = self._read_answer(answer, is_proof=asked)
            except TimeoutError:
                silence = TimeoutError(f"no answer within {timeout:g} s")
                report([name_proxy(classify(silence, link=self.number, what="probe"), self.proxy)])
            except Exception as exc:
                report([name_proxy(classify(exc, link=self.number, what="probe"), self.proxy)])
            else:
                report([*limits, ProbeAnswered(link=self.number, proof=proof)])

        return begin_request(partial(self._send, PROOF if asked else self._next_ping()), timeout, conclude)

    async def probe(self, *, proof: bool, timeout: float) -> Sequence[Event]:
        """Do what ``begin_probe`` does, and return the events."""
        reported: asyncio.Future[Sequence[Event]] = asyncio.get_running_loop().create_future()
        give_up = self.begin_probe(proof=proof, timeout=timeout, report=reported.set_result)
        try:
            return await reported
        finally:
            give_up()

    def watch(self, report: Callable[[Event], None]) -> None:
        """Call ``report`` with the link's events until it ends by itself; the last ones say why it ended.

        Meanwhile the session is kept up to date, at most ``SAVE_DELAY`` behind.
        """
        self._watcher = report
        events, self._events = self._events, []
        for event in events:
            report(name_proxy(event, self.proxy))
        self._client._sender._disconnected.add_done_callback(self._ended)

    def _ended(self, ended: "asyncio.Future[None]") -> None:
        """Report why the link ended; ``ended`` is Telethon's, and done."""
        if self._watcher is None:
            return
        sender = self._client._sender
        # A plain client's update loop swallows its error, and disconnects as it would on request.
        missed_pong = getattr(sender, "missed_pong", True)
        error = self._client._updates_error or (MissedPong() if missed_pong else ClosedInside())
        if ended.cancelled():
            error = RequestDropped()
            error.__cause__ = asyncio.CancelledError()
        else:
            error = ended.exception() or error
        failure = classify(error, link=self.number, what="probe")
        forget_frames(error)
        self._report(failure)
        if isinstance(failure, DatabaseLocked | DatabaseUnavailable | DatabaseCorrupt):
            # A failure of the file is not one of the link, but Telethon dropped the link because of it.
            detail = f"Telethon dropped the link: {failure.detail}"
            self._report(NetworkLost(link=self.number, detail=detail, chain=failure.chain))
        self._watcher = None

    def _report(self, event: Event) -> None:
        """Tell who watches; until somebody does, only the latest events are kept."""
        if self._watcher is not None:
            self._watcher(name_proxy(event, self.proxy))
        else:
            self._events.append(event)
            del self._events[:-MAX_EVENTS]

    def _schedule_save(self) -> None:
        if self._save_timer is None and not self._closed:
            self._save_timer = asyncio.get_running_loop().call_later(SAVE_DELAY, self._save_soon)

    def _save_soon(self) -> None:
        self._save_timer = None
        if self._saving is None:
            self._saving = asyncio.get_running_loop().create_task(self._save())

    async def _save(self) -> None:
        """Bring the session up to date, and again later if handlers still run."""
        try:
            done = await self._client.save()
        except Exception as exc:
            self._report(classify(exc, link=self.number))
            done = True
        finally:
            self._saving = None
        if not done:
            self._schedule_save()

    async def _end_save(self) -> None:
        """Save no more. A save that has begun is given up: the client's end saves once more."""
        self._closed = True
        if self._save_timer is not None:
            self._save_timer.cancel()
            self._save_timer = None
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.wait([self._saving])

    async def close(self, *, timeout: float) -> None:
        """Close socket, tasks and session; drop the socket when that takes longer than ``timeout`` seconds."""
        client = self._client
        if client is None:
            return
        self._watcher = None
        self.connector.inbox.drop_client(client)
        self.connector.session_events.link = None
        if self._proof is not None:
            self._proof.close()
            self._proof = None
        self._drop_unanswered()
        with anyio.CancelScope(shield=True):
            for limit in (timeout, ABORT_TIMEOUT):
                with anyio.move_on_after(min(limit, HASTY_TIMEOUT) if self._aborted else limit) as self._closing:
                    await self._disconnect()
                    break
                self._abort()
        if isinstance(client, LinkClient):
            client.detach()
        ended = client._sender._disconnected
        if ended.done() and not ended.cancelled():
            error = ended.exception()  # retrieved: nothing else does after a failed attempt, and asyncio would warn
            if error is not None:
                forget_frames(error)

    async def _disconnect(self) -> None:
        try:
            await self._end_save()
            await self._end_client()
        except Exception as exc:  # the link is over either way; what disturbed its end is worth a log line
            TELETHON_LOGGER.warning("%s: closing failed: %s", self.connector.label, "; ".join(chain_of(exc)))

    async def _end_client(self) -> None:
        await self._client.end()

    async def _prove(self) -> list[Event]:
        """Prove the link by an authorised RPC; return a flood wait or a limit if that is the answer.

        While the RPC is held for a flood wait, a ping takes its place.
        """
        if self._is_proof_held():
            await translate_cancellation(self._send(self._next_ping()))
            return []
        try:
            await translate_cancellation(self._send(PROOF))
        except Exception as exc:
            return self._limits_of(exc)
        return []

    def _read_answer(self, answer: Callable[[], object], *, is_proof: bool) -> list[Event]:
        """Return the limit that an answer means, if it means one; raise what is no sign of life."""
        try:
            found = answer()
        except Exception as exc:
            if not is_proof:
                raise
            return self._limits_of(exc)
        if self._proof is not None and isinstance(found, State):
            self._proof.take(found)
        return []

    def _prove_updates(self) -> None:
        """Have the answer to the proof that is sent now compared with what the client has."""
        if self._proof is None and isinstance(self._client, LinkClient):
            connector = self.connector
            self._proof = UpdateProof(
                self._client, self.number, connector.name, connector.proofs, self._report, self._send, self._is_held
            )
        if self._proof is not None:
            self._proof.begin()

    def fetch_updates(self, patience: float) -> None:
        """Ask for updates that are missing; within ``patience`` seconds an event says whether they are there."""
        if self._proof is not None:
            self._proof.fetch(patience)

    def _limits_of(self, exc: Exception) -> list[Event]:
        """Return the limit that a failed proof means; raise ``exc`` if it proves nothing."""
        if isinstance(exc, UnreadableAnswer):
            return []  # it was answered, and not with a refusal
        limit = classify(exc, link=self.number)
        if not isinstance(limit, FloodWait | AccountLimited):
            raise exc
        return [limit]

    def _is_proof_held(self) -> bool:
        return bool(self._held) and self._held.get(kind_of(PROOF), 0.0) > CLOCK.now()

    def _is_held(self, kind: str) -> bool:
        return bool(self._held) and max(self._held.get(each, 0.0) for each in ("any", kind)) > CLOCK.now()

    def _keep_from_disconnect(self) -> None:
        """Send a ping beside a proof if the next one could come after the datacenter has given the link up.

        Only a ping of this kind restarts its timer (https://core.telegram.org/mtproto/service_messages).
        """
        if self._pinged_at is not None and 2 * (time.monotonic() - self._pinged_at) > self.connector.disconnect_delay:
            with suppress(ConnectionError):  # the link is down already, which the proof reports
                self._send(self._next_ping()).add_done_callback(retrieve)

    def _next_ping(self) -> Any:
        self._pinged_at = time.monotonic()
        return PingDelayDisconnectRequest(next(self._pings), self.connector.disconnect_delay)

    def _send(self, request: Any) -> Any:
        """Send a request of the engine's own, without Telethon's sleeps after errors, which would look like silence."""
        sender = self._client._sender
        return getattr(sender, "direct", sender).send(request)

    def _drop_unanswered(self) -> None:
        """Let the kernel drop what it could not deliver, if a request is unanswered: the link may be silent.

        The kernel would go on trying for minutes. Requests that arrive on this link after those of the next one are two
        links that use one key in parallel, for which the datacenter destroys the login.
        """
        transport, sender = self._transport, self._client._sender
        if transport is None or not (sender._pending_state or sender._send_queue._deque):
            return
        sock = transport.get_extra_info("socket")
        if sock is not None:
            with suppress(OSError):  # it is closed
                reset_on_close(sock)

    def abort(self) -> None:
        """Drop all connections of the link at once, also those that are being made; what is waited for fails.

        The link is closed by ``close``, as always. Does not wait, and never raises.
        """
        client, self._aborted = self._client, True
        for sender in (client._sender, *(lent for _, lent in client._borrowed_senders.values())) if client else ():
            connection = getattr(sender, "_connection", None)
            if connection is not None:
                connection.abort()
        if self._closing is not None:
            self._closing.deadline = min(self._closing.deadline, anyio.current_time() + HASTY_TIMEOUT)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    @property
    def _transport(self) -> Any:
        """The transport of the link's socket, if there is one."""
        writer = getattr(getattr(self._client._sender, "_connection", None), "_writer", None)
        return None if writer is None else writer.transport


def _on_clock(until: float) -> float:
    """Return a time of day by ``CLOCK``, so that a hold lasts as long as it should, however the clock is set."""
    return CLOCK.now() + (until - time.time())
