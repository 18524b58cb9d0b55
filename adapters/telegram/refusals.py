"""What each refusal that Telegram documents means for an account: every 401, 403 and 406 that Telethon knows, decided.

The code alone says little. A 401 means that the login is dead, but not where the request was a step of another login;
of the 406 errors one concerns the key; most 403 errors concern what the request was about. A code that is not listed
has the meaning of its number: 401 is a dead login, anything else concerns that request alone.
"""

from typing import Any, Final

from telethon import errors
from telethon.errors.rpcerrorlist import rpc_errors_dict
from telethon.tl import TLRequest

from states.events import AccountBanned, AccountLimited, AuthRejected, Failure, SessionDuplicated, Unexpected
from states.limits import ACCOUNT, STRANGERS, WRITES

LOGIN_DEAD: Final = (
    "ACTIVE_USER_REQUIRED",
    "AUTH_KEY_INVALID",
    "AUTH_KEY_PERM_EMPTY",
    "AUTH_KEY_UNREGISTERED",
    "SESSION_EXPIRED",
    "SESSION_PASSWORD_NEEDED",  # the login stopped before its password: nothing but a login ends that
    "SESSION_REVOKED",
)
BANNED: Final = ("PHONE_NUMBER_BANNED", "USER_DEACTIVATED", "USER_DEACTIVATED_BAN")
LIMITED: Final = ("FROZEN_METHOD_INVALID", "FROZEN_PARTICIPANT_MISSING", "PEER_FLOOD", "USER_RESTRICTED")
LIMIT_OF: Final = {
    "FROZEN_METHOD_INVALID": WRITES,
    "FROZEN_PARTICIPANT_MISSING": WRITES,
    "PEER_FLOOD": STRANGERS,
    "USER_RESTRICTED": STRANGERS,  # reported for spam: it may create no groups
}
"""What each of them keeps the account from."""
OF_REQUEST: Final = (
    # 403: what the account may not do there, or with them
    "BROADCAST_FORBIDDEN", "CHANNEL_PUBLIC_GROUP_NA", "CHAT_ADMIN_INVITE_REQUIRED", "CHAT_FORBIDDEN",
    "CHAT_GUEST_SEND_FORBIDDEN", "CHAT_SEND_GAME_FORBIDDEN", "CHAT_SEND_GIFS_FORBIDDEN", "CHAT_SEND_MEDIA_FORBIDDEN",
    "CHAT_SEND_PHOTOS_FORBIDDEN", "CHAT_SEND_PLAIN_FORBIDDEN", "CHAT_SEND_POLL_FORBIDDEN",
    "CHAT_SEND_STICKERS_FORBIDDEN", "CHAT_SEND_VIDEOS_FORBIDDEN", "CHAT_SEND_VOICES_FORBIDDEN",
    "CHAT_WRITE_FORBIDDEN", "EDIT_BOT_INVITE_FORBIDDEN", "GROUPCALL_ALREADY_STARTED", "GROUPCALL_FORBIDDEN",
    "INLINE_BOT_REQUIRED", "MESSAGE_AUTHOR_REQUIRED", "MESSAGE_DELETE_FORBIDDEN", "NOT_ALLOWED",
    "POLL_VOTE_REQUIRED", "PREMIUM_ACCOUNT_REQUIRED", "PUBLIC_CHANNEL_MISSING", "RIGHT_FORBIDDEN",
    "SENSITIVE_CHANGE_FORBIDDEN", "USER_DELETED", "USER_PRIVACY_RESTRICTED",
    # 406: every one of them is an ``AuthKeyError`` to Telethon, and one only concerns the key
    "FILEREF_UPGRADE_NEEDED", "FRESH_CHANGE_PHONE_FORBIDDEN", "FRESH_RESET_AUTHORISATION_FORBIDDEN",
    "PHONE_PASSWORD_FLOOD", "PREMIUM_CURRENTLY_UNAVAILABLE", "SEND_CODE_UNAVAILABLE", "STICKERSET_OWNER_ANONYMOUS",
    "UPDATE_APP_TO_LOGIN", "USERPIC_PRIVACY_REQUIRED",
)  # fmt: skip

OF_CHAT: Final = {
    "CHANNEL_PRIVATE": "the account cannot see this chat: it left, was removed or banned, or the chat is private",
    "CHANNEL_BANNED": "Telegram has closed this chat",
    "CHAT_FORBIDDEN": "the account may not take part in this chat",
    "CHAT_RESTRICTED": "this chat is restricted, and nothing can be sent there",
    "CHAT_WRITE_FORBIDDEN": "the account may not write in this chat",
    "INPUT_USER_DEACTIVATED": "the account of this person was deleted",
    "USER_BANNED_IN_CHANNEL": "the account is banned from writing in this chat",
    "USER_IS_BLOCKED": "this person has blocked the account",
    "USER_PRIVACY_RESTRICTED": "this person's privacy settings do not allow it",
    "YOU_BLOCKED_USER": "the account has blocked this person",
}
"""Refusals that concern one chat, and what they say of it: asked again, it would say the same."""

MEANING: Final[dict[str, type[Failure]]] = {
    **dict.fromkeys(LOGIN_DEAD, AuthRejected),
    **dict.fromkeys(BANNED, AccountBanned),
    **dict.fromkeys(LIMITED, AccountLimited),
    **dict.fromkeys(OF_REQUEST, Unexpected),
    "AUTH_KEY_DUPLICATED": SessionDuplicated,
}
"""The event of each refusal, by Telegram's name. ``Unexpected`` concerns the request alone: a job's function gets it,
and only a connect that it keeps from being proven counts it as a failure."""

_BY_CLASS: Final = {rpc_errors_dict[name]: event for name, event in MEANING.items() if name in rpc_errors_dict}
_OF_CHAT_BY_CLASS: Final = {rpc_errors_dict[name]: said for name, said in OF_CHAT.items() if name in rpc_errors_dict}
_LIMIT_BY_CLASS: Final = {rpc_errors_dict[name]: limit for name, limit in LIMIT_OF.items() if name in rpc_errors_dict}
_OF_OTHER_LOGINS: Final = ("SESSION_PASSWORD_NEEDED", "PHONE_NUMBER_BANNED")
_OTHER_LOGIN_ERRORS: Final = tuple(rpc_errors_dict[name] for name in _OF_OTHER_LOGINS)


def _is_of_another_login(exc: Any) -> bool:
    """Return whether a refusal answers a request about a login or a number that need not be the account's own."""
    request = exc.request
    while isinstance(request, TLRequest) and isinstance(getattr(request, "query", None), TLRequest):
        request = request.query
    return type(request).__module__.endswith(".auth") or hasattr(request, "phone_number")


def meaning_of(exc: BaseException) -> type[Failure] | None:
    """Return the event that a refusal means; None if it is not one of those that are decided here."""
    if isinstance(exc, _OTHER_LOGIN_ERRORS) and _is_of_another_login(exc):
        return Unexpected
    if (event := _BY_CLASS.get(type(exc))) is not None:
        return event
    return AuthRejected if isinstance(exc, errors.UnauthorizedError) else None


def limit_of(exc: BaseException) -> str:
    """Return what a refusal that is ``AccountLimited`` keeps the account from, by the names in ``states.limits``."""
    return _LIMIT_BY_CLASS.get(type(exc), ACCOUNT)


def sentence_of(exc: BaseException) -> str | None:
    """Return what a refusal of one chat says of it; None for any other error."""
    return _OF_CHAT_BY_CLASS.get(type(exc))
