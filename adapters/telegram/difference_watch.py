"""Notices a difference without end: a datacenter that answers each part of it with "more follows".

Until the difference has ended no other update is handled, and the client asks at the speed of the network.
"""

import asyncio
from typing import Any, Final

from attrs import define
from telethon.tl.types.updates import ChannelDifference, DifferenceSlice

from adapters.telegram.protocol_watch import ProtocolStuck

MAX_WITHOUT_NEWS: Final = 10
"""Parts in a row that have no news or do not advance."""
FREE: Final = 50
"""Parts in a row that may be asked for without a pause: those of a few days."""
PAUSE: Final = 0.2
"""Seconds between two parts after that."""


@define(eq=False)
class DifferenceWatch:
    """Watches the answers to one client's requests for missed updates."""

    _parts: int = 0
    _without_news: int = 0
    _position: tuple[Any, ...] = ()

    async def take(self, answer: Any) -> None:
        """Take an answer into account, and wait if there have been many. Raises ``ProtocolStuck``."""
        position: tuple[Any, ...]
        match answer:
            case DifferenceSlice(intermediate_state=state):
                position = tuple(getattr(state, name, None) for name in ("pts", "qts", "date"))
            case ChannelDifference(final=final) if not final:
                position = (answer.pts,)
            case _:
                self._parts, self._without_news, self._position = 0, 0, ()
                return
        news = any(getattr(answer, name, None) for name in ("new_messages", "other_updates", "new_encrypted_messages"))
        self._parts += 1
        self._without_news = 0 if news and position != self._position else self._without_news + 1
        self._position = position
        if self._without_news > MAX_WITHOUT_NEWS:
            raise ProtocolStuck(f"the missed updates do not come to an end: {self._without_news} parts without news")
        if self._parts > FREE:
            await asyncio.sleep(PAUSE)
