"""What is told without being asked for: to the service manager, and to a dead man's switch."""

import threading

import anyio
import pytest
import structlog
from attrs import define, field

from engine.web.heartbeat import Heartbeat
from engine.web.loop_lag import LoopLag
from engine.web.service import ServiceReports
from tests.timeouts import TIMEOUT


@define
class Manager:
    """A service manager that keeps what it hears, and when."""

    watchdog: float | None = None
    heard: list[tuple[float, str]] = field(factory=list)

    def ready(self) -> None:
        self._hear("READY")

    def stopping(self) -> None:
        self._hear("STOPPING")

    def alive(self) -> None:
        self._hear("WATCHDOG")

    def status(self, text: str) -> None:
        self._hear(text)

    def _hear(self, what: str) -> None:
        self.heard.append((anyio.current_time(), what))

    def words(self) -> list[str]:
        return [what for _, what in self.heard]


@pytest.mark.virtual
async def test_the_service_manager_hears_the_whole_life() -> None:
    """Ready first, a status when it changes, the watchdog twice in its time, and the end before the end."""
    manager, stop, status = Manager(watchdog=10.0), anyio.Event(), ["1 of 2"]
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ServiceReports(manager, lambda: status[0], lambda: False, stop).run)
        await anyio.sleep(21)
        status[0] = "2 of 2"
        await anyio.sleep(20)
        stop.set()
        await anyio.sleep(11)
        tasks.cancel_scope.cancel()
    words = manager.words()
    assert words[0] == "READY"
    assert [word for word in words if word.endswith("of 2")] == ["1 of 2", "2 of 2"]
    assert words.count("STOPPING") == 1
    fed = [at - began for at, what in manager.heard if what == "WATCHDOG"]
    assert fed == pytest.approx([5.0 * number for number in range(11)], abs=0.01)  # also while it stops


@pytest.mark.virtual
async def test_a_part_that_hangs_leaves_the_watchdog_hungry() -> None:
    """So the service manager replaces the process; when the part works again in time, it does not."""
    manager, hangs = Manager(watchdog=10.0), [False]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ServiceReports(manager, str, lambda: hangs[0], anyio.Event()).run)
        await anyio.sleep(6)
        before = manager.words().count("WATCHDOG")
        hangs[0] = True
        await anyio.sleep(60)
        assert manager.words().count("WATCHDOG") == before
        hangs[0] = False
        await anyio.sleep(6)
        assert manager.words().count("WATCHDOG") > before
        tasks.cancel_scope.cancel()


@pytest.mark.virtual
async def test_without_a_watchdog_nothing_is_fed() -> None:
    """The unit has no WatchdogSec."""
    manager = Manager()
    with anyio.move_on_after(60):
        await ServiceReports(manager, lambda: "", lambda: False, anyio.Event()).run()
    assert manager.words() == ["READY"]


class Refused(Exception):
    """What a ping raises."""


async def test_a_heartbeat_tells_a_failure_once_and_that_it_is_over() -> None:
    """However often it fails; and the URL is in no line."""
    url, answers, sent = "https://hc.example.org/TheKey", [False, False, False, True, True], anyio.Event()
    loop_thread, seen = threading.get_ident(), list[tuple[str, float, int]]()

    def ping(to: str, timeout: float) -> None:
        seen.append((to, timeout, threading.get_ident()))
        if not answers.pop(0):
            raise Refused("connection refused")

    def lives() -> bool:
        if not answers:
            sent.set()
        return bool(answers)

    with structlog.testing.capture_logs() as said:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Heartbeat(url, 0.001, ping, Refused, lives).run)
            with anyio.fail_after(TIMEOUT):
                await sent.wait()
            tasks.cancel_scope.cancel()
    assert [(each["event"], each["host"]) for each in said] == [
        ("heartbeat_failed", "hc.example.org"),
        ("heartbeat_answered", "hc.example.org"),
    ]
    assert "TheKey" not in str(said)
    assert [to for to, *_ in seen] == [url] * 5
    assert loop_thread not in {thread for *_, thread in seen}


@pytest.mark.virtual
async def test_an_engine_that_does_not_live_is_silent() -> None:
    """That is what the other machine waits for."""
    with anyio.move_on_after(600):
        await Heartbeat("https://x.example", 1.0, lambda *_: pytest.fail("sent"), Refused, lambda: False).run()


async def test_a_host_that_never_answers_holds_nobody_up() -> None:
    """The end does not wait for the thread, and there is one at most."""
    asked, release = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        asked.set()
        release.wait(TIMEOUT)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Heartbeat("https://x.example", 0.001, hang, Refused, lambda: True).run)
            with anyio.fail_after(TIMEOUT):
                while not asked.is_set():
                    await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
        assert not release.is_set()
    finally:
        release.set()


@pytest.mark.virtual
async def test_a_loop_on_time_is_not_late() -> None:
    """Each beat is told."""
    beats: list[float] = []
    lag = LoopLag(beats.append)
    assert lag.late == 0.0
    with anyio.move_on_after(5.2):
        await lag.run()
    assert beats == pytest.approx([0.0] * 10, abs=1e-6)
    assert lag.late == pytest.approx(0.0, abs=0.001)
