"""Telethon's client and sender, made and connected at a fraction of the cost.

Telethon's constructors make tables, loggers, queues and a sender for each client, which a link would replace at once.
What all links have in common is an attribute of the class here. A test compares what both make, attribute by attribute.
"""

import asyncio
import platform
import re
import time
from collections import defaultdict
from typing import Any, Final

from telethon._updates import ChannelState, Entity, EntityType, SessionState
from telethon.crypto import AuthKey
from telethon.extensions import markdown
from telethon.extensions.messagepacker import MessagePacker
from telethon.network import MTProtoSender, TcpMTProxy
from telethon.tl import TLRequest, types
from telethon.tl.alltlobjects import LAYER
from telethon.tl.functions import InitConnectionRequest, InvokeWithLayerRequest
from telethon.tl.functions.help import GetConfigRequest

from adapters.telegram.lean import LastAcks, SendSignal, ShortList, UpdateQueue
from adapters.telegram.message_box import NotedMessageBox
from adapters.telegram.recalling import RecallingClient, RecentEntities
from adapters.telegram.telethon_log import TELETHON_LOGGER, OneLogger
from adapters.telegram.transport import FullConnection

ENTITY_LIMIT: Final = 5000
"""Telethon's own bound of the users and chats in memory."""
_NAMES: Final = {"x86_64": "PC 64bit", "AMD64": "PC 64bit"} | dict.fromkeys(("i386", "i686", "x86"), "PC 32bit")
_SYSTEM: Final = platform.uname()
DEVICE: Final = _NAMES.get(_SYSTEM.machine, _SYSTEM.machine) or "Unknown"
"""What Telethon says of this machine in each list of a user's sessions."""
SYSTEM_VERSION: Final = re.sub(r"-.+", "", _SYSTEM.release) or "1.0"


NO_HANDLERS: Final[dict[int, Any]] = {}
"""In place of the table of methods that Telethon makes for each of its senders."""


class SlottedClient(RecallingClient):
    """Telethon's client with slots: with all that it has, its dictionary would be eight times as large."""

    __slots__ = (
        "_albums", "_borrow_sender_lock", "_borrowed_senders", "_catch_up", "_connection", "_conversations",
        "_event_builders", "_exported_sessions", "_flood_waited_requests", "_init_request", "_last_request", "_log",
        "_mb_entity_cache", "_megagroup_cache", "_message_box", "_phone_code_hash", "_proxy", "_timeout",
        "_updates_queue", "_use_ipv6", "api_hash", "api_id",
    )  # fmt: skip


class LeanClient(SlottedClient):
    """A client that neither reconnects nor repeats nor sleeps, fetches what it missed, and has no sender yet."""

    _local_addr = None
    _raise_last_call_error = True
    _request_retries = 0
    _connection_retries = 0
    _retry_delay = 0
    _flood_sleep_threshold = 0
    _auto_reconnect = False
    _no_updates = False
    _sequential_updates = False
    _entity_cache_limit = ENTITY_LIMIT
    _parse_mode = markdown
    _loop: asyncio.AbstractEventLoop | None = None
    _updates_error: Exception | None = None
    _updates_handle: "asyncio.Task[None] | None" = None
    _keepalive_handle: "asyncio.Task[None] | None" = None
    _authorized: bool | None = None
    _phone: str | None = None
    _tos: Any = None
    _sender: Any = None
    _event_handler_tasks: tuple[asyncio.Task[None], ...] = ()  # the inbox runs them

    def __init__(
        self,
        session: Any,
        api_id: int,
        api_hash: str,
        *,
        connection: Any = FullConnection,
        proxy: Any = None,
        timeout: float = 10.0,
        logger: OneLogger | None = None,
    ) -> None:
        self._log = logger or OneLogger(TELETHON_LOGGER.name)
        self.session = session
        self.api_id = int(api_id)
        self.api_hash = api_hash
        self._use_ipv6 = ":" in (session.server_address or "")
        self._connection = connection
        self._proxy = proxy
        self._timeout = timeout
        self._init_request = InitConnectionRequest(
            api_id=self.api_id,
            device_model=DEVICE,
            system_version=SYSTEM_VERSION,
            app_version=self.__version__,
            lang_code="en",
            system_lang_code="en",
            lang_pack="",
            query=None,
            proxy=types.InputClientProxy(*connection.address_info(proxy))
            if issubclass(connection, TcpMTProxy)
            else None,
        )
        self._flood_waited_requests: dict[int, float] = {}
        self._borrowed_senders: dict[int, Any] = {}
        self._borrow_sender_lock = asyncio.Lock()
        self._exported_sessions: dict[int, Any] = {}
        self._last_request = time.time()
        self._event_builders: list[Any] = []
        self._conversations: dict[int, set[Any]] = defaultdict(set)
        self._albums: dict[int, Any] = {}
        self._phone_code_hash: dict[str, str] = {}
        self._megagroup_cache: dict[int, bool] = {}
        self._catch_up = True
        self._updates_queue = UpdateQueue()
        self._message_box = NotedMessageBox(self._log)
        self._updates_queue.known = self._message_box.map
        self._mb_entity_cache = RecentEntities(self._message_box.map)

    async def _connect(self) -> None:
        """Connect as Telethon does, once: the connection, what the session says, the first request, the update loop."""
        self._loop = asyncio.get_running_loop()
        session, sender = self.session, self._sender
        await sender.connect(
            self._connection(session.server_address, session.port, session.dc_id, loggers=self._log, proxy=self._proxy)
        )
        session.auth_key = sender.auth_key
        await self._recall_counted()
        self._load_self()
        self._load_states()
        await self._begin()
        if self._message_box.is_empty():
            me = await self.get_me()
            if me:
                await self._on_login(me)  # asks for the state, too
        self._updates_handle = self._loop.create_task(self._update_loop())

    async def _begin(self) -> None:
        """Begin the connection with a request whose answer is of no use, as Telethon does."""
        await self._introduce(GetConfigRequest())

    async def _introduce(self, request: TLRequest) -> None:
        """Send the first request, and with it what this program is. An answer that cannot be read is one, too."""
        self._init_request.query = request
        await self._sender.send(InvokeWithLayerRequest(LAYER, self._init_request))

    def _load_self(self) -> None:
        """Take who the account is from the session, which has its id under 0, if it does."""
        try:
            own = self.session.get_input_entity(0).access_hash
            self._mb_entity_cache.set_self_user(own, None, self.session.get_input_entity(own).access_hash)
        except ValueError:
            pass

    def _load_states(self) -> None:
        """Take how far updates were seen from the session; channels that cannot be addressed are left out."""
        own, channels = SessionState(0, 0, False, 0, 0, 0, 0, None), []
        for entity, state in self.session.get_update_states():
            if entity == 0:
                own = SessionState(0, 0, False, state.pts, state.qts, int(state.date.timestamp()), state.seq, None)
            else:
                channels.append(ChannelState(entity, state.pts))
        self._message_box.load(own, channels)
        for channel in channels:
            try:
                peer = self.session.get_input_entity(channel.channel_id)
            except ValueError:
                self._log.warning("No access_hash in cache for channel %s, will not catch up", channel.channel_id)
            else:
                self._mb_entity_cache.put(Entity(EntityType.CHANNEL, peer.channel_id, peer.access_hash))


class SlottedSender(MTProtoSender):  # type: ignore[misc]  # as above
    """Telethon's sender with slots, for the same reason."""

    __slots__ = (
        "_connect_lock", "_connect_timeout", "_last_acks", "_log", "_loggers", "_pending_ack", "_pending_state",
        "_retries", "_send_queue", "_state", "_updates_queue", "auth_key",
    )  # fmt: skip


class LeanSender(SlottedSender):
    """A sender that is not connected yet; who derives from it makes its message layer."""

    _auth_key_callback = None  # no link makes a key for the account: a session without one is not opened
    _auto_reconnect_callback = None
    _delay = 0
    _connection: Any = None
    _ping: int | None = None
    _user_connected = False
    _reconnecting = False
    _MTProtoSender__disconnected: "asyncio.Future[None] | None" = None
    _send_loop_handle: "asyncio.Task[None] | None" = None
    _recv_loop_handle: "asyncio.Task[None] | None" = None
    _reconnect_task: "asyncio.Task[None] | None" = None
    _handlers = NO_HANDLERS

    def __init__(
        self, auth_key: AuthKey | None, *, logger: OneLogger, retries: int, timeout: float, updates_queue: Any
    ) -> None:
        self._loggers = self._log = logger
        self._retries = retries
        self._connect_timeout = timeout
        self._updates_queue = updates_queue
        self._connect_lock = asyncio.Lock()
        self.auth_key = auth_key or AuthKey(None)
        self._state = self._make_state()
        self._send_queue = MessagePacker(self._state, loggers=logger)
        self._send_queue._ready, self._send_queue._deque = SendSignal(self), ShortList()
        self._pending_state: dict[int, Any] = {}
        self._pending_ack: set[int] = set()
        self._last_acks = LastAcks()

    def _make_state(self) -> Any:
        """Return the message layer."""
        raise NotImplementedError

    def begin_sending(self) -> None:
        """Send what is in the queue."""
        raise NotImplementedError
