"""Messages and channels, as the owner of the sandbox puts them in. ``Sandbox`` inherits these methods."""

from collections.abc import Iterable
from typing import Final

import anyio.lowlevel

from adapters.sandbox.errors import RpcRefusal, SandboxError
from adapters.sandbox.server.hub import Hub
from adapters.sandbox.services.context import LookupLimit
from adapters.sandbox.services.limits import Freeze
from adapters.sandbox.services.messages import MAX_TEXT
from adapters.sandbox.store.channels import MAX_FILL, ChannelMessage
from adapters.sandbox.store.database import SERVICE_ID, PrivateMessage

FILL_AUTHORS: Final = tuple(f"999660000{number}" for number in range(1, 6))
"""The authors of the messages that a group is filled with. These numbers are unlikely to be used otherwise: no
datacenter has the digit 0."""


class SandboxContent:
    """The part of ``Sandbox`` about messages and channels."""

    _hub: Hub

    async def push(self, phone: str, text: str, sender: str | None = None) -> int:
        """Send the account a message, from another one or from Telegram itself; return its id there."""
        store = self._hub.store
        receiver = store.account(phone).id
        origin = SERVICE_ID if sender is None else store.account(sender).id
        sent = store.send(origin, receiver, text, None)
        self._hub.deliver(sent.copies)
        return (sent.theirs or sent.mine).id

    def messages(self, phone: str) -> list[PrivateMessage]:
        """Return the account's messages as the datacenter knows them, oldest first, with the times of changes.

        A deleted one is there too, with its last text.
        """
        return self._hub.store.messages(self._hub.store.account(phone).id)

    async def create_channel(
        self,
        username: str,
        title: str,
        *,
        megagroup: bool = False,
        members: Iterable[str] = (),
        admins: Iterable[str] = (),
    ) -> int:
        """Create a public channel, in which admins write, or with ``megagroup`` a group, in which all members do.

        Returns its id. An existing one gets the title and the members too, so that a program may be started twice on
        one state. Raises SandboxError for a name that cannot exist, or that belongs to a channel of the other kind.
        """
        store = self._hub.store
        people = [(store.account(phone).id, False) for phone in members]
        people += [(store.account(phone).id, True) for phone in admins]
        channel = store.channels.create(username, title, megagroup=megagroup)
        for account, admin in people:
            store.channels.join(channel, account, admin=admin)
        return channel.id

    async def rename_channel(self, username: str, to: str) -> None:
        """Give a channel another username. Raises SandboxError for a name that cannot exist, or is taken."""
        self._hub.store.channels.rename(username, to)

    def limit_lookups(self, per_account: int | None, *, wait: int = 86_400) -> None:
        """Answer so many ``contacts.resolveUsername`` of each account from now on, and then FLOOD_WAIT of ``wait`` s.

        None ends the limit.
        """
        self._hub.shared.lookups = None if per_account is None else LookupLimit(per_account, wait)

    async def freeze(self, phone: str, until: float, appeal: str = "") -> None:
        """Freeze an account, as Telegram does: it may only read, and ``help.getAppConfig`` says so.

        It will be deleted at ``until`` (Unix seconds); 0 ends it. Not kept over a restart.
        """
        account, frozen = self._hub.store.account(phone).id, self._hub.shared.frozen
        if until:
            frozen[account] = Freeze(self._hub.clock(), until, appeal)
        else:
            frozen.pop(account, None)

    async def edit(self, chat: str, id_: int, text: str) -> None:
        """Give a message another text: of a channel (``@name``), or of an account by its number and its own ids.

        A private message changes for both sides. Raises SandboxError when there is no such message.
        """
        store = self._hub.store
        try:
            if _is_number(chat):
                self._hub.deliver(store.edit(store.account(chat).id, id_, _checked(text)))
            else:
                self._hub.deliver([store.channels.edit(store.channels.named(chat), id_, _checked(text))])
        except RpcRefusal as refusal:
            raise SandboxError(f"Message {id_} of {chat} cannot be edited ({refusal.text}).") from refusal

    async def delete(self, chat: str, ids: Iterable[int]) -> int:
        """Delete messages of a channel, or private ones for both sides; return how many of them there were."""
        store = self._hub.store
        if _is_number(chat):
            account = store.account(chat).id
            made = store.delete(account, ids, revoke=True)
            self._hub.deliver(made)
            return sum(event.pts_count for event in made if event.box == account)
        event = store.channels.delete(store.channels.named(chat), ids)
        self._hub.deliver([event] if event else [])
        return event.pts_count if event else 0

    async def post(self, username: str, text: str, sender: str | None = None, reply_to: int | None = None) -> int:
        """Write a message in a channel, as one of its members or as the channel itself; return its id there.

        Raises SandboxError when the channel does not exist, and for a sender that is not in it.
        """
        store = self._hub.store
        channel = store.channels.named(username)
        author = None if sender is None else store.account(sender).id
        if author is not None and store.channels.member(channel, author) is None:
            raise SandboxError(f"{sender} is not in @{channel.username}; let it join first, or name it in members.")
        sent = store.channels.send(channel, author, _checked(text), None, reply_to)
        self._hub.deliver([sent])
        return sent.id

    async def fill(self, username: str, upto: int) -> int:
        """Give a channel a history: numbered messages ("Message 1", ...), until it has at least this many.

        They are of the last three days, the oldest first; in a group by a few invented members (+9996600001 to
        +9996600005), in a broadcast by the channel itself. Each is one event of the channel, but none is pushed, and a
        member that had read everything has read them. Returns how many were written: 0 if the channel had as many.
        Raises SandboxError when the channel does not exist, and for a number outside 0 to 100,000.
        """
        if not 0 <= upto <= MAX_FILL:
            raise SandboxError(f"A channel is filled up to 0 to {MAX_FILL} messages, not {upto}.")
        store = self._hub.store
        channel = store.channels.named(username)
        if channel.last_message >= upto:
            return 0
        authors = [store.account(phone).id for phone in FILL_AUTHORS] if channel.megagroup else [None]
        for author in authors:
            if author is not None:
                store.channels.join(channel, author)
        written = 0
        for portion in store.channels.filling(channel.username, upto, authors):
            written += portion
            await anyio.lowlevel.checkpoint()  # clients are served in between
        return written

    def channel_messages(self, username: str, after: int = 0, limit: int = -1) -> list[ChannelMessage]:
        """Return what was written in the channel after this message, oldest first, at most ``limit`` (-1: all of it).

        It is the datacenter's own record: present texts, the times of edits and deletions; deleted messages, too.
        Raises SandboxError when the channel does not exist.
        """
        store = self._hub.store
        return store.channels.messages(store.channels.named(username), after, limit)


def _checked(text: str) -> str:
    """Return the text of a message. Raises SandboxError for one that Telegram would not take."""
    if not text.strip() or len(text) > MAX_TEXT:
        raise SandboxError(f"A message has 1 to {MAX_TEXT} characters, and not only blanks; not {len(text)}.")
    return text


def _is_number(chat: str) -> bool:
    """Return whether a chat is named by the number of an account, or by that of a bot; else it is a channel."""
    return chat.startswith("+") or chat.isdigit()
