"""The tables of ``docs/configuration.md`` are those of the code, and what they say can be written into a config."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.config import load
from tools.config_reference import PAGE, duration, page, sections

SMALLEST = {
    "telegram": {"api_id": 1, "api_hash": "0" * 32},
    "accounts": [{"name": "Account 1", "session": "account1"}],
}


def with_key(path: str, value: Any) -> dict[str, Any]:
    """Return the smallest config with one key more; ``a[].b`` is the key ``b`` of the first entry of the list ``a``."""
    document: dict[str, Any] = yaml.safe_load(yaml.safe_dump(SMALLEST))
    place: Any = document
    *sections, key = path.split(".")
    for name in sections:
        if name.endswith("[]"):
            place = place.setdefault(name[:-2], [{}])[0]
        else:
            place = place.setdefault(name, {})
    place[key] = value
    return document


def test_the_tables_are_not_stale() -> None:
    """What the generator would write is what the page has."""
    text = PAGE.read_text("utf-8")
    assert page(text) == text, "run: python -m tools.config_reference"


DEFAULTS = [
    (f"{section.path}.{key.name}", match[1])
    for section in sections()
    for key in section.keys
    if (match := re.fullmatch(r"`(.+)`", key.default)) and "[]" not in section.path
]


@pytest.mark.parametrize(("path", "default"), DEFAULTS, ids=[path for path, _ in DEFAULTS])
def test_a_default_written_out_changes_nothing(path: str, default: str, tmp_path: Path) -> None:
    """A default as the table prints it is valid in the config, and it is what holds without the key."""
    plain, written = tmp_path / "plain.yaml", tmp_path / "config.yaml"
    section = path.rpartition(".")[0].replace("<kind>", "some_kind")
    key = path.rpartition(".")[2]
    needed = {"budget": {"at_most": 1, "per": "1h"}} if section.endswith("budget") else {}
    document = with_key(f"{section}.{key}", yaml.safe_load(default))
    without = with_key(f"{section}.{key}", None)
    for each in (document, without):
        place: Any = each
        for name in section.split("."):
            place = place[name]
        if needed:
            place |= needed["budget"]
        if place is not None and place.get(key, 0) is None:
            del place[key]
    if section == "sandbox":
        for each in (document, without):
            each["telegram"]["datacenter"] = "sandbox"
            each["accounts"][0]["phone"] = "+9996620001"
            each["sandbox"]["scenario"] = "chaos"
    plain.write_text(yaml.safe_dump(without), "utf-8")
    written.write_text(yaml.safe_dump(document), "utf-8")
    assert str(load(written)).replace("config.yaml", "plain.yaml") == str(load(plain))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.1, "100ms"), (1.5, "1.5s"), (120.0, "120s"), (600.0, "10m"), (900.0, "15m")]
)
def test_a_duration_is_written_as_the_config_writes_it(seconds: float, text: str) -> None:
    """Milliseconds below a second, minutes from five of them on."""
    assert duration(seconds) == text
