"""Retention in the engine: ``storage.keep``, and what the questions say afterwards."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from adapters.sqlite import JournalReader, JournalWriter, StorageError
from engine.config import ConfigError, load
from engine.journal import retention
from engine.journal.retention import retain
from tests.engine.journal.conftest import CONFIG, Run
from tests.timeouts import TIMEOUT


class Forgetful:
    """A journal that has old entries, and one bad moment."""

    def __init__(self, *steps: int | Exception) -> None:
        self.steps = list(steps)
        self.asked: list[float] = []
        self.done = anyio.Event()

    async def prune(self, before: float) -> int:
        self.asked.append(before)
        if not self.steps:
            self.done.set()
            return 0
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step


class Noon:
    """A clock that stands."""

    def now(self) -> float:
        return 1000.0


async def kept(journal: Forgetful) -> None:
    """Let retention work until there is nothing more to do."""
    with anyio.fail_after(TIMEOUT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: retain(journal, 300, Noon(), unusable=StorageError))
            await journal.done.wait()
            tasks.cancel_scope.cancel()


async def test_it_goes_on_until_nothing_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Step follows step with a pause between, each by the time of now."""
    monkeypatch.setattr(retention, "PAUSE", 0.001)
    journal = Forgetful(5, 5, 2)
    await kept(journal)
    assert journal.asked == [700.0] * 4


async def test_a_file_in_trouble_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked or full database does not end the engine."""
    monkeypatch.setattr(retention, "CHECK_EVERY", 0.001)
    monkeypatch.setattr(retention, "MIN_CHECK_EVERY", 0.001)
    monkeypatch.setattr(retention, "PAUSE", 0.001)
    journal = Forgetful(StorageError("locked"), 5)
    await kept(journal)
    assert len(journal.asked) == 3


@pytest.mark.parametrize(("text", "seconds"), [("90d", 90 * 86_400.0), ("3600", 3600.0), (None, None)])
def test_keep_is_a_duration(tmp_path: Path, text: str | None, seconds: float | None) -> None:
    """Left out, everything is kept."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG + (f"storage: {{keep: {text}}}\n" if text else ""))
    assert load(path).storage.keep == seconds


@pytest.mark.parametrize("text", ["0", "soon", "-1d"])
def test_an_impossible_keep_is_refused_by_its_key(tmp_path: Path, text: str) -> None:
    """The sentence names the key."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG + f"storage: {{keep: {text}}}\n")
    with pytest.raises(ConfigError, match=r"storage\.keep"):
        load(path)


async def prune(path: Path, seq: int) -> None:
    """Delete what is older than an entry of News 2, 7 to 9; the story of all accounts begins at the same time."""
    with JournalReader.open(path) as reader:
        entry = reader.entry(seq)
    assert entry is not None
    journal = await JournalWriter.open(path, on_trouble=lambda *_: None)
    await journal.prune(entry.at)
    await journal.aclose(TIMEOUT)


async def test_a_replay_afterwards_is_still_true(run: Run, path: Path) -> None:
    """What is left agrees, and is counted as what it is."""
    await prune(path, 3)
    code, out, _ = run("replay", "--json")
    told = json.loads(out)
    assert (code, told["agrees"], told["records"], told["skipped_records"]) == (0, True, 13, 0)


async def test_an_explanation_afterwards_still_has_the_values(run: Run, path: Path) -> None:
    """The snapshot after the deleted entries is kept."""
    await prune(path, 3)
    told = json.loads(run("explain", "3", "--json")[1])
    assert told["snapshot"]["attempt"] == 1
    assert told["doubt"] is None
    _, _, err = run("explain", "2")
    assert "there are 3 to 15" in err


async def test_an_unknown_beginning_is_skipped_and_said(run: Run, path: Path) -> None:
    """A damaged record that retention deleted leaves a life that cannot be replayed; it does not count as agreement."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE journal SET attempt = 9 WHERE seq = 2")
        db.commit()
    await prune(path, 3)
    code, out, _ = run("replay", "--json")
    told = json.loads(out)
    assert (code, told["records"], told["skipped_records"], told["skipped_lives"]) == (0, 9, 4, 1)
    assert "Not replayed: 4 records of 1 lives" in run("replay")[1]
    assert "retention has deleted the beginning" in run("explain", "4")[1]
