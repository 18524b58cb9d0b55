"""What is stored of a message. Pure."""

import json
import time
from typing import Any, Final

from telethon.tl import types

from adapters.sqlite.messages import Message

MAX_RAW: Final = 256 * 1024
"""Characters of a message as JSON; one that has more is stored without."""
MAX_NAME: Final = 255
"""Characters of a file's name that are stored."""
SHORT: Final = (types.UpdateShortMessage, types.UpdateShortChatMessage)
"""Messages that come as updates of their own, with fewer fields."""


def to_stored(message: Any, chat: int, owner: str, version: int | None = None, *, raw: bool = False) -> Message:
    """Return a message as it is stored; one without a text (a photo, a member that joined) has an empty text.

    The partner's messages in a private chat, and a channel's own posts, have no ``from_id``: Telethon's ``sender_id``
    knows the sender all the same.
    """
    edited = getattr(message, "edit_date", None)
    reply = getattr(message, "reply_to", None)
    kind, number, size, name = media_of(getattr(message, "media", None))
    return Message(
        chat=chat,
        id=message.id,
        at=message.date.timestamp() if message.date else time.time(),
        text=getattr(message, "message", None) or "",
        sender=message.sender_id,
        owner=owner,
        edited=edited.timestamp() if edited else None,
        reply_to=getattr(reply, "reply_to_msg_id", None),
        media=kind,
        media_id=number,
        media_size=size,
        media_name=name,
        raw=as_json(message) if raw else None,
        version=version,
    )


def whole_message(short: Any, me: int | None) -> Any:
    """Return a message that came in short form as a whole one; ``me`` is the account's id."""
    if isinstance(short, types.UpdateShortChatMessage):
        peer, sender = types.PeerChat(short.chat_id), short.from_id
    else:
        peer, sender = types.PeerUser(short.user_id), me if short.out else None
    return types.Message(
        short.id,
        peer,
        short.date,
        short.message,
        out=short.out,
        from_id=types.PeerUser(sender) if sender else None,
        fwd_from=short.fwd_from,
        via_bot_id=short.via_bot_id,
        reply_to=short.reply_to,
        entities=short.entities,
    )


def media_of(media: Any) -> tuple[str | None, int | None, int | None, str | None]:
    """Return kind, id, size in bytes and file name of a message's media; None for each that it does not have."""
    match media:
        case None | types.MessageMediaEmpty():
            return None, None, None, None
        case types.MessageMediaPhoto(photo=types.Photo() as photo):
            sizes = [_photo_size(each) for each in photo.sizes]
            return "photo", photo.id, max((size for size in sizes if size), default=None), None
        case types.MessageMediaDocument(document=types.Document() as document):
            names = [
                each.file_name for each in document.attributes if isinstance(each, types.DocumentAttributeFilename)
            ]
            return "document", document.id, document.size, names[0][:MAX_NAME] if names else None
    return type(media).__name__.removeprefix("MessageMedia").lower(), None, None, None


def _photo_size(size: Any) -> int | None:
    if isinstance(size, types.PhotoSizeProgressive):
        return max(size.sizes, default=None)
    return getattr(size, "size", None)


def as_json(message: Any) -> str | None:
    """Return a message as JSON, with all its fields; None if that is too long to be stored."""
    text = json.dumps(message.to_dict(), default=_plain, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= MAX_RAW else None


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else value.isoformat() if hasattr(value, "isoformat") else str(value)
