"""The kinds of jobs that come with the engine: ``send``, ``collect``, ``join``. Plain functions, like users' own."""

import secrets
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from attrs import field, frozen
from telethon import errors, utils
from telethon.tl import functions, types

from adapters.sqlite.jobs import Message

MAX_TEXT: Final = 4096
"""Characters of one message. Source: https://core.telegram.org/api/config (message_length_max)"""
PAGE: Final = 100
"""Messages that the datacenter gives at once."""
LOOK_BACK: Final = 300
"""Messages among which one is looked for that was delivered without an answer."""


class JobContext(Protocol):
    """What these functions ask of a job; ``engine.work.handle`` has it."""

    data: Any

    @property
    def began(self) -> float:
        """When it first ran (Unix seconds)."""

    @property
    def account(self) -> str:
        """The account that it is with."""

    @property
    def saved(self) -> dict[str, Any]:
        """Its last checkpoint."""

    async def checkpoint(self, mark: dict[str, Any], **more: Any) -> None:
        """Store how far it is."""


def _is_chat(_: Any, attribute: Any, value: str | int) -> None:
    if value in ("", 0):
        raise ValueError(f"{attribute.name} must be @name, a phone number or an id, not {value!r}")


def _is_text(_: Any, attribute: Any, value: str) -> None:
    if not value.strip() or len(value) > MAX_TEXT:
        raise ValueError(f"{attribute.name} must have 1 to {MAX_TEXT} characters, not {len(value)}")


def _is_since(_: Any, attribute: Any, value: str | int | None) -> None:
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            text = f"{attribute.name} must be a time such as 2026-01-31 or 2026-01-31T12:00, or the id of a message"
            raise ValueError(text) from None


@frozen(kw_only=True)
class Send:
    """A message: ``to`` whom (@name, phone, id, or ``me``), and its plain ``text``."""

    to: str | int = field(validator=_is_chat)
    text: str = field(validator=_is_text)


@frozen(kw_only=True)
class Collect:
    """A chat to read, from ``since`` on: a time (UTC unless it says otherwise), the id of a message, or its begin."""

    chat: str | int = field(validator=_is_chat)
    since: str | int | None = field(default=None, validator=_is_since)


@frozen(kw_only=True)
class Join:
    """A public channel or group, by its @name."""

    chat: str | int = field(validator=_is_chat)


async def send(job: JobContext, client: Any) -> dict[str, Any]:
    """Send a message once, whatever happens on the way; returns ``{"chat", "message"}``.

    Telegram knows a message by its ``random_id``. It is stored before the first attempt and used for all of them, and
    with it the job belongs to its account: another's would be another message. RANDOM_ID_DUPLICATE says that an attempt
    before was heard.
    """
    random_id = job.saved.get("random_id")
    if random_id is None:
        random_id = secrets.randbits(63) or 1
        await job.checkpoint({"random_id": random_id}, stay=True)
    peer = await client.get_input_entity(job.data.to)
    chat = utils.get_peer_id(await _peer_of(client, peer))
    request = functions.messages.SendMessageRequest(peer, job.data.text, random_id=random_id)
    try:
        number = _sent_as(await client(request), random_id)
    except errors.RandomIdDuplicateError:
        number = await _find(client, peer, job.data.text, job.began)
    return {"chat": chat, "message": number}


async def _peer_of(client: Any, peer: Any) -> Any:
    return await client.get_me(input_peer=True) if isinstance(peer, types.InputPeerSelf) else peer


def _sent_as(answer: Any, random_id: int) -> int | None:
    """Return the number of a message in the answer to its sending."""
    if isinstance(answer, types.UpdateShortSentMessage):
        return int(answer.id)
    for update in getattr(answer, "updates", ()):
        if isinstance(update, types.UpdateMessageID) and update.random_id == random_id:
            return int(update.id)
    return None


async def _find(client: Any, peer: Any, text: str, began: float) -> int | None:
    """Return the number of the oldest message of ours with this text since the job began; None if none is in sight."""
    found = None
    async for message in client.iter_messages(peer, limit=LOOK_BACK):
        if message.date.timestamp() < began - 60:  # the datacenter's clock is not ours
            break
        if message.out and message.message == text:
            found = message.id
    return found


async def collect(job: JobContext, client: Any) -> dict[str, Any]:
    """Read a chat's history, oldest first, into the table ``messages``; returns ``{"chat", "messages", "last"}``.

    Each page is stored together with the place where the next one begins.
    """
    peer = await client.get_input_entity(job.data.chat)
    chat = utils.get_peer_id(await _peer_of(client, peer))
    # In channels and supergroups a message has one number for all; elsewhere each account has its own.
    owner = "" if isinstance(peer, types.InputPeerChannel) else job.account
    mark = job.saved or {"chat": chat, "last": await _before(client, peer, job.data.since), "messages": 0}
    total = mark["messages"] + await _left(client, peer, mark["last"])
    while True:
        found = await _page_after(client, peer, mark["last"])
        if not found:
            return mark
        mark = {"chat": chat, "last": found[-1].id, "messages": mark["messages"] + len(found)}
        total = max(total, mark["messages"])
        messages = [_kept(each, chat, owner) for each in found if not isinstance(each, types.MessageEmpty)]
        await job.checkpoint(mark, messages=messages, done=mark["messages"], total=total, stay=bool(owner))


async def _page_after(client: Any, peer: Any, last: int) -> list[Any]:
    """Return the next messages after ``last``, oldest first.

    A window that reaches up from a message is asked for by a negative shift; near the top it holds older ones, too.
    Source: https://core.telegram.org/api/offsets
    """
    page = await client(_history(peer, offset_id=last + 1, add_offset=-PAGE, limit=PAGE, min_id=last))
    return sorted((each for each in page.messages if each.id > last), key=lambda each: each.id)


async def _left(client: Any, peer: Any, last: int) -> int:
    """Return about how many messages there are after ``last``: numbers may have gaps."""
    page = await client(_history(peer, limit=1))
    if last == 0:
        return int(getattr(page, "count", len(page.messages)))
    return max(0, page.messages[0].id - last) if page.messages else 0


async def _before(client: Any, peer: Any, since: str | int | None) -> int:
    """Return the number of the last message that is not to be read; 0 if all are."""
    if not isinstance(since, str):
        return max(0, (since or 0) - 1)
    at = datetime.fromisoformat(since)
    page = await client(_history(peer, offset_date=at if at.tzinfo else at.replace(tzinfo=UTC), limit=1))
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


def _kept(message: Any, chat: int, owner: str) -> Message:
    """Return what is kept of a message; one without a text (a photo, somebody who joined) has an empty one.

    What others write in a private chat, and a channel's own posts, come without ``from_id``: Telethon knows the sender.
    """
    text = getattr(message, "message", None) or ""
    return Message(
        chat=chat, id=message.id, at=message.date.timestamp(), text=text, sender=message.sender_id, owner=owner
    )


async def join(job: JobContext, client: Any) -> dict[str, Any]:
    """Become a member of a public channel or group; returns ``{"chat"}``. Whoever is one already stays so."""
    peer = await client.get_input_entity(job.data.chat)
    if not isinstance(peer, types.InputPeerChannel):
        raise ValueError("only public channels and groups can be joined by name")
    with suppress(errors.UserAlreadyParticipantError):
        await client(functions.channels.JoinChannelRequest(peer))
    return {"chat": utils.get_peer_id(peer)}


BUILT_IN: Final = (("send", send, Send), ("collect", collect, Collect), ("join", join, Join))
"""Their names, functions and data."""
