"""Fixtures of the tests of the config."""

from pathlib import Path

import pytest

from engine.config import (
    Config,
    ConfigError,
    load,
    load_outline,
)
from tests.engine.config.texts import Load, Problems


@pytest.fixture
def good(tmp_path: Path) -> Load:
    """Write a config and load it; as an outline it is the same, or has the same mistakes."""

    def write_and_load(text: str) -> Config:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            config = load(path)
        except ConfigError as exc:
            with pytest.raises(ConfigError) as caught:
                load_outline(path)
            if caught.value.problems != exc.problems:
                pytest.fail(f"as an outline: {caught.value.problems}")
            raise
        outline = load_outline(path)
        names = tuple(account.name for account in config.accounts)
        assert (outline.path, outline.directory, outline.names) == (config.path, config.storage.directory, names)
        return config

    return write_and_load


@pytest.fixture
def bad(good: Load) -> Problems:
    """Write a bad config and return what is said about it."""

    def problems(text: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            good(text)
        return caught.value.problems

    return problems
