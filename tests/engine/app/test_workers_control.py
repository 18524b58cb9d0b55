"""The one socket of an engine with workers: commands reach the worker that has the account."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from attrs import asdict, define, field

from engine.app.live_config import LiveConfig
from engine.app.stop import Stop
from engine.app.workers_control import WorkersControl
from engine.app.workers_outward import LATE_AFTER, WorkerReport, WorkersOutward
from engine.config import load
from engine.control import ControlServer, Request, Verb, ask
from engine.control.handlers import ControlHandlers
from engine.control.protocol import CommandOutcome, Unwritten
from engine.web.health import Vitals
from states.waits import RequestWait
from tests.timeouts import TIMEOUT

ACCOUNTS = ("News 1", "News 2", "Jobs", "Elsewhere")


@define
class Worker:
    """Some accounts of a worker."""

    names: list[str]
    asked: list[str] = field(factory=list)
    timeout: float = 5.0
    unwritten: Unwritten | None = None
    vitals: Vitals = field(factory=Vitals)

    def jobs_changed(self) -> None:
        """Note it."""
        self.asked.append("jobs")

    def memory(self) -> dict[str, Any]:
        """Say what each account has."""
        return {name: {"bytes": 1} for name in self.names}

    def waits(self) -> dict[str, list[RequestWait]]:
        """Say that one request waits."""
        return {self.names[0]: [RequestWait("SendMessage", 5.0, 2)]}

    async def look(self) -> None:
        """Do nothing."""

    async def retry(self, account: str) -> CommandOutcome:
        """Do it."""
        self.asked.append(f"retry {account}")
        return CommandOutcome(account, True, f"{account} is tried again")

    pause = resume = retry

    async def hold(self, account: str) -> CommandOutcome:
        """Do it."""
        self.asked.append(f"hold {account}")
        return CommandOutcome(account, True, f"{account} is paused")

    async def release(self, account: str) -> None:
        """Do it."""
        self.asked.append(f"release {account}")

    async def answer(self, request: Request) -> dict[str, Any] | None:
        """Report."""
        if request.do is Verb.REPORT:
            return {"ok": True, "vitals": asdict(self.vitals), "counts": {"healthy": len(self.names)}, "needed": 0}
        return None


@asynccontextmanager
async def parent(tmp_path: Path, *workers: Worker) -> AsyncIterator[tuple[Path, WorkersControl]]:
    """Serve the parent's socket and those of its workers; one more worker does not listen yet."""
    sockets = {number: tmp_path / f"{number}.sock" for number in range(1, len(workers) + 1)}
    control = WorkersControl(ACCOUNTS, lambda: {**sockets, 9: tmp_path / "none.sock"}, 1.0)
    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(TIMEOUT):
            for number, worker in enumerate(workers, 1):
                commands: Any = worker
                await tasks.start(ControlServer(sockets[number], commands, worker.answer).run)
            await tasks.start(ControlServer(tmp_path / "engine.sock", control, control.answer).run)
        yield tmp_path / "engine.sock", control
        tasks.cancel_scope.cancel()


async def command(path: Path, verb: Verb, account: str = "") -> dict[str, Any]:
    """Send a command as a command line does."""
    return await anyio.to_thread.run_sync(lambda: ask(path, Request(verb, account), timeout=TIMEOUT))


async def test_a_command_reaches_the_workers_that_have_the_accounts(tmp_path: Path) -> None:
    """The answers are one, in the order of the config; a worker without such an account does nothing."""
    one, two = Worker(["Jobs", "News 2"]), Worker(["News 1"])
    async with parent(tmp_path, one, two) as (path, _):
        answer = await command(path, Verb.RETRY, "News *")
    assert [(each["account"], each["done"]) for each in answer["accounts"]] == [("News 1", True), ("News 2", True)]
    assert (one.asked, two.asked) == (["retry News 2"], ["retry News 1"])


async def test_an_account_that_no_worker_has_now_is_told_of(tmp_path: Path) -> None:
    """It is on its way, or at another node; one of no config is unknown as ever."""
    async with parent(tmp_path, Worker(["Jobs"])) as (path, _):
        moving = await command(path, Verb.PAUSE, "Elsewhere")
        unknown = await command(path, Verb.PAUSE, "Elswhere")
    assert (moving["ok"], "no worker that answers has it now" in moving["error"]) == (False, True)
    assert (unknown["kind"], "Elsewhere" in unknown["error"]) == ("unknown_account", True)


async def test_a_worker_that_does_not_answer_is_named(tmp_path: Path) -> None:
    """It may have the account, and then waiting for a moment is no remedy; one that has ended is forgotten."""
    sockets = {3: tmp_path / "3.sock", 4: tmp_path / "4.sock"}
    control = WorkersControl(ACCOUNTS, lambda: sockets, 1.0)
    both = await control.pause("Jobs")
    assert both.said.startswith("Jobs: no worker that answers has it now, and workers 3, 4 do not answer: the log says")
    del sockets[3]
    assert "and worker 4 does not answer" in (await control.hold("Jobs")).said
    sockets.clear()
    assert "no worker of this engine has it now" in (await control.retry("Jobs")).said


async def test_a_hold_ends_with_the_connection_that_asked_for_it(tmp_path: Path) -> None:
    """The worker resumes the account, whatever became of the command."""
    worker = Worker(["News 1"])
    async with parent(tmp_path, Worker(["Jobs"]), worker) as (path, _):
        async with await anyio.connect_unix(path) as connection:
            await connection.send(b'{"do": "hold", "account": "News 1"}\n')
            assert b'"done": true' in await connection.receive()
            assert worker.asked == ["hold News 1"]
        with anyio.fail_after(TIMEOUT):
            while worker.asked != ["hold News 1", "release News 1"]:
                await anyio.sleep(0.01)


async def test_a_program_is_sent_to_a_worker(tmp_path: Path) -> None:
    """Its client follows, and that worker lets it in or knows where the account is."""
    line = b'{"do": "request", "program": "reader", "account": "Jobs", "layer": 200}'
    control = WorkersControl(ACCOUNTS, lambda: {2: tmp_path / "2" / "s", 1: tmp_path / "1" / "s"}, 1.0)
    answer = await ControlServer(tmp_path / "s", control, control.answer).answer(line)
    assert (answer["kind"], answer["directory"]) == ("elsewhere", str(tmp_path / "1"))
    control = WorkersControl(ACCOUNTS, dict, 1.0)
    assert (await ControlServer(tmp_path / "s", control, control.answer).answer(line))["kind"] == "busy"


async def test_what_the_workers_know_is_told_as_one(tmp_path: Path) -> None:
    """What is in memory, what waits, and what could not be written."""
    one = Worker(["News 1"], unwritten=Unwritten(3, "full"))
    two = Worker(["Jobs"], unwritten=Unwritten(4, "full"))
    async with parent(tmp_path, one, two) as (path, _):
        memory = await command(path, Verb.MEMORY)
        looked = await command(path, Verb.JOBS)
        info = await command(path, Verb.INFO)
    assert memory["memory"] == {"News 1": {"bytes": 1}, "Jobs": {"bytes": 1}}
    assert looked["unwritten"] == {"rows": 7, "why": "full"}
    assert looked["waits"] == {"News 1": [["SendMessage", 5.0, 2]], "Jobs": [["SendMessage", 5.0, 2]]}
    assert (one.asked[0], two.asked[0]) == ("jobs", "jobs")
    assert (info["accounts"], info["workers"]) == (4, [1, 2, 9])


async def test_the_parent_reports_the_worst_of_its_workers(tmp_path: Path) -> None:
    """A duration is that of the worst, numbers are sums; one that does not answer any more is late."""
    (tmp_path / "config.yaml").write_text(
        "telegram: {api_id: 1, api_hash: 0123456789abcdef0123456789abcdef}\naccounts: [{name: A, session: a}]\n"
    )
    one = Worker(["News 1", "News 2"], vitals=Vitals(journal_behind=2.0, journal_rows=3, journal_trouble="full"))
    two = Worker(["Jobs"], vitals=Vitals(journal_behind=1.0, journal_rows=4))
    async with parent(tmp_path, one, two) as (_, control):
        live = LiveConfig(partial(load, tmp_path / "config.yaml"))
        outward = WorkersOutward(live, control, Stop(), None, lambda: {1: 0.0, 2: 0.0})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outward.follow)
            with anyio.fail_after(TIMEOUT):
                while not outward._reports:
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        at = outward.vitals()
        assert (at.journal_behind, at.journal_rows, at.journal_trouble) == (2.0, 7, "full")
        assert at.loop_late < LATE_AFTER
        assert outward.status() == "3 of 3 accounts healthy; 2 workers"
        for number, report in outward._reports.items():
            outward._reports[number] = type(report)(report.at - 100.0, report.vitals, report.counts, report.needed)
        assert outward.vitals().loop_late >= 100.0


async def test_accounts_that_no_worker_has_are_not_ready(tmp_path: Path) -> None:
    """Without a lease all workers have none, such as on a full disk, and nobody is connected; so before the first."""
    (tmp_path / "config.yaml").write_text(
        "telegram: {api_id: 1, api_hash: 0123456789abcdef0123456789abcdef}\n"
        "accounts: [{name: A, session: a}, {name: B, session: b}]\n"
    )
    control = WorkersControl(ACCOUNTS, dict, 1.0)
    outward = WorkersOutward(LiveConfig(partial(load, tmp_path / "config.yaml")), control, Stop(), None, dict)
    outward._reports[1] = WorkerReport(0.0, Vitals(), {"healthy": 0}, 0)
    assert outward.health.readiness().problems == ["0 of 2 accounts are healthy, and ready_when is 90 % (2 unknown)"]
    outward._reports[1] = WorkerReport(0.0, Vitals(), {"healthy": 1, "paused": 1}, 0)
    assert outward.counts() == {"healthy": 1, "paused": 1}


async def test_an_engine_without_a_parent_reports_to_nobody(tmp_path: Path) -> None:
    """The command is refused in a sentence."""
    commands: Any = object.__new__(ControlHandlers)
    answer = await ControlServer(tmp_path / "s", commands).answer(b'{"do": "report"}')
    assert (answer["kind"], "is no worker" in answer["error"]) == ("refused", True)
