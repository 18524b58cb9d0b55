"""How commands declare themselves: what the library that reads command lines is told, without importing it.

Most command lines are plain, and ``plain_line`` reads them; importing the library takes longer than such a command.
"""

from collections.abc import Callable
from typing import Any, TypeVar

Command = Callable[..., None]
F = TypeVar("F", bound=Command)


class Parameter:
    """What is said of a parameter; stands in its annotation. ``settings`` are those of the library's ``Parameter``."""

    def __init__(
        self,
        *,
        help: str | None = None,
        name: str | list[str] | None = None,
        negative: str | None = None,
        allow_leading_hyphen: bool | None = None,
    ) -> None:
        given = {"help": help, "name": name, "negative": negative, "allow_leading_hyphen": allow_leading_hyphen}
        self.settings: dict[str, Any] = {key: value for key, value in given.items() if value is not None}


class CommandGroup:
    """A command that has commands below it, and may itself do something."""

    def __init__(self, name: str, help: str) -> None:
        self.name, self.help = name, help
        self.commands: dict[str, Command | str] = {}
        """Each command below it, or its place (``module:name``), which is imported when the command is called."""
        self.own: Command | None = None
        """What it does itself."""

    def command(self, name: str) -> Callable[[F], F]:
        """Declare a function as a command below this one."""

        def declare(function: F) -> F:
            self.commands[name] = function
            return function

        return declare

    def default(self, function: F) -> F:
        """Declare what this command does itself."""
        self.own = function
        return function
