"""The command line as the library reads it: with help, completion, and a sentence for each mistake."""

from collections.abc import Sequence
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import cyclopts
from cyclopts import App, CycloptsError

from engine.cli.commands import COMMANDS, find
from engine.cli.declared import Command, CommandGroup, Parameter
from engine.console.safe_text import one_line

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
    for command in COMMANDS:
        made.command(f"{__name__}:{command}", name=command)
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


def _as_app(group: CommandGroup) -> App:
    """Return a group as the library has it."""
    app = App(name=group.name, help=group.help, version_flags=[])
    if group.own is not None:
        app.default(_as_command(group.own))
    for name, command in group.commands.items():
        app.command(f"{__name__}:{group.name} {name}" if isinstance(command, str) else _as_command(command), name=name)
    return app


def _as_command(function: Command) -> Command:
    """Return a command whose parameters are declared in the library's words."""
    own = signature(function)

    @wraps(function)
    def command(*values: Any, **options: Any) -> None:
        function(*values, **options)

    parameters = [each.replace(annotation=_annotation(each.annotation)) for each in own.parameters.values()]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # inspect reads it there
    return command


def _annotation(declared: Any) -> Any:
    """Return an annotation with the library's parameters in the place of ours."""
    if get_origin(declared) is not Annotated:
        return declared
    kind, *said = get_args(declared)
    return Annotated[
        (kind, *(cyclopts.Parameter(**each.settings) if isinstance(each, Parameter) else each for each in said))
    ]


if not TYPE_CHECKING:  # a type checker would take any name for one of the module's

    def __getattr__(words: str) -> Any:
        """Return a command by its words, such as ``log explain``: the library asks for it when it is called."""
        if words.partition(" ")[0] not in COMMANDS:
            raise AttributeError(f"module {__name__!r} has no attribute {words!r}")
        found = find(words.split())
        return _as_app(found) if isinstance(found, CommandGroup) else _as_command(found)


app = command_line("python -m engine")
