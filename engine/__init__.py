"""The engine: everything that a program needs to import from Holdfast."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapters.session import HoldfastSession
    from adapters.sqlite.jobs import Message
    from engine.app.engine import Engine
    from engine.app.monitor import ConnectionMonitor
    from engine.work.decorators import job_kind, on, while_healthy
    from engine.work.handle import JobHandle

__all__ = [
    "ConnectionMonitor",
    "Engine",
    "HoldfastSession",
    "JobHandle",
    "Message",
    "job_kind",
    "on",
    "while_healthy",
]

_HOMES = {
    "ConnectionMonitor": "engine.app.monitor",
    "Engine": "engine.app.engine",
    "HoldfastSession": "adapters.session",
    "JobHandle": "engine.work.handle",
    "Message": "adapters.sqlite.jobs",
    "job_kind": "engine.work.decorators",
    "on": "engine.work.decorators",
    "while_healthy": "engine.work.decorators",
}


def __getattr__(name: str) -> Any:
    # Imported when asked for: Telethon takes a second to import, which commands such as log need not wait for.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
