"""Writes the tables of ``docs/configuration.md`` from the classes that the config is read into.

``python -m tools.config_reference`` writes them, ``--check`` fails if they are stale. Keys, defaults and units come
from the classes, meanings from the docstrings of their fields: a field without one is an error.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import attrs
from attrs import frozen

from engine.config import AlertConfig, Config, Fleet
from engine.config.node import NodeSection
from engine.config.proxies import ProxyConfig
from engine.config.scenario import Group, SandboxSection, ScenarioStep
from engine.config.sections import DatacenterConfig, Storage, Telegram
from engine.config.web import HealthSection, ListenAddress
from engine.diagram.field_docs import field_docs
from states.pace import Hours

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
BEGIN: Final = "<!-- The tables from here on are written by: python -m tools.config_reference -->"
END: Final = "<!-- The end of what python -m tools.config_reference writes -->"

NO_KEYS: Final = {"path", "work.retry.then"}
"""Fields that are no keys there: the config's own path, and what follows a job's last failure."""
MEANINGS: Final = {"work.retry.tries": "After so many attempts the job is `failed`."}
"""What a key means where it means something else than in its class."""
KEYS: Final = {"duration": "for"}
"""Attributes whose key is a word that Python keeps for itself."""
UNITS: Final[Mapping[tuple[type[Any] | None, str], str]] = {
    (AlertConfig, "to"): "address, or a list of them",
    (AlertConfig, "exec"): "command",
    (AlertConfig, "on"): "list of kinds",
    (None, "factor"): "number",
    (None, "jitter"): "fraction",
    (ScenarioStep, "seconds"): "duration, may be negative",
    (DatacenterConfig, "public_key"): "path",
    (Fleet, "stagger"): "duration, or `auto`",
    (NodeSection, "workers"): "whole number, or `auto`",
    (Telegram, "datacenter"): "`sandbox`, or a mapping",
    (HealthSection, "ready_when"): "percentage",
    (SandboxSection, "scenario"): "`chaos`, or a list of mappings",
}
"""Where the type does not tell; with the class None in every class."""
DEFAULTS: Final[Mapping[tuple[type[Any], str], str]] = {
    (Group, "title"): "as `name`",
    (Storage, "directory"): "`data`",
    (NodeSection, "name"): "host name",
    (NodeSection, "host"): "host name",
    (HealthSection, "ready_when"): "`90%`",
    (SandboxSection, "seed"): "random",
}
WORDS: Final[Mapping[Any, str]] = {
    int: "whole number",
    float: "duration",
    str: "text",
    Path: "path",
    Hours: "hours",
    ListenAddress: "address:port",
    ProxyConfig: "URL or `direct`",
    dict[str, Any]: "mapping",
    bool: "`true` or `false`",
}


class Undocumented(Exception):
    """A key has no meaning written down, or a type that the tables have no word for."""


@frozen
class Key:
    """One row: a key, what is written there, what holds without it, and what it means."""

    name: str
    unit: str
    default: str
    meaning: str

    def __str__(self) -> str:
        return f"| `{self.name}` | {self.unit} | {self.default} | {self.meaning} |"


@frozen
class Section:
    """The keys below one key of the config, or of the entries of a list (``path[]``)."""

    path: str
    intro: str
    keys: tuple[Key, ...]

    @property
    def anchor(self) -> str:
        """The heading's id."""
        return self.path.replace(".", "-").replace("[]", "").replace("<kind>", "kind")

    def __str__(self) -> str:
        table = "\n".join(map(str, self.keys))
        return (
            f"{'#' * min(4, 3 + self.path.count('.'))} `{self.path}` {{ #{self.anchor} }}\n\n{self.intro}\n\n"
            f"| key | value | default | meaning |\n| --- | --- | --- | --- |\n{table}\n"
        )


def sections(section: type[Any] = Config, path: str = "", intro: str = "", given: Any = None) -> Iterator[Section]:
    """Yield this section and those below it, in the order of the classes; ``given`` has the defaults of this place."""
    keys, below = [], list[Section]()
    hints = get_type_hints(section, localns={"ProxyConfig": ProxyConfig})
    for field in attrs.fields(section):
        whole = f"{path}.{field.name}" if path else field.name
        if whole in NO_KEYS:
            continue
        meaning = MEANINGS.get(whole) or _meaning(section, field.name)
        name, hint = KEYS.get(field.name, field.name), hints[field.name]
        default = getattr(given, field.name) if given is not None else _default(field)
        nested = [
            each
            for kind in _members(hint)
            if attrs.has(kind) and kind not in WORDS and attrs.fields(kind)
            for each in sections(
                kind, _place(path, name, hint), meaning, default if isinstance(default, kind) else None
            )
        ]
        below += nested
        if path or not nested:  # at the top, a section is its own heading
            shown = DEFAULTS.get((section, field.name)) or _shown(default, field.name)
            if nested and attrs.has(type(default)):
                shown = f"[below](#{nested[0].anchor})"
            keys.append(Key(name, _unit(section, field.name, hint), shown, meaning))
    if keys:
        yield Section(path, intro, tuple(keys))
    yield from below


def _meaning(section: type[Any], name: str) -> str:
    if (text := field_docs(section).get(name)) is None:
        raise Undocumented(f"{section.__module__}.{section.__name__}.{name} needs a docstring")
    return " ".join(text.replace("``", "`").split()).replace("|", "\\|")


def _place(path: str, name: str, hint: Any) -> str:
    """Return where the keys of a value are: below the key, in each entry of its list, or below a name of the user's."""
    whole = f"{path}.{name}" if path else name
    if get_origin(hint) is dict:
        return f"{whole}.<kind>"
    return f"{whole}[]" if get_origin(_main(hint)) is tuple else whole


def _default(field: "attrs.Attribute[Any]") -> Any:
    default: Any = field.default
    if hasattr(default, "takes_self"):  # a factory
        return None if default.takes_self else default.factory()
    return default


def _main(hint: Any) -> Any:
    """Return the part of a type that says most: the list in ``Chaos | tuple[...]``."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return next((part for part in parts if get_origin(part) is tuple), hint)


def _members(hint: Any) -> list[type[Any]]:
    """Return the classes that a type speaks of."""
    if isinstance(hint, type) and get_origin(hint) is None:
        return [hint]
    return [each for part in get_args(hint) for each in _members(part)]


def _unit(section: type[Any], name: str, hint: Any) -> str:
    """Return what is written there, in words."""
    if unit := UNITS.get((section, name)) or UNITS.get((None, name)):
        return unit
    if hint in WORDS:
        return WORDS[hint]
    origin, parts = get_origin(hint), [part for part in get_args(hint) if part not in (NoneType, ...)]
    if origin in (Union, UnionType):
        words = all(isinstance(part, type) and issubclass(part, StrEnum) for part in parts)
        return (", " if words else " or ").join(_unit(section, name, part) for part in parts)
    if origin is tuple:
        one = " or ".join(_unit(section, name, part) for part in parts)
        return f"list of {one}s" if one in ("duration", "mapping") else f"list of {one}"
    if origin is dict:
        return f"mapping to {_unit(section, name, parts[1])}" if not attrs.has(parts[1]) else "mapping"
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return ", ".join(f"`{each}`" for each in hint)
    if attrs.has(hint):
        return "mapping"
    raise Undocumented(f"{section.__name__}.{name}: the tables have no word for {hint}")


def _shown(value: Any, name: str) -> str:
    """Return a default as it is written in the config."""
    match value:
        case attrs.NOTHING:
            return "required"
        case None | () | {}:
            return "–"
        case _:
            return f"`{_written(value, name)}`"


def _written(value: Any, name: str) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float() if (None, name) not in UNITS:
            return duration(value)
        case float():
            return f"{value:g}"
        case tuple():
            return f"[{', '.join(_written(each, name) for each in value)}]"
        case _:
            return str(value)


def duration(seconds: float) -> str:
    """Return seconds as the config writes them: ``100ms``, ``75s``, ``10m``, ``6h``."""
    if 0 < seconds < 1:
        return f"{round(seconds * 1000)}ms"
    if seconds >= 7200 and seconds % 3600 == 0:
        return f"{seconds / 3600:g}h"
    return f"{seconds / 60:g}m" if seconds >= 300 and seconds % 60 == 0 else f"{seconds:g}s"


def page(text: str) -> str:
    """Return the page with its tables written anew."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    tables = "\n".join(map(str, sections()))
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


def main() -> None:
    """Write the tables, or check them."""
    parser = argparse.ArgumentParser(prog="python -m tools.config_reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if the tables are stale")
    check = parser.parse_args().check
    text = PAGE.read_text("utf-8")
    new = page(text)
    if check and new != text:
        sys.exit(f"{PAGE.name} is stale; run: python -m tools.config_reference")
    if not check:
        PAGE.write_text(new, "utf-8")


if __name__ == "__main__":
    main()
