"""``send_command``: what all commands share of their talk with a running engine."""

import re
from pathlib import Path

import anyio.to_thread
import pytest

from engine.config import AccountConfig, Config, Storage, Telegram
from engine.control import CommandOutcome, CommandRefused, EngineSilent, RefusalReason, Verb, send_command
from tests.engine.control.test_server import serving


def config_at(directory: Path) -> Config:
    """Return a config whose engine keeps its files in a directory."""
    return Config(
        telegram=Telegram(api_id=1, api_hash="0" * 32),
        accounts=(AccountConfig(name="News 1", session=directory / "news.session"),),
        storage=Storage(directory=directory),
    )


async def test_each_account_has_an_outcome(tmp_path: Path) -> None:
    """The engine's answer comes back as one outcome per account, in the engine's order."""
    async with serving(tmp_path):
        outcomes = await anyio.to_thread.run_sync(send_command, config_at(tmp_path), Verb.PAUSE, "News *")
    assert outcomes == [CommandOutcome(name, True, f"{name} is paused") for name in ("News 1", "News 2")]


async def test_a_refusal_is_an_error_with_its_kind(tmp_path: Path) -> None:
    """A command that the engine refuses raises, with the kind and the sentence of the refusal."""
    async with serving(tmp_path):
        with pytest.raises(CommandRefused, match="no account like 'New 1'; did you mean 'News 1'") as caught:
            await anyio.to_thread.run_sync(send_command, config_at(tmp_path), Verb.PAUSE, "New 1")
    assert caught.value.kind == RefusalReason.UNKNOWN_ACCOUNT


def test_without_an_engine_it_says_so(tmp_path: Path) -> None:
    """A socket that does not exist is a sentence with its path."""
    with pytest.raises(EngineSilent, match=re.escape(f"{tmp_path / 'engine.sock'}: the engine cannot be reached")):
        send_command(config_at(tmp_path), Verb.JOBS)
