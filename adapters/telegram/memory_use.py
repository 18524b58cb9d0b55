"""What an account has in memory, counted and estimated: cheap enough to be asked for at any time."""

from typing import Any, Final

from attrs import asdict

from adapters.session import HoldfastSession
from adapters.telegram.inbox import Inbox

ENTITY_BYTES: Final = 400
"""A user or chat of a session: a row of texts and numbers, its place, and what it is found by. Measured: 340 to 420."""
KNOWN_BYTES: Final = 220
"""A user or chat in Telethon's own cache: its hash and its kind."""
UPDATE_BYTES: Final = 6_000
"""An update with the users and chats that came with it."""
OBJECT_BYTES: Final = 900
"""An object in an update that was not counted yet."""


def memory_use(session: HoldfastSession | None, inbox: Inbox, client: Any) -> dict[str, Any]:
    """Return what an account has in memory, in numbers and estimated bytes; ``client`` is that of its link, if any.

    ``entities``: users and chats of the session file that are in memory. ``cached``: those in Telethon's own cache.
    ``waiting`` and ``running``: updates that wait for handlers and that are with them. ``queued``: messages with
    updates that are not counted yet. ``left``: how many of these this link has left at the datacenter, for lack of
    room. ``hanging``: handlers that do not end.
    """
    entities = 0 if session is None else session.entities_in_memory
    cached, queued, left, objects = 0, 0, 0, 0
    if client is not None:
        queue = client._updates_queue
        cached, queued, left = len(client._mb_entity_cache), queue.waiting, queue.left
        objects = queue.objects if queued else 0
    updates = inbox.waiting + inbox.running
    return {
        "bytes": entities * ENTITY_BYTES + cached * KNOWN_BYTES + updates * UPDATE_BYTES + objects * OBJECT_BYTES,
        "entities": entities,
        "cached": cached,
        "waiting": inbox.waiting,
        "running": inbox.running,
        "queued": queued,
        "left": left,
        "hanging": [asdict(each) for each in inbox.calls.hanging()],
    }
