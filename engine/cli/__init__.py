"""The command line. Data goes to stdout; remarks and errors go to stderr."""

from collections.abc import Sequence

from cyclopts import App, CycloptsError

from engine.console.safe_text import one_line

COMMANDS = {
    "run": "engine.cli.run:run",
    "status": "engine.cli.status:status",
    "pause": "engine.cli.control:pause",
    "resume": "engine.cli.control:resume",
    "retry": "engine.cli.control:retry",
    "login": "engine.cli.login:login",
    "logout": "engine.cli.login:logout",
    "doctor": "engine.cli.doctor:doctor",
    "diagram": "engine.cli.diagram:diagram",
    "verify": "engine.cli.verify:verify",
    "log": "engine.cli.log:app",
    "session": "engine.cli.session_transfer:app",
    "jobs": "engine.cli.jobs:app",
}
"""Where each command is. Its module is imported when it is called, because most need much that the others do not."""


HELP_FLAGS = ("--help", "-h")


def import_listed(line: App, words: Sequence[str]) -> None:
    """Import the commands that the output for these words may list: all if they name none, or those of a group."""
    if words and words[0] in COMMANDS:
        if not any(flag in words for flag in HELP_FLAGS):
            return
        line = line[words[0]]
    elif words and words[0].startswith("-") and words[0] not in HELP_FLAGS:
        return
    for name in line:
        line[name]  # it is imported when it is looked up


def command_line(name: str, shown: str | None = None) -> App:
    """Return the command line; ``shown`` is how its help says that it is called, by default ``name``.

    It can install its completion if the name is one word: a shell completes nothing after ``python -m engine``.
    """
    made = App(
        name=shown or name,
        help="Holdfast keeps many Telegram accounts connected: each connection is a formal state machine.",
        version=_version_line,
        version_flags=["--version"],
        error_formatter=_describe_error,
    )
    for command, place in COMMANDS.items():
        made.command(place, name=command)
    if name.isidentifier():
        made.register_install_completion_command(help=f"Install the completion of {name}'s commands in your shell.")
    return made


def _version_line() -> str:
    from engine.cli.version import version_line  # noqa: PLC0415 - it reads the metadata of packages

    return version_line()


def _describe_error(error: CycloptsError) -> object:
    """Return the box of an error in the command line, which may quote any word of it, also a misplaced secret."""
    from cyclopts.panel import CycloptsPanel  # noqa: PLC0415 - for an error alone

    return CycloptsPanel("\n".join(map(one_line, str(error).splitlines())))


app = command_line("python -m engine")
