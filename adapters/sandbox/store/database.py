"""The sandbox's store: accounts, keys, messages, channels. One SQLite file, or memory if there is none.

Writes are short and synchronous; this is a datacenter for tests. WAL with synchronous=NORMAL loses nothing when the
process is killed (only when the machine is).
"""

import sqlite3
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from attrs import astuple, define, evolve, field, frozen

from adapters.sandbox.errors import RpcRefusal, SandboxError
from adapters.sandbox.mtproto.cipher import AuthKey
from adapters.sandbox.phones import BOT, normalise
from adapters.sandbox.store import channels, credentials, events, files
from adapters.sandbox.store.channels import FIRST_PTS, ChannelStore
from adapters.sandbox.store.credentials import CredentialStore, NumberStatus
from adapters.sandbox.store.events import ChatEvent, EventKind, Missed, transaction
from adapters.sandbox.store.files import FileStore
from adapters.sandbox.store.paging import ALL_MESSAGES, HistoryWindow, SearchCriteria, SqlCondition

SERVICE_ID: Final = 777000
"""The account that Telegram's own notices come from; it exists in every datacenter."""
SERVICE_PHONE: Final = "42777"
COLUMNS: Final = "account, id, pts, peer, sender, out, text, date, random_id, edited, deleted, reply_to, twin"
MESSAGE: Final = f"SELECT {COLUMNS} FROM messages"
CHAT: Final = "account = ? AND peer = ? AND deleted IS NULL"

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS accounts (
    id INTEGER PRIMARY KEY, phone TEXT NOT NULL UNIQUE, pts INTEGER NOT NULL, last_message INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS auth_keys (
    data BLOB PRIMARY KEY, account INTEGER REFERENCES accounts (id)
) STRICT;
CREATE TABLE IF NOT EXISTS keys_elsewhere (data BLOB PRIMARY KEY, dc INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS keys_destroyed (data BLOB PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS messages (
    account INTEGER NOT NULL REFERENCES accounts (id), id INTEGER NOT NULL, pts INTEGER NOT NULL,
    peer INTEGER NOT NULL, sender INTEGER NOT NULL, out INTEGER NOT NULL, text TEXT NOT NULL,
    date INTEGER NOT NULL, random_id INTEGER, PRIMARY KEY (account, id)
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS messages_by_pts ON messages (account, pts);
CREATE INDEX IF NOT EXISTS messages_by_peer ON messages (account, peer, id);
CREATE UNIQUE INDEX IF NOT EXISTS messages_by_random_id ON messages (account, random_id) WHERE random_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS reads (
    account INTEGER NOT NULL, peer INTEGER NOT NULL, newest INTEGER NOT NULL, PRIMARY KEY (account, peer)
) STRICT;
"""


@frozen
class StoredAccount:
    """A user of the datacenter. The id is the phone number, so that it is the same in every run."""

    id: int
    phone: str
    """Its digits. A bot has no number and is named by its id (``bot7000000001``)."""

    @property
    def is_bot(self) -> bool:
        return self.phone.startswith(BOT)

    @property
    def username(self) -> str:
        return f"{self.phone}_bot" if self.is_bot else f"user{self.phone}"

    def access_hash_for(self, viewer: int) -> int:
        """Return the access hash with which this viewer may name the account; as in Telegram, it differs per viewer."""
        digest = sha256(f"{viewer}:{self.id}".encode()).digest()
        return int.from_bytes(digest[:8], "little", signed=True)


@frozen
class PrivateMessage:
    """A message as one account sees it: every account has its own copy and its own numbering."""

    account: int
    id: int
    pts: int
    peer: int
    sender: int
    out: bool = field(converter=bool)
    text: str
    date: int
    """Seconds since the epoch."""
    random_id: int | None
    edited: int | None = None
    """When it was edited last, in seconds since the epoch."""
    deleted: int | None = None
    reply_to: int | None = None
    """The message that it answers, by the account's own numbering."""
    twin: int | None = None
    """The id of the other side's copy. None for a note to oneself, and in a store of an earlier version."""


@frozen
class SentCopies:
    """The copies of a new message; an account that writes to itself has one only."""

    mine: PrivateMessage
    theirs: PrivateMessage | None

    @property
    def copies(self) -> list[PrivateMessage]:
        """Return the copies that exist."""
        return [self.mine] if self.theirs is None else [self.mine, self.theirs]


@frozen(repr=False)
class _StoredKey:
    key: AuthKey
    owner: int | None
    dc_id: int | None
    destroyed: bool = False


@define
class SandboxStore:
    """The store, open for the length of a ``with`` block. Raises SandboxError when the file cannot be opened."""

    _file: Path | None
    _clock: Callable[[], float]
    _keys: dict[int, _StoredKey] = field(factory=dict)
    _accounts: dict[int, StoredAccount] = field(factory=dict)
    _accounts_by_name: dict[str, StoredAccount] = field(factory=dict)
    """The same accounts by ``phone``."""
    _db: sqlite3.Connection = field(init=False)
    channels: ChannelStore = field(init=False)
    credentials: CredentialStore = field(init=False)
    files: FileStore = field(init=False)

    def __enter__(self) -> Self:
        try:
            self._db = sqlite3.connect(self._file or ":memory:", isolation_level=None, timeout=5)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.create_function("casefold", 1, str.casefold, deterministic=True)
            self._db.executescript(SCHEMA + channels.SCHEMA + credentials.SCHEMA + events.SCHEMA + files.SCHEMA)
            events.add_columns(self._db)
        except sqlite3.Error as error:
            raise SandboxError(
                f"The sandbox cannot use {self._file} ({error}); check that no other sandbox has it open, or delete it."
            ) from error
        self.channels = ChannelStore(self._db, self._clock)
        self.credentials = CredentialStore(self._db)
        self.files = FileStore(self._db, self._file and self._file.parent / "files")
        self._accounts = {
            id_: StoredAccount(id_, phone) for id_, phone in self._db.execute("SELECT id, phone FROM accounts")
        }
        self._accounts_by_name = {account.phone: account for account in self._accounts.values()}
        query = (
            "SELECT k.data, k.account, e.dc, d.data IS NOT NULL FROM auth_keys k "
            "LEFT JOIN keys_elsewhere e ON e.data = k.data LEFT JOIN keys_destroyed d ON d.data = k.data"
        )
        for data, owner, dc_id, destroyed in self._db.execute(query):
            key = AuthKey.of(data)
            self._keys[key.id] = _StoredKey(key, owner, dc_id, bool(destroyed))
        if SERVICE_ID not in self._accounts:
            self._create(StoredAccount(SERVICE_ID, SERVICE_PHONE))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.files.close()
        self._db.close()

    def account(self, phone: str) -> StoredAccount:
        """Return the account of a test number, created on first use, or that of a bot.

        Raises SandboxError for any other text, for a number that is set to have no account, and for an unknown bot.
        """
        name = normalise(phone)
        id_ = int(name.removeprefix(BOT))
        if self.credentials.status(name) is NumberStatus.UNOCCUPIED:
            raise SandboxError(f"+{name} is unoccupied: it has no account; make the number usual again first.")
        if name.startswith(BOT) and id_ not in self._accounts:
            raise SandboxError(f"There is no bot {name}; make it with its token first.")
        return self._accounts.get(id_) or self._create(StoredAccount(id_, name))

    def bot(self, id_: int) -> StoredAccount:
        """Return the bot with this id, created on first use."""
        return self._accounts.get(id_) or self._create(StoredAccount(id_, f"{BOT}{id_}"))

    def account_by_id(self, id_: int) -> StoredAccount | None:
        return self._accounts.get(id_)

    def account_by_name(self, name: str) -> StoredAccount | None:
        """Return the account with these digits, or the bot of this name, if it exists already."""
        return self._accounts_by_name.get(name)

    def accounts(self) -> list[StoredAccount]:
        """Return all accounts, the oldest first."""
        return list(self._accounts.values())

    def add_key(self, key: AuthKey, owner: int | None = None, dc_id: int | None = None) -> None:
        """Store an auth key, logged in as the owner if there is one.

        It is known in one datacenter only: the one with that number, or with None the main one.
        """
        self._db.execute("INSERT INTO auth_keys VALUES (?, ?)", (key.data, owner))
        if dc_id is not None:
            self._db.execute("INSERT INTO keys_elsewhere VALUES (?, ?)", (key.data, dc_id))
        self._keys[key.id] = _StoredKey(key, owner, dc_id)

    def remove_key(self, key: AuthKey) -> None:
        """Forget an auth key: its packets are answered with -404 from now on."""
        for table in ("auth_keys", "keys_elsewhere", "keys_destroyed"):
            self._db.execute(f"DELETE FROM {table} WHERE data = ?", (key.data,))
        self._keys.pop(key.id, None)

    def destroy_login(self, key: AuthKey) -> None:
        """Destroy the login of a key for good: every request with it is answered with 406 from now on."""
        self._db.execute("INSERT OR IGNORE INTO keys_destroyed VALUES (?)", (key.data,))
        self._keys[key.id] = evolve(self._keys[key.id], destroyed=True)

    def is_destroyed(self, key_id: int) -> bool:
        """Return whether the login of this key was destroyed."""
        entry = self._keys.get(key_id)
        return entry is not None and entry.destroyed

    def key(self, key_id: int, dc_id: int | None = None) -> AuthKey | None:
        """Return the key, if it is known in this datacenter; None is the main one."""
        entry = self._keys.get(key_id)
        return entry.key if entry and entry.dc_id == dc_id else None

    def owner(self, key_id: int) -> StoredAccount | None:
        """Return the account that is logged in with this key."""
        entry = self._keys.get(key_id)
        return None if entry is None or entry.owner is None else self._accounts[entry.owner]

    def log_in(self, key: AuthKey, owner: int | None) -> None:
        """Bind a key to an account; None logs it out."""
        self._db.execute("UPDATE auth_keys SET account = ? WHERE data = ?", (owner, key.data))
        self._keys[key.id] = evolve(self._keys[key.id], owner=owner)

    def pts(self, account: int) -> int:
        """Return the number of the account's last event."""
        (pts,) = self._db.execute("SELECT pts FROM accounts WHERE id = ?", (account,)).fetchone()
        return int(pts)

    def send(
        self, sender: int, receiver: int, text: str, random_id: int | None, reply_to: int | None = None
    ) -> SentCopies:
        """Store a new message for both sides. Raises RpcRefusal (RANDOM_ID_DUPLICATE) when it was sent before.

        ``reply_to`` is a message by the sender's numbering; the receiver's copy names its own copy of that.
        """
        date = int(self._clock())
        answered = self.message(sender, reply_to) if reply_to else None
        try:
            with transaction(self._db):
                mine = self._append(
                    sender, receiver, sender=sender, text=text, date=date, random_id=random_id, reply_to=reply_to
                )
                if sender == receiver:
                    return SentCopies(mine, None)
                theirs = self._append(
                    receiver,
                    sender,
                    sender=sender,
                    text=text,
                    date=date,
                    random_id=None,
                    reply_to=answered.twin if answered else None,
                    twin=mine.id,
                )
                update = "UPDATE messages SET twin = ? WHERE account = ? AND id = ?"
                self._db.execute(update, (theirs.id, sender, mine.id))
        except sqlite3.IntegrityError as error:
            raise RpcRefusal(500, "RANDOM_ID_DUPLICATE") from error
        return SentCopies(evolve(mine, twin=theirs.id), theirs)

    def edit(self, account: int, id_: int, text: str) -> list[ChatEvent]:
        """Give a message another text, in the copies of both sides.

        Raises RpcRefusal when it does not exist, and when it has this text already.
        """
        message = self.message(account, id_)
        if message is None:
            raise RpcRefusal(400, "MESSAGE_ID_INVALID")
        if message.text == text:
            raise RpcRefusal(400, "MESSAGE_NOT_MODIFIED")
        with transaction(self._db):
            made = [self._event(owner, EventKind.EDIT, ids) for owner, ids in self._copies([message]).items()]
            update = "UPDATE messages SET text = ?, edited = ? WHERE account = ? AND id = ?"
            self._db.executemany(update, [(text, one.date, one.box, id_) for one in made for id_ in one.ids])
        return made

    def delete(self, account: int, ids: Iterable[int], *, revoke: bool) -> list[ChatEvent]:
        """Delete those of the messages that exist, with ``revoke`` the other sides' copies too."""
        found = [message for id_ in dict.fromkeys(ids) if (message := self.message(account, id_))]
        copies = self._copies(found) if revoke else {account: tuple(message.id for message in found)}
        with transaction(self._db):
            made = [self._event(owner, EventKind.DELETE, there) for owner, there in copies.items() if there]
            update = "UPDATE messages SET deleted = ? WHERE account = ? AND id = ?"
            self._db.executemany(update, [(one.date, one.box, id_) for one in made for id_ in one.ids])
        return made

    def _copies(self, messages: Iterable[PrivateMessage]) -> dict[int, tuple[int, ...]]:
        """Return the ids of the messages and of their copies that still exist, by account."""
        copies: dict[int, tuple[int, ...]] = {}
        for message in messages:
            copies[message.account] = (*copies.get(message.account, ()), message.id)
            if message.twin is not None and self.message(message.peer, message.twin):
                copies[message.peer] = (*copies.get(message.peer, ()), message.twin)
        return copies

    def _event(self, account: int, kind: EventKind, ids: tuple[int, ...]) -> ChatEvent:
        bump = "UPDATE accounts SET pts = pts + ? WHERE id = ? RETURNING pts"
        (pts,) = self._db.execute(bump, (len(ids), account)).fetchone()
        event = ChatEvent(account, pts, len(ids), kind, ids, int(self._clock()))
        events.record(self._db, event)
        return event

    def messages(self, account: int) -> list[PrivateMessage]:
        """Return all messages of the account, oldest first, deleted ones too."""
        return self._select("WHERE account = ? ORDER BY id", (account,))

    def missed(self, account: int, pts: int, limit: int) -> Missed[PrivateMessage]:
        """Return what happened after this event, as much of it as ``limit`` events."""
        new = self._select("WHERE account = ? AND pts > ? ORDER BY pts LIMIT ?", (account, pts, limit))
        return events.merge(new, events.since(self._db, account, pts, limit), limit)

    def message(self, account: int, id_: int) -> PrivateMessage | None:
        """Return a message that is not deleted."""
        return next(iter(self._select("WHERE account = ? AND id = ? AND deleted IS NULL", (account, id_))), None)

    def history(
        self, account: int, peer: int, window: HistoryWindow, criteria: SearchCriteria = ALL_MESSAGES
    ) -> list[PrivateMessage]:
        """Return a part of one chat, newest first."""
        chosen = criteria.within(SqlCondition(CHAT, (account, peer)))
        return [PrivateMessage(*row) for row in window.read(self._db, MESSAGE, chosen)]

    def count_history(self, account: int, peer: int, criteria: SearchCriteria = ALL_MESSAGES) -> int:
        chosen = criteria.within(SqlCondition(CHAT, (account, peer)))
        query = f"SELECT count(*) FROM messages WHERE {chosen.sql}"
        return int(self._db.execute(query, chosen.values).fetchone()[0])

    def chat_tops(self, account: int) -> list[PrivateMessage]:
        """Return the last message of each chat, newest first."""
        newest = "SELECT max(id) FROM messages WHERE account = ? AND deleted IS NULL GROUP BY peer"
        return self._select(f"WHERE account = ? AND id IN ({newest}) ORDER BY id DESC", (account, account))

    def mark_read(self, account: int, peer: int, newest: int) -> None:
        """Mark everything in the chat up to this message as read."""
        self._db.execute(
            "INSERT INTO reads VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET newest = max(newest, excluded.newest)",
            (account, peer, newest),
        )

    def read_up_to(self, account: int, peer: int) -> int:
        row = self._db.execute("SELECT newest FROM reads WHERE account = ? AND peer = ?", (account, peer)).fetchone()
        return int(row[0]) if row else 0

    def unread(self, account: int, peer: int) -> int:
        """Return how many incoming messages of the chat are newer than the last one read."""
        query = f"SELECT count(*) FROM messages WHERE {CHAT} AND out = 0 AND id > ?"
        (count,) = self._db.execute(query, (account, peer, self.read_up_to(account, peer))).fetchone()
        return int(count)

    def count_messages(self) -> int:
        (count,) = self._db.execute("SELECT count(*) FROM messages").fetchone()
        return int(count)

    def _create(self, account: StoredAccount) -> StoredAccount:
        self._db.execute("INSERT INTO accounts VALUES (?, ?, ?, 0)", (account.id, account.phone, FIRST_PTS))
        self._accounts[account.id] = self._accounts_by_name[account.phone] = account
        return account

    def _append(
        self,
        account: int,
        peer: int,
        *,
        sender: int,
        text: str,
        date: int,
        random_id: int | None,
        reply_to: int | None,
        twin: int | None = None,
    ) -> PrivateMessage:
        """Store one copy; the caller holds the transaction."""
        step = "pts = pts + 1, last_message = last_message + 1"
        bump = f"UPDATE accounts SET {step} WHERE id = ? RETURNING pts, last_message"
        pts, id_ = self._db.execute(bump, (account,)).fetchone()
        out = account == sender
        message = PrivateMessage(
            account, id_, pts, peer, sender, out, text, date, random_id, reply_to=reply_to, twin=twin
        )
        values = ", ".join("?" * len(astuple(message)))
        self._db.execute(f"INSERT INTO messages ({COLUMNS}) VALUES ({values})", astuple(message))
        return message

    def _select(self, where: str, values: Iterable[int]) -> list[PrivateMessage]:
        return [PrivateMessage(*row) for row in self._db.execute(f"{MESSAGE} {where}", tuple(values))]
