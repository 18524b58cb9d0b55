"""A worker: an engine in a process of its own, of which another process, its parent, is in charge.

It is a node with a life, a lease and a deadline of its own. From its parent it has the config, and then orders, one on
a line, some of which have another config; the end of that pipe is the end of the parent. Its log goes to the parent.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import anyio
import structlog
from attrs import asdict, evolve, field, frozen

from adapters.system import raise_limit
from engine import paths
from engine.app.engine import Engine
from engine.app.offered_config import OFFER, OfferedConfigs
from engine.app.process import CANCELLED, leave, served, tidy_memory
from engine.app.stop import Stop
from engine.config import Config
from engine.config.node import NodeSection
from engine.console import logs
from states.nodes import OF_WORKERS

STOP: Final = b"stop"
"""The order to end in an orderly way."""
BEAT: Final = b"beat"
"""The order to look at the store at once: accounts may be free."""
END_MARGIN: Final = 30.0
"""Seconds beyond the grace of ``shutting_down`` that a worker has when its parent has ended."""
_PR_SET_PDEATHSIG: Final = 1
_ORDER_BYTES: Final = 65_536

log = structlog.get_logger("holdfast.engine")


@frozen(kw_only=True)
class WorkerSection(NodeSection):
    """The section ``node`` of a worker."""

    number: int = 1
    fleet_directory: Path = field(default=Path())
    """The directory of all workers of this machine, which is the parent's."""
    metered: bool = False
    engine: str = ""
    """The identity of the parent: for whoever looks from outside, all its workers are one engine."""

    @property
    def known_as(self) -> str:
        """The name, which no person can give to a node."""
        return worker_name(super().known_as, self.number)

    @property
    def worker(self) -> int:
        """The number."""
        return self.number

    @property
    def is_metered(self) -> bool:
        """Whether the parent has somebody who asks for metrics."""
        return self.metered


def worker_name(node: str, number: int) -> str:
    """Return what a worker of a node is called."""
    return f"{node}{OF_WORKERS}{number}"


def directory_of(config: Config, number: int) -> Path:
    """Return the directory that a worker has for itself."""
    return config.storage.directory / paths.WORKERS / str(number)


def config_of(config: Config, number: int, count: int, engine: str = "") -> Config:
    """Return the config of one of ``count`` workers, from 1 on: what speaks for all of them is left to the parent.

    ``engine`` is the parent's identity.
    """
    most = config.node.accounts_at_most
    given: dict[str, Any] = asdict(config.node, recurse=False) | {"workers": 1}
    if most is not None:
        given["accounts_at_most"] = max(1, most // count + (number <= most % count))
    node = WorkerSection(
        **given,
        number=number,
        fleet_directory=config.storage.directory,
        metered=config.web is not None,
        engine=engine,
    )
    storage = evolve(config.storage, directory=directory_of(config, number))
    return evolve(config, node=node, storage=storage, web=None, heartbeat=None)


async def run_worker(config: Config, orders: int, lines: int) -> int:
    """Run a worker until its parent ends it, or ends itself; return the exit code.

    ``orders`` is the pipe from the parent, ``lines`` the one to it, for the log.
    """
    raise_limit(len(config.accounts))
    levels = {name: level.number for name, level in config.logging.levels.items()}
    with ExitStack() as files:
        change_log = files.enter_context(logs.relayed(lines, levels=levels))
        engine = Engine(config, throws_out=True, identity=getattr(config.node, "engine", "") or uuid4().hex)
        offers = engine.offers = OfferedConfigs()
        files.enter_context(engine.lock())
        engine.appliers["logging"] = lambda new: change_log(
            as_json=False, levels={name: level.number for name, level in new.logging.levels.items()}
        )
        engine.appliers["node.metered"] = lambda new: None  # whether the parent asks: it counts from the first time on
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_watch_signals, engine.stop)
            tasks.start_soon(follow_orders, orders, _actions(engine), offers.take, name="orders of the parent")
            tidy_memory()
            code = None
            code = await served(engine, None)
            tasks.cancel_scope.cancel()
        if code is None:
            log.error("engine_failed", detail=CANCELLED)
            code = 1
    leave(engine, code)
    return code


def _actions(engine: Engine) -> dict[bytes, Callable[[], None]]:
    """Return what is done upon each order; the empty one is the end of the parent."""

    def parent_gone() -> None:
        engine.stop.now()
        _end_within(engine.config.states.shutting_down.grace + END_MARGIN)

    return {STOP: engine.stop.now, BEAT: engine.look_for_accounts, b"": parent_gone}


async def follow_orders(
    descriptor: int, actions: dict[bytes, Callable[[], None]], take: Callable[[bytes], None] = lambda data: None
) -> None:
    """Do what the parent orders until it ends; what is no order is passed over. ``take`` is given a config."""
    os.set_blocking(descriptor, False)
    rest = b""
    while True:
        await anyio.wait_readable(descriptor)
        try:
            chunk = os.read(descriptor, _ORDER_BYTES)
        except BlockingIOError:
            continue
        *orders, rest = (rest + chunk).split(b"\n")
        for order in orders:
            word, _, data = order.partition(b" ")
            if word == OFFER:
                take(data)
            elif order and order in actions:
                actions[order]()
        if not chunk:
            actions[b""]()
            return


async def _watch_signals(stop: Stop) -> None:
    """End in an orderly way upon SIGTERM, however often it comes: only the parent is told to leave at once.

    A service manager sends it to all processes of a service, and the kernel when the parent has died.
    """
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            if number != signal.SIGHUP:
                stop.now()


def die_with(parent: int) -> None:
    """Have the kernel send SIGTERM to this process when ``parent`` ends (Linux); the end of its pipe says it, too."""
    if sys.platform == "linux":
        with_errors: Any = ctypes.CDLL(None, use_errno=True)
        with_errors.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def _end_within(limit: float) -> None:
    """End this process after so many seconds, if it has not ended in an orderly way by then."""

    def end() -> None:
        time.sleep(limit)
        os._exit(1)

    threading.Thread(target=end, name="holdfast end", daemon=True).start()
