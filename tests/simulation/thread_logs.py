"""The log's thread and the stall watch, under random programs."""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog.testing

from engine.console import log_thread
from engine.console.log_thread import LogThread
from engine.work import stall
from tests.simulation.thread_programs import run_loop
from tests.simulation.thread_support import drawn
from tests.simulation.threads import scheduler_now


class SlowHandler(logging.Handler):
    """Keeps what it is handed, sometimes slowly, and sometimes it fails."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        self.draw = draw
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if self.draw.random() < 0.1:
            time.sleep(self.draw.choice([0.001, 0.1, 3]))
        self.lines.append(record.getMessage())
        if self.draw.random() < 0.05:
            raise OSError("the terminal is gone")


def log_lines() -> object:
    """Each line is handed over once, those of one thread in their order, or it is counted as dropped."""
    draw = drawn()
    setattr(log_thread, "LINES_QUEUED", draw.choice([1, 3, 10_000]))  # noqa: B010 - final for everybody else
    handler = SlowHandler(draw)
    log = LogThread([handler])
    logger = logging.Logger("simulated")
    logger.addHandler(log)
    said: dict[str, int] = {}

    def speak(name: str) -> None:
        for number in range(draw.randrange(6)):
            logger.warning("%s %d", name, number)
            said[name] = number + 1
            if draw.random() < 0.4:
                time.sleep(draw.choice([0.001, 0.01, 0.02, 2]))

    threads = [threading.Thread(target=speak, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    speak("main")
    for thread in threads:
        thread.join()
    if draw.random() < 0.3:
        time.sleep(60)
        assert len(handler.lines) + log.dropped == sum(said.values()), "a line waits for a thread that sleeps"
    assert log.finish(300)
    assert not log._thread.is_alive()
    assert len(handler.lines) + log.dropped == sum(said.values()), (handler.lines, log.dropped, said)
    for name, count in said.items():
        mine = [int(line.split()[1]) for line in handler.lines if line.startswith(f"{name} ")]
        assert mine == sorted(set(mine)), mine
        assert not mine or mine[-1] < count
    return handler.lines


class StalledJobs:
    """Jobs on a watched loop, some of which block it, and what the watch said of them."""

    def __init__(self) -> None:
        self.draw = drawn()
        self.names: dict[object, str] = {}
        self.blocked: list[tuple[str, float, bool]] = []
        """Which job blocked for how long, and whether it was thrown out."""

    async def work(self, name: str) -> None:
        """Wait, and sometimes block."""
        task = asyncio.current_task()
        self.names[task] = name
        for _ in range(self.draw.randrange(5)):
            await asyncio.sleep(self.draw.random() * 3)
            if self.draw.random() < 0.4:
                seconds = self.draw.choice([0.05, 1, 5, 40, 100])
                began = time.monotonic()
                try:
                    time.sleep(seconds)  # noqa: ASYNC251 - that is what the watch is there for
                except stall.Stalled:
                    self.blocked.append((name, time.monotonic() - began, True))
                else:
                    self.blocked.append((name, seconds, False))

    async def run(self, *, throw: bool) -> object:
        """Run the jobs under the watch."""
        async with stall.watched(name=self.names.get, throw=throw):
            await asyncio.gather(*(self.work(name) for name in "abc"))
        return self.blocked


def stalls() -> object:
    """A job that blocks the loop for long is thrown out in time, another one never, and the watch ends."""
    jobs = StalledJobs()
    throw = jobs.draw.random() < 0.7
    with structlog.testing.capture_logs() as said:
        run_loop(jobs.run(throw=throw))
    reported = {each["event"] for each in said} & {"loop_stalled", "loop_behind"}
    late = scheduler_now().turns.latest
    assert "stall_watch_failed" not in {each["event"] for each in said}, said
    assert not reported or max(seconds for _, seconds, _ in jobs.blocked) >= stall.FIRST_REPORT
    if late < stall.SUSPENDED_AFTER / 5:
        assert reported or max([0, *(seconds for _, seconds, _ in jobs.blocked)]) < 2 * stall.FIRST_REPORT
    for name, seconds, thrown in jobs.blocked:
        if thrown:
            assert throw
            assert seconds >= stall.THROW_AFTER - 2 * stall.CHECK_EVERY, (name, seconds)
        elif throw and late < stall.SUSPENDED_AFTER / 5:  # checks that are later look like a machine that slept
            assert seconds <= stall.THROW_AFTER + 5 * (stall.CHECK_EVERY + late) + stall.CHECK_EVERY, (name, seconds)
    time.sleep(60)  # the watch is not waited for as long as that
    assert threading.active_count() == 1
    return jobs.blocked


PROGRAMS: Final[dict[str, Callable[[], object]]] = {each.__name__: each for each in (log_lines, stalls)}
