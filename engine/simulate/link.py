"""What becomes of an attempt and of a probe in the model, and the event that the account hears of it."""

import re
from typing import Final

from engine.simulate.account import ANSWERED, CONNECTED, LOST, SILENCE, TRANSPORT, SimulatedAccount
from engine.simulate.disturbances import Conditions
from states.events import (
    AccountBanned,
    AuthKeyUnknown,
    AuthRejected,
    Connected,
    Event,
    Failure,
    FloodWait,
    NetworkLost,
    ProbeAnswered,
    ProtocolBroken,
    ServerFault,
    SessionDuplicated,
    TimedOut,
    TransportFlood,
    Unexpected,
)

PROOF: Final = "GetState"
"""The kind of the request that proves a login."""
SYN_RETRIES: Final = (1, 2, 3, 4, 5, 7, 11, 19, 35, 67, 131)
"""Seconds after the first packet of a connection at which Linux sends it again (``tcp_syn_linear_timeouts``: 4)."""
FLOOD_TEXT: Final = re.compile(r"[A-Z_]*FLOOD[A-Z_]*_(\d{1,9})")
BANNED: Final = ("USER_DEACTIVATED", "USER_DEACTIVATED_BAN", "PHONE_NUMBER_BANNED")
_CODE_OF_UNKNOWN_KEY: Final = (-404, "")


def fault_of(conditions: Conditions) -> tuple[int, tuple[int, str] | None] | None:
    """Return what the first packet on a link is answered with instead of an answer; None if nothing is wrong."""
    if conditions.lost:
        return LOST, None
    if conditions.transport:
        return TRANSPORT, (conditions.transport, "")
    if conditions.forgotten:
        return TRANSPORT, _CODE_OF_UNKNOWN_KEY
    return None


def refusal_event(refusal: tuple[int, str], link: int) -> Failure:
    """Return the event that an error of a request means."""
    code, text = refusal
    if flood := FLOOD_TEXT.fullmatch(text):
        return FloodWait(link=link, seconds=float(flood[1]), request=PROOF, detail=text)
    if text in BANNED:
        return AccountBanned(link=link, detail=text)
    if code == 401:
        return AuthRejected(link=link, detail=text)
    if text == "AUTH_KEY_DUPLICATED":
        return SessionDuplicated(link=link, detail=text)
    if abs(code) >= 500:
        return ServerFault(link=link, detail=text)
    return Unexpected(link=link, detail=text)


def loss_of(account: SimulatedAccount) -> Event:
    """Return what an account hears when its link is lost."""
    return transport_event(account.loss_code, account.snapshot.link)


def transport_event(code: int, link: int) -> Event:
    """Return the event that a transport error means; 0 is a link that just ends."""
    match code:
        case 0:
            return NetworkLost(link=link)
        case -404:
            return AuthKeyUnknown(link=link)
        case -429:
            return TransportFlood(link=link)
        case _:
            return ProtocolBroken(link=link)


def events_of(account: SimulatedAccount, *, attempt: bool) -> tuple[Event, ...]:
    """Return what an account hears when the report comes: of an ``attempt``, or of a probe."""
    link, says, detail = account.snapshot.link, account.says, account.detail
    if says == CONNECTED:
        return (Connected(link=link),)
    if says == ANSWERED:
        return (ProbeAnswered(link=link, proof=account.proof),)
    if says == SILENCE:
        return (TimedOut(link=link, what="connect" if attempt else "probe"),)
    if says == LOST:
        return (NetworkLost(link=link),)
    assert detail is not None, "errors have a code"
    if says == TRANSPORT:
        return (transport_event(detail[0], link),)
    event = refusal_event(detail, link)
    if isinstance(event, FloodWait) and not attempt:
        return event, ProbeAnswered(link=link, proof=account.proof)  # the datacenter answers, which is what was asked
    return (event,)
