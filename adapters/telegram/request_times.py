"""What is measured of requests: their class, how they ended, and how long they took."""

import time
from collections.abc import Callable
from typing import Any, Final

from attrs import define
from telethon.errors import FloodWaitError, RPCError
from telethon.tl import TLRequest
from telethon.utils import is_list_like

RequestObserver = Callable[[str, str, float | None], None]
"""Called with the class of a request, how it ended (one of the words below), and the seconds that the answer took; None
if there was none."""

ANSWERED: Final = "answered"
FLOODED: Final = "flood_wait"
REFUSED: Final = "refused"
UNANSWERED: Final = "unanswered"
LOST: Final = "lost"

_FUNCTIONS: Final = "telethon.tl.functions"


@define(eq=False)
class RequestWatch:
    """Whoever measures the requests of an account, from its next client on."""

    observer: RequestObserver | None = None


def method_class(request: Any) -> str:
    """Return the namespace of a request's method, such as ``messages``: ``core`` if it has none, ``other`` if foreign.

    Of several requests that are sent together it is that of the first.
    """
    if is_list_like(request):
        request = next(iter(request), None)
    while isinstance(request, TLRequest) and isinstance(getattr(request, "query", None), TLRequest):
        request = request.query  # invokeWithLayer and the like only wrap the request
    module = type(request).__module__
    if module == _FUNCTIONS:
        return "core"
    return module.removeprefix(f"{_FUNCTIONS}.") if module.startswith(f"{_FUNCTIONS}.") else "other"


def note_failure(observer: RequestObserver, request: Any, exc: BaseException, began: float) -> None:
    """Tell an observer of a request that was sent at ``began`` (``perf_counter``) and has failed."""
    took = time.perf_counter() - began
    if isinstance(exc, FloodWaitError):
        observer(method_class(request), FLOODED, took)
    elif isinstance(exc, RPCError):
        observer(method_class(request), REFUSED, took)
    else:
        observer(method_class(request), UNANSWERED if isinstance(exc, TimeoutError) else LOST, None)
