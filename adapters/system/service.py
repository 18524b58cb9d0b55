"""The service manager: tells systemd, by its own protocol, that the program is ready, lives, and ends.

The protocol is one datagram per message to the Unix socket that ``NOTIFY_SOCKET`` names (sd_notify(3)). A name that
begins with ``@`` is in Linux's abstract namespace.
"""

import os
import socket
import time
from collections.abc import Mapping
from typing import Final, Self

from attrs import frozen

_MAX_STATUS: Final = 500
"""Characters of a status: a message must fit into one datagram."""


@frozen
class ServiceManager:
    """The service manager that started this process. No call waits, and none raises: a lost message does no harm."""

    address: str
    """The name of its socket."""
    watchdog: float | None = None
    """Seconds after which it takes the process for dead if it has heard nothing; None if it does not watch."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self | None:
        """Return the service manager that the environment names; None if there is none, or none that is understood."""
        address = environment.get("NOTIFY_SOCKET", "")
        if address[:1] not in ("/", "@") or len(address) < 2:
            return None
        return cls(address, _watchdog(environment))

    def ready(self) -> bool:
        """Tell that the program has started."""
        return self._send("READY=1")

    def reloading(self) -> bool:
        """Tell that the program reads its config again; ``ready`` tells that it has done so."""
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> bool:
        """Tell that the program ends."""
        return self._send("STOPPING=1")

    def alive(self) -> bool:
        """Tell that the program lives."""
        return self._send("WATCHDOG=1")

    def status(self, text: str) -> bool:
        """Tell what ``systemctl status`` shows, in one line."""
        return self._send(f"STATUS={' '.join(text.split())[:_MAX_STATUS]}")

    def _send(self, message: str) -> bool:
        """Send a message; return whether it could be sent."""
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.connect(address)
                sender.send(message.encode("utf-8", "replace"))
        except (OSError, ValueError):  # nobody listens, its queue is full, or the name is too long
            return False
        return True


def _watchdog(environment: Mapping[str, str]) -> float | None:
    """Return the watchdog's time if it is meant for this process: a parent may have left its own."""
    process, microseconds = environment.get("WATCHDOG_PID", ""), environment.get("WATCHDOG_USEC", "")
    if process and process != str(os.getpid()):
        return None
    if not microseconds.isascii() or not microseconds.isdigit() or len(microseconds) > 18:
        return None
    return int(microseconds) / 1e6 or None
