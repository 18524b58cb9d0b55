"""Which addresses Apprise can use, and the services that they mean.

Apprise and its services are imported when the first address is looked at, which takes most of a second. What Apprise
logs may quote an address, which has secrets in it: none of it reaches the program's log.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

if TYPE_CHECKING:
    from apprise.plugins.base import NotifyBase

UNKNOWN: Final = "it knows no such service"
DISABLED: Final = "the service needs another package or program on this machine"
WRONG: Final = "a part of it is missing or wrong"
_TALKATIVE: Final = (
    "apprise",
    "urllib3.connectionpool",
    "requests_oauthlib.oauth1_auth",
    "requests_oauthlib.oauth2_session",
)
"""Loggers that quote addresses, the last three at the level debug."""

_loading = threading.Lock()
"""Apprise's table of services is filled when it is first looked at, and from one thread."""
_heard: dict[int, "Heard"] = {}
"""What was said in threads that listen, by their identity."""
_REASONS: Final = (
    ("refused", "connection refused"),
    ("resol", "the name of the host is not known"),
    ("name or service not known", "the name of the host is not known"),
    ("getaddrinfo", "the name of the host is not known"),
    ("certificate", "its certificate is not valid"),
    ("ssl", "no TLS connection could be made"),
    ("badstatusline", "what answers there speaks no HTTP"),
    ("timed out", "no answer in time"),
    ("unreachable", "the network cannot be reached"),
    ("no route", "the network cannot be reached"),
    ("reset by peer", "the other side closed the connection"),
    ("closed connection", "the other side closed the connection"),
    ("unexpectedly closed", "the other side closed the connection"),
)
"""Parts of the text of an exception, and what they mean: the text itself quotes the address."""


@define
class Heard:
    """What Apprise said in a thread."""

    warnings: list[str] = field(factory=list)
    """They may have secrets in them."""
    reason: str = ""
    """Why there was no connection, in words of our own."""


class _Ear(logging.Filter):
    """Lets no record of a thread that listens pass, and keeps the warnings and the reason of a lost connection."""

    listeners = 0
    usual = logging.NOTSET
    """The level of Apprise's logger while nobody listens."""
    least = logging.NOTSET
    """The level from which on its records are wanted then."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for what may have a secret in it."""
        said = _heard.get(threading.get_ident())
        if said is None:  # another part of the program uses the same library
            return record.name != _TALKATIVE[0] or record.levelno >= self.least
        if record.levelno >= logging.WARNING:
            if len(said.warnings) < 20:
                said.warnings.append(record.getMessage())
        elif "xception" in (text := record.getMessage()[:2_000]):
            said.reason = next((meaning for part, meaning in _REASONS if part in text.lower()), said.reason)
        return False

    def begin(self) -> None:
        """Have Apprise say at the level debug why there was no connection."""
        logger = logging.getLogger(_TALKATIVE[0])
        with _levels:
            self.listeners += 1
            if self.listeners == 1:
                self.usual, self.least = logger.level, logger.getEffectiveLevel()
                logger.setLevel(logging.DEBUG)

    def end(self) -> None:
        """Put the level back when nobody listens any more."""
        with _levels:
            self.listeners -= 1
            if not self.listeners:
                self.least = logging.NOTSET
                logging.getLogger(_TALKATIVE[0]).setLevel(self.usual)


_levels = threading.Lock()
_EAR: Final = _Ear()


@contextmanager
def listening() -> Iterator[Heard]:
    """Collect what Apprise says in this thread for the block; its warnings may have secrets in them."""
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_EAR)  # which adds it once
    said = _heard[threading.get_ident()] = Heard()
    _EAR.begin()
    try:
        yield said
    finally:
        _EAR.end()
        del _heard[threading.get_ident()]


def refusal(address: str) -> str | None:
    """Return why Apprise cannot use an address, in words that show nothing of it; None if it can. Sends nothing."""
    with _loading, listening():
        if _open(address) is not None:
            return None
        from apprise.manager_plugins import NotificationManager  # noqa: PLC0415 - see above

        services: Any = NotificationManager()  # type: ignore[no-untyped-call]  # the library has no types here
        scheme = address.partition("://")[0].lower()
        if scheme not in services:
            return UNKNOWN
        return WRONG if services[scheme].enabled else DISABLED


def service(address: str) -> "NotifyBase | None":
    """Return the service that an address means; None if Apprise cannot use it."""
    with _loading:
        return _open(address)


def _open(address: str) -> "NotifyBase | None":
    import apprise  # noqa: PLC0415 - see above

    asset = apprise.AppriseAsset(
        app_id="Holdfast", app_desc="Holdfast", app_url="", storage_mode="memory", secure_logging=True
    )
    return apprise.Apprise.instantiate(address, asset=asset)
