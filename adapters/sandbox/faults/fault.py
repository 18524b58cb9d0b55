"""One fault: what happens, to which account, how often and for how long."""

from fnmatch import fnmatchcase
from typing import Final

from attrs import asdict, field, frozen

from adapters.sandbox.errors import SandboxError
from adapters.sandbox.faults.kinds import (
    FAULT_RULES,
    MAX_CODE,
    MAX_DELAY_SECONDS,
    MAX_FAULT_SECONDS,
    MAX_OFFSET_SECONDS,
    MAX_TEXT,
    MAX_TIMES,
    OPTION_KEYS,
    FaultKind,
)
from adapters.sandbox.mtproto import tl
from adapters.sandbox.phones import normalise

# These act at once on the connections that exist. Without ``times`` and a duration that is all that ``reset``,
# ``close`` and ``garbage`` do, to every connection that they apply to.
IMMEDIATE_KINDS: Final = frozenset(
    {FaultKind.RESET, FaultKind.CLOSE, FaultKind.GARBAGE, FaultKind.TRANSPORT_ERROR, FaultKind.FORGET_KEY}
)
DEFAULT_REQUESTS: Final = {
    FaultKind.TOO_LONG: "updates.getDifference",
    FaultKind.LOST_DIFFERENCE: "updates.get*Difference",
}
ANY_REQUEST: Final = "*.*"
"""Every request but those of the message layer (``ping`` and its like), whose names have no point."""
EXAMPLES: Final = {"code": "-404 or 420", "text": "FLOOD_WAIT_30", "seconds": "2"}


def _account(value: str | None) -> str | None:
    return None if value is None else normalise(value)


def _username(value: str | None) -> str | None:
    return None if value is None else value.removeprefix("@").lower()


@frozen
class Fault:
    """One fault, checked.

    It is over when its time is over or it has acted often enough, whichever comes first. Raises SandboxError, with a
    sentence, for a value out of range, for a key that the kind does not know and for a missing one.
    """

    kind: FaultKind = field(converter=FaultKind)
    account: str | None = field(default=None, converter=_account)
    """The phone number of the account; None means all accounts."""
    duration: float | None = None
    """Seconds. None means once for a momentary kind (see ``FaultRule.once``), until cleared for the others."""
    times: int | None = None
    """After how many acts it is over, over all accounts: connections, packets, messages or requests."""
    request: str | None = None
    """Which requests, as a pattern of method names (``updates.getState``, ``messages.*``). None means any but those
    of the message layer: pings are hit only by a pattern that matches them, such as ``ping*``."""
    code: int | None = None
    text: str | None = None
    seconds: float | None = None
    channel: str | None = field(default=None, converter=_username)
    """The username of the channel whose updates are hit; None means all updates."""

    def __attrs_post_init__(self) -> None:
        if self.duration is not None and not 0 < self.duration <= MAX_FAULT_SECONDS:
            raise SandboxError(
                f"A fault lasts more than 0 and at most {MAX_FAULT_SECONDS:.0f} s, not {self.duration} s; "
                "leave the time out for a fault that lasts until it is cleared."
            )
        self._check_keys()
        if self.times is not None and not 1 <= self.times <= MAX_TIMES:
            raise SandboxError(f"A fault acts 1 to {MAX_TIMES} times, not {self.times}; leave 'times' out for no end.")
        if self.code is not None:
            self._check_code(self.code)
        if self.text is not None and not (0 < len(self.text) <= MAX_TEXT and self.text.isprintable()):
            raise SandboxError(f"'text' has 1 to {MAX_TEXT} printable characters, such as FLOOD_WAIT_30.")
        if (texts := FAULT_RULES[self.kind].texts) and self.text not in texts:
            raise SandboxError(f"'{self.kind}' has one of the texts {', '.join(texts)}.")
        if self.seconds is not None:
            self._check_seconds(self.seconds)
        if self.request is not None and len(self.request) > MAX_TEXT:
            raise SandboxError(f"'request' has at most {MAX_TEXT} characters, such as messages.*.")
        if self.channel is not None and not (0 < len(self.channel) <= MAX_TEXT and self.channel.isprintable()):
            raise SandboxError(f"'channel' is the username of a channel, of at most {MAX_TEXT} characters.")
        known = FAULT_RULES[self.kind].requests or tl.method_names()
        if self.request is not None and not any(_matches(name, self.request) for name in known):
            if named := FAULT_RULES[self.kind].requests:
                raise SandboxError(f"'{self.kind}' hits {' or '.join(named)}, and not {self.request!r}.")
            raise SandboxError(
                f"No request is called {self.request!r}; write one such as updates.getState, or a pattern: messages.*."
            )

    def _check_keys(self) -> None:
        rule = FAULT_RULES[self.kind]
        given = {key for key in OPTION_KEYS if getattr(self, key) is not None}
        if unknown := sorted(given - {*rule.keys}):
            raise SandboxError(f"'{self.kind}' has no {' and no '.join(unknown)}; leave it out.")
        if missing := sorted({*rule.required} - given):
            examples = ", ".join(f"{key} {EXAMPLES[key]}" for key in missing)
            raise SandboxError(f"'{self.kind}' needs {' and '.join(missing)}; add it, such as {examples}.")

    def _check_code(self, code: int) -> None:
        known = FAULT_RULES[self.kind].codes
        if known and code not in known:
            raise SandboxError(f"'{self.kind}' has one of the codes {', '.join(map(str, known))}, not {code}.")
        if code == 0 or abs(code) > MAX_CODE:
            raise SandboxError(f"An error's code is a number such as 420, 500 or -503, not {code}.")

    def _check_seconds(self, seconds: float) -> None:
        if self.kind is FaultKind.SLOW and not 0 < seconds <= MAX_DELAY_SECONDS:
            raise SandboxError(f"A delay is more than 0 and at most {MAX_DELAY_SECONDS:.0f} s, not {seconds} s.")
        if not 0 < abs(seconds) <= MAX_OFFSET_SECONDS:
            raise SandboxError(
                f"A clock is at most {MAX_OFFSET_SECONDS:.0f} s ahead, or behind with a minus, not {seconds} s."
            )

    @property
    def max_acts(self) -> int | None:
        """Return after how many acts it is over; None when only time or a command ends it."""
        once = FAULT_RULES[self.kind].once and self.duration is None
        return 1 if self.times is None and once else self.times

    @property
    def persists(self) -> bool:
        """Return whether it goes on after the moment of injection."""
        return self.kind not in (FaultKind.RESET, FaultKind.CLOSE, FaultKind.GARBAGE) or not (
            self.times is None and self.duration is None
        )

    def matches_account(self, account: str | None) -> bool:
        """Return whether it hits this account; one that is still unknown is hit only by a fault for all accounts."""
        return self.account is None or self.account == account

    def matches_channel(self, channel: str | None) -> bool:
        """Return whether it hits an update of the channel with this username; None stands for no channel."""
        return self.channel is None or (channel is not None and self.channel == channel.lower())

    def matches_request(self, request: str | None) -> bool:
        """Return whether it hits a request of this name; None stands for a point without a request."""
        if request is not None and (known := FAULT_RULES[self.kind].requests) and request not in known:
            return False
        return request is None or _matches(request, self.request or DEFAULT_REQUESTS.get(self.kind, ANY_REQUEST))

    def __str__(self) -> str:
        """Return the keys that were given, for a log line."""
        given = asdict(self, filter=lambda _, value: value is not None)
        return ", ".join(f"{key} {value}" for key, value in given.items())


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name.lower(), pattern.lower())
