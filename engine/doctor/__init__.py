"""``doctor``: checks everything that a run needs, and names a remedy for what is wrong. A composition root."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import anyio
import anyio.to_thread

from adapters.redaction import redacted
from adapters.sqlite import StorageError
from engine.config import Config
from engine.doctor import (
    accounts,
    alerts,
    database,
    dead_man,
    limits,
    network,
    nodes,
    session_files,
    session_rows,
    storage,
    web,
    work,
)
from engine.doctor.findings import Finding, as_data, unexpected, unfinished, verdict
from engine.doctor.session_files import SessionCheck

__all__ = ["Finding", "as_data", "run_checks", "verdict"]

CHECK_TIMEOUT: Final = 15.0
"""Seconds that any check may take; the timeouts inside a check are much shorter."""
NETWORK_TIMEOUT: Final = 60.0
MAX_CHECKS_AT_ONCE: Final = 8


async def run_checks(config: Config, *, fix: bool) -> list[Finding]:
    """Check everything. Only with ``fix`` are journal modes and permissions changed, and nothing else. Never raises."""
    found = [Finding("config", True, f"{config.path} can be used, {len(config.accounts)} accounts")]
    found += await _run_bounded("storage", partial(storage.check, config, fix))
    found += await _run_bounded("database", partial(database.check, config))
    found += await _run_bounded(nodes.NAME, partial(nodes.check, config))
    found += await _run_bounded(dead_man.NAME, partial(dead_man.check, config))
    found += await _run_bounded("open files", partial(limits.check, config))
    found += await _run_bounded("session_files", partial(session_files.check_directories, config, fix))
    found += await _run_bounded("sessions", partial(session_rows.check, config))
    checks = [SessionCheck(config, each, fix) for each in config.accounts if session_rows.is_in_file(config, each)]
    found += await _check_sessions(checks)
    found += session_files.find_shared_logins(checks)
    found += await _known_accounts(config)
    found += await _run_bounded("work", partial(work.check, config))
    found += await _run_bounded("alerts", partial(alerts.check, config))
    found += await _run_bounded("page", partial(web.check, config))
    stored = {check.account.name: check.inspection.address for check in checks if check.inspection}
    try:
        with anyio.fail_after(NETWORK_TIMEOUT):
            found += await network.check(config, stored)
    except TimeoutError:
        found.append(Finding("network", False, f"could not be checked within {NETWORK_TIMEOUT:g} s"))
    except Exception as exc:
        text = f"could not be checked ({type(exc).__name__}: {redacted(str(exc))})"
        found.append(Finding("network", False, text, "check telegram.datacenter in the config"))
    return found


async def _known_accounts(config: Config) -> list[Finding]:
    try:
        return await accounts.check(config)
    except TimeoutError:
        return [unfinished("journal", accounts.LOOK_TIMEOUT)]
    except StorageError:
        return []  # the check of the journal's file has said so
    except Exception as exc:
        return [unexpected("journal", exc)]


async def _check_sessions(checks: list[SessionCheck]) -> list[Finding]:
    limit = anyio.CapacityLimiter(MAX_CHECKS_AT_ONCE)
    parts: list[list[Finding]] = [[] for _ in checks]

    async def run(index: int, check: SessionCheck) -> None:
        async with limit:
            parts[index] = await _run_bounded(check.account.name, check.run)

    async with anyio.create_task_group() as tasks:
        for index, check in enumerate(checks):
            tasks.start_soon(run, index, check)
    return list(itertools.chain.from_iterable(parts))


async def _run_bounded(about: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Run a check in a thread; a timeout or an error becomes one more finding, after those made before it."""
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
