"""Programs of threads that run by seed, in a process of their own: ``python -m tests.simulation.thread_programs NAME``.

Each seed runs the program once, in an order of its own. What a program returns is what it saw, as plain data; what must
hold of it is asserted in it, so that thousands of seeds can be run without a test for each.
"""

import argparse
import asyncio
import hashlib
import importlib
import json
import random
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from tests.simulation.thread_database import install_connections
from tests.simulation.thread_patches import install
from tests.simulation.thread_points import install_points
from tests.simulation.threads import NO_TURNS, PROCESS, Scheduler, Turns, scheduler_now, use

T = TypeVar("T")
WARM_UP: Final = 5
"""Runs before the first that counts: what is imported late, or kept, is then the same for each seed."""
POINTS: Final = ("adapters.sqlite", "adapters.session", "engine.console.log_thread", "engine.work.stall")
"""What is interrupted between two statements, too."""
STORIES: Final = ("thread_stories", "thread_sessions", "thread_logs", "socket_programs")
"""The modules of programs that use the product."""


class ThreadsLoop(asyncio.BaseEventLoop):
    """A loop that has timers and threads, and nothing else to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self

    def time(self) -> float:
        return scheduler_now().now

    def select(self, timeout: float | None) -> list[object]:
        scheduler_now().pass_time(timeout, lambda: self._ready)  # type: ignore[attr-defined]
        return []

    def _process_events(self, _: list[object]) -> None:
        pass

    def _write_to_self(self) -> None:
        scheduler_now().wake_main()
        scheduler_now().switch_point()


def run_loop(main: Awaitable[T]) -> T:
    """Run a coroutine on a loop of its own."""
    with asyncio.Runner(loop_factory=ThreadsLoop) as runner:
        return runner.run(main)  # type: ignore[arg-type]


def exclusion() -> object:
    """No two threads are in a block that a lock guards."""
    lock, inside, worst, order = threading.Lock(), 0, 0, []

    def work(name: str) -> None:
        nonlocal inside, worst
        for _ in range(3):
            with lock:
                inside += 1
                worst = max(worst, inside)
                scheduler_now().give_way()
                order.append(name)
                inside -= 1

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert worst == 1
    return "".join(order)


def race() -> object:
    """Two threads that add without a lock lose an addition in some orders, and in some they do not."""
    count = 0

    def add() -> None:
        nonlocal count
        before = count
        scheduler_now().switch_point()
        count = before + 1

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count


def waits() -> object:
    """A wait with a timeout ends exactly at it, a sleep after its time, and a join when the thread ends."""
    seen: dict[str, Any] = {}
    event, condition = threading.Event(), threading.Condition()
    start = time.monotonic()
    seen["event"] = [event.wait(2.5), time.monotonic() - start]
    with condition:
        seen["condition"] = [condition.wait_for(lambda: False, 1.5), time.monotonic() - start]
    thread = threading.Thread(target=lambda: time.sleep(3))
    thread.start()
    thread.join(1)
    seen["join"] = [thread.is_alive(), time.monotonic() - start]
    thread.join()
    seen["joined"] = [thread.is_alive(), time.monotonic() - start]
    lock = threading.Lock()
    with lock:
        seen["lock"] = [lock.acquire(timeout=0.5), lock.acquire(blocking=False), time.monotonic() - start]
    return seen


def notified() -> object:
    """``notify_all`` wakes all who wait, and ``notify`` loses nobody: what is put is taken, once."""
    condition, items, taken = threading.Condition(), list[int](), list[int]()

    def take() -> None:
        while True:
            with condition:
                condition.wait_for(lambda: items)
                item = items.pop(0)
            if item < 0:
                return
            taken.append(item)

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for item in range(6):
        with condition:
            items.append(item)
            condition.notify()
    with condition:
        items.extend([-1] * 3)
        condition.notify_all()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(6)), taken
    return taken


def deadlock() -> object:
    """Two threads that take two locks in opposite orders are found where they wait for each other."""
    first, second = threading.Lock(), threading.Lock()

    def take(one: threading.Lock, two: threading.Lock) -> None:
        with one, two:
            pass

    threads = [
        threading.Thread(target=take, args=(first, second), name="upwards"),
        threading.Thread(target=take, args=(second, first), name="downwards"),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return "no deadlock"


def livelock() -> object:
    """Two threads that give way to each other for ever, while main waits for them."""

    def spin() -> None:
        while True:
            scheduler_now().give_way()

    threads = [threading.Thread(target=spin, name=name) for name in "ab"]
    for thread in threads:
        thread.start()
    threads[0].join()
    return None


def failed() -> object:
    """An exception that ends a thread reaches the run, and its ``finally`` blocks have run."""
    seen = []

    def fail() -> None:
        try:
            raise LookupError("lost")
        finally:
            seen.append("finally")

    thread = threading.Thread(target=fail, name="unlucky")
    thread.start()
    thread.join()
    failures = scheduler_now().failures
    seen += [f"{each.thread}: {each.error!r}" for each in failures]
    failures.clear()
    return seen


def local() -> object:
    """What is local to a thread is its own, and so are its ident, its name and its context."""
    own, seen = threading.local(), {}

    def work(name: str) -> None:
        own.value = name
        PROCESS.set(name)
        for _ in range(3):
            time.sleep(0.1)
            seen[name] = [own.value, threading.current_thread().name, PROCESS.get()]

    threads = [threading.Thread(target=work, args=(name,), name=name) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not hasattr(own, "value")
    assert len({threading.get_ident(), *(thread.ident for thread in threads)}) == 3
    return seen


def killed() -> object:
    """The threads of a killed process never go on; its locks are free, and its joins end."""
    scheduler, lock, seen = scheduler_now(), threading.RLock(), list[str]()

    def hold() -> None:
        try:
            with lock:
                time.sleep(100)
        finally:
            seen.append("finally")

    token = PROCESS.set("first life")
    victim = threading.Thread(target=hold, name="victim")
    victim.start()
    PROCESS.reset(token)
    time.sleep(1)
    assert not lock.acquire(blocking=False)
    dead = scheduler.kill("first life")
    with lock:
        time.sleep(1000)
    victim.join()
    return [[each.name for each in dead], seen, threading.active_count()]


def workers() -> object:
    """The worker threads of asyncio and anyio are those of reality; no loop runs in them."""
    import anyio
    import anyio.to_thread

    def work(seconds: float) -> tuple[float, bool]:
        time.sleep(seconds)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return seconds, False
        return seconds, True

    async def main() -> object:
        start, loop = time.monotonic(), asyncio.get_running_loop()
        first = await asyncio.gather(
            *(loop.run_in_executor(None, work, float(seconds)) for seconds in (3, 2, 1)),
            *(anyio.to_thread.run_sync(work, float(seconds)) for seconds in (3, 2, 1)),
        )
        took = time.monotonic() - start
        with anyio.move_on_after(1) as abandoned:
            await anyio.to_thread.run_sync(work, 5.0, abandon_on_cancel=True)
        left = time.monotonic() - start - took
        with anyio.move_on_after(1):
            await anyio.to_thread.run_sync(work, 5.0)
        shielded = time.monotonic() - start - took - left
        return [list(first), abandoned.cancelled_caught, *(round(each) for each in (took, left, shielded))]

    return run_loop(main())


PROGRAMS: Final[dict[str, Callable[[], object]]] = {
    each.__name__: each
    for each in (exclusion, race, waits, notified, deadlock, livelock, failed, local, killed, workers)
}


def turns_of(seed: int) -> Turns:
    """Draw how often threads are interrupted and delayed: some races need many turns, others a single one."""
    draw = random.Random(f"turns {seed}")
    return Turns(
        yields=draw.choice([0.05, 0.3, 0.5]),
        late=draw.choice([0, 0.05, 0.3]),
        latest=draw.choice([0.001, 0.05, 0.5]),
        statements=draw.choice([0, 0.02, 0.1, 0.3]),
    )


def run(program: Callable[[], object], seed: int | None) -> dict[str, object]:
    """Run a program once; return what it saw, the order in which its threads ran, and the virtual time it took."""
    scheduler = use(Scheduler(seed, NO_TURNS if seed is None else turns_of(seed)))
    scheduler.trace = []
    told: dict[str, object] = {"seed": seed}
    try:
        told["saw"] = program()
        assert not scheduler.failures, "".join(each.describe() for each in scheduler.failures)
    except BaseException as exc:
        if isinstance(exc, KeyboardInterrupt):
            raise
        errors = [each.describe() for each in scheduler.failures]
        told["error"] = "".join([*traceback.format_exception(exc), *errors])
    order = hashlib.sha256(repr(scheduler.trace).encode()).hexdigest()[:16]
    return {**told, "switches": scheduler.switches, "took": scheduler.now, "order": order}


def main() -> int:
    """Run a program under seeds; print a line of JSON for each, or with --swarm only failures and a summary."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--seeds", default="0:1", help="from:to, or 'none' for first in, first out")
    parser.add_argument("--plain", action="store_true", help="no interruptions between statements")
    parser.add_argument("--swarm", action="store_true")
    args = parser.parse_args()
    install(Scheduler())
    install_connections()
    if not args.plain:
        install_points(*POINTS)
    programs = PROGRAMS
    for name in STORIES if args.name not in PROGRAMS else ():
        programs = programs | importlib.import_module(f"tests.simulation.{name}").PROGRAMS
    program = programs[args.name]
    for warming in range(-WARM_UP, 0) if program is not livelock else ():
        run(program, warming)
    first, _, last = args.seeds.partition(":")
    seeds = [None] if args.seeds == "none" else list(range(int(first), int(last)))
    failed_seeds, orders = [], set()
    for seed in seeds:
        told = run(program, seed)
        orders.add(told["order"])
        if "error" in told:
            failed_seeds.append(seed)
        if not args.swarm or ("error" in told and len(failed_seeds) <= 3):
            print(json.dumps(told) if not args.swarm else f"seed {seed}: {told['error']}", flush=True)
    if args.swarm:
        print(f"{args.name}: {len(seeds)} seeds, {len(orders)} orders, failed: {failed_seeds[:20]}")
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    import os

    os._exit(code)  # threads that were killed, or that idle, are not waited for
