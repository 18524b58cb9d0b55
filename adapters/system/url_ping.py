"""A request that only says that this program lives. It blocks, so it is for a thread."""

import http.client
import socket
import ssl
import urllib.error
import urllib.request
from typing import Final

_MAX_ANSWER: Final = 1024
"""Bytes of an answer that are read, so that it counts as fetched."""
_AGENT: Final = "holdfast"


class PingFailed(Exception):
    """The URL did not answer as it should. The text says why in a few words, and never quotes the URL."""


def ping(url: str, timeout: float) -> None:
    """Fetch a URL, each step of it within ``timeout`` seconds. Raises ``PingFailed``."""
    request = urllib.request.Request(url, headers={"User-Agent": _AGENT})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            answer.read(_MAX_ANSWER)
    except urllib.error.HTTPError as exc:
        with exc:
            raise PingFailed(f"the answer was {exc.code}") from None
    except urllib.error.URLError as exc:
        raise PingFailed(_why(exc.reason)) from None
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise PingFailed(_why(exc)) from None


def _why(exc: object) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, ssl.SSLError):
        return f"TLS failed: {exc.reason or type(exc).__name__}".lower()
    if isinstance(exc, socket.gaierror):
        return "the name of the host is not known"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror.lower()
    return "the answer is not HTTP" if isinstance(exc, http.client.HTTPException) else type(exc).__name__
