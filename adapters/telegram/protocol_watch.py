"""Detects what Telethon only logs: broken messages that it ignores, and requests that it resends for ever.

Telethon drops a message whose key, session or time is wrong with a log line, and its request waits for ever. It
corrects a salt or a message number that is refused and sends the request again, thousands of times a second if the
server goes on refusing. ``ProtocolWatch`` notices both for one client. A broken message ends the connection with an
error, because nothing else would ever report what was lost. A refusal ends it when it does not stop.
"""

import time
from typing import Any

from attrs import define
from telethon.errors import InvalidBufferError, SecurityError
from telethon.tl.core.rpcresult import RpcResult
from telethon.tl.types import BadMsgNotification, BadServerSalt

from adapters.tl_reader import HostileData

MAX_REFUSED = 4
"""Refusals in a row, each of a message that was sent after the last correction, that end the connection."""
CORRECTED = frozenset({16, 17, 32, 33})
"""Codes of bad_msg_notification after which Telethon corrects itself and sends the request again."""

MAX_ERROR_TEXT = 256
"""Characters of an error's text that Telethon gets to read; Telegram's own have less than a hundred."""


def bound_error_text(result: RpcResult) -> None:
    """Cut the text of an error before Telethon reads numbers out of it.

    It makes an integer of any number of digits: beyond 4,300 Python refuses, and the request would never be answered;
    beyond 308 the sum with the time of day overflows. What is left of such a number is still far too great, so
    ``classify`` clamps it.
    """
    if result.error is not None:
        result.error.error_message = result.error.error_message[:MAX_ERROR_TEXT]


class ProtocolStuck(Exception):
    """The datacenter keeps breaking the protocol, or keeps saying that this client does."""


@define(eq=False)
class _LoggerTap:
    """Wraps the logger of Telethon's message layer: only a log line says that the time of a message was impossible."""

    _logger: Any
    _watch: "ProtocolWatch"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._logger, name)

    def warning(self, text: str, *args: Any) -> None:
        """Pass a warning on, and raise for an impossible time; a message that comes twice is harmless."""
        self._logger.warning(text, *args)
        if args and ("very old" in text or "very new" in text):
            self._watch.reject_time(int(args[0]))


class ProtocolWatch:
    """The part of a sender's message layer that watches what is decrypted; Telethon's own comes after it."""

    time_offset: float
    _last_msg_id: int | None
    _logger: Any
    _refused = 0
    _sent_before = 0
    """Number of the last message that was sent before the last correction."""

    @property
    def _log(self) -> Any:
        """Where Telethon's layer writes to."""
        return _LoggerTap(self._logger, self)

    @_log.setter
    def _log(self, logger: Any) -> None:
        self._logger = logger

    def salvage(self, body: bytes, exc: Exception) -> Any:
        """Return what can be read of a packet that Telethon cannot read; here nothing: raise ``exc``."""
        raise exc

    def reject_time(self, msg_id: int) -> None:
        """Raise ``ProtocolStuck`` for a message that Telethon ignored because of its time."""
        ahead = (msg_id >> 32) - (time.time() + self.time_offset)
        where = "ahead of" if ahead > 0 else "behind"
        raise ProtocolStuck(
            f"the datacenter's clock is {abs(ahead):.0f} s {where} this machine's; see that the time here is right"
        )

    def decrypt_message_data(self, body: bytes) -> Any:
        """Decrypt a message, and count refusals. Raises ``ProtocolStuck`` besides what Telethon raises."""
        try:
            message = super().decrypt_message_data(body)  # type: ignore[misc]  # Telethon's
        except SecurityError as exc:
            raise ProtocolStuck(f"a message breaks the encryption: {exc}") from exc
        except (ProtocolStuck, InvalidBufferError, HostileData):
            raise
        except Exception as exc:  # what was decrypted is the datacenter's own, but not what Telethon expects
            message = self.salvage(body, exc)
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
        # All messages under way at a correction are refused, too; only a message that was sent after it counts again.
        if msg_id <= self._sent_before:
            return
        self._refused += 1
        self._sent_before = self._last_msg_id or 0
        if self._refused >= MAX_REFUSED:
            raise ProtocolStuck(f"the datacenter refuses {what} again and again")
