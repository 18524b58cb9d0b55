"""What the screen of ``run`` has when a reload changes the accounts, and what it does about incidents."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from attrs import define, evolve, field

from engine.app.live_screen import LOOK_INTERVAL, EngineSource
from engine.console.account_status import AccountStatus
from engine.console.logs import RecentLines
from engine.console.ranking import Ranking
from engine.screen.model import Do
from states.events import Connected, Elapsed, NetworkLost, Started, TurnGranted
from states.incident import Incident, IncidentKind, Severity
from tests.engine.commands import write_stories
from tests.states.harness import NOW, AccountDriver
from tests.timeouts import TIMEOUT

pytestmark = pytest.mark.anyio

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef}
accounts:
  - {name: New name, session: one}
"""
HEALTHY = [Started(), TurnGranted(generation=0), Connected()]
LOST = [*HEALTHY, NetworkLost(), Elapsed(generation=0), TurnGranted(generation=0), NetworkLost()]
INCIDENT = Incident(
    id=3, kind=IncidentKind.OUTAGE, cause="NetworkLost", severity=Severity.CRITICAL, since=1.0, opened=1.0,
    accounts=("New name",),
)  # fmt: skip


@define
class Watch:
    """The watch over incidents, as far as it is asked."""

    open: dict[int, Incident] = field(factory=dict)

    def acknowledge(self, number: int) -> Incident | None:
        if number in self.open:
            self.open[number] = evolve(self.open[number], acked=2.0)
        return self.open.get(number)


def source_of(directory: Path, names: list[str], watch: Watch | None = None) -> EngineSource:
    """Return the source of an engine that has these accounts, and stored data in a directory."""

    async def flush() -> None:
        """All is written."""

    engine: Any = SimpleNamespace(
        config=SimpleNamespace(
            accounts=[SimpleNamespace(name=name) for name in names],
            storage=SimpleNamespace(directory=directory / "data", database=None),
        ),
        fleet=SimpleNamespace(runners=dict.fromkeys(names)),
        incidents=SimpleNamespace(open=watch.open if watch is not None else {}, watch=watch),
        control=None,
        flush=flush,
    )
    return EngineSource(engine, Ranking(names, lambda name: AccountStatus(None)), RecentLines())


async def since(source: EngineSource, account: str) -> float:
    """Wait until it is known since when an account is in trouble."""
    at = AccountStatus(lost())
    with anyio.fail_after(TIMEOUT):
        while (found := source.trouble_since(account, at)) is None:
            await anyio.sleep(0.01)
    return found


def lost() -> Any:
    """Return where an account is after these events."""
    driver = AccountDriver()
    for event in LOST:
        driver.take(event)
    return driver.snapshot


async def test_the_trouble_of_an_account_that_comes_is_read(tmp_path: Path) -> None:
    """Under a new name, or anew after a change: it goes on, and one that left is forgotten."""
    await write_stories(tmp_path, CONFIG, {"Old bot": HEALTHY, "New name": LOST})
    source = source_of(tmp_path, ["Old bot"])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(source.follow)
        await anyio.sleep(LOOK_INTERVAL / 10)
        source.engine.fleet.runners["New name"] = None  # type: ignore[assignment]  # it is only looked up
        assert await since(source, "New name") == NOW + 4
        del source.engine.fleet.runners["New name"]
        source.forget("New name")
        assert source.trouble_since("New name", AccountStatus(lost())) is None
        source.engine.fleet.runners["New name"] = None  # type: ignore[assignment]  # as above
        assert await since(source, "New name") == NOW + 4
        tasks.cancel_scope.cancel()


async def test_a_key_for_an_account_that_is_gone_is_answered(tmp_path: Path) -> None:
    """In a sentence, whether the engine still starts or does not have it any more."""
    source = source_of(tmp_path, [])
    assert await source.perform(Do.PAUSE, "News") == "The engine is still starting; try again in a moment"
    source.engine.control = SimpleNamespace(timeout=1)  # type: ignore[assignment]  # nothing of it is used
    assert "does not run News now" in await source.perform(Do.PAUSE, "News")
    assert not source.knows("News")


async def test_incidents_are_shown_worst_first_and_acknowledged(tmp_path: Path) -> None:
    """By the watch of this engine; one that is over is told as such."""
    watch = Watch({3: INCIDENT, 5: evolve(INCIDENT, id=5)})
    source = source_of(tmp_path, [], watch)
    assert [each.id for each in source.incidents] == [3, 5]
    assert source.incidents is source.incidents
    assert (await source.acknowledge(3)).startswith("incident 3 is acknowledged: New name has no connection")
    assert [each.id for each in source.incidents] == [5, 3]
    assert "is over" in await source.acknowledge(9)
    assert "is over" in await source_of(tmp_path, []).acknowledge(3)
