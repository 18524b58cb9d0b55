"""The config file: ``load`` returns all of it, or reports all of its mistakes at once."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from adapters.file_names import hide_logins
from adapters.files import open_input
from engine.config.document import MAX_SIZE, Broken, Document, KeyPath, Problem, Unreadable, read_yaml
from engine.config.outline import NoOutline, Outline, read_outline
from engine.config.values import SessionPaths, describe_type, substitute

if TYPE_CHECKING:  # what only reads needs the outline alone
    from engine.config.types import Config

PIPE_TIMEOUT: Final = 10.0
"""Seconds that a program may take to begin to write a config into a pipe."""


class ConfigError(Exception):
    """The config cannot be used. ``problems`` has a sentence for each mistake, which begins with its place."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        path = Path(hide_logins(str(path)))  # a login may stand where the path belongs
        super().__init__(path, problems)
        self.path = path
        self.problems = problems

    @property
    def sentences(self) -> list[str]:
        """The lines for the operator."""
        return [f"{self.path} cannot be used; fix this and try again:", *(f"  {each}" for each in self.problems)]

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def load(path: Path) -> "Config":
    """Return the config in the YAML file ``path``. Relative paths in it start at the file's own directory.

    Nothing is created or changed. Raises ``ConfigError`` with all problems at once.
    """
    _folder(path)  # first: without a directory, nothing can be read
    return _read(path, read_document(path))


def config_of(path: Path, content: bytes) -> "Config":
    """Return the config that the file ``path`` would be with this content. Raises ``ConfigError``."""
    _folder(path)
    return _read(path, _document(path, content, "config"))


def load_outline(path: Path) -> Outline:
    """Return what commands that only read need of a config.

    It refuses what ``load`` refuses, but for the addresses of alerts: asking Apprise takes most of a second.
    """
    folder = _folder(path)
    document = read_document(path)
    problems = list(document.problems)
    plain = _substituted(document, problems)
    if isinstance(plain, dict) and not problems:
        try:
            return read_outline(plain, path, SessionPaths(folder))
        except NoOutline:
            pass
    config = _read(path, document, with_addresses=False)
    names = tuple(account.name for account in config.accounts)
    return Outline(path, config.storage.directory, names, config.storage.database)


def read_plain(path: Path) -> dict[str, Any]:
    """Return the sections of a config as YAML has them. Raises ``ConfigError`` for a config that cannot be used."""
    document = read_document(path)
    _read(path, document)
    plain = _substituted(document, [])
    assert isinstance(plain, dict), "it was read as a config just now"
    return plain


def _folder(path: Path) -> Path:
    try:
        return path.absolute().parent
    except FileNotFoundError:
        raise ConfigError(path, ["the current directory was deleted; change to another, and try again"]) from None


def _substituted(document: Document, problems: list[Problem]) -> object:
    return substitute(document.value, (), problems) if document.may_have_variables else document.value


def _read(path: Path, document: Document, *, with_addresses: bool = True) -> "Config":
    from engine.config.rules import find_conflicts  # noqa: PLC0415 - what only reads needs the outline alone
    from engine.config.wildcards import expand, restore_origin  # noqa: PLC0415

    folder = _folder(path)
    problems = list(document.problems)
    plain = _substituted(document, problems)
    config = None
    if isinstance(plain, dict):
        faults, origin = expand(plain, folder)
        problems += faults
        sessions = SessionPaths(folder)
        config, faults = _structure(plain, folder, sessions)
        problems += [restore_origin(problem, origin) for problem in (*faults, *find_conflicts(plain, sessions, origin))]
        if config is not None and config.alerts and with_addresses:
            from engine.config.alerts import find_unusable  # noqa: PLC0415 - few configs have alerts

            problems += find_unusable(config.alerts, plain.get("alerts"))
    else:
        problems += _top_level_problem(plain)
    if problems or config is None:
        placed = [attrs.evolve(problem, line=problem.line or document.line(problem.path)) for problem in problems]
        placed.sort(key=lambda problem: problem.line or 0)
        raise ConfigError(path, list(dict.fromkeys(problem.sentence(path.name) for problem in placed)))
    return attrs.evolve(config, path=path)


def line_of(path: Path, key: KeyPath) -> int | None:
    """Return the line of a key in a config that was read before; None if it can no longer be told."""
    try:
        return read_document(path).line(key)
    except ConfigError:
        return None


def _top_level_problem(plain: object) -> list[Problem]:
    if isinstance(plain, Broken):
        return []  # reported already
    what = (
        "the file is empty"
        if plain is None
        else f"the top level must be a mapping (key: value), not {describe_type(plain)}"
    )
    return [Problem((), f"{what}; start with the sections telegram and accounts")]


def _structure(plain: dict[str, Any], folder: Path, sessions: SessionPaths) -> tuple["Config | None", list[Problem]]:
    from engine.config.reader import Faulty  # noqa: PLC0415 - as above
    from engine.config.structure import build_reader  # noqa: PLC0415
    from engine.config.types import Config  # noqa: PLC0415

    try:
        return build_reader(folder, sessions).read(plain, Config), []
    except Faulty as error:
        return None, error.problems


def read_document(path: Path, what: str = "config") -> Document:
    """Return the YAML document in a file; ``what`` it is, is in sentences. Raises ``ConfigError``."""
    try:
        with os.fdopen(open_input(path, PIPE_TIMEOUT), "rb") as file:
            data = file.read(MAX_SIZE + 1)
    except FileNotFoundError:
        problem = Problem((), f"there is no such file; give the path of the {what}, or write one there")
    except IsADirectoryError:
        problem = Problem((), f"this is a directory; give the path of the {what} file in it")
    except OSError as error:
        problem = Problem(
            (), f"the file cannot be read ({error.strerror}); see to its permissions, or give another path"
        )
    except ValueError:
        problem = Problem((), f"a file cannot have this name; give the path of the {what}")
    else:
        return _document(path, data, what)
    raise ConfigError(path, [problem.sentence(path.name)])


def _document(path: Path, data: bytes, what: str) -> Document:
    """Return the YAML document that the content of a file is. Raises ``ConfigError``."""
    problem = Problem((), f"the file is larger than {MAX_SIZE:,} bytes, the most that a {what} may have; split it")
    try:
        if len(data) <= MAX_SIZE:
            return read_yaml(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        problem = Problem((), "the file is not UTF-8; save it as UTF-8", error.object.count(b"\n", 0, error.start) + 1)
    except Unreadable as error:
        problem = error.problem
    # Raised here, because inside `except` it would keep the first error as its context, and with it the content read.
    raise ConfigError(path, [problem.sentence(path.name)])
