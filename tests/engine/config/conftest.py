"""Fixtures of the tests of the config."""

from pathlib import Path

import pytest

from engine.config import (
    Config,
    ConfigError,
    load,
)
from tests.engine.config.texts import Load, Problems


@pytest.fixture
def good(tmp_path: Path) -> Load:
    """Write a config and load it."""

    def write_and_load(text: str) -> Config:
        (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
        return load(tmp_path / "config.yaml")

    return write_and_load


@pytest.fixture
def bad(good: Load) -> Problems:
    """Write a bad config and return what is said about it."""

    def problems(text: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            good(text)
        return caught.value.problems

    return problems
