"""What is raised where an alert could not be sent."""

from collections.abc import Iterable
from typing import Final

from adapters.redaction import HIDDEN, redacted

MAX_REASON: Final = 300
_SHORTEST: Final = 4
"""Letters of a part of an address that is hidden wherever it stands: shorter ones are words such as ``api``."""


class AlertNotSent(Exception):
    """A message did not leave this machine, as far as is known. The text says why, without a secret."""


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return a text that others wrote without these parts of an address or a command, and without known secrets."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, HIDDEN)
    text = redacted(" ".join(text.split()))
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}…"
