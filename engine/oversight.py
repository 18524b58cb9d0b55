"""Who looks after a running fleet: a person's commands, new logins, and what concerns all accounts at once."""

from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
from attrs import define, field

from engine import layout
from engine.control import ControlServer, Desk
from engine.credentials import CredentialsWatch
from engine.refusals import Refusals
from engine.supervisor import Supervisor


@define(eq=False)
class Oversight:
    """Looks after ``fleet``, whose session files are ``sessions``; to be made before the fleet runs."""

    fleet: Supervisor
    directory: Path
    sessions: Mapping[str, Path]
    jobs_changed: Callable[[], None]
    """Hears that a person has changed jobs in the file."""
    _watch: CredentialsWatch = field(init=False)
    _refusals: Refusals = field(init=False)
    _server: ControlServer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._watch = CredentialsWatch(self.fleet, self.sessions)
        self._refusals = Refusals(self.fleet)
        self._server = ControlServer(self.directory / layout.SOCKET, Desk(self.fleet, self.jobs_changed))

    async def run(self) -> None:
        """Look after it until cancelled."""
        async with anyio.create_task_group() as tasks:
            for work in (self._watch.run, self._refusals.run, self._server.run):
                tasks.start_soon(work)
