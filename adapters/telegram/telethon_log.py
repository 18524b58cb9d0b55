"""What Telethon logs by itself: one logger for all its modules, which a repetitive datacenter does not flood."""

import logging
import time
from typing import Final, Self

TELETHON_LOGGER: Final = logging.getLogger("holdfast.telethon")
LINES_PER_MINUTE: Final = 10
MINUTE = 60.0
MAX_KINDS_OF_LINES: Final = 256


class OneLogger(logging.Logger):
    """One logger for all of Telethon's modules, which want a dozen of them for each account.

    Of lines that differ in their numbers only, ``LINES_PER_MINUTE`` are written: a datacenter that sends the same
    nonsense ten thousand times a second would otherwise push everything else out of the log.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.parent = TELETHON_LOGGER
        self._said: dict[str, tuple[float, int]] = {}
        """When the present minute of each kind of line began, and how many there were."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is written."""
        if record.levelno <= logging.DEBUG:
            return bool(super().filter(record))
        now, text = time.monotonic(), str(record.msg)
        if len(self._said) > MAX_KINDS_OF_LINES:
            self._said.clear()
        began, count = self._said.get(text, (now, 0))
        if now - began >= MINUTE:
            if count > LINES_PER_MINUTE:
                record.msg = f"{text} ({count - LINES_PER_MINUTE:,} more such lines were left out)"
            began, count = now, 0
        self._said[text] = (began, count + 1)
        return count < LINES_PER_MINUTE and bool(super().filter(record))

    def __getitem__(self, name: str) -> Self:
        """Return itself: it is the table of loggers that Telethon makes for each client, too."""
        return self

    def getChild(self, suffix: str) -> Self:
        """Return itself."""
        return self
