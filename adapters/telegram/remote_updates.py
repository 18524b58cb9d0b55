"""Updates on their way to other programs: an update with those that it is about, as bytes of Telegram's own format."""

import hashlib
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from telethon import utils
from telethon.tl import TLObject, types

from adapters.sqlite.errors import StorageError
from adapters.telegram.recalling import recall
from adapters.tl_reader import BoundedReader

FLEETING: Final = (
    types.UpdateUserStatus,
    types.UpdateUserTyping,
    types.UpdateChatUserTyping,
    types.UpdateChannelUserTyping,
    types.UpdateEncryptedChatTyping,
)
"""What is over before a program that was away could read it, and what Telegram does not send again either."""
MAX_ABOUT: Final = 200
"""Users and chats that go along with one update."""
MAX_VISITED: Final = 5000
"""Objects of an update that are looked through for them."""
_VECTOR: Final = struct.pack("<I", 0x1CB5C415)
_USER_FIELDS: Final = frozenset({"user_id", "bot_id", "via_bot_id", "inviter_id", "admin_id", "users"})


def is_for_programs(update: Any) -> bool:
    """Return whether an update is kept for other programs."""
    return not isinstance(update, FLEETING)


def mark_of(update: Any) -> str:
    """Return what an update is known again by, whether it was pushed or came with a difference.

    A new message is known by its number in its chat: in a difference it has no other. Everything else by its content.
    """
    message = getattr(update, "message", None)
    if isinstance(message, types.Message | types.MessageService):
        with suppress(TypeError, ValueError):
            known = f"{type(update).__name__} {utils.get_peer_id(message.peer_id)} {message.id}"
            if isinstance(update, types.UpdateNewMessage | types.UpdateNewChannelMessage):
                return known
            return f"{known} {_digest(bytes(message))}"
    return f"{type(update).__name__} {_digest(bytes(update))}"


def is_numbered(update: Any) -> bool:
    """Return whether no other update is equal to this one: it has a number of its own, or is a message that has one."""
    if isinstance(update, types.UpdateNewMessage | types.UpdateNewChannelMessage):
        return True
    return any(getattr(update, name, None) for name in ("pts", "qts", "query_id", "random_id"))


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()


async def encode_update(update: Any, client: Any) -> bytes:
    """Return an update, the users and chats that it names as they came with it, and how to address the others.

    Of a session file that cannot be read now, the others are left out: a program asks for them.
    """
    came = getattr(update, "_entities", None) or {}
    about = list(dict.fromkeys(_named_in(update)))[:MAX_ABOUT]
    found = [came[peer] for peer in about if peer in came]
    users = [each for each in found if isinstance(each, types.User | types.UserEmpty)]
    chats = [each for each in found if not isinstance(each, types.User | types.UserEmpty)]
    whole = {utils.get_peer_id(each) for each in found if not getattr(each, "min", False)}
    others = [each for each in about if each not in whole]
    peers = []
    with suppress(StorageError):
        await recall(client.session, *others)
        peers = [peer for each in others if (peer := _addressed(client, each)) is not None]
    envelope = types.Updates(updates=[update], users=users, chats=chats, date=None, seq=0)
    return bytes(envelope) + _VECTOR + struct.pack("<i", len(peers)) + b"".join(map(bytes, peers))


def decode_update(body: bytes) -> tuple[Any, list[Any], list[Any]]:
    """Return an update, those that it names, and input peers. Raises what Telethon's reader raises."""
    reader = BoundedReader(body)
    envelope = reader.tgread_object()
    peers = reader.tgread_vector()
    if not isinstance(envelope, types.Updates) or len(envelope.updates) != 1:
        raise ValueError("an update comes alone, with those that it is about")
    return envelope.updates[0], [*envelope.users, *envelope.chats], peers


def _addressed(client: Any, peer: int) -> Any:
    """Return how an account addresses a user or chat, without asking anybody; None if it does not know."""
    with suppress(ValueError, TypeError, AttributeError):
        known = client.session.get_input_entity(peer)
        if isinstance(known, types.InputPeerUser | types.InputPeerChat | types.InputPeerChannel):
            return known
    return None


def _named_in(update: Any) -> Iterator[int]:
    """Yield the ids, as Telethon marks them, of all users and chats that an update names."""
    left, visited = [("", update)], 0
    while left and visited < MAX_VISITED:
        name, value = left.pop()
        visited += 1
        if isinstance(value, types.PeerUser | types.PeerChat | types.PeerChannel):
            yield utils.get_peer_id(value)
        elif isinstance(value, TLObject):
            left += [(key, inner) for key, inner in vars(value).items() if not key.startswith("_")]
        elif isinstance(value, list):
            left += [(name, inner) for inner in value]
        elif type(value) is int and value > 0:
            if name in _USER_FIELDS:
                yield value
            elif name == "channel_id":
                yield utils.get_peer_id(types.PeerChannel(value))
            elif name == "chat_id":
                yield utils.get_peer_id(types.PeerChat(value))
