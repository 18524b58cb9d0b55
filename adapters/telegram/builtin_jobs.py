"""The kinds of jobs that come with the engine: ``send``, ``collect``, ``join``, ``follow``; functions like users'."""

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from attrs import field, frozen
from telethon import errors, utils
from telethon.tl import functions, types

from adapters.sqlite.jobs import ReadHistory
from adapters.telegram.chat_history import (
    count_after,
    fetch_after,
    find_last_before,
    is_chat,
    is_since,
    moment_of,
    peer_of,
)
from adapters.telegram.follow import Follow, follow
from adapters.telegram.stored_messages import to_stored

MAX_MESSAGE_CHARACTERS: Final = 4096
"""Source: https://core.telegram.org/api/config (message_length_max)"""
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


def _is_text(_: Any, attribute: Any, value: str) -> None:
    if not value.strip() or len(value) > MAX_MESSAGE_CHARACTERS:
        raise ValueError(f"{attribute.name} must have 1 to {MAX_MESSAGE_CHARACTERS} characters, not {len(value)}")


@frozen(kw_only=True)
class Send:
    """A message: its recipient ``to`` (@name, phone, id, or ``me``) and its plain ``text``."""

    to: str | int = field(validator=is_chat)
    text: str = field(validator=_is_text)


@frozen(kw_only=True)
class Collect:
    """A chat to read, from ``since``: a time (local without an offset), the id of a message, or None for all of it."""

    chat: str | int = field(validator=is_chat)
    since: str | int | None = field(default=None, validator=is_since)


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
        number = await find_sent(client, peer, lambda it: it.message == job.data.text, job.began)
    return {"chat": chat, "message": number}


def number_in(answer: Any, random_id: int) -> int | None:
    """Return the number that the answer to a send request gives the message."""
    if isinstance(answer, types.UpdateShortSentMessage):
        return int(answer.id)
    for update in getattr(answer, "updates", ()):
        if isinstance(update, types.UpdateMessageID) and update.random_id == random_id:
            return int(update.id)
    return None


async def find_sent(client: Any, peer: Any, is_it: Callable[[Any], bool], began: float) -> int | None:
    """Return the number of a message that is there: the account's oldest that ``is_it`` since the job began.

    ``began`` is by the clock of the machine where the job first ran, which may have been wrong. Without a message since
    then it is the only one of its kind, if there is only one. None if it cannot be told.
    """
    found, earlier = None, []
    async for message in client.iter_messages(peer, limit=MAX_SEARCHED_MESSAGES):
        recent = message.date.timestamp() >= began - 60  # the datacenter's clock may differ from this machine's
        if not recent and found is not None:
            break
        if message.out and is_it(message):
            if recent:
                found = message.id
            else:
                earlier.append(message.id)
    return earlier[0] if found is None and len(earlier) == 1 else found


async def collect(job: JobContext, client: Any) -> dict[str, Any]:
    """Read a chat's history, oldest first, into the table ``messages``; return ``{"chat", "messages", "last"}``.

    Each page is stored in one transaction with the position where the next one begins.
    """
    peer = await client.get_input_entity(job.data.chat)
    chat = utils.get_peer_id(await peer_of(client, peer))
    # In channels and supergroups all members see a message under one number; elsewhere each account has its own.
    owner = "" if isinstance(peer, types.InputPeerChannel) else job.account
    position = job.saved or {"chat": chat, "last": await find_last_before(client, peer, job.data.since), "messages": 0}
    after = position.get("after", None if job.saved else position["last"])  # an older version has not noted it
    total = position["messages"] + await count_after(client, peer, position["last"])
    while True:
        at, page = time.time(), await fetch_after(client, peer, position["last"])
        found = page.messages
        if not found:
            if after is not None:
                read = await _read_history(client, owner, chat, after, job.data.since, at=at)
                await job.checkpoint(position, history=read, done=position["messages"], total=total, stay=bool(owner))
            return {name: position[name] for name in ("chat", "messages", "last")}
        position = {
            "chat": chat, "last": found[-1].id, "messages": position["messages"] + len(found), "after": after
        }  # fmt: skip
        total = max(total, position["messages"])
        messages = [
            to_stored(each, chat, owner, page.pts) for each in found if not isinstance(each, types.MessageEmpty)
        ]
        await job.checkpoint(position, messages=messages, done=position["messages"], total=total, stay=bool(owner))


async def _read_history(
    client: Any, owner: str, chat: int, after: int, since: str | int | None, *, at: float
) -> ReadHistory:
    """Return what a job has read that asked ``at`` this time for what came next in a chat, and there was nothing."""
    user = (await client.get_me(input_peer=True)).user_id if owner else 0
    from_at = moment_of(since).timestamp() if isinstance(since, str) else None
    return ReadHistory(chat=chat, after=after, at=at, from_at=from_at, user=user)


async def join(job: JobContext, client: Any) -> dict[str, Any]:
    """Become a member of a public channel or group; return ``{"chat"}``. Joining twice does no harm."""
    peer = await client.get_input_entity(job.data.chat)
    if not isinstance(peer, types.InputPeerChannel):
        raise ValueError("only public channels and groups can be joined by name")
    with suppress(errors.UserAlreadyParticipantError):
        await client(functions.channels.JoinChannelRequest(peer))
    return {"chat": utils.get_peer_id(peer)}


BUILT_IN: Final[tuple[tuple[str, Any, type[Any]], ...]] = (
    ("send", send, Send),
    ("collect", collect, Collect),
    ("join", join, Join),
)
"""Name, function and data of each kind."""
ENDLESS: Final[tuple[tuple[str, Any, type[Any]], ...]] = (("follow", follow, Follow),)
"""Those whose jobs never end."""
