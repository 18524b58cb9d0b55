"""How commands reach a running engine: a private Unix socket, the protocol on it, and what carries the commands out."""

from typing import TYPE_CHECKING

from states.lazy_names import lazy_names

if TYPE_CHECKING:
    from engine.control.client import CommandRefused, EngineSilent, ask, hold, send_command
    from engine.control.handlers import ControlHandlers
    from engine.control.protocol import CommandOutcome, RefusalReason, Request, Verb
    from engine.control.server import ControlServer

__all__ = [
    "CommandOutcome",
    "CommandRefused",
    "ControlHandlers",
    "ControlServer",
    "EngineSilent",
    "RefusalReason",
    "Request",
    "Verb",
    "ask",
    "hold",
    "send_command",
]

_HOMES = {
    "engine.control.client": ("CommandRefused", "EngineSilent", "ask", "hold", "send_command"),
    "engine.control.handlers": ("ControlHandlers",),
    "engine.control.protocol": ("CommandOutcome", "RefusalReason", "Request", "Verb"),
    "engine.control.server": ("ControlServer",),
}
"""The module of each name, which is imported when the name is first asked for: a command needs the client alone."""

if not TYPE_CHECKING:  # a type checker would take any name for one of the package's
    __getattr__ = lazy_names(__name__, _HOMES)
