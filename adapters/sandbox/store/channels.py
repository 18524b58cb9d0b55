"""Channels and groups as the datacenter remembers them: members, messages, event numbers.

A broadcast channel and a megagroup are the same here; they differ in who may write. Every message, every edit and every
deletion of a message is one event, so a channel's pts grows by one with each, without gaps.
"""

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final

from attrs import astuple, define, field, frozen

from adapters.sandbox.errors import RpcRefusal, SandboxError
from adapters.sandbox.store import events
from adapters.sandbox.store.events import ChatEvent, EventKind, Missed, transaction
from adapters.sandbox.store.paging import ALL_MESSAGES, HistoryWindow, SearchCriteria, SqlCondition

FIRST_CHANNEL_ID: Final = 1_000_000_001
"""Clients keep users and channels in one table, so a channel's id must not be the id of an account (a phone number)."""
FIRST_PTS: Final = 1
"""Zero means 'unknown' to a client."""
USERNAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{3,31}")
ACCOUNT_USERNAME: Final = re.compile(r"user\d+|bot\d+_bot", re.IGNORECASE)
MAX_TITLE: Final = 128
MAX_FILL: Final = 100_000
FILL_PORTION: Final = 500
"""Messages of a history that are written at once: a few milliseconds."""
HISTORY_SECONDS: Final = 3 * 24 * 3600
"""How far back the messages go that a channel is filled with."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS channels (
    id INTEGER PRIMARY KEY, username TEXT NOT NULL UNIQUE COLLATE NOCASE, title TEXT NOT NULL,
    megagroup INTEGER NOT NULL, date INTEGER NOT NULL, pts INTEGER NOT NULL, last_message INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS channel_members (
    channel INTEGER NOT NULL REFERENCES channels (id), account INTEGER NOT NULL REFERENCES accounts (id),
    admin INTEGER NOT NULL, date INTEGER NOT NULL, read_up_to INTEGER NOT NULL, PRIMARY KEY (channel, account)
) STRICT;
CREATE INDEX IF NOT EXISTS channel_members_by_account ON channel_members (account);
CREATE TABLE IF NOT EXISTS channel_messages (
    channel INTEGER NOT NULL REFERENCES channels (id), id INTEGER NOT NULL, pts INTEGER NOT NULL,
    sender INTEGER, text TEXT NOT NULL, date INTEGER NOT NULL, random_id INTEGER, PRIMARY KEY (channel, id)
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS channel_messages_by_pts ON channel_messages (channel, pts);
CREATE UNIQUE INDEX IF NOT EXISTS channel_messages_by_random_id
    ON channel_messages (sender, random_id) WHERE random_id IS NOT NULL;
"""

CHANNEL: Final = "SELECT c.id, c.username, c.title, c.megagroup, c.date, c.pts, c.last_message FROM channels c"
MEMBER: Final = "SELECT channel, account, admin, date, read_up_to FROM channel_members"
COLUMNS: Final = "channel, id, pts, sender, text, date, random_id, edited, deleted, reply_to"
MESSAGE: Final = f"SELECT {COLUMNS} FROM channel_messages"
INSERT: Final = f"INSERT INTO channel_messages ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


@frozen
class Channel:
    """A broadcast channel or a megagroup, as it was when it was read from the store."""

    id: int
    username: str
    title: str
    megagroup: bool = field(converter=bool)
    date: int
    """When it was created, in seconds since the epoch."""
    pts: int
    """The number of its last event."""
    last_message: int
    """Its id, and so the number of messages: a deleted one is only hidden."""

    def access_hash_for(self, viewer: int) -> int:
        """Return the access hash with which this viewer may name the channel."""
        digest = sha256(f"{viewer}:{self.id}".encode()).digest()
        return int.from_bytes(digest[:8], "little", signed=True)


@frozen
class Member:
    """An account in a channel."""

    channel: int
    account: int
    admin: bool = field(converter=bool)
    date: int
    """When it joined, in seconds since the epoch."""
    read_up_to: int


@frozen
class ChannelMessage:
    """A message in a channel; all members see the same one, under the same number."""

    channel: int
    id: int
    pts: int
    sender: int | None
    """The account that wrote it; None when the channel itself is the author."""
    text: str
    """The present one; a deleted message keeps its last."""
    date: int
    """Seconds since the epoch."""
    random_id: int | None
    edited: int | None = None
    """When it was edited last, in seconds since the epoch."""
    deleted: int | None = None
    reply_to: int | None = None
    """The message that it answers."""


@define
class ChannelStore:
    """The part of the store that holds channels; it shares the store's database."""

    _db: sqlite3.Connection
    _clock: Callable[[], float]

    def create(self, username: str, title: str, *, megagroup: bool) -> Channel:
        """Return the channel of this username, created if need be; an existing one gets the title.

        Raises SandboxError for a name that Telegram would not take, and when a channel of the other kind has the name.
        """
        name = _checked_name(username)
        if not title.strip() or len(title) > MAX_TITLE:
            raise SandboxError(f"The title of @{name} has {len(title)} characters; it has 1 to {MAX_TITLE}.")
        there = self.by_username(name)
        if there is None:
            insert = "INSERT INTO channels SELECT coalesce(max(id) + 1, ?), ?, ?, ?, ?, ?, 0 FROM channels"
            self._db.execute(insert, (FIRST_CHANNEL_ID, name, title, megagroup, self._now(), FIRST_PTS))
        elif there.megagroup != megagroup:
            kind = "megagroup" if there.megagroup else "broadcast channel"
            raise SandboxError(f"@{name} is a {kind} already; choose another username.")
        else:
            self._db.execute("UPDATE channels SET title = ? WHERE id = ?", (title, there.id))
        return self.named(name)

    def rename(self, username: str, to: str) -> None:
        """Give a channel another username; the old one is free then. Raises SandboxError."""
        channel, name = self.named(username), _checked_name(to)
        try:
            self._db.execute("UPDATE channels SET username = ? WHERE id = ?", (name, channel.id))
        except sqlite3.IntegrityError as error:
            raise SandboxError(f"@{name} is taken; give that channel another username first.") from error

    def named(self, username: str) -> Channel:
        """Return the channel of this username. Raises SandboxError when it does not exist."""
        channel = self.by_username(username.removeprefix("@"))
        if channel is None:
            raise SandboxError(f"The sandbox has no channel {username!r}; create it first.")
        return channel

    def by_username(self, username: str) -> Channel | None:
        return next(iter(self._channels("WHERE c.username = ?", (username,))), None)

    def by_id(self, id_: int) -> Channel | None:
        return next(iter(self._channels("WHERE c.id = ?", (id_,))), None)

    def count(self) -> int:
        (count,) = self._db.execute("SELECT count(*) FROM channels").fetchone()
        return int(count)

    def of(self, account: int) -> list[Channel]:
        """Return the channels that the account is in."""
        return self._channels("JOIN channel_members m ON m.channel = c.id WHERE m.account = ?", (account,))

    def news(self, account: int, since: int) -> list[Channel]:
        """Return the account's channels whose last message, edit or deletion is from this second or later.

        The second itself is included, because a date of whole seconds does not tell what came first within one.
        """
        joined = (
            "JOIN channel_members m ON m.channel = c.id "
            "LEFT JOIN channel_messages x ON x.channel = c.id AND x.id = c.last_message WHERE m.account = ? AND "
            "(x.date >= ? OR EXISTS (SELECT 1 FROM events e WHERE e.box = c.id AND e.date >= ?))"
        )
        return self._channels(joined, (account, since, since))

    # Members

    def join(self, channel: Channel, account: int, *, admin: bool = False) -> None:
        """Make the account a member that has read everything up to now; an admin stays one."""
        insert = (
            "INSERT INTO channel_members VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET admin = max(admin, excluded.admin)"
        )
        self._db.execute(insert, (channel.id, account, admin, self._now(), channel.last_message))

    def leave(self, channel: Channel, account: int) -> None:
        self._db.execute("DELETE FROM channel_members WHERE channel = ? AND account = ?", (channel.id, account))

    def member(self, channel: Channel, account: int) -> Member | None:
        where = "WHERE channel = ? AND account = ?"
        row = self._db.execute(f"{MEMBER} {where}", (channel.id, account)).fetchone()
        return Member(*row) if row else None

    def members(self, channel: int) -> list[Member]:
        """Return the members of the channel, ordered by account id."""
        rows = self._db.execute(f"{MEMBER} WHERE channel = ? ORDER BY account", (channel,))
        return [Member(*row) for row in rows]

    def count_members(self, channel: Channel) -> int:
        query = "SELECT count(*) FROM channel_members WHERE channel = ?"
        return int(self._db.execute(query, (channel.id,)).fetchone()[0])

    def mark_read(self, member: Member, newest: int) -> None:
        """Mark everything up to this message as read; the mark never goes back."""
        update = "UPDATE channel_members SET read_up_to = max(read_up_to, ?) WHERE channel = ? AND account = ?"
        self._db.execute(update, (newest, member.channel, member.account))

    def unread(self, member: Member) -> int:
        """Return how many messages of others are newer than the last one read."""
        unread = "channel = ? AND id > ? AND sender IS NOT ? AND deleted IS NULL"
        query = f"SELECT count(*) FROM channel_messages WHERE {unread}"
        (count,) = self._db.execute(query, (member.channel, member.read_up_to, member.account)).fetchone()
        return int(count)

    # Messages

    def send(
        self, channel: Channel, sender: int | None, text: str, random_id: int | None, reply_to: int | None = None
    ) -> ChannelMessage:
        """Store a new message. Raises RpcRefusal (RANDOM_ID_DUPLICATE) when the sender sent it before."""
        bump = "UPDATE channels SET pts = pts + 1, last_message = last_message + 1 WHERE id = ?"
        self._db.execute("BEGIN IMMEDIATE")
        try:
            pts, id_ = self._db.execute(f"{bump} RETURNING pts, last_message", (channel.id,)).fetchone()
            message = ChannelMessage(channel.id, id_, pts, sender, text, self._now(), random_id, reply_to=reply_to)
            self._db.execute(INSERT, astuple(message))
            self._db.execute("COMMIT")
        except sqlite3.IntegrityError as error:
            self._db.execute("ROLLBACK")
            raise RpcRefusal(500, "RANDOM_ID_DUPLICATE") from error
        return message

    def filling(self, username: str, upto: int, authors: Sequence[int | None]) -> Iterator[int]:
        """Add numbered messages of the past, by these authors in turn, until there are ``upto``.

        They come in portions, each of them whole: how many messages it has is yielded, and others may write in between.
        Their dates go from three days ago, or from the last existing message, to now: clients ask for channels with
        news since a date. A member that had read everything has read these, too.
        """
        channel = self.named(username)
        now, top = self._now(), self.top(channel)
        start, first = max(now - HISTORY_SECONDS, top.date if top else 0), channel.last_message
        while channel.last_message < upto:
            there = channel.last_message
            last = min(there + FILL_PORTION, upto)
            yield self._fill(
                channel, last, authors, lambda id_: start + (now - start) * (id_ - first) // (upto - first)
            )
            channel = self.named(username)

    def _fill(self, channel: Channel, upto: int, authors: Sequence[int | None], date: Callable[[int], int]) -> int:
        """Add one portion in one transaction; return how many messages it has."""
        there = channel.last_message
        rows = (
            (
                *(channel.id, id_, channel.pts + id_ - there, authors[id_ % len(authors)], f"Message {id_}"),
                *(date(id_), None, None, None, None),
            )
            for id_ in range(there + 1, upto + 1)
        )
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(INSERT, rows)
            update = "UPDATE channels SET pts = ?, last_message = ?, date = min(date, ?) WHERE id = ?"
            self._db.execute(update, (channel.pts + upto - there, upto, date(there), channel.id))
            read = "UPDATE channel_members SET read_up_to = ? WHERE channel = ? AND read_up_to = ?"
            self._db.execute(read, (upto, channel.id, there))
        return upto - there

    def edit(self, channel: Channel, id_: int, text: str) -> ChatEvent:
        """Give a message another text. Raises RpcRefusal when it does not exist, and when it has this text already."""
        message = self.message(channel, id_)
        if message is None:
            raise RpcRefusal(400, "MESSAGE_ID_INVALID")
        if message.text == text:
            raise RpcRefusal(400, "MESSAGE_NOT_MODIFIED")
        with transaction(self._db):
            event = self._event(channel, EventKind.EDIT, (id_,))
            update = "UPDATE channel_messages SET text = ?, edited = ? WHERE channel = ? AND id = ?"
            self._db.execute(update, (text, event.date, channel.id, id_))
        return event

    def delete(self, channel: Channel, ids: Iterable[int]) -> ChatEvent | None:
        """Delete those of the messages that exist; return the event, or None when there is none of them."""
        there = tuple(id_ for id_ in dict.fromkeys(ids) if self.message(channel, id_))
        if not there:
            return None
        with transaction(self._db):
            event = self._event(channel, EventKind.DELETE, there)
            update = "UPDATE channel_messages SET deleted = ? WHERE channel = ? AND id = ?"
            self._db.executemany(update, [(event.date, channel.id, id_) for id_ in there])
        return event

    def _event(self, channel: Channel, kind: EventKind, ids: tuple[int, ...]) -> ChatEvent:
        bump = "UPDATE channels SET pts = pts + ? WHERE id = ? RETURNING pts"
        (pts,) = self._db.execute(bump, (len(ids), channel.id)).fetchone()
        event = ChatEvent(channel.id, pts, len(ids), kind, ids, self._now())
        events.record(self._db, event)
        return event

    def messages(self, channel: Channel, after: int = 0, limit: int = -1) -> list[ChannelMessage]:
        """Return the messages with a higher id than ``after``, oldest first, deleted ones too; -1 means no limit."""
        return self._messages("WHERE channel = ? AND id > ? ORDER BY id LIMIT ?", (channel.id, after, limit))

    def missed(self, channel: Channel, pts: int, limit: int) -> Missed[ChannelMessage]:
        """Return what happened after this event, as much of it as ``limit`` events."""
        new = self._messages("WHERE channel = ? AND pts > ? ORDER BY pts LIMIT ?", (channel.id, pts, limit))
        return events.merge(new, events.since(self._db, channel.id, pts, limit), limit)

    def message(self, channel: Channel, id_: int) -> ChannelMessage | None:
        """Return a message that is not deleted."""
        found = self._messages("WHERE channel = ? AND id = ? AND deleted IS NULL", (channel.id, id_))
        return next(iter(found), None)

    def top(self, channel: Channel) -> ChannelMessage | None:
        """Return the last message that is not deleted."""
        found = self._messages("WHERE channel = ? AND deleted IS NULL ORDER BY id DESC LIMIT 1", (channel.id,))
        return next(iter(found), None)

    def history(
        self, channel: Channel, window: HistoryWindow, criteria: SearchCriteria = ALL_MESSAGES
    ) -> list[ChannelMessage]:
        """Return a part of the channel, newest first."""
        return [ChannelMessage(*row) for row in window.read(self._db, MESSAGE, _chosen(channel, criteria))]

    def count_messages(self, channel: Channel, criteria: SearchCriteria = ALL_MESSAGES) -> int:
        if criteria == ALL_MESSAGES:  # counting all of them anew for each page would be most of its cost
            query = "SELECT count(*) FROM channel_messages WHERE channel = ? AND deleted IS NOT NULL"
            return channel.last_message - int(self._db.execute(query, (channel.id,)).fetchone()[0])
        chosen = _chosen(channel, criteria)
        query = f"SELECT count(*) FROM channel_messages WHERE {chosen.sql}"
        return int(self._db.execute(query, chosen.values).fetchone()[0])

    def _channels(self, where: str, values: Iterable[int | str]) -> list[Channel]:
        return [Channel(*row) for row in self._db.execute(f"{CHANNEL} {where}", tuple(values))]

    def _messages(self, where: str, values: Iterable[int]) -> list[ChannelMessage]:
        return [ChannelMessage(*row) for row in self._db.execute(f"{MESSAGE} {where}", tuple(values))]

    def _now(self) -> int:
        return int(self._clock())


def _chosen(channel: Channel, criteria: SearchCriteria) -> SqlCondition:
    chat = SqlCondition("channel = ? AND deleted IS NULL", (channel.id,))
    if criteria.author is not None:
        chat = chat.also("sender IS ?", None if criteria.author == channel.id else criteria.author)
    return criteria.within(chat)


def _checked_name(username: str) -> str:
    name = username.removeprefix("@")
    if not USERNAME.fullmatch(name) or ACCOUNT_USERNAME.fullmatch(name):
        raise SandboxError(
            f"{username!r} is not a username for a channel; use 4 to 32 letters, digits and underscores, a letter "
            "first (user and a number is the username of an account)."
        )
    return name
