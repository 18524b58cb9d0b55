"""What faults make of answers to requests, and of updates that are pushed."""

import struct
from typing import Any, Final

from telethon.tl import functions, types

from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.faults.fault import Fault
from adapters.sandbox.faults.kinds import WRONG_PTS_BY, FaultKind
from adapters.sandbox.mtproto import tl
from adapters.sandbox.services import RequestContext, peers, views
from adapters.sandbox.store.database import SandboxStore

UNKNOWN_CONSTRUCTOR: Final = 0x0BADF00D
FIRST_UPDATE: Final = 12
"""Where the first update begins in the bytes of ``Updates``: after its constructor, a vector's, and a count."""


def faulty_answer(context: RequestContext, request: Any, fault: Fault) -> Any:
    """Return the answer of a fault to a request. Raises RpcRefusal, which is an answer, too."""
    match fault.kind:
        case FaultKind.HOSTILE:
            return _endless_difference(context)
        case FaultKind.TOO_LONG if isinstance(request, functions.updates.GetChannelDifferenceRequest):
            return _long_channel_difference(context, request)
        case FaultKind.TOO_LONG:
            return types.updates.DifferenceTooLong(context.store.pts(context.me.id))
        case FaultKind.LOST_DIFFERENCE if isinstance(request, functions.updates.GetChannelDifferenceRequest):
            return types.updates.ChannelDifferenceEmpty(request.pts, final=True)
        case FaultKind.LOST_DIFFERENCE:
            return types.updates.DifferenceEmpty(context.now(), views.SEQ)
        case FaultKind.REVOKE:
            raise RpcRefusal(401, fault.text or "AUTH_KEY_UNREGISTERED")
        case FaultKind.DUPLICATE:
            raise RpcRefusal(406, "AUTH_KEY_DUPLICATED")
    raise RpcRefusal(fault.code or 500, fault.text or "INTERNAL")


def channel_of(update: Any, store: SandboxStore) -> str | None:
    """Return the username of the channel that a pushed update is about; None if it is about none."""
    for single in getattr(update, "updates", ()):
        peer = getattr(getattr(single, "message", None), "peer_id", None)
        number = getattr(peer, "channel_id", None) or getattr(single, "channel_id", None)
        channel = store.channels.by_id(number) if number is not None else None
        if channel is not None:
            return channel.username
    return None


def pushed_body(update: Any, fault: Fault | None) -> bytes | None:
    """Return the bytes of a pushed update, or what a fault makes of them; None if it is lost."""
    kind = fault.kind if fault is not None else None
    if kind is FaultKind.LOST_UPDATE:
        return None
    if kind is FaultKind.WRONG_PTS:
        numbered = [single for single in getattr(update, "updates", ()) if getattr(single, "pts", None)]
        for single in numbered:
            single.pts += WRONG_PTS_BY
    body = tl.dump(update)
    if kind is FaultKind.UNKNOWN_UPDATE and isinstance(update, types.Updates):
        return body[:FIRST_UPDATE] + struct.pack("<I", UNKNOWN_CONSTRUCTOR) + body[FIRST_UPDATE + 4 :]
    return body


def _long_channel_difference(context: RequestContext, request: Any) -> Any:
    """Return that there is too much to list, with the channel as it is now."""
    store, me = context.store, context.me.id
    channel = peers.channel(context, request.channel)
    member = peers.member(context, channel)
    dialog = views.channel_dialog(channel, member, store.channels.unread(member))
    return types.updates.ChannelDifferenceTooLong(dialog, [], [views.channel(store, channel, me)], [], final=True)


def _endless_difference(context: RequestContext) -> Any:
    """Return a part of a difference that has no news and says that more will follow."""
    state = types.updates.State(context.store.pts(context.me.id), 0, context.now(), 0, 0)
    return types.updates.DifferenceSlice([], [], [], [], [], state)
