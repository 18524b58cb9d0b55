"""What can be made to hurt: the kinds of faults, what each of them needs to be told, and where it acts.

A fault acts at one point of a connection's life. The server asks the switchboard at each of those points; it
never looks for a fault itself. A new fault is a new kind, a row in `TRAITS` and, if its point is new, one question.
"""

from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

import attrs

from adapters.sandbox import tl
from adapters.sandbox.errors import SandboxError
from adapters.sandbox.phones import normalise

LONGEST_FAULT_SECONDS: Final = 24 * 3600.0
LONGEST_DELAY_SECONDS: Final = 3600.0
LARGEST_OFFSET_SECONDS: Final = 24 * 3600.0
MOST_TIMES: Final = 10_000
LONGEST_TEXT: Final = 128
TRANSPORT_CODES: Final = (-404, -429, -444)
BAD_MESSAGE_CODES: Final = (16, 17, 18, 19, 20, 32, 33, 34, 35, 48, 64)
LARGEST_RPC_CODE: Final = 999


class FaultKind(StrEnum):
    """The faults, named as in a command."""

    RESET = "reset"
    """The connection ends with RST: the client reads ConnectionResetError."""
    CLOSE = "close"
    """The connection ends with FIN: the client reads the end of the stream."""
    BLACKHOLE = "blackhole"
    """Packets are read and thrown away, nothing is sent: a half-open link. It works again when the fault ends."""
    REFUSE = "refuse"
    """Nothing listens: connecting fails with ECONNREFUSED. Connections that exist stay."""
    SYN_DROP = "syn_drop"
    """Connecting hangs: its first packet is dropped. Connections that exist stay."""
    ACCEPT_THEN_CLOSE = "accept_then_close"
    """Connecting works and the connection is closed at once: a dead backend behind a proxy. Existing ones stay."""
    SLOW = "slow"
    """Requests are performed at once and answered `seconds` later."""
    RPC_ERROR = "rpc_error"
    """Requests are not performed and answered with the error `code` and `text`."""
    RESET_BEFORE = "reset_before"
    """RST in place of performing a request."""
    RESET_AFTER = "reset_after"
    """RST in place of the answer to a request that was performed."""
    TRANSPORT_ERROR = "transport_error"
    """The four bytes of `code` in place of a packet, then FIN; on connections that exist and on new ones."""
    GARBAGE = "garbage"
    """Bytes that are no MTProto, then nothing more: the connection stays open and dead."""
    REVOKE = "revoke"
    """401 `text` to each request that needs the login; the connection stays, and no updates come."""
    DUPLICATE = "duplicate"
    """406 AUTH_KEY_DUPLICATED to each request."""
    FORGET_KEY = "forget_key"
    """The keys that are logged in are unknown: -404, then FIN; on connections that exist and on new ones."""
    BAD_SALT = "bad_salt"
    """A packet is answered with bad_server_salt and another salt, which is refused again while the fault stands."""
    BAD_MSG = "bad_msg"
    """Requests are not performed and answered with bad_msg_notification `code`."""
    CLOCK_OFFSET = "clock_offset"
    """The ids of the messages that are sent lie `seconds` ahead (or, negative, behind)."""
    WRONG_MSG_KEY = "wrong_msg_key"
    """What is sent is encrypted in such a way that its msg_key does not match."""
    LOST_UPDATE = "lost_update"
    """Updates are not pushed: they are only in updates.getDifference, afterwards."""
    TOO_LONG = "too_long"
    """updates.getDifference answers differenceTooLong, so what was missed is lost."""


class Point(StrEnum):
    """Where in a connection's life a fault acts."""

    LISTEN = "listen"
    """The listening socket is taken away, or its queue is full."""
    ACCEPT = "accept"
    """A new connection, before its first byte; on a port shared by all, when its account becomes known."""
    PACKET = "packet"
    """A packet that arrives or is about to be sent."""
    KEY = "key"
    """A packet whose key is logged in."""
    SALT = "salt"
    """A packet that was decrypted, before its messages are looked at."""
    MESSAGE = "message"
    """A request inside a packet, before it is taken on."""
    REQUEST = "request"
    """A request, before it is performed."""
    LOGIN = "login"
    """A request that needs the login, before it is performed."""
    ANSWER = "answer"
    """A request that was performed, before its answer is sent."""
    UPDATE = "update"
    """An update that nobody asked for, before it is sent."""
    CLOCK = "clock"
    """The clock is read for the id of a message that is sent."""
    SEAL = "seal"
    """A message that is sent, when it is encrypted."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


@attrs.frozen
class Trait:
    """What is true of all faults of a kind: where it acts, and which keys it needs or knows besides the common ones."""

    point: Point
    needs: frozenset[str] = attrs.field(default="", converter=_words)
    knows: frozenset[str] = attrs.field(default="", converter=_words)
    once: bool = False
    """Over after it acted once, unless `times` or a duration is given; the others stand until they are cleared."""

    @property
    def keys(self) -> frozenset[str]:
        return self.needs | self.knows


TRAITS: Final[Mapping[FaultKind, Trait]] = {
    FaultKind.RESET: Trait(Point.PACKET, knows="times", once=True),
    FaultKind.CLOSE: Trait(Point.PACKET, knows="times", once=True),
    FaultKind.BLACKHOLE: Trait(Point.PACKET, knows="times"),
    # The kernel refuses and drops on its own; nobody can count how often.
    FaultKind.REFUSE: Trait(Point.LISTEN),
    FaultKind.SYN_DROP: Trait(Point.LISTEN),
    FaultKind.ACCEPT_THEN_CLOSE: Trait(Point.ACCEPT, knows="times"),
    FaultKind.SLOW: Trait(Point.ANSWER, needs="seconds", knows="times request"),
    FaultKind.RPC_ERROR: Trait(Point.REQUEST, needs="code text", knows="times request", once=True),
    FaultKind.RESET_BEFORE: Trait(Point.REQUEST, knows="times request", once=True),
    FaultKind.RESET_AFTER: Trait(Point.ANSWER, knows="times request", once=True),
    FaultKind.TRANSPORT_ERROR: Trait(Point.PACKET, needs="code", knows="times"),
    FaultKind.GARBAGE: Trait(Point.PACKET, knows="times", once=True),
    FaultKind.REVOKE: Trait(Point.LOGIN, knows="times text"),
    FaultKind.DUPLICATE: Trait(Point.REQUEST, knows="times"),
    FaultKind.FORGET_KEY: Trait(Point.KEY, knows="times"),
    FaultKind.BAD_SALT: Trait(Point.SALT, knows="times", once=True),
    FaultKind.BAD_MSG: Trait(Point.MESSAGE, needs="code", knows="times request", once=True),
    FaultKind.CLOCK_OFFSET: Trait(Point.CLOCK, needs="seconds", knows="times"),
    FaultKind.WRONG_MSG_KEY: Trait(Point.SEAL, knows="times"),
    FaultKind.LOST_UPDATE: Trait(Point.UPDATE, knows="times"),
    FaultKind.TOO_LONG: Trait(Point.REQUEST, knows="times"),
}
# These strike the connections that exist at the moment of injection. Without `times` and a duration that is all
# that `reset`, `close` and `garbage` do, to every connection that they concern.
STRIKE_AT_ONCE: Final = frozenset(
    {FaultKind.RESET, FaultKind.CLOSE, FaultKind.GARBAGE, FaultKind.TRANSPORT_ERROR, FaultKind.FORGET_KEY}
)
MEANT_REQUESTS: Final = {FaultKind.TOO_LONG: "updates.getDifference"}
ANY_REQUEST: Final = "*.*"
"""Every request but those of the message layer (`ping` and its like), whose names have no point."""
EXAMPLES: Final = {"code": "-404 or 420", "text": "FLOOD_WAIT_30", "seconds": "2"}
OPTION_KEYS: Final = ("times", "request", "code", "text", "seconds")


def _account(value: str | None) -> str | None:
    return None if value is None else normalise(value)


@attrs.frozen
class Fault:
    """One fault: what happens, to whom, how often, for how long.

    It is over when its time is over or it has acted often enough, whatever comes first. Raises SandboxError, with a
    sentence, for a value out of range, a key that the kind does not know and one that it needs.
    """

    kind: FaultKind = attrs.field(converter=FaultKind)
    account: str | None = attrs.field(default=None, converter=_account)
    """The phone number of the account, or None for all of them."""
    duration: float | None = None
    """Seconds; None means once for a kind that is over in a moment (see `Trait.once`), for the others until cleared."""
    times: int | None = None
    """After how many acts it is over, in all, whoever was hurt: connections, packets, messages or requests."""
    request: str | None = None
    """Which requests, as a pattern of method names (`updates.getState`, `messages.*`); None means any, but not the
    message layer's own: pings are hurt only by a pattern that matches them, such as `ping*`."""
    code: int | None = None
    text: str | None = None
    seconds: float | None = None

    def __attrs_post_init__(self) -> None:
        if self.duration is not None and not 0 < self.duration <= LONGEST_FAULT_SECONDS:
            raise SandboxError(
                f"A fault lasts more than 0 and at most {LONGEST_FAULT_SECONDS:.0f} s, not {self.duration} s; "
                "leave the time out for a fault that lasts until it is cleared."
            )
        self._check_keys()
        if self.times is not None and not 1 <= self.times <= MOST_TIMES:
            raise SandboxError(f"A fault acts 1 to {MOST_TIMES} times, not {self.times}; leave 'times' out for no end.")
        if self.code is not None:
            self._check_code(self.code)
        if self.text is not None and not (0 < len(self.text) <= LONGEST_TEXT and self.text.isprintable()):
            raise SandboxError(f"'text' has 1 to {LONGEST_TEXT} printable characters, such as FLOOD_WAIT_30.")
        if self.seconds is not None:
            self._check_seconds(self.seconds)
        if self.request is not None and not any(_matches(name, self.request) for name in tl.method_names()):
            raise SandboxError(
                f"No request is called {self.request!r}; write one such as updates.getState, or a pattern: messages.*."
            )

    def _check_keys(self) -> None:
        trait = TRAITS[self.kind]
        given = {key for key in OPTION_KEYS if getattr(self, key) is not None}
        if unknown := sorted(given - trait.keys):
            raise SandboxError(f"'{self.kind}' has no {' and no '.join(unknown)}; leave it out.")
        if missing := sorted(trait.needs - given):
            examples = ", ".join(f"{key} {EXAMPLES[key]}" for key in missing)
            raise SandboxError(f"'{self.kind}' needs {' and '.join(missing)}; add it, such as {examples}.")

    def _check_code(self, code: int) -> None:
        known = {FaultKind.TRANSPORT_ERROR: TRANSPORT_CODES, FaultKind.BAD_MSG: BAD_MESSAGE_CODES}.get(self.kind)
        if known is not None and code not in known:
            raise SandboxError(f"'{self.kind}' has one of the codes {', '.join(map(str, known))}, not {code}.")
        if code == 0 or abs(code) > LARGEST_RPC_CODE:
            raise SandboxError(f"An error's code is a number such as 420, 500 or -503, not {code}.")

    def _check_seconds(self, seconds: float) -> None:
        if self.kind is FaultKind.SLOW and not 0 < seconds <= LONGEST_DELAY_SECONDS:
            raise SandboxError(f"A delay is more than 0 and at most {LONGEST_DELAY_SECONDS:.0f} s, not {seconds} s.")
        if not 0 < abs(seconds) <= LARGEST_OFFSET_SECONDS:
            raise SandboxError(
                f"A clock is at most {LARGEST_OFFSET_SECONDS:.0f} s ahead, or behind with a minus, not {seconds} s."
            )

    @property
    def limit(self) -> int | None:
        """After how many acts it is over; None when only time or a command ends it."""
        once = TRAITS[self.kind].once and self.duration is None
        return 1 if self.times is None and once else self.times

    @property
    def stands(self) -> bool:
        """Whether it goes on after the moment of injection."""
        return self.kind not in (FaultKind.RESET, FaultKind.CLOSE, FaultKind.GARBAGE) or not (
            self.times is None and self.duration is None
        )

    def concerns(self, account: str | None) -> bool:
        """Whether it hurts this account; an account not yet known is hurt only by what hurts all."""
        return self.account is None or self.account == account

    def means(self, request: str | None) -> bool:
        """Whether it hurts a request of this name; None asks at a point where there is no request."""
        return request is None or _matches(request, self.request or MEANT_REQUESTS.get(self.kind, ANY_REQUEST))

    def __str__(self) -> str:
        """For a log line: only what was said."""
        said = attrs.asdict(self, filter=lambda _, value: value is not None)
        return ", ".join(f"{key} {value}" for key, value in said.items())


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name.lower(), pattern.lower())
