"""The decorators for the functions of the user's modules: ``job_kind``, ``on``, ``while_healthy``.

They only declare. The engine finds the declared functions in the modules that the config names. Each stays a plain
function, which can be called and tested as it is.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from attrs import frozen

Function = TypeVar("Function", bound=Callable[..., Any])
JobFunction = TypeVar("JobFunction", bound=Callable[[Any, Any], Awaitable[Any]])
Handler = TypeVar("Handler", bound=Callable[[Any], Awaitable[Any]])
BackgroundFunction = TypeVar("BackgroundFunction", bound=Callable[[Any], Awaitable[Any]])
DECLARATIONS: Final = "__holdfast__"
"""The attribute that holds a function's declarations."""


@frozen
class JobKindDeclaration:
    """The function does the jobs of this kind. ``data`` is the attrs class of their data; None means a dict."""

    name: str
    data: type[Any] | None = None


@frozen
class HandlerDeclaration:
    """The function handles this event (of ``telethon.events``)."""

    event: Any


@frozen
class BackgroundTaskDeclaration:
    """The function runs while its account is healthy."""


Declaration = JobKindDeclaration | HandlerDeclaration | BackgroundTaskDeclaration


def job_kind(name: str, *, data: type[Any] | None = None) -> Callable[[JobFunction], JobFunction]:
    """Let ``async def work(job, client)`` do the jobs of the kind ``name``.

    ``data`` is an attrs class. A job's data are checked against it when the job is added, and ``job.data`` is an
    instance of it. Without it ``job.data`` is a dict of anything.
    """
    return _declaring(JobKindDeclaration(name, data))


def on(event: Any) -> Callable[[Handler], Handler]:
    """Call ``async def handler(event)`` for each update that ``event`` (of ``telethon.events``) describes, once."""
    return _declaring(HandlerDeclaration(event))


def while_healthy(function: BackgroundFunction) -> BackgroundFunction:
    """Run ``async def work(client)`` for as long as its account is healthy, anew with each client.

    It is cancelled when the account leaves ``healthy``. If it raises, the exception is logged, and it is started again
    a few times.
    """
    return _declaring(BackgroundTaskDeclaration())(function)


def _declaring(declaration: Declaration) -> Callable[[Function], Function]:
    def declaring(function: Function) -> Function:
        setattr(function, DECLARATIONS, (*declarations_of(function), declaration))
        return function

    return declaring


def declarations_of(function: object) -> tuple[Declaration, ...]:
    """Return the declarations of a function; an empty tuple for anything else."""
    declarations = getattr(function, DECLARATIONS, ()) if callable(function) and not isinstance(function, type) else ()
    return declarations if isinstance(declarations, tuple) else ()
