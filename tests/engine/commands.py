"""What the tests of commands share: running one in this process, and a journal written from stories."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from adapters.sqlite import JournalWriter
from engine.cli import app
from states import Event
from tests.states.harness import AccountDriver

Run = Callable[..., tuple[int, str, str]]
"""Runs a command: exit code, stdout, stderr."""


def runs(*first: str, capsys: pytest.CaptureFixture[str], within: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs ``first`` and what it is given, within a directory."""
    monkeypatch.chdir(within)
    monkeypatch.setenv("COLUMNS", "200")

    def command(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            app([*first, *words])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return command


async def write_life(journal: JournalWriter, name: str, driver: AccountDriver, events: Sequence[Event]) -> None:
    """Write down a life that begins now and takes these events."""
    await journal.begin_life(name, driver.now, driver.policy, driver.snapshot)
    for event in events:
        made = driver.take(event)
        await journal.write(name, made.record, made.snapshot)


ENGINE = "the engine of the story"
"""Its identity."""


async def write_stories(directory: Path, config: str, stories: Mapping[str, Sequence[Event]]) -> Path:
    """Write a config, and the journal of one life for each account; return the directory."""
    (directory / "config.yaml").write_text(config)
    journal = await JournalWriter.open(directory / "data" / "engine.db", on_trouble=lambda *_: None, engine=ENGINE)
    for name, events in stories.items():
        await write_life(journal, name, AccountDriver(), events)
    assert await journal.aclose(5) == 0
    return directory
