"""How commands reach a running engine: a private Unix socket, the protocol on it, and what carries the commands out."""

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
