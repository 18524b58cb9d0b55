"""The door of an engine for other programs, and the accounts behind it. A composition root."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define

from adapters.telegram.connector import TelegramConnector
from adapters.telegram.remote_calls import RemoteCalls
from engine.app.account import Account, NotReady
from engine.config import Config
from engine.remote.door import Door
from engine.remote.frames import FailureKind
from engine.remote.ports import NotCarriedOut
from engine.remote.programs import Programs


@define(eq=False)
class RemoteAccounts:
    """The accounts of an engine, as programs use them."""

    accounts: Callable[[], Mapping[str, Account]]
    """Returns them as they are now."""
    connectors: Mapping[str, TelegramConnector]

    @property
    def names(self) -> Sequence[str]:
        """Their names."""
        return list(self.accounts())

    def datacenter(self, account: str) -> int:
        """Return the number of the datacenter in which an account lives; 0 if it is not known yet."""
        connector = self.connectors.get(account)
        if connector is None:
            return 0
        session = connector.memory.session
        if session is not None:
            return int(session.dc_id or 0)
        return connector.datacenter.id if connector.datacenter is not None else 0

    async def client(self, account: str) -> Any:
        """Wait for the client of an account. Raises ``NotCarriedOut`` if no waiting helps."""
        known = self.accounts().get(account)
        if known is None:
            raise NotCarriedOut(FailureKind.NOT_READY, f"the engine has no account {account!r} any more")
        try:
            return await known.ready()
        except NotReady as exc:
            raise NotCarriedOut(FailureKind.NOT_READY, f"{exc}; nothing was sent") from None


def door_of(
    config: Callable[[], Config],
    accounts: Callable[[], Mapping[str, Account]],
    connectors: Mapping[str, TelegramConnector],
) -> Door:
    """Return the door of an engine, which goes by the config as it is at each moment."""
    return Door(Programs(lambda: config().remote), RemoteAccounts(accounts, connectors), RemoteCalls())
