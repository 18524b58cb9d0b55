"""``doctor``: looks at everything that a run needs, and says what mends what is wrong. A composition root."""

import itertools
import os
import shlex
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import anyio
import anyio.to_thread
from attrs import frozen

from adapters.session import SessionError
from adapters.session.backup import last_good
from adapters.session.file import VERSION
from adapters.session.inspect import inspect, loose_permissions, turn_wal_on
from adapters.sqlite import StorageError, open_read_only
from adapters.sqlite.schema import VERSION as JOURNAL_VERSION
from adapters.system import holder_of
from adapters.telegram import Connector
from adapters.telegram.reach import Seen, look
from adapters.telegram.session import stored_address
from engine import layout
from engine.config import Account, Config, Sandbox
from engine.datacentre import connectors_outside
from engine.narrate import seconds

PATIENCE: Final = 3.0
"""Seconds that a look at the network may take."""
CHECK_PATIENCE: Final = 15.0
"""Seconds that any check may take."""
AT_ONCE: Final = 8
SPACE_LEAST: Final = 100 * 10**6
"""Bytes that should be free."""
LOG_LARGE: Final = 256 * 10**6
CLOCK_BEHIND, CLOCK_AHEAD = 300.0, 30.0
"""How far the data centre's clock may be behind ours, and ahead of it, before Telethon drops what it says (seconds)."""


@frozen
class Finding:
    """One line. ``well`` None is advice, which fails nothing; ``mend`` is a command or what a person can do."""

    about: str
    well: bool | None
    text: str
    mend: str = ""
    fixed: bool = False


async def examine(config: Config, *, fix: bool) -> list[Finding]:
    """Look at everything; change nothing unless ``fix``, and then only journal modes and permissions."""
    limit = anyio.CapacityLimiter(AT_ONCE)
    parts: list[list[Finding]] = [[] for _ in range(len(config.accounts) + 2)]

    async def run(place: int, about: str, check: Callable[[], Iterator[Finding]]) -> None:
        async with limit:
            parts[place] = await _bounded(about, check)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, 0, "storage", partial(_storage, config, fix))
        for place, account in enumerate(config.accounts, 1):
            tasks.start_soon(run, place, account.name, partial(_session, config, account, fix))
    try:
        parts[-1] = await _network(config)
    except Exception as exc:
        text = f"could not be looked at ({type(exc).__name__}: {exc})"
        parts[-1] = [Finding("network", False, text, "check telegram.datacenter in the config")]
    found = Finding("config", True, f"{config.path} can be used, {len(config.accounts)} accounts")
    return [found, *itertools.chain.from_iterable(parts)]


async def _bounded(about: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Run a check in a thread; whatever becomes of it is a finding."""
    try:
        with anyio.fail_after(CHECK_PATIENCE):
            return await anyio.to_thread.run_sync(lambda: list(check()), abandon_on_cancel=True)
    except TimeoutError:
        return [Finding(about, False, f"could not be looked at within {CHECK_PATIENCE:g} s", "see what holds the disk")]
    except Exception as exc:
        return [Finding(about, False, f"could not be looked at ({type(exc).__name__}: {exc})", "see its permissions")]


# --- storage ---------------------------------------------------------------------------------------------------------


def _storage(config: Config, fix: bool) -> Iterator[Finding]:
    directory = config.storage.directory
    holder = holder_of(directory / layout.LOCK)
    if holder is not None:
        since = datetime.fromtimestamp(holder.since).astimezone()
        yield Finding("engine", True, f"runs as process {holder.pid} since {since:%Y-%m-%d %H:%M:%S}")
    else:
        yield Finding("engine", True, "does not run on this data")
    if not directory.exists():
        yield Finding("storage", True, f"{directory} does not exist yet; run makes it")
        return
    if not os.access(directory, os.W_OK | os.X_OK):
        yield Finding("storage", False, f"{directory} cannot be written", _command("chmod", "u+rwx", str(directory)))
    yield from _permissions("storage", directory, fix)
    free = shutil.disk_usage(directory).free
    text = f"{free / 10**6:,.0f} MB are free on its disk"
    yield Finding("storage", free >= SPACE_LEAST, text, "" if free >= SPACE_LEAST else "free some space")
    database = directory / layout.DATABASE
    if not database.exists():
        yield Finding("journal", True, f"{database} does not exist yet; run makes it")
        return
    yield from _permissions("journal", database, fix)
    yield from _journal(config, database, fix=fix and holder is None)


def _journal(config: Config, path: Path, *, fix: bool) -> Iterator[Finding]:
    try:
        with closing(open_read_only(path, busy_timeout=PATIENCE)) as database:
            mode = database.execute("pragma journal_mode").fetchone()[0]
            version = database.execute("pragma user_version").fetchone()[0]
            sound = database.execute("pragma quick_check(1)").fetchone()[0]
    except (StorageError, sqlite3.Error) as exc:
        yield Finding("journal", False, str(exc), f"mv {shlex.quote(str(path))} {shlex.quote(str(path))}.damaged")
        return
    if mode != "wal" and fix:
        with closing(sqlite3.connect(path, timeout=PATIENCE)) as database:
            mode = database.execute("pragma journal_mode = wal").fetchone()[0]
        yield Finding("journal", mode == "wal", f"journal mode is {mode} now", fixed=True)
    else:
        yield Finding("journal", mode == "wal", f"journal mode is {mode}", "" if mode == "wal" else _fix(config))
    well = sound == "ok"
    yield Finding("journal", well, "is sound" if well else f"is damaged: {sound}", "" if well else "restore a copy")
    known = version <= JOURNAL_VERSION
    yield Finding(
        "journal", known, f"schema {version}" + ("" if known else f", known here is {JOURNAL_VERSION}"),
        "" if known else "update Holdfast",
    )  # fmt: skip
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size > LOG_LARGE:
        text = f"its log has {log.stat().st_size / 10**6:,.0f} MB"
        yield Finding("journal", None, text, "end the program that reads it all the time, such as log -f")


# --- sessions --------------------------------------------------------------------------------------------------------


def _session(config: Config, account: Account, fix: bool) -> Iterator[Finding]:
    name, path = account.name, account.session
    log_in = _command("python", "-m", "engine", "login", str(config.path), name)
    restore = _command("python", "-m", "engine", "session", "restore", str(config.path), name)
    backup = last_good(config.storage.directory / layout.BACKUPS, name)
    if not path.exists():
        sandbox = isinstance(config.telegram.datacenter, Sandbox) and account.phone
        mend = "" if sandbox else restore if backup else log_in
        yield Finding(name, bool(sandbox), f"{path} does not exist yet", mend)
        return
    found = inspect(path)
    if found.problem:
        yield Finding(name, False, f"{path}: {found.problem}", restore if backup else log_in)
        return
    yield from _permissions(name, path, fix)
    yield from _permissions(name, path.parent, fix)
    yield _journal_mode(config, name, path, found.journal or "", fix=fix and found.owner is None)
    yield Finding(name, bool(found.sound), "is sound" if found.sound else "is damaged", "" if found.sound else restore)
    if found.version != VERSION:
        text = f"schema {found.version}; the next run makes it {VERSION}, after a backup"
        yield Finding(name, None, text)
    yield Finding(name, bool(found.key), "has a login" if found.key else "has no login", "" if found.key else log_in)
    if found.owner:
        yield Finding(name, True, f"is used by {found.owner}")
    if found.locked:
        yield Finding(name, False, "another program holds its write lock", "end that program, or wait for its end")
    if backup:
        age = datetime.now(UTC) - backup.at
        yield Finding(name, True, f"last good backup is {seconds(max(0.0, age.total_seconds()))} old")
    elif found.key:
        command = _command("python", "-m", "engine", "session", "backup", str(config.path), name)
        yield Finding(name, None, "has no backup", command)


def _journal_mode(config: Config, name: str, path: Path, mode: str, *, fix: bool) -> Finding:
    if mode == "wal":
        return Finding(name, True, "journal mode is wal")
    if not fix:
        return Finding(name, False, f"journal mode is {mode}", _fix(config))
    try:
        turn_wal_on(path)
    except (SessionError, StorageError) as exc:
        return Finding(name, False, f"journal mode is {mode}: {exc}", _fix(config))
    return Finding(name, True, "journal mode is wal now", fixed=True)


def _permissions(about: str, path: Path, fix: bool) -> Iterator[Finding]:
    mode = loose_permissions(path)
    if mode is None:
        return
    private = mode & 0o700
    if fix:
        path.chmod(private)
        yield Finding(about, True, f"{path} is its owner's alone now", fixed=True)
    else:
        text = f"{path} can be used by others (mode {mode:o})"
        yield Finding(about, False, text, _command("chmod", f"{private:o}", str(path)))


# --- network and clock -----------------------------------------------------------------------------------------------


async def _network(config: Config) -> list[Finding]:
    """Look at each way to the data centre once, and at its clock."""
    if isinstance(config.telegram.datacenter, Sandbox):
        return [Finding("network", True, "the sandbox data centre starts with the engine")]
    ways = {connector.route: connector for connector in connectors_outside(config).values()}
    seen: dict[str, Seen] = {}
    async with anyio.create_task_group() as tasks:
        for route, connector in ways.items():
            tasks.start_soon(_look, route, connector, seen)
    findings = [_reached(route, found) for route, found in sorted(seen.items())]
    clocks = [found.clock for found in seen.values() if found.clock is not None]
    if not clocks:
        return [*findings, Finding("clock", None, "not compared, because no data centre answers")]
    offset = round(median(clocks))
    well = -CLOCK_BEHIND <= offset <= CLOCK_AHEAD
    text = (
        f"the data centre's is {abs(offset)} s {'behind' if offset < 0 else 'ahead of'} ours"
        if offset
        else "agrees with ours"
    )
    return [*findings, Finding("clock", well, text, "" if well else "timedatectl set-ntp true")]


async def _look(route: str, connector: Connector, seen: dict[str, Seen]) -> None:
    address = connector.address or await anyio.to_thread.run_sync(stored_address, connector.session)
    if address is None:
        seen[route] = Seen("dark")
        return
    seen[route] = await look(address, connector.failover.choose(), patience=PATIENCE)


def _reached(route: str, found: Seen) -> Finding:
    match found.reach:
        case "answers":
            return Finding("network", True, f"{route}: the data centre answers")
        case "accepts":
            text = f"{route}: somebody takes the connection, but no data centre answers"
            return Finding("network", False, text, "check host, port and proxy in the config")
        case _:
            return Finding("network", False, f"{route}: nobody is there", "check network, proxy and firewall")


def _fix(config: Config) -> str:
    return _command("python", "-m", "engine", "doctor", str(config.path), "--fix")


def _command(*words: str) -> str:
    return shlex.join(words)
