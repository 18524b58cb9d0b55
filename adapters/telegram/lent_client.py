"""What a client refuses to those who borrow it, because its connection, login and settings are the engine's."""

import asyncio
from typing import Any

from telethon.tl.functions.auth import LogOutRequest

from adapters.telegram.classify import Migrated
from adapters.telegram.inbox import Inbox
from adapters.telegram.lent import LentClientError, Nothing, check_allowed


class LentClient:
    """The part of ``LinkClient`` that takes the place of Telethon's own methods and settings of this kind."""

    number: int
    inbox: Inbox
    _loop: asyncio.AbstractEventLoop | None
    _session: Any = None

    def _refuse(self, what: str, instead: str) -> LentClientError:
        return LentClientError(f"{what} is refused, because the engine runs {self.inbox.account}; {instead}")

    def _check_loop(self) -> None:
        """Raise ``LentClientError`` in any other event loop than the client's own, such as another thread's."""
        if self._loop is not asyncio.get_running_loop() and self._loop is not None:
            raise self._refuse(
                "Use of the client in another event loop or thread",
                "call asyncio.run_coroutine_threadsafe(…, client.loop) there",
            )

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that the client lives in, from whichever thread it is read."""
        return self._loop or asyncio.get_running_loop()

    @property
    def session(self) -> Any:
        """The session."""
        return self._session

    @session.setter
    def session(self, value: Any) -> None:
        if self._session is not None and value is not self._session:
            raise self._refuse("Another session", "name its file in the config, as an account of its own")
        self._session = value

    @property
    def auto_reconnect(self) -> bool:
        """Off: the engine makes a new client instead."""
        return False

    @auto_reconnect.setter
    def auto_reconnect(self, value: bool) -> None:
        raise self._refuse("auto_reconnect", "the engine reconnects, by the schedules of the config's states")

    def disconnect(self) -> Nothing:
        """Do nothing: the engine and others go on using the connection. ``end`` is the link's."""
        return Nothing()

    async def run_until_disconnected(self) -> None:
        """Raise ``LentClientError``: connections come and go, and nothing should wait for the end of one."""
        raise self._refuse("run_until_disconnected", "let the job or handler return, or wait for something of your own")

    async def log_out(self) -> None:
        """Raise ``LentClientError``."""
        check_allowed(LogOutRequest())

    def set_proxy(self, proxy: Any) -> None:
        """Raise ``LentClientError``."""
        raise self._refuse("set_proxy", "set `proxy` of the account in the config")

    async def set_receive_updates(self, receive_updates: bool) -> None:
        """Raise ``LentClientError`` for anything but what is so already."""
        if not receive_updates:
            raise self._refuse("set_receive_updates(False)", "register no handlers for updates that you do not want")

    async def _switch_dc(self, new_dc: int) -> None:
        raise Migrated(self.session.dc_id, new_dc)  # Telethon would throw the key away
