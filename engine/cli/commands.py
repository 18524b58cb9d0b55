"""Which commands there are, and where each is."""

from collections.abc import Sequence
from importlib import import_module

from engine.cli.declared import Command, CommandGroup

COMMANDS = {
    "run": "engine.cli.run:run",
    "status": "engine.cli.status:status",
    "nodes": "engine.cli.nodes:nodes",
    "node": "engine.cli.node:app",
    "move": "engine.cli.node:move",
    "pause": "engine.cli.control:pause",
    "resume": "engine.cli.control:resume",
    "retry": "engine.cli.control:retry",
    "reload": "engine.cli.reload:reload",
    "account": "engine.cli.account:app",
    "login": "engine.cli.login:login",
    "logout": "engine.cli.login:logout",
    "backup": "engine.cli.backup:backup",
    "restore": "engine.cli.backup:restore",
    "doctor": "engine.cli.doctor:doctor",
    "diagram": "engine.cli.diagram:diagram",
    "verify": "engine.cli.verify:verify",
    "simulate": "engine.cli.simulate:simulate",
    "whatif": "engine.cli.whatif:whatif",
    "log": "engine.cli.log:app",
    "session": "engine.cli.session_store:app",
    "storage": "engine.cli.storage_copy:app",
    "jobs": "engine.cli.jobs:app",
    "export": "engine.cli.export:export",
    "incidents": "engine.cli.incidents:app",
    "prove": "engine.cli.prove:prove",
    "alerts": "engine.cli.alerts:app",
    "web": "engine.cli.web:app",
}
"""Where each command is. Its module is imported when it is called, because most need much that the others do not."""


def find(words: Sequence[str]) -> Command | CommandGroup:
    """Import and return the command that is called by these words, such as ``log explain``."""
    found = _at(COMMANDS[words[0]])
    for word in words[1:]:
        assert isinstance(found, CommandGroup), "only a group has commands below it"
        below = found.commands[word]
        found = _at(below) if isinstance(below, str) else below
    return found


def _at(place: str) -> Command | CommandGroup:
    module, _, name = place.partition(":")
    found: Command | CommandGroup = getattr(import_module(module), name)
    return found
