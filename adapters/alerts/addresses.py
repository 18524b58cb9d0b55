"""Which addresses Apprise can use, and the services that they mean.

Apprise and its services are imported when the first address is looked at, which takes most of a second. What Apprise
logs may quote an address, which has secrets in it: none of it reaches the program's log.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

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
_heard: dict[int, list[str]] = {}
"""What was said in threads that listen, by their identity."""


class _Ear(logging.Filter):
    """Lets no record of a thread that listens pass, and keeps the warnings."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for what may have a secret in it."""
        said = _heard.get(threading.get_ident())
        if said is None:
            return True  # another part of the program uses the same library
        if record.levelno >= logging.WARNING and len(said) < 20:
            said.append(record.getMessage())
        return False


_EAR: Final = _Ear()


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collect the warnings of Apprise in this thread for the block; they may have secrets in them."""
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_EAR)  # which adds it once
    said: list[str] = []
    _heard[threading.get_ident()] = said
    try:
        yield said
    finally:
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
