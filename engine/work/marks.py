"""What a module of the user's writes before its functions: ``job_kind``, ``on``, ``while_healthy``.

The decorators only mark. Whose module is named in the config, its functions are found by their marks; a function
stays a plain one, which can be called and tested as it is.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from attrs import frozen

F = TypeVar("F", bound=Callable[..., Any])
MARK: Final = "__holdfast__"
"""The attribute that holds a function's marks."""


@frozen
class KindMark:
    """The function does the jobs of this kind; ``data`` is the attrs class of what they are given, None a dict."""

    name: str
    data: type[Any] | None = None


@frozen
class HandlerMark:
    """The function hears of this event (of ``telethon.events``)."""

    event: Any


@frozen
class StandingMark:
    """The function runs while its account is healthy."""


Mark = KindMark | HandlerMark | StandingMark


def job_kind(name: str, *, data: type[Any] | None = None) -> Callable[[F], F]:
    """Let ``async def work(job, client)`` do the jobs of the kind ``name``.

    ``data`` is an attrs class: what a job is given is checked against it when the job is added, and ``job.data`` is one
    of it. Without it ``job.data`` is a dict of anything.
    """
    return _marking(KindMark(name, data))


def on(event: Any) -> Callable[[F], F]:
    """Call ``async def handler(event)`` for each update that ``event`` (of ``telethon.events``) describes, once."""
    return _marking(HandlerMark(event))


def while_healthy(function: F) -> F:
    """Run ``async def work(client)`` for as long as its account is healthy, anew with each client.

    It is cancelled when the account leaves ``healthy``. An exception in it is its own: logged, counted, and it is
    started again a few times.
    """
    return _marking(StandingMark())(function)


def _marking(mark: Mark) -> Callable[[F], F]:
    def marking(function: F) -> F:
        setattr(function, MARK, (*marks_of(function), mark))
        return function

    return marking


def marks_of(function: object) -> tuple[Mark, ...]:
    """Return the marks of a function; nothing else has any."""
    marks = getattr(function, MARK, ()) if callable(function) and not isinstance(function, type) else ()
    return marks if isinstance(marks, tuple) else ()
