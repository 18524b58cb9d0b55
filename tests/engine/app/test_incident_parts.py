"""What a reload changes of incidents: how long a trouble may last, which ways accounts share, where their files are."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from attrs import evolve

from adapters.sqlite import JournalWriter
from engine.app.incidents import DIRECT, NETWORK, IncidentParts
from engine.app.journal import JournalTrouble
from engine.app.worker import WorkerSection
from engine.config import Config, load
from engine.incidents.watch import IncidentWatch
from states import Snapshot, State
from states.events import DatabaseUnavailable
from states.incident import Incident, IncidentKind, Severity
from states.incidents import Elapsed
from states.snapshot import Cause, Trouble
from tests.engine.config.texts import HEAD
from tests.engine.fakes import VirtualClock

LOST = Cause(event="NetworkLost", detail="connection reset")
ACCOUNTS = 4


def config_of(
    folder: Path, *, after: str = "2m", proxy: str = "", sessions: str = "sessions", accounts: int = ACCOUNTS
) -> Config:
    """Return a config; of its accounts all but the first go through ``proxy``."""
    lines = [
        f"  - {{name: A{number}, session: {sessions}/a{number}"
        + (f', proxy: "{proxy}"' if proxy and number > 1 else "")
        + "}\n"
        for number in range(1, accounts + 1)
    ]
    (folder / "config.yaml").write_text(f"{HEAD}accounts:\n{''.join(lines)}incidents: {{after: {after}}}\n", "utf-8")
    return load(folder / "config.yaml")


class Scene:
    """The incidents of an engine whose accounts are where a test says, at a time that it says."""

    def __init__(self, parts: IncidentParts, watch: IncidentWatch, clock: VirtualClock) -> None:
        self.parts, self.watch, self.clock = parts, watch, clock

    def see(self, state: State, *numbers: int, cause: Cause | None = None) -> None:
        """See accounts in a state, now."""
        for number in numbers:
            now = self.clock.now()
            self.watch.see(f"A{number}", Snapshot(state=state, since=now, life=1, cause=cause, deadline=now + 3600))

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.shift += seconds

    @property
    def open(self) -> list[Incident]:
        """The incidents that are open, once the time was looked at."""
        self.watch._tell(Elapsed())  # the loop has not seen the time pass
        return sorted(self.parts.open.values(), key=lambda each: each.id)


@asynccontextmanager
async def engine_of(config: Config, *, database: str | None = None) -> AsyncIterator[Scene]:
    """Begin with the incidents of a config, all accounts healthy."""
    clock = VirtualClock()
    journal = await JournalWriter.open(config.storage.directory / "engine.db", on_trouble=lambda *_: None)
    try:
        parts = IncidentParts(config, clock)
        scene = Scene(parts, await parts.begin(journal, journal.jobs.counts, database=database), clock)
        scene.watch.begin([account.name for account in config.accounts])
        scene.see(State.HEALTHY, *range(1, len(config.accounts) + 1))
        async with anyio.create_task_group() as tasks:
            for _, watcher in parts.watchers():
                tasks.start_soon(watcher)
            yield scene
            tasks.cancel_scope.cancel()
        await scene.watch.close()
    finally:
        assert await journal.aclose(5) == 0


async def test_a_shorter_after_holds_for_what_is_there(tmp_path: Path) -> None:
    """A trouble that is older than the new ``after`` is an incident at once; a longer one ends none."""
    async with engine_of(config_of(tmp_path)) as scene:
        scene.see(State.BACKOFF, 1, cause=LOST)
        scene.later(60)
        assert scene.open == []
        await scene.parts.use(config_of(tmp_path, after="30s"))
        assert [each.accounts for each in scene.open] == [("A1",)]
        await scene.parts.use(config_of(tmp_path, after="1h"))
        assert len(scene.open) == 1
        scene.see(State.BACKOFF, 2, cause=LOST)
        scene.later(1800)
        assert len(scene.open) == 1


async def test_accounts_that_get_a_proxy_share_it(tmp_path: Path) -> None:
    """Those that were direct and go through a proxy now are one incident of it, and so are those that were added."""
    async with engine_of(config_of(tmp_path)) as scene:
        assert scene.watch.ways("A2") == (DIRECT, NETWORK)
        proxy = "socks5://user:secret@127.0.0.1:1080"
        await scene.parts.use(config_of(tmp_path, proxy=proxy, accounts=ACCOUNTS + 1))
        scene.see(State.HEALTHY, *range(1, ACCOUNTS + 2))
        assert scene.watch.ways("A1") == (DIRECT, NETWORK)
        assert scene.watch.ways("A5") == ("the proxy socks5://127.0.0.1:1080", NETWORK)
        scene.see(State.BACKOFF, 2, 3, 4, 5, cause=LOST)
        scene.later(130)
        (found,) = scene.open
        assert (found.fleet, found.cause) == (True, "the proxy socks5://127.0.0.1:1080")
        assert found.accounts == ("A2", "A3", "A4", "A5")


async def test_files_that_are_elsewhere_share_another_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts whose sessions are on another disk now are one incident of that, and none with the engine's own file."""
    other = tmp_path / "other"
    other.mkdir()
    mounted = {os.path.realpath(other), "/"}
    monkeypatch.setattr(os.path, "ismount", lambda path: os.fspath(path) in mounted)
    async with engine_of(config_of(tmp_path)) as scene:
        assert scene.watch.disk_of("A1") == "the disk at /"
        await scene.parts.use(config_of(tmp_path, sessions="other"))
        assert scene.watch.disk_of("A1") == f"the disk at {os.path.realpath(other)}"
        for number in (1, 2):
            trouble = Trouble(event="DatabaseUnavailable", detail="disk full", since=scene.clock.now())
            at = Snapshot(state=State.HEALTHY, since=scene.clock.now(), life=1, database=trouble)
            scene.watch.see(f"A{number}", at)
        scene.parts.storage_trouble(DatabaseUnavailable(detail="disk full"))
        scene.later(130)
        mine, theirs = sorted(scene.open, key=lambda each: each.cause)
        assert (mine.cause, mine.accounts) == ("the disk at /", ())
        assert (theirs.cause, theirs.accounts) == (f"the disk at {os.path.realpath(other)}", ("A1", "A2"))


async def test_accounts_that_stay_go_on(tmp_path: Path) -> None:
    """One that reconnects and one that is called otherwise are in their incidents still; one that is removed is not."""
    config = config_of(tmp_path)
    async with engine_of(config) as scene:
        for number in (1, 2, 3):
            at = Snapshot(state=State.AUTH_FAILED, since=scene.clock.now(), life=1)
            scene.watch.see(f"A{number}", at)
            scene.watch.see(f"A{number}", evolve(at, state=State.SHUTTING_DOWN, resumes=State.AUTH_FAILED))
        first, second, fourth = (config.accounts[number] for number in (0, 1, 3))
        accounts = (evolve(first, proxy=(None,)), evolve(second, name="New"), fourth)
        await scene.parts.use(evolve(config, accounts=accounts), {"A2": "New"})
        for name in ("A1", "New"):
            scene.watch.see(name, Snapshot(state=State.AUTH_FAILED, since=scene.clock.now(), life=2))
        assert {each.id: each.accounts for each in scene.open} == {1: ("A1",), 2: ("New",)}


async def test_an_account_that_is_nobodys_has_ways_and_no_disk(tmp_path: Path) -> None:
    """What is asked for an account that the config does not have is answered, not raised."""
    async with engine_of(config_of(tmp_path)) as scene:
        assert scene.watch.ways("nobody") == (DIRECT, NETWORK)
        assert scene.watch.disk_of("nobody") is None


async def test_a_store_is_well_when_nobody_says_otherwise(tmp_path: Path) -> None:
    """The journal and the lease speak of one store; a journal that is closed says nothing more."""
    async with engine_of(config_of(tmp_path)) as scene:
        journal, lease = JournalTrouble(scene.parts), object()
        scene.parts.storage_trouble(DatabaseUnavailable(detail="disk full"), lease)
        journal(DatabaseUnavailable(detail="disk full"), 1)
        scene.later(130)
        (found,) = scene.open
        scene.parts.storage_trouble(None, lease)
        scene.later(310)
        assert [each.id for each in scene.open] == [found.id]
        journal.end()
        scene.later(310)
        assert scene.open == []


@pytest.mark.parametrize(("worker", "tells"), [(1, True), (2, False)])
async def test_one_worker_tells_of_the_store_of_all(tmp_path: Path, worker: int, *, tells: bool) -> None:
    """While it is away they cannot agree on who does."""
    config = config_of(tmp_path)
    section = WorkerSection(name="vm", number=worker)
    async with engine_of(evolve(config, node=section)) as scene:
        scene.parts.storage_trouble(DatabaseUnavailable(detail="disk full"))
        scene.later(130)
        assert len(scene.open) == tells


async def test_sessions_in_a_database_have_its_trouble(tmp_path: Path) -> None:
    """Together they are one incident with the store's own, which names no disk of this machine."""
    config = config_of(tmp_path)
    nodes = evolve(config, storage=evolve(config.storage, database="postgresql://db/fleet"))
    async with engine_of(nodes, database="postgresql://db/fleet") as scene:
        trouble = Trouble(event="DatabaseUnavailable", detail="postgresql://db/fleet: no room", since=scene.clock.now())
        for number in (1, 2):
            at = Snapshot(state=State.HEALTHY, since=scene.clock.now(), life=1, database=trouble)
            scene.watch.see(f"A{number}", at)
        scene.parts.storage_trouble(DatabaseUnavailable(detail="postgresql://db/fleet: no room"))
        scene.later(130)
        (found,) = scene.open
        assert (found.cause, found.accounts) == ("the shared store postgresql://db/fleet", ("A1", "A2"))


@pytest.mark.parametrize(("detail", "what"), [("postgresql://db: x", "session"), ("the file: x", "session file")])
def test_an_account_whose_session_cannot_be_written_is_told_where_it_is(detail: str, what: str) -> None:
    """A row has no file and no disk."""
    found = Incident(
        id=1, kind=IncidentKind.STORAGE, cause="DatabaseLocked", accounts=("A",), severity=Severity.CRITICAL,
        since=0, opened=0, detail=detail,
    )  # fmt: skip
    assert found.meaning == f"the {what} of A cannot be written; what is new waits in memory"
    assert ("disk" in found.action) == (what == "session file")
