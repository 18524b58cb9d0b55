"""The machine that the engine runs on: its clock, and the lock that makes an engine the only one."""

from adapters.system.clock import SystemClock
from adapters.system.lock import EngineLock, Holder, LockHeld, holder_of

__all__ = ["EngineLock", "Holder", "LockHeld", "SystemClock", "holder_of"]
