"""The engine: everything that a program needs to import from Holdfast."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapters.sandbox import SandboxError
    from adapters.session import (
        HoldfastSession,
        NotASession,
        SessionDamaged,
        SessionError,
        SessionHeld,
        SessionNotSaved,
        SessionReplaced,
        SessionTooNew,
    )
    from adapters.sqlite import DatabaseUnusable, StorageError
    from adapters.sqlite.messages import Message
    from adapters.system import LockHeld
    from engine.app.account import Account, NotReady
    from engine.app.engine import Engine
    from engine.app.monitor import ConnectionMonitor
    from engine.app.remote_client import RemoteClient
    from engine.config import Config, UnknownAccount
    from engine.config.load import ConfigError, load
    from engine.console.account_status import AccountStatus
    from engine.remote.errors import AccountNotReady, AnswerUnusable, EngineUnreachable, OutcomeUnknown, RequestRefused
    from engine.work.decorators import job_kind, on, while_healthy
    from engine.work.handle import JobHandle, JobOver
    from engine.work.kinds import BadJob
    from engine.work.modules import BadModule
    from states import Action, Cause, Entry, Event, Hold, Policy, Snapshot, State
    from states.jobs import Job, JobState

__all__ = [
    "Account",
    "AccountNotReady",
    "AccountStatus",
    "Action",
    "AnswerUnusable",
    "BadJob",
    "BadModule",
    "Cause",
    "Config",
    "ConfigError",
    "ConnectionMonitor",
    "DatabaseUnusable",
    "Engine",
    "EngineUnreachable",
    "Entry",
    "Event",
    "Hold",
    "HoldfastSession",
    "Job",
    "JobHandle",
    "JobOver",
    "JobState",
    "LockHeld",
    "Message",
    "NotASession",
    "NotReady",
    "OutcomeUnknown",
    "Policy",
    "RemoteClient",
    "RequestRefused",
    "SandboxError",
    "SessionDamaged",
    "SessionError",
    "SessionHeld",
    "SessionNotSaved",
    "SessionReplaced",
    "SessionTooNew",
    "Snapshot",
    "State",
    "StorageError",
    "UnknownAccount",
    "job_kind",
    "load",
    "on",
    "while_healthy",
]

_HOMES = {
    "adapters.sandbox": ("SandboxError",),
    "adapters.session": (
        "HoldfastSession",
        "NotASession",
        "SessionDamaged",
        "SessionError",
        "SessionHeld",
        "SessionNotSaved",
        "SessionReplaced",
        "SessionTooNew",
    ),
    "adapters.sqlite": ("DatabaseUnusable", "StorageError"),
    "adapters.sqlite.messages": ("Message",),
    "adapters.system": ("LockHeld",),
    "engine.config": ("Config", "UnknownAccount"),
    "engine.config.load": ("ConfigError", "load"),
    "engine.app.account": ("Account", "NotReady"),
    "engine.console.account_status": ("AccountStatus",),
    "engine.app.engine": ("Engine",),
    "engine.app.monitor": ("ConnectionMonitor",),
    "engine.app.remote_client": ("RemoteClient",),
    "engine.remote.errors": (
        "AccountNotReady",
        "AnswerUnusable",
        "EngineUnreachable",
        "OutcomeUnknown",
        "RequestRefused",
    ),
    "engine.work.handle": ("JobHandle", "JobOver"),
    "engine.work.kinds": ("BadJob",),
    "engine.work.decorators": ("job_kind", "on", "while_healthy"),
    "engine.work.modules": ("BadModule",),
    "states": ("Action", "Cause", "Entry", "Event", "Hold", "Policy", "Snapshot", "State"),
    "states.jobs": ("Job", "JobState"),
}
"""The module of each name, which is imported when the name is first asked for.

Telethon takes a second to import, and commands such as ``log`` need not wait for it.
"""


if not TYPE_CHECKING:  # a type checker would take any name for one of the module's

    def __getattr__(name: str) -> Any:
        for home, names in _HOMES.items():
            if name in names:
                value = globals()[name] = getattr(import_module(home), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
