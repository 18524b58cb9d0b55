"""The tables of ``docs/configuration.md`` are those of the code, and what they say can be written into a config."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.config import load
from tools.config_reference import PAGE, duration, page, sections


def test_the_tables_are_not_stale() -> None:
    """What the generator would write is what the page has."""
    text = PAGE.read_text("utf-8")
    assert page(text) == text, "run: python -m tools.config_reference"


DEFAULTS = [
    (section.path, key.name, match[1])
    for section in sections()
    for key in section.keys
    if (match := re.fullmatch(r"`(.+)`", key.default)) and "[]" not in section.path
]


def config(file: Path, section: str, keys: dict[str, Any]) -> str:
    """Return what is loaded from the smallest config with these keys in a section."""
    chaos = {"scenario": "chaos"} if section == "sandbox" else {}
    budget = {"at_most": 1, "per": "1h"} if section.endswith(".budget") else {}
    ping = {"url": "https://example.org"} if section == "heartbeat" else {}
    document: dict[str, Any] = {
        "telegram": {"api_id": 1, "api_hash": "0" * 32, "datacenter": "sandbox"},
        "accounts": [{"name": "Account 1", "session": "account1", "phone": "+9996620001"}],
    }
    place = document
    for name in section.replace("<kind>", "some_kind").split("."):
        place = place.setdefault(name, {})
    place |= chaos | budget | ping | keys
    file.write_text(yaml.safe_dump(document), "utf-8")
    return str(load(file))


@pytest.mark.parametrize(("section", "key", "default"), DEFAULTS)
def test_a_default_written_out_changes_nothing(section: str, key: str, default: str, tmp_path: Path) -> None:
    """A default as the table prints it is valid in the config, and it is what holds without the key."""
    file = tmp_path / "config.yaml"
    assert config(file, section, {key: yaml.safe_load(default)}) == config(file, section, {})


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.1, "100ms"), (1.5, "1.5s"), (120.0, "120s"), (600.0, "10m"), (900.0, "15m")]
)
def test_a_duration_is_written_as_the_config_writes_it(seconds: float, text: str) -> None:
    """Milliseconds below a second, minutes from five of them on."""
    assert duration(seconds) == text
