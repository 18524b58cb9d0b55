"""The datacenter without its sockets: what all connections share, and which of them get an update."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from attrs import define, field

from adapters.sandbox.faults.active_faults import ActiveFaults
from adapters.sandbox.mtproto.datacenter_key import DatacenterKey
from adapters.sandbox.mtproto.key_exchange import DiffieHellman
from adapters.sandbox.server.key_use import KeyUse
from adapters.sandbox.server.stats import SandboxStats
from adapters.sandbox.services import ServiceContext, files, views
from adapters.sandbox.store.channels import ChannelMessage
from adapters.sandbox.store.database import PrivateMessage, SandboxStore
from adapters.sandbox.store.events import ChatEvent


class UpdateReceiver(Protocol):
    """A connection that updates can be pushed to."""

    def push(self, update: Any) -> None: ...


@define
class Hub:
    """What all connections share: the key, the store, faults and counters, and the subscriptions to updates."""

    key: DatacenterKey
    store: SandboxStore
    shared: ServiceContext
    faults: ActiveFaults
    salt_seed: bytes
    clock: Callable[[], float] = time.time
    diffie_hellman: DiffieHellman = field(factory=DiffieHellman.fresh)
    stats: SandboxStats = field(factory=SandboxStats)
    key_use: KeyUse = field(factory=KeyUse)
    _receivers: dict[int, set[UpdateReceiver]] = field(factory=dict)
    _awaiting_login: dict[int, set[UpdateReceiver]] = field(factory=dict)

    def subscribe(self, account: int, receiver: UpdateReceiver) -> None:
        """Push what happens to the account to the receiver, from now on."""
        self._receivers.setdefault(account, set()).add(receiver)

    def unsubscribe(self, account: int, receiver: UpdateReceiver) -> None:
        _discard(self._receivers, account, receiver)

    def await_login(self, key: int, receiver: UpdateReceiver) -> None:
        """Push what happens to the login of this key to the receiver, whose client is not logged in yet."""
        self._awaiting_login.setdefault(key, set()).add(receiver)

    def stop_awaiting_login(self, key: int, receiver: UpdateReceiver) -> None:
        _discard(self._awaiting_login, key, receiver)

    def notify_login(self, key: int, update: Any) -> None:
        """Push an update to the clients with this key that wait to be logged in."""
        for receiver in tuple(self._awaiting_login.get(key, ())):
            receiver.push(update)
            self.stats.updates_pushed += 1

    def deliver(
        self, messages: Sequence[PrivateMessage | ChannelMessage | ChatEvent], origin: UpdateReceiver | None = None
    ) -> None:
        """Push each message, edit and deletion to the connections of all who see it, except the one that caused it."""
        for message in messages:
            for account, update in self._pushes(message):
                files.show_files(self.store.files, account, update)
                for receiver in self._receivers[account] - {origin}:
                    receiver.push(update)
                    self.stats.updates_pushed += 1

    def _pushes(self, message: PrivateMessage | ChannelMessage | ChatEvent) -> Iterator[tuple[int, Any]]:
        """Yield the connected accounts that see a message or a change, each with the update that shows it."""
        if isinstance(message, ChatEvent):
            yield from self._event_pushes(message)
            return
        if isinstance(message, PrivateMessage):
            if message.account in self._receivers:
                users = views.users_of(self.store, [message], message.account)
                yield message.account, views.new_message(message, users)
            return
        channel = self.store.channels.by_id(message.channel)
        assert channel is not None, "a message has a channel, and channels are never removed"
        for member in self.store.channels.members(channel.id):
            if member.account in self._receivers:
                yield member.account, views.new_channel_message(self.store, message, channel, member.account)

    def _event_pushes(self, event: ChatEvent) -> Iterator[tuple[int, Any]]:
        channel = self.store.channels.by_id(event.box)
        if channel is None:
            if event.box in self._receivers:
                yield event.box, views.account_event(self.store, event)
            return
        for member in self.store.channels.members(channel.id):
            if member.account in self._receivers:
                yield member.account, views.channel_event(self.store, event, channel, member.account)


def _discard(table: dict[int, set[UpdateReceiver]], key: int, receiver: UpdateReceiver) -> None:
    receivers = table.get(key, set())
    receivers.discard(receiver)
    if not receivers:
        table.pop(key, None)
