"""The machine that a benchmark runs on: what figures depend on besides the programs that are compared."""

import os
import platform
import sqlite3
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import telethon.crypto.aes

LIBRARIES: Final = (
    "telethon", "cryptg", "uvloop", "anyio", "attrs", "msgspec", "structlog", "transitions", "aiosqlite", "automat",
    "python-statemachine",
)  # fmt: skip
SMALL_WRITES: Final = 100


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy_seconds() -> float:
    """Return the CPU seconds that all programs of the machine have used since it started; 0 where nobody counts."""
    try:
        first = Path("/proc/stat").read_text("ascii").splitlines()[0]
    except OSError:
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, first.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def fsync_seconds(directory: Path) -> float:
    """Return what it takes to make a small write durable on the disk of a directory."""
    with (directory / "fsync").open("wb") as file:
        began = time.perf_counter()
        for _ in range(SMALL_WRITES):
            file.seek(0)
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        return (time.perf_counter() - began) / SMALL_WRITES


def cipher() -> str:
    """Return what Telethon encrypts with: it takes the first that it finds."""
    aes = telethon.crypto.aes
    if aes.cryptg:
        return "cryptg"
    return "OpenSSL by ctypes" if aes.libssl.decrypt_ige else "Python"


def describe(directory: Path) -> dict[str, str]:
    """Return the machine's state in words, by heading; ``directory`` is on the disk that is written to."""
    load = ", ".join(f"{part:.2f}" for part in os.getloadavg())
    return {
        "load average before": load,
        "processors": f"{cores()} × {_processor()}",
        "one fsync": f"{fsync_seconds(directory) * 1000:.2f} ms",
        "Python": f"{platform.python_version()} on {platform.system()} {platform.release()}",
        "SQLite": sqlite3.sqlite_version,
        "event loop": "uvloop" if find_spec("uvloop") else "asyncio",
        "cipher": cipher(),
        "libraries": ", ".join(f"{name} {found}" for name, found in _versions().items()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _versions() -> Mapping[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
