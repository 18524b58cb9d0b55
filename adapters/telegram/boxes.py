"""Which numbers of which box an update, a difference or an answer covers. Pure.

A *box* is the account's own (0: private chats and small groups) or a channel's (its id). Its events are numbered (pts),
so an update covers the numbers after ``pts - pts_count``, up to ``pts``. Updates of no box (who is online, who types)
cover nothing, and Telegram does not send those again that were missed. Secret chats and the updates of bots that are
numbered by qts are in no box here. Source: https://core.telegram.org/api/updates#message-related-event-sequences

What one must know of Telethon's count (``MessageBox``):

- An update is counted if it begins where the box is. One that is behind is dropped as handled; one that is ahead waits
  half a second, and then a difference is fetched. So what was counted follows what was counted before.
- With ``pts_count`` 0 (somebody has read up to here) an update covers nothing, but may tell of a gap.
- Messages of a difference have no numbers of their own: the difference covers all of them.
- What this client did itself (sent, deleted, read) takes numbers, too. Telethon counts the answer to the request, and
  gives it to no handler.
- It takes the numbers that were used up in a channel (``affectedMessages``) for the account's: see ``affected_update``.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from attrs import frozen
from telethon.tl import types
from telethon.tl.types import messages, updates

from states.ledger import HoleCause, Interval

ACCOUNT: Final = 0
"""The account's own box, as in session files."""
AFFECTED: Final = (messages.AffectedHistory, messages.AffectedMessages, messages.AffectedFoundMessages)
"""Answers to requests that change messages: they say which numbers the changes took."""
_IN_CHANNEL: Final = (
    types.InputChannel,
    types.InputPeerChannel,
    types.InputChannelFromMessage,
    types.InputPeerChannelFromMessage,
)
_SINGLE: Final = (types.UpdateShortMessage, types.UpdateShortChatMessage, types.UpdateShortSentMessage)
_ENVELOPES: Final = (types.Updates, types.UpdatesCombined)


@frozen
class MessageRange:
    """The first and the last number and date (Unix seconds) of some messages."""

    first_id: int
    last_id: int
    first_at: float
    last_at: float

    def with_range(self, other: "MessageRange | None") -> "MessageRange":
        """Return the range of both."""
        if other is None:
            return self
        return MessageRange(
            min(self.first_id, other.first_id),
            max(self.last_id, other.last_id),
            min(self.first_at, other.first_at),
            max(self.last_at, other.last_at),
        )


@frozen
class Advance:
    """A box has come to a number: all up to it has arrived, or is lost."""

    box: int
    interval: Interval
    messages: MessageRange | None = None
    """New messages among what has arrived."""
    lost: HoleCause | None = None
    """Why the interval has not arrived; None if it has."""
    at: float | None = None
    """When nothing had come after it yet (Unix seconds): 0 if nobody knows, None for when it is noted."""


def box_of(update: Any) -> int:
    """Return the box of an update that has a ``pts``, as Telethon assigns it."""
    channel = getattr(getattr(getattr(update, "message", None), "peer_id", None), "channel_id", None)
    return int(channel or getattr(update, "channel_id", None) or ACCOUNT)


def of_update(update: Any) -> Advance | None:
    """Return what an update covers; None for one that has no number."""
    pts = getattr(update, "pts", None)
    if not pts or isinstance(update, types.UpdateChannelTooLong):
        return None
    count = getattr(update, "pts_count", None) or 0
    found = range_of(new_messages((update,)))
    return Advance(box_of(update), Interval(pts - count, pts), found, at=_last_of(found))


def of_envelope(envelope: Any) -> Iterator[Advance]:
    """Yield what the updates cover that came together, or the answer to a request that has some."""
    if isinstance(envelope, _ENVELOPES):
        inner: Iterable[Any] = envelope.updates
    elif isinstance(envelope, types.UpdateShort):
        inner = (envelope.update,)
    elif isinstance(envelope, _SINGLE):
        inner = (envelope,)
    else:
        inner = ()
    yield from filter(None, map(of_update, inner))


def of_difference(asked: int, answer: Any, at: float | None = None) -> Advance:
    """Return what the account's difference from ``asked`` on covers, for which the request was made ``at`` this time.

    An empty one covers nothing, and says that there was nothing after ``asked``. A slice says that there is more.
    """
    match answer:
        case updates.DifferenceTooLong():
            return Advance(ACCOUNT, Interval(asked, answer.pts), lost=HoleCause.TOO_LONG)
        case updates.Difference():
            return Advance(ACCOUNT, Interval(asked, answer.state.pts), range_of(answer.new_messages), at=at)
        case updates.DifferenceSlice():
            found = range_of(answer.new_messages)
            return Advance(ACCOUNT, Interval(asked, answer.intermediate_state.pts), found, at=_last_of(found))
        case _:
            return Advance(ACCOUNT, Interval(asked, asked), at=at)


def of_channel_difference(channel: int, asked: int, answer: Any, at: float | None = None) -> Advance:
    """Return what a channel's difference from ``asked`` on covers, for which the request was made ``at`` this time.

    One that is too long has the latest messages, which Telethon drops: they are lost, too.
    """
    match answer:
        case updates.ChannelDifferenceTooLong():
            upto = getattr(answer.dialog, "pts", None) or asked
            return Advance(channel, Interval(asked, upto), lost=HoleCause.TOO_LONG)
        case updates.ChannelDifference():
            found = range_of(answer.new_messages)
            return Advance(channel, Interval(asked, answer.pts), found, at=at if answer.final else _last_of(found))
        case _:
            return Advance(channel, Interval(asked, getattr(answer, "pts", asked)), at=at)


def _last_of(found: MessageRange | None) -> float:
    """Return the date of the last message: more may have come since, and be on its way. 0 without one."""
    return 0.0 if found is None else found.last_at


def affected_update(request: Any, answer: Any) -> Any:
    """Return what Telethon must count after this answer: None if it does so by itself.

    A request that changed messages of a channel has used up numbers of the channel. Telethon takes them for the
    account's, and would ask for a difference, or skip a private message.
    """
    if not isinstance(answer, AFFECTED):
        return None
    while (inner := getattr(request, "query", None)) is not None:
        request = inner
    for name in ("channel", "peer"):
        peer = getattr(request, name, None)
        if isinstance(peer, _IN_CHANNEL):
            return types.UpdateDeleteChannelMessages(peer.channel_id, [], answer.pts, answer.pts_count)
    return None


def new_messages(found: Iterable[Any]) -> Iterator[Any]:
    """Yield the new messages of updates; those that came in short form are their own."""
    for update in found:
        if isinstance(update, types.UpdateNewMessage | types.UpdateNewChannelMessage):
            yield update.message
        elif isinstance(update, _SINGLE):
            yield update


def range_of(found: Iterable[Any]) -> MessageRange | None:
    """Return the range of messages; None if there are none that have a date."""
    result: MessageRange | None = None
    for message in found:
        date = getattr(message, "date", None)
        if isinstance(date, datetime):
            at = date.timestamp()
            result = MessageRange(message.id, message.id, at, at).with_range(result)
    return result
