"""Which requests a limit of Telegram's concerns, and what the datacenter says about one.

Which requests answer ``PEER_FLOOD``: Telegram's pages of these methods, and the client for Android, which explains that
error for them (``AlertsCreator.processError``). What a limited account may do: @SpamBot says that it may not write to
people who do not have its number, or add them to groups, and may always answer those who wrote first. That a frozen
account may only read: https://telegram.org/faq, and ``FROZEN_METHOD_INVALID`` for everything else.
"""

import math
from typing import Any, Final

from telethon import errors, utils
from telethon.tl import TLRequest, functions, types

from adapters.telegram.classify import kind_of
from states.limits import MAX_APPEAL, OF_REQUESTS, STRANGERS, WRITES, is_appeal

TO_PEER: Final = {
    functions.messages.SendMessageRequest: "peer",
    functions.messages.SendMediaRequest: "peer",
    functions.messages.SendMultiMediaRequest: "peer",
    functions.messages.SendInlineBotResultRequest: "peer",
    functions.messages.SendQuickReplyMessagesRequest: "peer",
    functions.messages.ForwardMessagesRequest: "to_peer",
    functions.messages.RequestEncryptionRequest: "user_id",
    functions.phone.RequestCallRequest: "user_id",
}
"""Requests that write to somebody, and where they say to whom: it matters whether that is a person who knows us."""
TO_PEOPLE: Final = (
    functions.channels.InviteToChannelRequest,
    functions.messages.AddChatUserRequest,
    functions.messages.CreateChatRequest,
    functions.phone.InviteToGroupCallRequest,
    functions.phone.InviteConferenceCallParticipantRequest,
    functions.contacts.AddContactRequest,
    functions.contacts.ImportContactsRequest,
)
"""Requests that invite or add people: those are held whoever it is."""
READS: Final = ("Get", "Search", "Check", "Resolve", "Read", "Received", "Find", "Export", "Ping", "Invoke", "Init")
"""How the names of requests begin that change nothing others see."""
NOT_OF_WORK: Final = ("auth", "help", "langpack", "updates")
"""Namespaces of requests that are none of work."""
LOOK_BACK: Final = 50
"""Messages of a chat that are looked through for one that its person wrote."""
MAX_KNOWN: Final = 1000
"""People of whom it is remembered whether they know us."""


def inner(request: Any) -> Any:
    """Return the request inside wrappers."""
    while isinstance(getattr(request, "query", None), TLRequest):
        request = request.query
    return request


def is_write(request: Any) -> bool:
    """Return whether a request changes something that others see."""
    single = inner(request)
    namespace = type(single).__module__.rpartition(".")[2]
    return namespace not in NOT_OF_WORK and not kind_of(single).startswith(READS)


def proves_end(request: Any, limit: str) -> bool:
    """Return whether a limit is over if this request, which it concerns, was carried out."""
    return limit == STRANGERS or type(inner(request)) in TO_PEER


async def limits_on(client: Any, request: Any, known: frozenset[str]) -> list[str]:
    """Return which of the ``known`` limits concern a request of a ``LinkClient``.

    It may ask the datacenter whether a person knows the account.
    """
    found = []
    if WRITES in known and is_write(request):
        found.append(WRITES)
    if STRANGERS in known and await _is_to_stranger(client, inner(request)):
        found.append(STRANGERS)
    return found


async def _is_to_stranger(client: Any, request: Any) -> bool:
    if type(request) in TO_PEOPLE:
        return True
    where = TO_PEER.get(type(request))
    if where is None:
        return False
    if hasattr(request, "resolve"):
        await request.resolve(client, utils)
    peer = getattr(request, where)
    if isinstance(peer, types.InputPeerUserFromMessage | types.InputUserFromMessage):
        return peer.user_id not in client.known  # somebody of whom the account has a message in a chat, and no more
    if not isinstance(peer, types.InputPeerUser | types.InputUser):
        return False  # a group, a channel, oneself, or what the datacenter will refuse
    if peer.user_id not in client.known:
        if len(client.known) >= MAX_KNOWN:
            client.known.clear()
        knows = await _knows_us(client, peer)
        if not knows:
            return True  # asked anew the next time: the person may write meanwhile
        client.known[peer.user_id] = True
    return False


async def _knows_us(client: Any, peer: Any) -> bool:
    """Return whether a person has the account among the contacts, wrote to it before, or is a bot or the account.

    Where the datacenter does not say so, it does not: better one message too late than a limit that lasts longer.
    """
    as_user = types.InputUser(peer.user_id, peer.access_hash)
    as_peer = types.InputPeerUser(peer.user_id, peer.access_hash)
    history = functions.messages.GetHistoryRequest(as_peer, 0, None, 0, LOOK_BACK, 0, 0, 0)
    try:
        (user,) = await client(functions.users.GetUsersRequest([as_user]), flood_sleep_threshold=0)
        if any(getattr(user, name, False) for name in ("mutual_contact", "bot", "is_self")):
            return True
        found = await client(history, flood_sleep_threshold=0)
    except (errors.RPCError, ValueError):
        return False
    return any(not getattr(message, "out", True) for message in getattr(found, "messages", ()))


def freeze_of(answer: Any) -> tuple[float | None, str]:
    """Return when a frozen account is deleted (Unix seconds), and where to appeal, by ``help.getAppConfig``.

    Its answer may be anything: what is no time, or no address at https://t.me/, is left out. The keys are those of
    https://core.telegram.org/api/config#client-configuration.
    """
    values = getattr(getattr(answer, "config", None), "value", None)
    found: dict[str, Any] = {}
    for item in values if isinstance(values, list) else ():
        key = getattr(item, "key", None)
        if key in ("freeze_until_date", "freeze_appeal_url"):
            found[key] = getattr(getattr(item, "value", None), "value", None)
    until, appeal = found.get("freeze_until_date"), found.get("freeze_appeal_url")
    is_time = isinstance(until, int | float) and math.isfinite(until) and 0 < until < MAX_DATE
    is_link = isinstance(appeal, str) and len(appeal) <= MAX_APPEAL and is_appeal(appeal)
    return float(until) if is_time and until is not None else None, appeal if is_link and appeal is not None else ""


MAX_DATE: Final = 32_503_680_000.0
"""The year 3000, in Unix seconds: later is no date of a deletion."""

assert set(OF_REQUESTS) == {STRANGERS, WRITES}, "each limit of requests is decided here"
