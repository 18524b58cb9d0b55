"""The decorators for the functions of the user's modules: ``job_kind``, ``on``, ``while_healthy``.

They only declare. The engine finds the declared functions in the modules that the config names. Each stays a plain
function, which can be called and tested as it is.
"""

import inspect
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


def check_coroutine(function: Any, what: str) -> None:
    """Raise ``TypeError``, in one sentence, unless ``function`` is ``async def`` or gives a coroutine in its place."""
    unwrapped = inspect.unwrap(function) if callable(function) and not isinstance(function, type) else None
    if inspect.iscoroutinefunction(unwrapped) or inspect.iscoroutinefunction(getattr(unwrapped, "__call__", None)):  # noqa: B004 - its kind is asked
        return
    found = getattr(function, "__name__", None) or f"{function!r:.40}"
    raise TypeError(f"{what} is a coroutine function, and {found} is none; write: async def")


def check_accounts(accounts: Any) -> None:
    """Raise ``TypeError``, in one sentence, unless ``accounts`` is one name or pattern."""
    if not isinstance(accounts, str):
        raise TypeError(
            f"accounts is one name or pattern such as 'News *', not {accounts!r:.60}; register once for each name"
        )


def check_event(event: Any) -> None:
    """Raise ``TypeError``, in one sentence, if ``on`` decorates the function itself."""
    if inspect.isroutine(event):
        raise TypeError(f"on needs an event; write: @on(events.NewMessage()) above {event.__name__}")


def check_kind(name: Any, data: Any) -> None:
    """Raise ``TypeError``, in one sentence, unless a kind of jobs has a name, and a class or nothing for its data."""
    if not isinstance(name, str) or not name.strip():
        raise TypeError(f"a kind of jobs has a name, such as 'count', and not {name!r:.60}; write: @job_kind('count')")
    if data is not None and not hasattr(data, "__attrs_attrs__"):
        raise TypeError(f"the data of the kind {name!r} is an attrs class, not {data!r:.60}")


def job_kind(name: str, *, data: type[Any] | None = None) -> Callable[[JobFunction], JobFunction]:
    """Let ``async def work(job, client)`` do the jobs of the kind ``name``.

    ``data`` is an attrs class. A job's data are checked against it when the job is added, and ``job.data`` is an
    instance of it. Without it ``job.data`` is a dict of anything.
    """
    check_kind(name, None)  # the loader says of which module the data are wrong
    return _declaring(JobKindDeclaration(name, data))


def on(event: Any) -> Callable[[Handler], Handler]:
    """Call ``async def handler(event)`` for each update that ``event`` (of ``telethon.events``) describes, once."""
    check_event(event)
    return _declaring(HandlerDeclaration(event))


def while_healthy(function: BackgroundFunction) -> BackgroundFunction:
    """Run ``async def work(client)`` for as long as its account is healthy, anew with each client.

    It is cancelled when the account leaves ``healthy``. If it raises, the exception is logged, and it is started again
    a few times.
    """
    return _declaring(BackgroundTaskDeclaration())(function)


def _declaring(declaration: Declaration) -> Callable[[Function], Function]:
    def declaring(function: Function) -> Function:
        if not callable(function):  # whether it is async the loader asks, which knows the module's name
            raise TypeError(f"{function!r:.40} is no function; write the decorator above: async def")
        setattr(function, DECLARATIONS, (*declarations_of(function), declaration))
        return function

    return declaring


def declarations_of(function: object) -> tuple[Declaration, ...]:
    """Return the declarations of a function; an empty tuple for anything else."""
    declarations = getattr(function, DECLARATIONS, ()) if callable(function) and not isinstance(function, type) else ()
    return declarations if isinstance(declarations, tuple) else ()
