"""``WebServer``: an ASGI application on uvicorn's HTTP, in the engine's own loop.

uvicorn's ``Server`` takes over the signals, exits the process if it cannot listen, and looks at itself ten times a
second. So only its connections are used here: the listener, its schedule and its end are the engine's.
"""

import asyncio
import ipaddress
import os
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any, Final, Protocol

import anyio
import structlog
from anyio.abc import TaskStatus
from attrs import define, field
from uvicorn.config import Config
from uvicorn.server import ServerState

from engine.fleet.watchers import describe, pause_after
from engine.web.connection import HEADERS, KEEP_SECONDS, MAX_HEAD_BYTES, BoundedConnection
from engine.web.listening import let_in, listen

STOP_SECONDS: Final = 1.0
"""For answers that are under way at the end."""
TOLD_SECONDS: Final = 600.0
"""For which a request that failed by a mistake of the engine is not told again."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
"""An ASGI application."""

log = structlog.get_logger("holdfast.web")


class Address(Protocol):
    """Where to listen; ``str`` writes it for people."""

    @property
    def host(self) -> str:
        """A name or an IP address."""

    @property
    def port(self) -> int:
        """The port; 0 is any that is free."""


@define(eq=False)
class WebServer:
    """Serves ``application`` at ``address`` until it is cancelled.

    If it cannot listen there, it says so once and tries again after a pause that grows.
    """

    address: Address
    application: Application
    port: int = field(default=0, init=False)
    """The port that it listens at; 0 while it does not."""
    _told_at: float = field(default=float("-inf"), init=False)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started once it listens."""
        failures, state = 0, ServerState()
        state.default_headers = list(HEADERS)
        while True:
            try:
                listeners = await listen(self.address.host, self.address.port)
            except OSError as exc:
                failures += 1
                if failures == 1:
                    log.error("web_unreachable", address=str(self.address), detail=_why(exc))
                await anyio.sleep(pause_after(failures))
                continue
            break
        self.port = listeners[0].getsockname()[1]
        log.info("web_listening", address=_at(self.address, self.port))
        if any(is_exposed(each.getsockname()[0]) for each in listeners):
            log.warning("web_exposed", address=_at(self.address, self.port))
        task_status.started()
        make = self._maker(state)
        try:
            async with anyio.create_task_group() as tasks:
                for listener in listeners:
                    tasks.start_soon(let_in, listener, make)
        finally:
            self.port = 0
            for listener in listeners:
                listener.close()
            await _end(state)

    def _maker(self, state: ServerState) -> Callable[[], BoundedConnection]:
        """Return what makes the connection of a client."""
        config = Config(
            self._guarded,
            http=BoundedConnection,
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_SECONDS,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
        config.load()
        return partial(BoundedConnection, config, state, {}, asyncio.get_running_loop())

    async def _guarded(self, scope: Message, receive: Receive, send: Send) -> None:
        """Run the application; a mistake in it ends one request, and is told."""
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.application(scope, receive, sent)
        except Exception:
            if (now := anyio.current_time()) >= self._told_at + TOLD_SECONDS:
                self._told_at = now
                log.exception("web_request_failed", request=str(scope.get("path", "")))
            if begun:
                raise  # uvicorn closes the connection: the client must not take a part for the whole
            text = b"An error in the engine itself ended this request; its log has the traceback\n"
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 500, "headers": headers})
            await send({"type": "http.response.body", "body": text})


async def _end(state: ServerState) -> None:
    """Let answers that are under way end, in bounded time, and close all connections."""
    for each in list(state.connections):
        each.shutdown()
    await _wait(state.tasks)
    for each in list(state.connections):
        each.transport.abort()
    for task in list(state.tasks):
        task.cancel()
    await _wait(state.tasks)


async def _wait(tasks: "set[asyncio.Task[None]]") -> None:
    """Return when uvicorn's tasks have ended, or after ``STOP_SECONDS``."""
    if tasks:
        with anyio.move_on_after(STOP_SECONDS, shield=True):
            await asyncio.wait(set(tasks))


def is_exposed(host: str) -> bool:
    """Return whether other machines may reach what listens at this IP address."""
    return not ipaddress.ip_address(host.partition("%")[0]).is_loopback


def _at(address: Address, port: int) -> str:
    """Return an address with the port that was found."""
    return f"{str(address).rpartition(':')[0]}:{port}"


def _why(exc: OSError) -> str:
    """Return why a listener cannot be made: the system's word without asyncio's sentence around it."""
    return os.strerror(exc.errno).lower() if exc.errno and exc.errno > 0 else describe(exc)
