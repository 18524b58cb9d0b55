"""The machine that the engine runs on: its clocks, and the lock that makes an engine the only one."""

from adapters.system.clock import SteadyClock, SystemClock
from adapters.system.lock import EngineLock, Holder, LockHeld, holder_of

__all__ = ["EngineLock", "Holder", "LockHeld", "SteadyClock", "SystemClock", "holder_of"]
