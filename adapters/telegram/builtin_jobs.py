"""The kinds of jobs that come with the engine: ``send``, ``collect``, ``join``. Plain functions, like users' own."""

import secrets
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from attrs import field, frozen
from telethon import errors, utils
from telethon.tl import functions, types

from adapters.sqlite.jobs import Message

MAX_MESSAGE_CHARACTERS: Final = 4096
"""Source: https://core.telegram.org/api/config (message_length_max)"""
PAGE_MESSAGES: Final = 100
"""Messages that the datacenter returns at once."""
MAX_SEARCHED_MESSAGES: Final = 300
"""Messages that are searched for one that was delivered without an answer."""


class JobContext(Protocol):
    """What these functions need of a job; ``engine.work.handle`` has it."""

    data: Any

    @property
    def began(self) -> float:
        """When the job first ran (Unix seconds)."""

    @property
    def account(self) -> str:
        """The account with which the job runs."""

    @property
    def saved(self) -> dict[str, Any]:
        """The job's last checkpoint."""

    async def checkpoint(self, progress: dict[str, Any], **more: Any) -> None:
        """Store the job's progress."""


def is_chat(_: Any, attribute: Any, value: str | int) -> None:
    """Raise ``ValueError`` for what names no chat."""
    if value in ("", 0):
        raise ValueError(f"{attribute.name} must be @name, a phone number or an id, not {value!r}")


def _is_text(_: Any, attribute: Any, value: str) -> None:
    if not value.strip() or len(value) > MAX_MESSAGE_CHARACTERS:
        raise ValueError(f"{attribute.name} must have 1 to {MAX_MESSAGE_CHARACTERS} characters, not {len(value)}")


def _moment(text: str) -> datetime:
    """Return a time in ISO 8601, local without an offset. ``astimezone`` alone errs in the hour that DST skips."""
    return datetime.fromtimestamp(datetime.fromisoformat(text).timestamp(), UTC)


def _is_since(_: Any, attribute: Any, value: str | int | None) -> None:
    if isinstance(value, str):
        try:
            _moment(value)
        except (ValueError, OverflowError, OSError):  # a date at the end of the calendar overflows
            text = f"{attribute.name} must be a time such as 2026-01-31 or 2026-01-31T12:00, or the id of a message"
            raise ValueError(text) from None


@frozen(kw_only=True)
class Send:
    """A message: its recipient ``to`` (@name, phone, id, or ``me``) and its plain ``text``."""

    to: str | int = field(validator=is_chat)
    text: str = field(validator=_is_text)


@frozen(kw_only=True)
class Collect:
    """A chat to read, from ``since``: a time (local without an offset), the id of a message, or None for all of it."""

    chat: str | int = field(validator=is_chat)
    since: str | int | None = field(default=None, validator=_is_since)


@frozen(kw_only=True)
class Join:
    """A public channel or group, by its @name."""

    chat: str | int = field(validator=is_chat)


async def send(job: JobContext, client: Any) -> dict[str, Any]:
    """Send a message exactly once, even if connections are lost; return ``{"chat", "message"}``.

    Telegram recognises a message by its ``random_id``. It is stored before the first attempt and used for all of them.
    From then on the job stays with its account: from another account it would be another message.
    RANDOM_ID_DUPLICATE says that an earlier attempt has succeeded.
    """
    random_id = job.saved.get("random_id")
    if random_id is None:
        random_id = secrets.randbits(63) or 1
        await job.checkpoint({"random_id": random_id}, stay=True)
    peer = await client.get_input_entity(job.data.to)
    chat = utils.get_peer_id(await peer_of(client, peer))
    request = functions.messages.SendMessageRequest(peer, job.data.text, random_id=random_id)
    try:
        number = number_in(await client(request), random_id)
    except errors.RandomIdDuplicateError:
        number = await _find_sent(client, peer, job.data.text, job.began)
    return {"chat": chat, "message": number}


async def peer_of(client: Any, peer: Any) -> Any:
    """Return a peer by which a chat can be numbered."""
    return await client.get_me(input_peer=True) if isinstance(peer, types.InputPeerSelf) else peer


def number_in(answer: Any, random_id: int) -> int | None:
    """Return the number that the answer to a send request gives the message."""
    if isinstance(answer, types.UpdateShortSentMessage):
        return int(answer.id)
    for update in getattr(answer, "updates", ()):
        if isinstance(update, types.UpdateMessageID) and update.random_id == random_id:
            return int(update.id)
    return None


async def _find_sent(client: Any, peer: Any, text: str, began: float) -> int | None:
    """Return the number of the account's oldest message with this text since the job began; None if not found."""
    found = None
    async for message in client.iter_messages(peer, limit=MAX_SEARCHED_MESSAGES):
        if message.date.timestamp() < began - 60:  # the datacenter's clock may differ from this machine's
            break
        if message.out and message.message == text:
            found = message.id
    return found


async def collect(job: JobContext, client: Any) -> dict[str, Any]:
    """Read a chat's history, oldest first, into the table ``messages``; return ``{"chat", "messages", "last"}``.

    Each page is stored in one transaction with the position where the next one begins.
    """
    peer = await client.get_input_entity(job.data.chat)
    chat = utils.get_peer_id(await peer_of(client, peer))
    # In channels and supergroups all members see a message under one number; elsewhere each account has its own.
    owner = "" if isinstance(peer, types.InputPeerChannel) else job.account
    position = job.saved or {"chat": chat, "last": await _find_last_before(client, peer, job.data.since), "messages": 0}
    total = position["messages"] + await _count_after(client, peer, position["last"])
    while True:
        found = await fetch_after(client, peer, position["last"])
        if not found:
            return position
        position = {"chat": chat, "last": found[-1].id, "messages": position["messages"] + len(found)}
        total = max(total, position["messages"])
        messages = [_to_stored(each, chat, owner) for each in found if not isinstance(each, types.MessageEmpty)]
        await job.checkpoint(position, messages=messages, done=position["messages"], total=total, stay=bool(owner))


async def fetch_after(client: Any, peer: Any, last: int) -> list[Any]:
    """Return the next messages after ``last``, oldest first.

    A negative offset requests a window that reaches up from a message; near the top it holds older messages, too.
    Source: https://core.telegram.org/api/offsets
    """
    page = await client(_history(peer, offset_id=last + 1, add_offset=-PAGE_MESSAGES, limit=PAGE_MESSAGES, min_id=last))
    return sorted((each for each in page.messages if each.id > last), key=lambda each: each.id)


async def _count_after(client: Any, peer: Any, last: int) -> int:
    """Return about how many messages there are after ``last``: numbers may have gaps."""
    page = await client(_history(peer, limit=1))
    if last == 0:
        return int(getattr(page, "count", len(page.messages)))
    return max(0, page.messages[0].id - last) if page.messages else 0


async def _find_last_before(client: Any, peer: Any, since: str | int | None) -> int:
    """Return the number of the last message before ``since``; 0 if all messages are to be read."""
    if not isinstance(since, str):
        return max(0, (since or 0) - 1)
    page = await client(_history(peer, offset_date=_moment(since), limit=1))
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


def _to_stored(message: Any, chat: int, owner: str) -> Message:
    """Return a message as it is stored; one without a text (a photo, a member that joined) has an empty text.

    The partner's messages in a private chat, and a channel's own posts, have no ``from_id``: Telethon's ``sender_id``
    knows the sender all the same.
    """
    text = getattr(message, "message", None) or ""
    return Message(
        chat=chat, id=message.id, at=message.date.timestamp(), text=text, sender=message.sender_id, owner=owner
    )


async def join(job: JobContext, client: Any) -> dict[str, Any]:
    """Become a member of a public channel or group; return ``{"chat"}``. Joining twice does no harm."""
    peer = await client.get_input_entity(job.data.chat)
    if not isinstance(peer, types.InputPeerChannel):
        raise ValueError("only public channels and groups can be joined by name")
    with suppress(errors.UserAlreadyParticipantError):
        await client(functions.channels.JoinChannelRequest(peer))
    return {"chat": utils.get_peer_id(peer)}


BUILT_IN: Final = (("send", send, Send), ("collect", collect, Collect), ("join", join, Join))
"""Name, function and data of each kind."""
