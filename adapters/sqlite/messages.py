"""Messages as jobs store them, and the rows that they become."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from attrs import frozen

from adapters.sqlite import follow_schema
from adapters.sqlite.job_codec import legible
from adapters.sqlite.ledger import rows_of as ledger_rows
from adapters.sqlite.queue import Statement
from states.ledger import LedgerRow


@frozen(kw_only=True)
class Message:
    """A message that a job has read; ``owner`` is the account where each account has its own number for it."""

    chat: int
    id: int
    at: float
    """Unix seconds."""
    text: str
    sender: int | None = None
    owner: str = ""
    edited: float | None = None
    """When it was edited last, in Unix seconds, by Telegram's clock."""
    reply_to: int | None = None
    """The message that it answers."""
    media: str | None = None
    """The kind of its media, such as ``photo``; None if it has none."""
    media_id: int | None = None
    media_size: int | None = None
    """Bytes."""
    media_name: str | None = None
    raw: str | None = None
    """All of it as JSON."""
    version: int | None = None
    """The number of its chat's box (pts) at which it was like this; None if that is not known."""


@frozen(kw_only=True)
class Deletion:
    """A message that was deleted; one that is not stored is noted only where ``owner`` is empty."""

    chat: int
    id: int
    at: float
    """When that was learned, in Unix seconds: Telegram does not say when it was."""
    owner: str = ""


Stored = Message | Deletion | LedgerRow
"""``LedgerRow``: what of the chat's box is stored with these, without a gap."""


def rows_of(found: Iterable[Stored], job: int) -> Iterator[tuple[Statement, Sequence[Any]]]:
    """Yield the rows of what a job has read, each with its statement."""
    for each in found:
        if isinstance(each, LedgerRow):
            yield from ledger_rows(each)
            continue
        if isinstance(each, Deletion):
            if not each.owner:
                yield follow_schema.BURY, (each.chat, each.id, each.at)
            yield follow_schema.DELETE, (each.owner, each.chat, each.id, each.at)
            continue
        values = (each.owner, each.chat, each.id, each.at, each.sender, legible(each.text), job)
        media = (each.media, each.media_id, each.media_size, each.media_name)
        yield follow_schema.MESSAGE, (*values, each.edited, each.reply_to, *media, each.raw, each.version)
