"""Other values for keys of a config, given as ``states.backoff.network.first=2s``: read as in the file, in no file."""

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from engine.config.document import KeyPath, Problem, Unreadable, read_yaml, show_path
from engine.config.load import read_plain
from engine.config.reader import Faulty
from engine.config.structure import build_reader
from engine.config.types import Fleet
from engine.config.values import AlreadyReported, SessionPaths, substitute
from engine.console.format import may_show, nearest
from states.schedules import Policy

SECTIONS: Final = {"states": Policy, "fleet": Fleet}
"""The sections whose keys can have other values."""
OTHERS: Final = ("telegram", "accounts", "storage", "requests", "usernames", "logging", "work", "sandbox")
MAX_TEXT: Final = 1000
"""Characters of a setting."""
_FORM: Final = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.]*)\s*[=]\s*(\S.*?)\s*", re.DOTALL)


class BadOverride(ValueError):
    """A setting cannot be used; the text is a sentence."""


@frozen
class Override:
    """A key, and the values that it is to have, one after the other, as YAML has them."""

    key: KeyPath
    values: tuple[Any, ...]

    @property
    def name(self) -> str:
        """The key as it is written."""
        return ".".join(map(str, self.key))


@frozen
class Changed:
    """The sections of a config with other values in them, and the texts of these values by key."""

    policy: Policy
    fleet: Fleet
    values: Mapping[str, str]


class ConfigVariants:
    """A config that was read, and what it is with other values. Raises ``ConfigError`` if it cannot be used."""

    def __init__(self, path: Path) -> None:
        self._plain = read_plain(path)
        self._reader = build_reader(path.absolute().parent, SessionPaths(path.absolute().parent))

    def parse(self, text: str) -> Override:
        """Return the setting in a text ``KEY=VALUE``; a list is several values, unless the key itself has a list.

        Raises ``BadOverride``.
        """
        key, value = _split(text)
        if isinstance(value, list) and value:
            whole = Override(key, (value,))
            try:
                self.changed([(whole, value)])
            except BadOverride:
                found = Override(key, tuple(value))
            else:
                return whole
        else:
            found = Override(key, (value,))
        for each in found.values:
            try:
                self.changed([(found, each)])
            except BadOverride:
                if not key_depends(found):
                    raise
        return found

    def changed(self, choices: Sequence[tuple[Override, Any]]) -> Changed:
        """Return the sections with these values. Raises ``BadOverride``, also for values that do not fit each other."""
        plain: dict[str, Any] = {name: copy.deepcopy(self._plain.get(name)) for name in SECTIONS}
        for override, value in choices:
            _put(plain, override.key, value)
        read: dict[str, Any] = {}
        for name, section in SECTIONS.items():
            try:
                read[name] = self._reader.read(plain[name] if plain[name] is not None else {}, section)
            except Faulty as exc:
                problem = exc.problems[0]
                raise BadOverride(Problem((name, *problem.path), problem.text).sentence("")) from None
            except (AlreadyReported, ValueError) as exc:
                raise BadOverride(f"{name}: {exc}") from None
        values = {override.name: shown(value) for override, value in choices}
        return Changed(read["states"], read["fleet"], values)


def key_depends(override: Override) -> bool:
    """Return whether a value of a key may be good only beside another: ``first`` must not be above ``cap``."""
    return override.key[-1] in ("first", "cap")


def shown(value: Any) -> str:
    """Return a value as it is written in YAML."""
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{shown(key)}: {shown(of)}' for key, of in value.items())}}}"
    if isinstance(value, bool):
        return str(value).lower()
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if may_show(text) else "…"


def _split(text: str) -> tuple[KeyPath, Any]:
    """Return the key and the value of a setting. Raises ``BadOverride``."""
    if len(text) > MAX_TEXT:
        raise BadOverride(f"a setting has at most {MAX_TEXT} characters")
    found = _FORM.fullmatch(text)
    if found is None:
        raise BadOverride(f"{_quoted(text)} is no setting; write KEY=VALUE, such as states.backoff.network.first=2s")
    key: KeyPath = tuple(found[1].split("."))
    section, *rest = key
    if section in OTHERS:
        raise BadOverride(f"{found[1]}: no outage depends on this; set a key of states or fleet")
    if section not in SECTIONS:
        raise BadOverride(f"{show_path(key)}: unknown key; {nearest(str(section), SECTIONS)}")
    if not rest or not all(rest):
        raise BadOverride(f"{found[1]}: name one key, such as states.backoff.network.first")
    try:
        document = read_yaml(f"value: {found[2]}\n")
    except Unreadable as exc:
        raise BadOverride(f"{show_path(key)}: {exc.problem.text}") from None
    problems = list(document.problems)
    plain = substitute(document.value, (), problems)
    if problems or not isinstance(plain, dict) or plain.keys() != {"value"}:
        why = problems[0].text if problems else "write one value, as in the config"
        raise BadOverride(f"{show_path(key)}: {why}")
    return key, plain["value"]


def _put(plain: dict[str, Any], key: KeyPath, value: Any) -> None:
    """Put a value under a key. Raises ``BadOverride`` if there is a value, and no section, above it."""
    there: dict[str, Any] = plain
    for depth, part in enumerate(key[:-1], 1):
        below = there.get(str(part))
        if below is None:
            below = there[str(part)] = {}
        if not isinstance(below, dict):
            raise BadOverride(f"{show_path(key)}: {show_path(key[:depth])} is one value, and has no keys below it")
        there = below
    there[str(key[-1])] = value


def _quoted(text: str) -> str:
    return repr(text) if may_show(text) else "what is written here"
