"""The command line. Data goes to stdout; remarks and errors go to stderr."""

from cyclopts import App, CycloptsError
from cyclopts.panel import CycloptsPanel

from engine.cli.control import pause, resume, retry
from engine.cli.diagram import diagram as draw  # under other names, or they would hide the modules
from engine.cli.doctor import doctor as examine
from engine.cli.jobs import app as jobs_app
from engine.cli.log import app as log_app
from engine.cli.login import login as log_in
from engine.cli.login import logout as log_out
from engine.cli.run import run as run_fleet
from engine.cli.session_transfer import app as session_app
from engine.cli.status import status as show_status
from engine.cli.verify import verify as check_machine
from engine.cli.version import version_line
from engine.console.safe_text import one_line

COMMANDS = (run_fleet, show_status, pause, resume, retry, log_in, log_out, examine, draw, check_machine)


def command_line(name: str, shown: str | None = None) -> App:
    """Return the command line; ``shown`` is how its help says that it is called, by default ``name``.

    It can install its completion if the name is one word: a shell completes nothing after ``python -m engine``.
    """
    made = App(
        name=shown or name,
        help="Holdfast keeps many Telegram accounts connected: each connection is a formal state machine.",
        version=version_line,
        version_flags=["--version"],
        error_formatter=_describe_error,
    )
    for command in COMMANDS:
        made.command(command, name=command.__name__)
    for group in (log_app, session_app, jobs_app):
        made.command(group)
    if name.isidentifier():
        made.register_install_completion_command(help=f"Install the completion of {name}'s commands in your shell.")
    return made


def _describe_error(error: CycloptsError) -> object:
    """Return the box of an error in the command line, which may quote any word of it, also a misplaced secret."""
    return CycloptsPanel("\n".join(map(one_line, str(error).splitlines())))


app = command_line("python -m engine")
