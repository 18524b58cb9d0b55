"""What ``status --watch`` has when the config changes meanwhile, and what it does about incidents."""

import os
import time
from pathlib import Path

import anyio
import pytest
from attrs import define, field

from adapters.sqlite import JournalWriter
from adapters.sqlite.incident_reader import IncidentReader
from engine.cli import watch
from engine.cli.status import _Looks
from engine.cli.watch import FileSource
from engine.config import load_outline
from engine.console.account_status import AccountStatus
from engine.console.status import EngineInfo
from engine.screen.model import Do
from states import Snapshot, State
from states.incident import Incident
from states.job import JobSummary
from tests.engine.commands import write_stories
from tests.states.incident_support import Told, needs
from tests.timeouts import TIMEOUT

pytestmark = pytest.mark.anyio

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef}
accounts:
  - {name: News, session: one}
"""


@define
class Found:
    """What a look has found."""

    accounts: dict[str, AccountStatus]
    incidents: list[Incident] = field(factory=list)
    info: EngineInfo = field(factory=lambda: EngineInfo(running=True))
    jobs: JobSummary = field(factory=JobSummary)
    code: int = 0


def healthy(*names: str) -> dict[str, AccountStatus]:
    return {name: AccountStatus(Snapshot(state=State.HEALTHY)) for name in names}


async def test_accounts_that_come_and_go_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ranking is of those that there are; a key for one that has just gone is answered."""
    monkeypatch.setattr(watch, "WATCH_INTERVAL", 0.01)
    seen = Found(healthy("News", "Old bot"))
    source = FileSource(tmp_path, lambda: seen, seen)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(source.follow)
        seen = Found(healthy("News", "Bold"))
        with anyio.fail_after(TIMEOUT):
            while "Bold" not in source.ranking:
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert [name for name, _ in source.ranking.ordered()] == ["Bold", "News"]
    assert (source.knows("Bold"), source.knows("Old bot")) == (True, False)
    assert "does not know Old bot" in await source.perform(Do.PAUSE, "Old bot")


async def test_the_accounts_of_a_changed_config_are_shown(tmp_path: Path) -> None:
    """At the next look; a file that is being edited changes nothing."""
    await write_stories(tmp_path, CONFIG, {"News": []})
    path = tmp_path / "config.yaml"
    looks = _Looks(load_outline(path), None)
    assert list(looks().accounts) == ["News"]
    path.write_text(CONFIG + "  - {name: Shop, session: two}\n")
    assert list(looks().accounts) == ["News", "Shop"]
    path.write_text("accounts: [")
    os.utime(path, (time.time() + 5,) * 2)
    assert list(looks().accounts) == ["News", "Shop"]


async def test_the_accounts_that_were_asked_for_may_go(tmp_path: Path) -> None:
    """A pattern that no account fits at first is refused; one that fits no more shows that there is none."""
    await write_stories(tmp_path, CONFIG, {})
    path = tmp_path / "config.yaml"
    with pytest.raises(SystemExit):
        _Looks(load_outline(path), "Shop")()
    looks = _Looks(load_outline(path), "New*")
    assert list(looks().accounts) == ["News"]
    path.write_text(CONFIG.replace("News", "Olds too"))
    assert list(looks().accounts) == []


async def test_an_incident_is_acknowledged_in_the_file(tmp_path: Path) -> None:
    """As ``incidents ack`` does; what cannot be written, and an incident that there is not, are told in a sentence."""
    await write_stories(tmp_path, CONFIG, {"News": []})
    law = Told(now=time.time() - 600)
    law.tell(needs("News"))
    file = tmp_path / "data" / "engine.db"
    journal = await JournalWriter.open(file, on_trouble=lambda *_: None)
    await journal.incidents.keep(law.changes)
    assert await journal.aclose(5) == 0
    seen = Found(healthy("News"), list(law.book.open.values()))
    source = FileSource(tmp_path / "data", lambda: seen, seen)
    assert [each.id for each in source.incidents] == [1]
    assert await source.acknowledge(1) == "incident 1 is acknowledged: News cannot go on before somebody acts"
    with IncidentReader.open(file) as reader:
        assert reader.incidents()[0].acked is not None
    assert "there was none" in await source.acknowledge(7)
    file.unlink()
    assert "engine.db" in await source.acknowledge(1)
