"""The kinds of faults and the rules for each, as plain data: the sandbox and the config both read them here.

A fault acts at one point of a connection's life. A new fault is a new kind, a row in ``FAULT_RULES`` and, if its
point is new, one question that the server asks there. This module imports nothing of ours, so that the config can
read it without Telethon.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from attrs import frozen

MAX_TIMES: Final = 10_000
MAX_TEXT: Final = 128
"""Characters of an error's text."""
MAX_CODE: Final = 999
"""Of an error of a request, without its sign."""
MAX_FAULT_SECONDS: Final = 24 * 3600.0
MAX_DELAY_SECONDS: Final = 3600.0
MAX_OFFSET_SECONDS: Final = 24 * 3600.0
WRONG_PTS_BY: Final = 1000
"""By how much too high the number of a pushed update is."""


class FaultKind(StrEnum):
    """The faults, named as in a command."""

    RESET = "reset"
    """The connection ends with RST: the client reads ConnectionResetError."""
    CLOSE = "close"
    """The connection ends with FIN: the client reads the end of the stream."""
    BLACKHOLE = "blackhole"
    """Packets are read and thrown away, nothing is sent: a half-open link. It works again when the fault ends."""
    REFUSE = "refuse"
    """The port does not listen: connecting fails with ECONNREFUSED. Existing connections stay."""
    SYN_DROP = "syn_drop"
    """Connecting hangs because its first packet is dropped. Existing connections stay."""
    ACCEPT_THEN_CLOSE = "accept_then_close"
    """A new connection is closed at once, like a dead backend behind a proxy. Existing connections stay."""
    SLOW = "slow"
    """Requests are performed at once and answered ``seconds`` later."""
    RPC_ERROR = "rpc_error"
    """Requests are answered with the error ``code`` and ``text`` instead of being performed."""
    RESET_BEFORE = "reset_before"
    """RST instead of performing a request."""
    RESET_AFTER = "reset_after"
    """RST instead of the answer to a request that was performed."""
    TRANSPORT_ERROR = "transport_error"
    """The four bytes of ``code`` instead of a packet, then FIN; on existing connections and on new ones."""
    GARBAGE = "garbage"
    """Bytes that are not MTProto, then silence: the connection stays open and dead."""
    REVOKE = "revoke"
    """401 ``text`` to each request that needs the login; the connection stays, and no updates are pushed."""
    DUPLICATE = "duplicate"
    """406 AUTH_KEY_DUPLICATED to each request."""
    FORGET_KEY = "forget_key"
    """The keys that are logged in are unknown: -404, then FIN; on existing connections and on new ones."""
    BAD_SALT = "bad_salt"
    """A packet is answered with bad_server_salt and a new salt, which is refused again while the fault is active."""
    BAD_MSG = "bad_msg"
    """Requests are answered with bad_msg_notification ``code`` instead of being performed."""
    CLOCK_OFFSET = "clock_offset"
    """The ids of outgoing messages are ``seconds`` ahead, or behind if negative."""
    WRONG_MSG_KEY = "wrong_msg_key"
    """Outgoing messages are encrypted under a msg_key that does not match."""
    LOST_UPDATE = "lost_update"
    """Updates are not pushed: a client finds them only in updates.getDifference, afterwards."""
    LOST_DIFFERENCE = "lost_difference"
    """A difference is answered as empty, though there is something in it."""
    WRONG_PTS = "wrong_pts"
    """Updates are pushed with a number that is ``WRONG_PTS_BY`` too high."""
    UNKNOWN_UPDATE = "unknown_update"
    """Updates are pushed with a constructor that no client knows."""
    TOO_LONG = "too_long"
    """updates.getDifference, or the ``request``, says that there is too much to list: what was missed is lost."""
    HOSTILE = "hostile"
    """A request is answered with what costs its reader far more than its sender; ``text`` says what."""


class FaultPoint(StrEnum):
    """Where in a connection's life a fault acts."""

    LISTEN = "listen"
    """The listening socket is closed, or its queue is full."""
    ACCEPT = "accept"
    """A new connection, before its first byte; on the shared port, when its account becomes known."""
    PACKET = "packet"
    """A packet that arrives or is about to be sent."""
    KEY = "key"
    """A packet whose key is logged in."""
    SALT = "salt"
    """A decrypted packet, before its messages are read."""
    MESSAGE = "message"
    """A request inside a packet, before it is accepted."""
    REQUEST = "request"
    """A request, before it is performed."""
    LOGIN = "login"
    """A request that needs the login, before it is performed."""
    ANSWER = "answer"
    """A request that was performed, before its answer is sent."""
    UPDATE = "update"
    """An update that is pushed, before it is sent."""
    CLOCK = "clock"
    """The clock is read for the id of an outgoing message."""
    SEAL = "seal"
    """An outgoing message, when it is encrypted."""


@frozen
class FaultRule:
    """What is true of all faults of a kind: where it acts, and which keys it requires or allows.

    ``account`` and ``for`` are allowed everywhere and left out here.
    """

    point: FaultPoint
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    once: bool = False
    """Over after it acted once, unless ``times`` or a duration is given; the others last until they are cleared."""
    needs_operator: bool = False
    """An engine does not recover from it by itself: the login is gone, as far as it can tell."""
    codes: tuple[int, ...] = ()
    """The values that ``code`` may have, where only a few exist."""
    texts: tuple[str, ...] = ()
    """The values that ``text`` may have, where only a few exist."""
    requests: tuple[str, ...] = ()
    """The requests that it can hit, where it makes sense for a few only."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the keys that the kind requires or allows."""
        return self.required + self.optional


HOSTILE_TEXTS: Final = (
    "gzip_bomb",  # a few kilobytes that unpack to 64 MiB, as a message
    "gzip_result",  # the same as the answer to the request
    "packed",  # packed in itself, fifty times
    "container",  # a hundred thousand messages
    "nesting",  # objects in objects, five thousand deep
    "entities",  # an update with a million users
    "frame",  # the beginning of a frame of two gigabytes
    "drip",  # a frame of which one byte a second comes
    "differences",  # updates.getDifference without end and without news
)
DIFFERENCES: Final = ("updates.getDifference", "updates.getChannelDifference")
FAULT_RULES: Final[Mapping[FaultKind, FaultRule]] = {
    FaultKind.RESET: FaultRule(FaultPoint.PACKET, optional=("times",), once=True),
    FaultKind.CLOSE: FaultRule(FaultPoint.PACKET, optional=("times",), once=True),
    FaultKind.BLACKHOLE: FaultRule(FaultPoint.PACKET, optional=("times",)),
    # The kernel refuses and drops on its own, so how often it did cannot be counted.
    FaultKind.REFUSE: FaultRule(FaultPoint.LISTEN),
    FaultKind.SYN_DROP: FaultRule(FaultPoint.LISTEN),
    FaultKind.ACCEPT_THEN_CLOSE: FaultRule(FaultPoint.ACCEPT, optional=("times",)),
    FaultKind.SLOW: FaultRule(FaultPoint.ANSWER, required=("seconds",), optional=("times", "request")),
    FaultKind.RPC_ERROR: FaultRule(
        FaultPoint.REQUEST, required=("code", "text"), optional=("times", "request"), once=True
    ),
    FaultKind.RESET_BEFORE: FaultRule(FaultPoint.REQUEST, optional=("times", "request"), once=True),
    FaultKind.RESET_AFTER: FaultRule(FaultPoint.ANSWER, optional=("times", "request"), once=True),
    FaultKind.TRANSPORT_ERROR: FaultRule(
        FaultPoint.PACKET, required=("code",), optional=("times",), codes=(-404, -429, -444)
    ),
    FaultKind.GARBAGE: FaultRule(FaultPoint.PACKET, optional=("times",), once=True),
    FaultKind.REVOKE: FaultRule(FaultPoint.LOGIN, optional=("times", "text"), needs_operator=True),
    FaultKind.DUPLICATE: FaultRule(FaultPoint.REQUEST, optional=("times",), needs_operator=True),
    FaultKind.FORGET_KEY: FaultRule(FaultPoint.KEY, optional=("times",), needs_operator=True),
    FaultKind.BAD_SALT: FaultRule(FaultPoint.SALT, optional=("times",), once=True),
    FaultKind.BAD_MSG: FaultRule(
        FaultPoint.MESSAGE,
        required=("code",),
        optional=("times", "request"),
        once=True,
        codes=(16, 17, 18, 19, 20, 32, 33, 34, 35, 48, 64),
    ),
    FaultKind.CLOCK_OFFSET: FaultRule(FaultPoint.CLOCK, required=("seconds",), optional=("times",)),
    FaultKind.WRONG_MSG_KEY: FaultRule(FaultPoint.SEAL, optional=("times",)),
    FaultKind.LOST_UPDATE: FaultRule(FaultPoint.UPDATE, optional=("times", "channel")),
    FaultKind.LOST_DIFFERENCE: FaultRule(FaultPoint.REQUEST, optional=("times", "request"), requests=DIFFERENCES),
    FaultKind.WRONG_PTS: FaultRule(FaultPoint.UPDATE, optional=("times", "channel")),
    FaultKind.UNKNOWN_UPDATE: FaultRule(FaultPoint.UPDATE, optional=("times", "channel")),
    FaultKind.TOO_LONG: FaultRule(FaultPoint.REQUEST, optional=("times", "request"), requests=DIFFERENCES),
    FaultKind.HOSTILE: FaultRule(
        FaultPoint.REQUEST, required=("text",), optional=("times", "request"), once=True, texts=HOSTILE_TEXTS
    ),
}
OPTION_KEYS: Final = ("times", "request", "code", "text", "seconds", "channel")
"""Every key that some kind requires or allows."""
