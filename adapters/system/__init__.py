"""The machine that the engine runs on: its clocks, its service manager, and the lock on a data directory."""

from typing import TYPE_CHECKING

from states.lazy_names import lazy_names

if TYPE_CHECKING:
    from adapters.system.clock import ContinuousClock, SteadyClock, SystemClock, WatchedClock
    from adapters.system.cores import usable_cores
    from adapters.system.dead_man import DeadMan, open_dead_man
    from adapters.system.descriptors import Descriptors, descriptors_for, raise_limit
    from adapters.system.errors import DeadManUnusable
    from adapters.system.lock import EngineLock, Holder, LockHeld, holder_of
    from adapters.system.service import ServiceManager
    from adapters.system.token_file import TokenUnusable, read_or_make_token, read_token
    from adapters.system.url_ping import PingFailed, ping

__all__ = [
    "ContinuousClock",
    "DeadMan",
    "DeadManUnusable",
    "Descriptors",
    "EngineLock",
    "Holder",
    "LockHeld",
    "PingFailed",
    "ServiceManager",
    "SteadyClock",
    "SystemClock",
    "TokenUnusable",
    "WatchedClock",
    "descriptors_for",
    "holder_of",
    "open_dead_man",
    "ping",
    "raise_limit",
    "read_or_make_token",
    "read_token",
    "usable_cores",
]

_HOMES = {
    "adapters.system.clock": ("ContinuousClock", "SteadyClock", "SystemClock", "WatchedClock"),
    "adapters.system.cores": ("usable_cores",),
    "adapters.system.dead_man": ("DeadMan", "open_dead_man"),
    "adapters.system.errors": ("DeadManUnusable",),
    "adapters.system.descriptors": ("Descriptors", "descriptors_for", "raise_limit"),
    "adapters.system.lock": ("EngineLock", "Holder", "LockHeld", "holder_of"),
    "adapters.system.url_ping": ("PingFailed", "ping"),
    "adapters.system.service": ("ServiceManager",),
    "adapters.system.token_file": ("TokenUnusable", "read_or_make_token", "read_token"),
}
"""The module of each name, which is imported when the name is first asked for: commands only ask who holds the lock."""

if not TYPE_CHECKING:  # a type checker would take any name for one of the package's
    __getattr__ = lazy_names(__name__, _HOMES)
