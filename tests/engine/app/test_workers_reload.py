"""The reload of an engine with workers: refused as a whole, or applied by all, also by those that answer late."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from unittest.mock import create_autospec

import anyio
import pytest
from attrs import define, field
from structlog.testing import capture_logs

from adapters.sqlite.errors import StorageError
from engine.app import workers_reload
from engine.app.stop import Stop
from engine.app.worker import BEAT, config_of
from engine.app.worker_process import Worker, WorkerProcess
from engine.app.workers_reload import WorkersReload
from engine.config import Config, load
from engine.control import ControlServer
from engine.control.protocol import RefusalReason, refuse
from tests.timeouts import TIMEOUT

pytestmark = pytest.mark.usefixtures("soon")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask late workers again at once."""
    monkeypatch.setattr(workers_reload, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(workers_reload, "END_SECONDS", 0.02)


def write(directory: Path, *accounts: str, node: str = "{name: eu, workers: 2}", rest: str = "") -> Path:
    """Write a config with these accounts, each a name and perhaps the session of another one."""
    named = [each.partition("=") for each in accounts]
    listed = "\n".join(f"  - {{name: {name}, session: {session or name}}}" for name, _, session in named)
    path = directory / "config.yaml"
    path.write_text(
        f"telegram: {{api_id: 1, api_hash: {'a' * 32}}}\naccounts:\n{listed}\n"
        f"storage: {{directory: data}}\nnode: {node}\n{rest}",
        "utf-8",
    )
    return path


@define
class Side:
    """A worker as its parent has it: what it is sent, and the answers of its process."""

    worker: Worker
    answers: dict[bool, dict[str, Any]] = field(factory=dict)
    """What it says to a trial (True), or to a reload, instead of doing it."""
    offered: dict[str, Config] = field(factory=dict)
    config: Config | None = None
    orders: list[bytes] = field(factory=list)
    dies: bool = False
    """Whether the process ends when it is asked to apply a config."""

    def offer(self, number: int, config: Config) -> None:
        """Take a config."""
        self.offered[str(number)] = config

    def order(self, order: bytes) -> None:
        """Take an order."""
        self.orders.append(order)

    async def reload(self, config: str, *, dry_run: bool) -> dict[str, Any]:
        """Apply it."""
        if dry_run in self.answers:
            return self.answers[dry_run]
        if not dry_run:
            self.config = self.offered[config]
        if self.dies and not dry_run:
            self.worker.end()
            return refuse(RefusalReason.FAILED, "it has died")
        return {"ok": True, "applied": not dry_run, "difference": {"code": []}, "lines": []}


@define
class Store:
    """Remembers what it is told."""

    done: list[tuple[str, list[str]]] = field(factory=list)
    records: Any = "a file"
    failure: StorageError | None = None
    older: Sequence[str] = ()

    async def apply_accounts(
        self, config: Config, life: int, details: Mapping[str, Any], *, changed: bool
    ) -> Sequence[str]:
        """Note it."""
        assert not life
        if self.failure is not None:
            raise self.failure
        self.done.append(("changed" if changed else "same", [each.name for each in config.accounts]))
        return self.older

    async def begin_added(self, config: Config) -> None:
        """Note it."""
        self.done.append(("added", [each.name for each in config.accounts]))


@define
class Parent:
    """A parent with two workers."""

    path: Path
    store: Store
    sides: list[Side]
    reload: WorkersReload
    used: list[Config]

    async def asked(self, *, dry_run: bool = False) -> dict[str, Any]:
        """Reload."""
        with anyio.fail_after(TIMEOUT):
            return await self.reload.answer(str(self.path), dry_run=dry_run)

    async def done(self) -> None:
        """Wait until nothing of a reload is left."""
        with anyio.fail_after(TIMEOUT):
            while ("added", ["a", "c"]) not in self.store.done:
                await anyio.sleep(0.01)


@asynccontextmanager
async def parent(directory: Path) -> AsyncIterator[Parent]:
    """Run the part of a parent that reloads, with workers that listen."""
    config = load(write(directory, "a", "b"))
    store, used, sides = Store(), list[Config](), list[Side]()
    for number in (1, 2):
        worker = Worker(number, config_of(config, number, 2))
        worker.directory.mkdir(parents=True)
        side = Side(worker)
        worker.process = cast("Any", side)
        sides.append(side)

    def config_for(new: Config, number: int) -> Config:
        return config_of(new, number, 2)

    workers = [side.worker for side in sides]
    reload = WorkersReload(config, cast("Any", store), workers, config_for, lambda config: None, used.append, Stop())
    async with anyio.create_task_group() as tasks:
        for side in sides:
            await tasks.start(ControlServer(side.worker.socket, cast("Any", side)).run)
        tasks.start_soon(reload.run)
        yield Parent(directory / "config.yaml", store, sides, reload, used)
        tasks.cancel_scope.cancel()


async def test_all_workers_apply_what_the_parent_has_read(tmp_path: Path) -> None:
    """The answer speaks for all; what was added begins after the last of them has it, and they are told to look."""
    async with parent(tmp_path) as it:
        write(tmp_path, "a", "c")
        answer = await it.asked()
        assert answer["ok"], answer
        assert (answer["difference"]["added"], answer["difference"]["removed"]) == (["c"], ["b"])
        assert (answer["workers"], answer["waiting"]) == ({"applied": [1, 2], "waiting": []}, [])
        assert it.store.done == [("changed", ["a", "c"]), ("added", ["a", "c"])]
        assert [side.config for side in it.sides] == [side.worker.config for side in it.sides]
        assert it.sides[1].worker.config.node.known_as == "eu#2"
        assert [each.name for each in it.sides[0].worker.config.accounts] == ["a", "c"]
        assert it.used == [it.reload.config]
        assert [side.orders[-1] for side in it.sides] == [BEAT, BEAT]


@pytest.mark.parametrize(
    ("accounts", "other", "words"),
    [
        ("ab", {"node": "{name: other, workers: 2}"}, "node cannot change while the engine runs"),
        ("ab", {"rest": "nodee: {}"}, "unknown key"),
        (["z=a", "b"], {}, "workers cannot give an account another name"),
    ],
)
async def test_a_config_that_cannot_be_is_refused_by_the_parent(
    tmp_path: Path, accounts: Sequence[str], other: dict[str, str], words: str
) -> None:
    """In the sentences that one engine has, before any worker hears of it."""
    async with parent(tmp_path) as it:
        write(tmp_path, *accounts, **other)
        answer = await it.asked()
        assert words in answer["error"]
        assert not any(side.offered for side in it.sides)
        assert not it.store.done


async def test_what_one_worker_refuses_no_worker_applies(tmp_path: Path) -> None:
    """Only workers know the code of their modules."""
    async with parent(tmp_path) as it:
        it.sides[1].answers[True] = refuse(RefusalReason.BAD_CONFIG, "mod cannot be imported")
        before = it.reload.config
        write(tmp_path, "a", "c")
        answer = await it.asked()
        assert (answer["kind"], answer["error"]) == (RefusalReason.BAD_CONFIG, "mod cannot be imported")
        assert it.reload.config is before
        assert not it.store.done
        assert [side.config for side in it.sides] == [None, None]


async def test_a_store_that_cannot_be_written_refuses_it(tmp_path: Path) -> None:
    """Nothing was changed then, and a process that begins has the config of before."""
    async with parent(tmp_path) as it:
        it.store.failure = StorageError("the disk is full")
        write(tmp_path, "a", "c")
        answer = await it.asked()
        assert (answer["kind"], answer["error"]) == (RefusalReason.FAILED, "nothing was changed: the disk is full")
        assert [len(side.worker.config.accounts) for side in it.sides] == [2, 2]
        assert [side.config for side in it.sides] == [None, None]


async def test_a_trial_changes_nothing(tmp_path: Path) -> None:
    """It says what would be done."""
    async with parent(tmp_path) as it:
        write(tmp_path, "a", "c")
        answer = await it.asked(dry_run=True)
        assert (answer["applied"], answer["difference"]["added"]) == (False, ["c"])
        assert not it.store.done
        assert not it.used


async def test_a_worker_that_answers_late_is_asked_until_it_has_the_config(tmp_path: Path) -> None:
    """The answer names it and says what follows; nothing that was added begins while it does not know it."""
    async with parent(tmp_path) as it:
        it.sides[0].answers[False] = refuse(RefusalReason.FAILED, "no lease now")
        write(tmp_path, "a", "c")
        answer = await it.asked()
        assert answer["workers"] == {"applied": [2], "waiting": [{"worker": 1, "why": "no lease now"}]}
        assert answer["waiting"][0].startswith("worker 1 has not applied it (no lease now): it is asked again")
        assert "accounts that were added begin then" in answer["waiting"][0]
        assert it.store.done == [("changed", ["a", "c"])]
        it.sides[0].answers.clear()
        await it.done()
        assert it.sides[0].config == it.sides[0].worker.config


async def test_a_worker_that_dies_meanwhile_starts_with_the_new_config(tmp_path: Path) -> None:
    """It is not waited for: what it is given at its start is never the config of before, nor half of the new one."""
    async with parent(tmp_path) as it:
        it.sides[0].dies = True
        write(tmp_path, "a", "c")
        with capture_logs() as log:
            answer = await it.asked()
        assert "worker_not_reloaded" not in [each["event"] for each in log]
        assert answer["waiting"] == []
        assert it.store.done[-1] == ("added", ["a", "c"])
        worker = it.sides[0].worker
        assert [each.name for each in worker.config.accounts] == ["a", "c"]
        process = create_autospec(WorkerProcess, instance=True)
        worker.begin(process, ["run"])
        process.configure.assert_called_once_with(worker.config, ["run"])
        assert not worker.is_behind


async def test_without_a_worker_that_answers_nothing_is_changed(tmp_path: Path) -> None:
    """Nobody could say whether the modules can be imported, and a worker that cannot start ends the engine."""
    async with parent(tmp_path) as it:
        for side in it.sides:
            side.worker.end()
        write(tmp_path, "a", "c")
        answer = await it.asked()
        assert (answer["kind"], answer["error"].partition(",")[0]) == (RefusalReason.BUSY, "no worker answers")
        assert not it.store.done


async def test_a_process_that_began_with_the_config_of_before_gets_the_new_one(tmp_path: Path) -> None:
    """One that was being started during the trial, and listens now."""
    async with parent(tmp_path) as it:
        it.sides[0].answers[True] = refuse(RefusalReason.BUSY, "it is just starting")
        write(tmp_path, "a", "c")
        answer = await it.asked()
        assert answer["workers"]["applied"] == [1, 2]
        assert it.sides[0].config == it.sides[0].worker.config


async def test_another_config_and_an_end_are_refused(tmp_path: Path) -> None:
    """As by one engine."""
    async with parent(tmp_path) as it:
        answer = await it.reload.answer("/etc/other.yaml", dry_run=False)
        assert "the running engine has another config" in answer["error"]
        it.reload.stop.now()
        assert "is being stopped" in (await it.asked())["error"]


async def test_a_signal_reloads_and_other_nodes_are_told_apart_from_workers(
    tmp_path: Path,
) -> None:
    """The log says which other nodes have older configs; the workers have been asked."""
    async with parent(tmp_path) as it:
        it.store.older = ("eu#1", "eu#2", "us")
        write(tmp_path, "a", "c")
        with capture_logs() as log:
            it.reload.by_signal()
            await it.done()
        assert [each["names"] for each in log if each["event"] == "node_configs_older"] == ["us"]
