"""The history of a chat: a page of it, and where to begin."""

from datetime import UTC, datetime
from typing import Any, Final

from attrs import frozen
from telethon.tl import functions, types

PAGE_MESSAGES: Final = 100
"""Messages that the datacenter returns at once."""


def is_chat(_: Any, attribute: Any, value: str | int) -> None:
    """Raise ``ValueError`` for what cannot name a chat."""
    if value in ("", 0):
        raise ValueError(f"{attribute.name} must be @name, a phone number or an id, not {value!r}")


def is_since(_: Any, attribute: Any, value: str | int | None) -> None:
    """Raise ``ValueError`` for a text that is no time."""
    if isinstance(value, str):
        try:
            moment_of(value)
        except (ValueError, OverflowError, OSError):  # a date at the end of the calendar overflows
            text = f"{attribute.name} must be a time such as 2026-01-31 or 2026-01-31T12:00, or the id of a message"
            raise ValueError(text) from None


def moment_of(text: str) -> datetime:
    """Return a time in ISO 8601, local without an offset. ``astimezone`` alone errs in the hour that DST skips."""
    return datetime.fromtimestamp(datetime.fromisoformat(text).timestamp(), UTC)


@frozen
class HistoryPage:
    """A part of a history, oldest first."""

    messages: list[Any]
    pts: int | None
    """The number of the channel's last event when it was read; None in other chats, whose answers do not say it."""


async def peer_of(client: Any, peer: Any) -> Any:
    """Return the peer, with the account itself by its id."""
    return await client.get_me(input_peer=True) if isinstance(peer, types.InputPeerSelf) else peer


async def fetch_after(client: Any, peer: Any, last: int) -> HistoryPage:
    """Return the next messages after ``last``, oldest first.

    A negative offset requests a window that reaches up from a message; near the top it holds older messages, too.
    Source: https://core.telegram.org/api/offsets
    """
    page = await client(_history(peer, offset_id=last + 1, add_offset=-PAGE_MESSAGES, limit=PAGE_MESSAGES, min_id=last))
    found = sorted((each for each in page.messages if each.id > last), key=lambda each: each.id)
    return HistoryPage(found, getattr(page, "pts", None))


async def fetch_top(client: Any, peer: Any) -> HistoryPage:
    """Return the last message of a chat, which says the channel's number too."""
    page = await client(_history(peer, limit=1))
    return HistoryPage(list(page.messages), getattr(page, "pts", None))


async def count_after(client: Any, peer: Any, last: int) -> int:
    """Return about how many messages there are after ``last``: numbers may have gaps."""
    page = await client(_history(peer, limit=1))
    if last == 0:
        return int(getattr(page, "count", len(page.messages)))
    return max(0, page.messages[0].id - last) if page.messages else 0


async def find_last_before(client: Any, peer: Any, since: str | int | None) -> int:
    """Return the number of the last message before ``since``; 0 if all messages are to be read."""
    if not isinstance(since, str):
        return max(0, (since or 0) - 1)
    page = await client(_history(peer, offset_date=moment_of(since), limit=1))
    return page.messages[0].id if page.messages else 0


async def find_older(client: Any, peer: Any, last: int, count: int) -> int:
    """Return the number of the message that is ``count`` messages before ``last``; 0 if there are fewer."""
    page = await client(_history(peer, offset_id=last + 1, add_offset=count, limit=1))
    return page.messages[0].id if page.messages else 0


def _history(
    peer: Any,
    *,
    limit: int,
    offset_id: int = 0,
    offset_date: datetime | None = None,
    add_offset: int = 0,
    min_id: int = 0,
) -> Any:
    return functions.messages.GetHistoryRequest(peer, offset_id, offset_date, add_offset, limit, 0, min_id, 0)
