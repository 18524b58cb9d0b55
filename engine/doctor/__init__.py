"""``doctor``: looks at everything that a run needs, and says what mends what is wrong. A composition root."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import anyio
import anyio.to_thread

from engine.config import Config
from engine.doctor import network, session_files, storage
from engine.doctor.findings import Finding, unexpected, unfinished, verdict
from engine.doctor.session_files import SessionCheck

__all__ = ["Finding", "examine", "verdict"]

CHECK_TIMEOUT: Final = 15.0
"""Seconds that any check may take; the waits in it are much shorter."""
NETWORK_TIMEOUT: Final = 60.0
AT_ONCE: Final = 8


async def examine(config: Config, *, fix: bool) -> list[Finding]:
    """Look at everything; change nothing unless ``fix``, and then only journal modes and permissions. Never raises."""
    found = [Finding("config", True, f"{config.path} can be used, {len(config.accounts)} accounts")]
    found += await _bounded("storage", partial(storage.look, config, fix))
    found += await _bounded("session_files", partial(session_files.directories, config, fix))
    checks = [SessionCheck(config, account, fix) for account in config.accounts]
    found += await _sessions(checks)
    found += session_files.doubles(checks)
    stored = {check.account.name: check.inspection.address for check in checks if check.inspection}
    try:
        with anyio.fail_after(NETWORK_TIMEOUT):
            found += await network.examine(config, stored)
    except TimeoutError:
        found.append(Finding("network", False, f"there was no end of it within {NETWORK_TIMEOUT:g} s"))
    except Exception as exc:
        text = f"could not be looked at ({type(exc).__name__}: {exc})"
        found.append(Finding("network", False, text, "check telegram.datacenter in the config"))
    return found


async def _sessions(checks: list[SessionCheck]) -> list[Finding]:
    limit = anyio.CapacityLimiter(AT_ONCE)
    parts: list[list[Finding]] = [[] for _ in checks]

    async def run(place: int, check: SessionCheck) -> None:
        async with limit:
            parts[place] = await _bounded(check.account.name, check.look)

    async with anyio.create_task_group() as tasks:
        for place, check in enumerate(checks):
            tasks.start_soon(run, place, check)
    return list(itertools.chain.from_iterable(parts))


async def _bounded(about: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Run a check in a thread; whatever becomes of it is a finding, and what it found before stays."""
    found: list[Finding] = []

    def collect() -> None:
        for finding in check():
            found.append(finding)

    try:
        with anyio.fail_after(CHECK_TIMEOUT):
            await anyio.to_thread.run_sync(collect, abandon_on_cancel=True)
    except TimeoutError:
        return [*found, unfinished(about, CHECK_TIMEOUT)]
    except Exception as exc:
        return [*found, unexpected(about, exc)]
    return found
