"""What an account may not do while Telegram limits it.

A limit of some requests is also the kind under which these are held, beside the kinds that floods hold.
"""

import re
from datetime import UTC, datetime
from typing import Final

ACCOUNT: Final = "account"
"""Nobody knows what: all work is held."""
STRANGERS: Final = "strangers"
"""It may not write to people who do not know it (``PEER_FLOOD``)."""
WRITES: Final = "writes"
"""It may only read: it is frozen."""
OF_REQUESTS: Final = (STRANGERS, WRITES)
"""Those that concern only some requests; all other work goes on."""
LIMIT_SECONDS: Final = 86_400.0
"""How long such a limit holds its requests before one is tried again.

Telegram does not say when a limit ends: neither error has a number, and the date in the config of a frozen account is
that of its deletion. It lasts days, so one request a day is no hammering, and a limit that was lifted upon an appeal
ends by itself within a day; a person who knows more retries the account.
"""
CAUSES: Final = {STRANGERS: "PeerFlood", WRITES: "AccountFrozen"}
"""What incidents call the cause."""
MEANINGS: Final = {
    ACCOUNT: "limited by Telegram; it stays connected and its work is held",
    STRANGERS: "limited by Telegram: it may not write to people who do not know it; all other work goes on",
    WRITES: "frozen by Telegram: it may only read; whatever writes is held",
}
"""What a limit means for an account, after its name."""
MAX_APPEAL: Final = 256
_APPEAL: Final = re.compile(r"https://t\.me/[A-Za-z0-9_/?=&.+-]+")


def is_appeal(text: str) -> bool:
    """Return whether a text is an address at which one can appeal: of Telegram's own, and short."""
    return len(text) <= MAX_APPEAL and _APPEAL.fullmatch(text) is not None


def advice_for(limit: str, deletion: float | None = None, appeal: str = "") -> str | None:
    """Return what a person should do about a limit; None if it is that of the whole account."""
    if limit == STRANGERS:
        return "ask @SpamBot, with that account, when the limit ends, and retry it then; what is held goes on by itself"
    if limit != WRITES:
        return None
    where = f"at {appeal}" if is_appeal(appeal) else "in an official app, or with @SpamBot"
    date = None if deletion is None else _date(deletion)
    end = "" if date is None else f" before {date}, when it will be deleted"
    return f"appeal {where}{end}; retry it when the appeal was granted"


def _date(at: float) -> str | None:
    try:
        return datetime.fromtimestamp(at, UTC).date().isoformat()
    except (OverflowError, OSError, ValueError):
        return None
