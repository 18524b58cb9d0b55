"""The machine that the engine runs on: its clocks, and the lock that allows one engine per data directory."""

from adapters.system.clock import SteadyClock, SystemClock
from adapters.system.lock import EngineLock, Holder, LockHeld, holder_of

__all__ = ["EngineLock", "Holder", "LockHeld", "SteadyClock", "SystemClock", "holder_of"]
