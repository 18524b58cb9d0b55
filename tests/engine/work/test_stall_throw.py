"""Which tasks are thrown out, which never are, and how: real loops, threads and signals, and short limits."""

import asyncio
import itertools
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from engine.work.stall import SIGNAL, Stalled, watched
from tests.engine.work.blocking import (
    EVERY,
    JOB,
    OUTRAGEOUS,
    Lines,
    block,
    hold_the_loop_briefly,
    look_on,
    oversleep,
    read_on_a_deaf_line,
    run_away,
    said,
)
from tests.timeouts import TIMEOUT


@pytest.mark.parametrize("work", [run_away, oversleep, read_on_a_deaf_line])
async def test_a_job_that_blocks_for_ever_is_thrown_out_and_the_others_go_on(
    work: Callable[[], Awaitable[None]], lines: Lines
) -> None:
    """``while``, a sleep and a blocking read end by ``Stalled`` soon after the limit, and a neighbour goes on."""
    beats = list[float]()

    async def neighbour() -> None:
        while True:
            beats.append(time.monotonic())
            await anyio.sleep(0.01)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(neighbour)
        began = time.monotonic()
        task = await look_on(work, throw=True)
        tasks.cancel_scope.cancel()
    assert str(task.exception()).startswith(f"{JOB} blocked the event loop and was thrown out; let anyio.to_thread")
    longest = max(later - earlier for earlier, later in itertools.pairwise(beats))
    assert 0.3 <= longest < 5
    assert beats[-1] > began + longest
    assert said(lines, f"Throwing out {JOB}")


async def test_a_job_that_swallows_it_is_thrown_out_again(lines: Lines) -> None:
    """A bare ``except`` wins as long again as the job had at first, and no more."""

    async def stubborn() -> None:
        try:
            block(OUTRAGEOUS)
        except BaseException:
            block(OUTRAGEOUS)

    task = await look_on(stubborn, throw=True)
    assert isinstance(task.exception(), Stalled)
    assert len(said(lines, f"Throwing out {JOB}")) == 2


async def test_what_is_not_a_job_is_never_thrown_out(lines: Lines) -> None:
    """A handler of the user's that blocks for longer than a job may ends by itself, and was only reported."""
    task = await look_on(hold_the_loop_briefly, job=None, throw=True, throw_after=0.1)
    assert task.exception() is None
    assert said(lines, "stood still")
    assert not said(lines, "Throwing out")


async def test_a_job_that_has_just_begun_does_not_pay_for_another(lines: Lines) -> None:
    """The time that a task blocks before a job, without a beat in between, is not the job's."""

    async def job() -> None:
        block(0.2)

    async def late() -> None:
        following = asyncio.ensure_future(job())
        jobs[following] = JOB
        block(0.9)
        await following

    jobs = dict[asyncio.Task[Any], str]()
    async with watched(name=jobs.get, throw=True, every=EVERY, first_report=0.1, throw_after=0.7):
        await late()
        await anyio.sleep(4 * EVERY)
    assert said(lines, "in the task")
    assert not said(lines, "Throwing out")


class LateSignals:
    """The operating system, for a test: signals are sent, and come when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent = 0
        monkeypatch.setattr(signal, "pthread_kill", self.send)

    def send(self, _: int, __: int) -> None:
        """Keep a signal."""
        self.sent += 1

    def come(self) -> None:
        """Let the signal that was sent reach the thread that this is called in."""
        assert self.sent
        signal.raise_signal(SIGNAL)


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> LateSignals:
    """Return signals that are late."""
    return LateSignals(monkeypatch)


@pytest.mark.usefixtures("lines")
async def test_a_signal_reaches_a_job_that_still_blocks(signals: LateSignals) -> None:
    """However late the signal, it is for the job as long as that blocks the loop: what the next tests rely on."""

    async def job() -> None:
        block(0.8)
        signals.come()

    assert isinstance((await look_on(job, throw=True)).exception(), Stalled)


@pytest.mark.usefixtures("lines")
async def test_a_job_that_let_go_of_the_loop_is_not_thrown_out(signals: LateSignals) -> None:
    """A signal that comes after the loop went on hits no task."""

    async def job() -> None:
        block(0.8)
        await anyio.sleep(4 * EVERY)
        signals.come()

    assert (await look_on(job, throw=True)).exception() is None


@pytest.mark.usefixtures("lines")
async def test_what_follows_a_job_in_its_task_is_not_thrown_out(signals: LateSignals) -> None:
    """When the job's own code has just ended, the engine's code around it is not hit in its stead."""
    jobs = dict[asyncio.Task[Any], str]()

    async def around() -> None:
        task = asyncio.current_task()
        assert task is not None
        jobs[task] = JOB
        block(0.8)
        del jobs[task]
        signals.come()

    async with watched(name=jobs.get, throw=True, every=EVERY, throw_after=0.3):
        await asyncio.ensure_future(around())


@pytest.mark.usefixtures("lines")
async def test_the_code_that_runs_tasks_is_not_hit(signals: LateSignals) -> None:
    """When the job has just begun to wait, the exception would be the loop's, and the job would wait for ever."""

    class Answer(asyncio.Future[None]):
        """A future during whose use by the task the signal comes."""

        def add_done_callback(self, *given: Any, **context: Any) -> None:
            """Be waited for."""
            signals.come()
            super().add_done_callback(*given, **context)
            self.set_result(None)

    async def job() -> None:
        answer = Answer()
        block(0.8)
        await answer

    assert (await look_on(job, throw=True)).exception() is None


async def test_a_foreign_signal_harms_no_task(lines: Lines) -> None:
    """Nothing is raised in a job that is not to be thrown out."""

    async def job() -> None:
        signal.raise_signal(SIGNAL)

    assert (await look_on(job, throw=True)).exception() is None
    assert lines == []


async def test_without_throwing_no_handler_is_installed() -> None:
    """A program of the user's own that is only watched keeps its signals."""
    before = signal.getsignal(SIGNAL)
    async with watched(name=lambda _: None, throw=False):
        assert signal.getsignal(SIGNAL) is before


async def test_afterwards_handler_and_thread_are_as_before() -> None:
    """The previous handler is back, and no thread is left, also when the block ends by an error."""

    def mine(*_: Any) -> None:
        """Do nothing."""

    async def fail() -> None:
        async with watched(name=lambda _: None, throw=True):
            assert signal.getsignal(SIGNAL) is not mine
            raise ZeroDivisionError

    outer = signal.signal(SIGNAL, mine)
    try:
        with pytest.raises(ZeroDivisionError):
            await fail()
        assert signal.getsignal(SIGNAL) is mine
    finally:
        signal.signal(SIGNAL, outer)
    assert not [thread for thread in threading.enumerate() if "stall" in thread.name]


def test_throwing_off_the_main_thread_is_refused() -> None:
    """Only the main thread can be thrown out of something: elsewhere it is an error at once, not silence later."""
    became = list[str]()

    async def main() -> None:
        async with watched(name=lambda _: None, throw=True):
            became.append("watched")

    def elsewhere() -> None:
        try:
            asyncio.run(main())
        except ValueError:
            became.append("refused")

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(TIMEOUT)
    assert became == ["refused"]


@pytest.mark.usefixtures("lines")
def test_it_works_with_uvloop() -> None:
    """With the ``fast`` extra a job is named and thrown out the same."""
    uvloop = pytest.importorskip("uvloop")
    task = uvloop.run(look_on(oversleep, throw=True))
    assert isinstance(task.exception(), Stalled)
