"""Reads YAML safely: plain values only, with limits on size, depth and aliases, and the line of every key."""

from collections.abc import Callable
from functools import cache
from typing import Final

from attrs import Factory, field, frozen

from engine.config.simple_yaml import NotSimple, read_simple
from engine.console.format import may_show

MAX_SIZE: Final = 1024 * 1024  # bytes
MAX_NODES: Final = 100_000  # values; an alias counts as all the values that it stands for
MAX_DEPTH: Final = 20
MAX_NUMBER: Final = 64  # characters; Python needs quadratic time for a number of a million digits

KeyPath = tuple[str | int, ...]


class Broken:
    """Takes the place of a value whose problem is reported already, so that it is not reported again."""


@frozen
class Problem:
    """One mistake in a config. ``text`` continues the sentence that ``path`` begins.

    ``line`` counts from 1; None means unknown.
    """

    path: KeyPath
    text: str
    line: int | None = None

    def sentence(self, file_name: str) -> str:
        """Return the sentence that the operator reads: the line in the file, the key, and what is wrong."""
        place = f"{file_name}:{self.line}: " if self.line else ""
        return f"{place}{show_path(self.path)}: {self.text}" if self.path else f"{place}{self.text}"


@frozen
class Document:
    """The content of a YAML text: its value, the line of each key path, and the problems found in it."""

    value: object
    problems: list[Problem] = Factory(list)
    may_have_variables: bool = True
    """Whether a text in it can have ``${`` in it."""
    _find_lines: Callable[[], dict[KeyPath, int]] = field(kw_only=True, repr=False)
    """Returns the line of each key path, which only a problem needs."""

    def line(self, path: KeyPath) -> int | None:
        """Return the line of ``path``, or of the nearest part of the document that holds it."""
        lines = self._find_lines()
        inner = (path[:length] for length in range(len(path), 0, -1))
        return next((lines[part] for part in inner if part in lines), None)


class Unreadable(Exception):
    """The text is not YAML that this program accepts. ``problem`` says where and why, without quoting a value."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem


def show_path(path: KeyPath) -> str:
    """Return ``path`` as ``accounts[1].session``; a key that may be a secret is shown as ``…``."""
    shown = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part if may_show(part) and len(part) <= 24 else '…'}"
        for part in path
    )
    return shown.removeprefix(".")


def read_yaml(text: str) -> Document:
    """Return the one document in ``text``.

    Raises ``Unreadable`` if the text cannot be read any further: bad syntax, a character that YAML forbids, or too
    many values. A mistake in a single value (a duplicate key, a foreign tag) goes into the document's ``problems``.
    """
    variables = "${" in text or "\\" in text  # an escape can stand for either character
    lines = cache(lambda: _read_carefully(text)[1])
    try:
        return Document(read_simple(text, MAX_NODES), [], variables, find_lines=lines)
    except NotSimple:
        from engine.config.plain_yaml import NotPlain, read_plain  # noqa: PLC0415 - most configs are simple
    try:
        value = read_plain(text, max_nodes=MAX_NODES, max_depth=MAX_DEPTH, max_number=MAX_NUMBER)
    except NotPlain:
        value, known, problems = _read_carefully(text)
        return Document(value, problems, find_lines=lambda: known)
    return Document(value, [], variables, find_lines=lines)


def _read_carefully(text: str) -> tuple[object, dict[KeyPath, int], list[Problem]]:
    from engine.config.careful_yaml import read_carefully  # noqa: PLC0415 - as above

    return read_carefully(text)
