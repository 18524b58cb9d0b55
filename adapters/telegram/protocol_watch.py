"""What Telethon only logs: broken messages that it ignores, and requests that it resends for ever.

A message whose key, session or time is wrong is dropped with a log line, and whoever waits for it waits for ever. A
salt or a number that is refused is mended and the request sent again, thousands of times a second if the server refuses
for ever. ``ProtocolWatch`` hears of both for one client: the first ends its connection by an error, because nobody else
would ever tell what was lost; the second does when it does not stop.
"""

import time
from typing import Any

from attrs import define, field
from telethon.errors import SecurityError
from telethon.tl.types import BadMsgNotification, BadServerSalt

MAX_REFUSED = 4
"""So many times in a row may something be refused that was sent after the last correction."""
CORRECTED = frozenset({16, 17, 32, 33})
"""Codes of bad_msg_notification after which Telethon corrects itself and sends the request again."""


class ProtocolStuck(Exception):
    """The datacenter goes on breaking the protocol, or says that we do."""


@define(eq=False)
class _LoggerTap:
    """Stands before the logger of Telethon's message layer: nothing else says that a message's time was impossible."""

    _logger: Any
    _watch: "ProtocolWatch"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._logger, name)

    def warning(self, text: str, *args: Any) -> None:
        """Pass a warning on, and tell of an impossible time; a message that comes twice is no trouble."""
        self._logger.warning(text, *args)
        if args and ("very old" in text or "very new" in text):
            self._watch.misdated(int(args[0]))


@define(eq=False)
class ProtocolWatch:
    """Watches what the sender of one client decrypts."""

    _state: Any
    _decrypt: Any = field(init=False)
    _refused: int = 0
    _sent_before: int = 0
    """Number of the last message that was sent before the correction that was counted last."""

    def __attrs_post_init__(self) -> None:
        self._decrypt = self._state.decrypt_message_data
        self._state.decrypt_message_data = self._look
        self._state._log = _LoggerTap(self._state._log, self)

    def misdated(self, msg_id: int) -> None:
        """Hear of a message that was ignored because of its time. Raises ``ProtocolStuck``."""
        ahead = (msg_id >> 32) - (time.time() + self._state.time_offset)
        where = "ahead of" if ahead > 0 else "behind"
        raise ProtocolStuck(
            f"the datacenter's clock is {abs(ahead):.0f} s {where} this machine's; see that the time here is right"
        )

    def _look(self, body: bytes) -> Any:
        """Decrypt, and keep count. Raises ``ProtocolStuck`` besides what Telethon raises."""
        try:
            message = self._decrypt(body)
        except SecurityError as exc:
            raise ProtocolStuck(f"a message breaks the encryption: {exc}") from exc
        if message is None:
            return None
        match message.obj:
            case BadServerSalt(bad_msg_id=refused):
                self._count_refused(refused, "the salt that it gave itself")
            case BadMsgNotification(bad_msg_id=refused, error_code=code) if code in CORRECTED:
                self._count_refused(refused, f"our message numbers (code {code})")
            case _:
                self._refused = 0
        return message

    def _count_refused(self, msg_id: int, what: str) -> None:
        # All that was under way at a correction is refused, too; only what was sent after it counts as another time.
        if msg_id <= self._sent_before:
            return
        self._refused += 1
        self._sent_before = self._state._last_msg_id or 0
        if self._refused >= MAX_REFUSED:
            raise ProtocolStuck(f"the datacenter refuses {what} again and again")
