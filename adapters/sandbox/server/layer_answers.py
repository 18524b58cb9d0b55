"""What a datacenter answers to requests of the message layer itself, which concern no account."""

from typing import Any, Final

from attrs import frozen
from telethon.tl import functions, types

from adapters.sandbox.mtproto import tl
from adapters.sandbox.services import views

SALT_LIFETIME_SECONDS: Final = 3600
RECEIVED: Final = "\x04"
"""The state of a message that was received, and whose answer will not be repeated."""


@frozen
class LayerAnswer:
    """The body of one answer, and whether the client has to acknowledge it."""

    body: bytes
    content: bool = False


def layer_answer(msg_id: int, value: Any, *, salt: int, now: int) -> LayerAnswer | None:
    """Return the answer at the time ``now`` (Unix seconds) on a connection with this salt; None if there is none."""
    match value:
        case functions.PingRequest() | functions.PingDelayDisconnectRequest():
            answer = types.Pong(msg_id, value.ping_id)
        case functions.GetFutureSaltsRequest():
            since, until = (views.date(second) for second in (now, now + SALT_LIFETIME_SECONDS))
            answer = types.FutureSalts(msg_id, now, [types.FutureSalt(since, until, salt)])
        case functions.DestroySessionRequest():
            answer = types.DestroySessionNone(value.session_id)
        case functions.DestroyAuthKeyRequest():
            answer = types.DestroyAuthKeyOk()
        case functions.RpcDropAnswerRequest():
            return LayerAnswer(tl.rpc_result(msg_id, types.RpcAnswerUnknown()), content=True)
        case types.MsgsStateReq() | types.MsgResendReq():
            answer = types.MsgsStateInfo(msg_id, RECEIVED * len(value.msg_ids))
        case _:
            return None
    return LayerAnswer(tl.dump(answer))
