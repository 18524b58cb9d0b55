"""A person's wishes reach a running engine: a private Unix socket, the words on it, and what becomes of them."""

from engine.console.format import matching
from engine.control.client import EngineSilent, ask
from engine.control.handlers import ControlHandlers
from engine.control.protocol import CommandOutcome, Request, Verb
from engine.control.server import ControlServer

__all__ = ["CommandOutcome", "ControlHandlers", "ControlServer", "EngineSilent", "Request", "Verb", "ask", "matching"]
