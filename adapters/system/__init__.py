"""The machine that the engine runs on: its clocks, and the lock that allows one engine per data directory."""

from adapters.system.clock import ContinuousClock, SteadyClock, SystemClock, WatchedClock
from adapters.system.descriptors import Descriptors, descriptors_for, raise_limit
from adapters.system.lock import EngineLock, Holder, LockHeld, holder_of

__all__ = [
    "ContinuousClock",
    "Descriptors",
    "EngineLock",
    "Holder",
    "LockHeld",
    "SteadyClock",
    "SystemClock",
    "WatchedClock",
    "descriptors_for",
    "holder_of",
    "raise_limit",
]
