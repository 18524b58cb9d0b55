"""What the table ``messages`` knows of a message beyond its text, and which messages were deleted.

A message is stored once for each (owner, chat, id), by whichever job and account came first. What is stored may be
older or newer than what arrives: a history shows the present, and a push that was late shows the past. ``version``, the
number of the chat's box (pts) that a row is known to be as new as, decides, and the date of the edit.
"""

from typing import Final

from adapters.sqlite.queue import Statement, cell

COLUMNS: Final = (
    "owner", "chat", "id", "at", "sender", "text", "job", "edited", "reply_to", "media", "media_id", "media_size",
    "media_name", "raw", "version",
)  # fmt: skip
"""The columns that an arriving message has. ``edited`` is in Unix seconds; ``media`` the kind of its media."""
TABLES: Final = (
    "ALTER TABLE messages ADD COLUMN edited REAL",
    "ALTER TABLE messages ADD COLUMN deleted REAL",
    "ALTER TABLE messages ADD COLUMN reply_to INTEGER",
    "ALTER TABLE messages ADD COLUMN media TEXT",
    "ALTER TABLE messages ADD COLUMN media_id INTEGER",
    "ALTER TABLE messages ADD COLUMN media_size INTEGER",
    "ALTER TABLE messages ADD COLUMN media_name TEXT",
    "ALTER TABLE messages ADD COLUMN raw TEXT",
    "ALTER TABLE messages ADD COLUMN version INTEGER",
    """CREATE TABLE IF NOT EXISTS message_deletions (
        chat INTEGER NOT NULL, id INTEGER NOT NULL, at REAL NOT NULL, PRIMARY KEY (chat, id)) WITHOUT ROWID""",
)
"""``message_deletions`` has those of chats in which all members see the same numbers, also of messages that are not
stored: a copy that arrives late, with an account that is behind, must not revive one."""

_DELETED: Final = (
    f"CASE {cell(0)} WHEN '' THEN (SELECT at FROM message_deletions AS gone "
    f"WHERE gone.chat = {cell(1)} AND gone.id = {cell(2)}) END"
)
_REPLACED: Final = ("text", "edited", "reply_to", "media", "media_id", "media_size", "media_name")
MESSAGE = Statement(
    "message",
    f"""INSERT INTO messages ({", ".join(COLUMNS)}, deleted)
    SELECT {", ".join(map(cell, range(len(COLUMNS))))}, {_DELETED} FROM rows WHERE true
    ON CONFLICT (owner, chat, id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _REPLACED)},
        sender = coalesce(excluded.sender, sender), raw = coalesce(excluded.raw, raw),
        version = max(coalesce(excluded.version, 0), coalesce(version, 0))
    WHERE coalesce(excluded.edited, 0) >= coalesce(edited, 0) AND (
        coalesce(excluded.edited, 0) > coalesce(edited, 0) OR coalesce(excluded.version, 0) > coalesce(version, 0))""",
    width=len(COLUMNS),
    order=40,
)
"""(``COLUMNS``): stores a message, or what is newer of one that is stored. A deleted one stays deleted."""

BURY = Statement(
    "bury",
    f"INSERT OR IGNORE INTO message_deletions SELECT {', '.join(map(cell, range(3)))} FROM rows",
    width=3,
    order=41,
)
"""(chat, id, at): notes a deletion where all members see the same numbers."""

DELETE = Statement(
    "delete message",
    f"""UPDATE messages SET deleted = {cell(3)} FROM rows
    WHERE owner = {cell(0)} AND chat = {cell(1)} AND messages.id = {cell(2)} AND deleted IS NULL""",
    width=4,
    order=42,
)
"""(owner, chat, id, at): notes when a stored message was deleted; its text stays."""
