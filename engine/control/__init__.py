"""A person's wishes reach a running engine: a private Unix socket, the words on it, and what becomes of them."""

from engine.control.client import EngineSilent, ask
from engine.control.desk import Desk
from engine.control.server import ControlServer
from engine.control.wire import Outcome, Request, Verb, matching

__all__ = ["ControlServer", "Desk", "EngineSilent", "Outcome", "Request", "Verb", "ask", "matching"]
