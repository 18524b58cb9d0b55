"""The command line. Data goes to stdout; remarks and errors go to stderr."""

from typing import TYPE_CHECKING

from states.lazy_names import lazy_names

if TYPE_CHECKING:
    from engine.cli.full_line import app, command_line, import_listed

__all__ = ["app", "command_line", "import_listed"]

_HOMES = {"engine.cli.full_line": ("app", "command_line", "import_listed")}
"""The module of each name, which is imported when the name is first asked for: a plain line needs none of it."""

if not TYPE_CHECKING:  # a type checker would take any name for one of the package's
    __getattr__ = lazy_names(__name__, _HOMES)
