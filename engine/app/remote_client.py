"""``RemoteClient``: Telethon's client whose requests go through a running engine, and whose updates come from it."""

import asyncio
import logging
from pathlib import Path
from typing import Any, Final, Self

from telethon import TelegramClient, utils
from telethon.errors import rpc_message_to_error
from telethon.sessions import MemorySession
from telethon.tl import TLRequest, types
from telethon.tl.alltlobjects import LAYER

from adapters.tl_reader import BoundedReader
from engine.app.remote_inbox import RemoteInbox
from engine.config.load import read_document
from engine.config.outline import DEFAULT_DIRECTORY
from engine.config.values import to_path
from engine.remote.errors import RequestRefused, error_of
from engine.remote.frames import FailureKind, FrameKind, RemoteFailure
from engine.remote.link import EngineLink

MAX_ENTITIES: Final = 20_000
"""Users and chats that a client remembers; the oldest are forgotten."""


class _Entities(MemorySession):  # type: ignore[misc]  # Telethon ships no types
    """A session in memory: it has no key and no file, only who the answers and updates were about."""

    def process_entities(self, tlo: Any) -> None:
        """Remember who is in an answer."""
        super().process_entities(tlo)
        self._shrink()

    def add_peers(self, peers: list[Any]) -> None:
        """Remember how users and chats are addressed of which nothing else is known."""
        rows = {
            (utils.get_peer_id(peer), getattr(peer, "access_hash", 0), None, None, None)
            for peer in peers
            if isinstance(peer, types.InputPeerUser | types.InputPeerChat | types.InputPeerChannel)
        }
        self._entities |= rows
        self._shrink()

    def _shrink(self) -> None:
        while len(self._entities) > MAX_ENTITIES:
            self._entities.pop()


class _Sending:
    """A request on its way, which is sent when it is awaited."""

    def __init__(self, sender: "RemoteSender", request: TLRequest) -> None:
        self._sender, self._request = sender, request

    def __await__(self) -> Any:
        return self._sender.exchange(self._request).__await__()


class RemoteSender:
    """Takes the place of Telethon's sender: what would go to a datacenter goes to the engine."""

    def __init__(self, link: EngineLink, datacenter: int = 0) -> None:
        self._link, self._datacenter = link, datacenter

    def send(self, request: Any, ordered: bool = False) -> Any:
        """Return what is to be awaited for the answer; for several requests a list of these."""
        if utils.is_list_like(request):
            return [_Sending(self, each) for each in request]
        return _Sending(self, request)

    async def exchange(self, request: TLRequest) -> Any:
        """Send a request and return its answer. Raises Telethon's errors, and those of ``engine.remote.errors``."""
        kind, body = await self._link.request(self._datacenter, bytes(request))
        if kind is FrameKind.ANSWER:
            return request.read_result(BoundedReader(body))
        failure = RemoteFailure.decode(body)
        if failure.kind is FailureKind.RPC:
            raise rpc_message_to_error(types.RpcError(failure.code, failure.text), request)
        raise error_of(failure)

    def is_connected(self) -> bool:
        """Return whether it is connected, or connects by itself."""
        return self._link.is_open

    @property
    def disconnected(self) -> "asyncio.Future[None]":
        """Done when the client has disconnected."""
        return asyncio.shield(self._link.over)


class RemoteClient(TelegramClient):  # type: ignore[misc]  # as above
    """A ``TelegramClient`` without a connection of its own: a running engine sends its requests.

    ``config`` is the engine's config file, or its data directory; ``account`` the account's name there; ``name`` what
    this program calls itself, under which the config says what it may do (``remote.programs``). No login is needed and
    no session file is written. Several programs share an account's connection, each with its own place in the updates.

    A request raises what Telethon raises, and besides that ``RequestRefused``, ``AccountNotReady``,
    ``EngineUnreachable``, ``OutcomeUnknown`` and ``AnswerUnusable``. When the engine restarts, the client connects
    again by itself; what was in flight then raises ``OutcomeUnknown`` and is not sent again.
    """

    _loop: asyncio.AbstractEventLoop | None

    def __init__(
        self,
        config: Path | str,
        account: str,
        *,
        name: str,
        flood_sleep_threshold: int = 0,
        base_logger: logging.Logger | str | None = None,
    ) -> None:
        super().__init__(
            _Entities(),
            1,
            "the engine has it",
            flood_sleep_threshold=flood_sleep_threshold,
            request_retries=0,
            raise_last_call_error=True,
            base_logger=base_logger,
        )
        self._link = EngineLink(directory_of(Path(config)), account, name, LAYER, on_lost=self._note_loss)
        self._sender = RemoteSender(self._link)
        self._inbox = RemoteInbox(self, self._link)
        self._link.on_frame, self._link.on_connected = self._inbox.take, self._inbox.subscribe

    def __repr__(self) -> str:
        return f"<RemoteClient {self._link.program!r} with {self._link.account!r}>"

    # --- the connection ---

    async def connect(self) -> None:
        """Connect to the engine. Raises ``EngineUnreachable``, and ``RequestRefused`` if it does not let this in."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._inbox.open()
        await self._link.open()
        self._authorized = True
        self.session.set_dc(self._link.welcome.get("datacenter") or 0, "", 0)
        await self._inbox.subscribed()

    async def start(self, *_: Any, **__: Any) -> Self:
        """Connect, and return the client: there is nobody to log in."""
        await self.connect()
        return self

    async def is_user_authorized(self) -> bool:
        """Return True: the engine has the login."""
        return True

    async def _run_until_disconnected(self) -> None:
        try:
            await self.connect()
            await self.disconnected
            if (error := self._link.error or self._updates_error) is not None:
                raise error
        finally:
            await self.disconnect()

    def disconnect(self) -> Any:
        """Disconnect. Handlers that run may end; an update whose handler disconnects counts as handled."""
        self._inbox.note_disconnect()
        return super().disconnect()

    async def _disconnect_coro(self) -> None:
        await self._inbox.close()
        await self._link.close()

    def _note_loss(self, exc: Exception) -> None:
        self._log[__name__].info("The engine was lost (%s); connecting again", type(exc).__name__)

    async def log_out(self) -> bool:
        """Raise ``RequestRefused``."""
        raise RequestRefused("a program does not log out: the login is the engine's; nothing was sent")

    async def set_receive_updates(self, receive_updates: bool) -> None:
        """Raise ``RequestRefused``, unless updates are wanted: they come when there is a handler for them."""
        if not receive_updates:
            raise RequestRefused("register no handlers for updates that are not wanted; nothing was sent")

    async def catch_up(self) -> None:
        """Do nothing: updates follow from where this program was."""

    async def _switch_dc(self, new_dc: int) -> None:
        raise RequestRefused(f"the account lives in datacenter {new_dc}: log in again, in the engine")

    async def _call(self, sender: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        # The engine knows what is held. Telethon would hold all requests of a kind, also those that it need not send.
        self._flood_waited_requests.clear()
        return await super()._call(sender, request, *args, **kwargs)

    # --- files of other datacenters ---

    async def _borrow_exported_sender(self, dc_id: int) -> RemoteSender:
        return RemoteSender(self._link, dc_id)

    async def _return_exported_sender(self, sender: RemoteSender) -> None:
        """Do nothing: the engine holds these connections."""

    async def _get_cdn_client(self, cdn_redirect: Any) -> Any:
        raise RequestRefused(
            "the file is kept by a datacenter for public files, from which the engine does not download"
        )

    # --- updates ---

    def add_event_handler(self, callback: Any, event: Any = None) -> None:
        """Call ``callback`` with such events, from this program's place in the updates on."""
        super().add_event_handler(callback, event)
        self._inbox.want()

    def conversation(self, *args: Any, **kwargs: Any) -> Any:
        """Return a conversation, for which updates are needed."""
        self._inbox.want()
        return super().conversation(*args, **kwargs)


def directory_of(config: Path) -> Path:
    """Return the data directory of an engine by its config, or as it is given. Raises ``ConfigError``.

    Of the config only ``storage.directory`` is read: a program needs no secrets that the rest may refer to.
    """
    if config.is_dir():
        return config.absolute()
    document = read_document(config).value
    storage = document.get("storage") if isinstance(document, dict) else None
    given = storage.get("directory") if isinstance(storage, dict) else None
    return to_path(given if isinstance(given, str) else DEFAULT_DIRECTORY, config.absolute().parent)
