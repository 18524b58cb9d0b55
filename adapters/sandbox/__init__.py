"""A Telegram datacenter on loopback that speaks real MTProto, to test clients against faults.

The unmodified Telethon client connects, logs in, sends, receives, and meets the faults that are injected.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from adapters.sandbox.control.commands import Clear as Clear
    from adapters.sandbox.control.commands import PostMessage as PostMessage
    from adapters.sandbox.control.commands import Push as Push
    from adapters.sandbox.control.commands import TimedAction as TimedAction
    from adapters.sandbox.errors import SandboxDied as SandboxDied
    from adapters.sandbox.errors import SandboxError as SandboxError
    from adapters.sandbox.faults.fault import Fault as Fault
    from adapters.sandbox.faults.kinds import FaultKind as FaultKind
    from adapters.sandbox.process import SandboxProcess as SandboxProcess
    from adapters.sandbox.server.media import SandboxFile as SandboxFile
    from adapters.sandbox.server.sandbox import Sandbox as Sandbox
    from adapters.sandbox.store.channels import ChannelMessage as ChannelMessage
    from adapters.sandbox.store.credentials import NumberStatus as NumberStatus

_HOMES: Final = {
    "ChannelMessage": "store.channels",
    "Clear": "control.commands",
    "PostMessage": "control.commands",
    "Push": "control.commands",
    "TimedAction": "control.commands",
    "NumberStatus": "store.credentials",
    "SandboxDied": "errors",
    "SandboxError": "errors",
    "Fault": "faults.fault",
    "FaultKind": "faults.kinds",
    "SandboxProcess": "process",
    "Sandbox": "server.sandbox",
    "SandboxFile": "server.media",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use.

    Telethon takes a second to import, and ``python -m adapters.sandbox`` imports this package before it can decide what
    Ctrl+C does.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return sorted({*globals(), *_HOMES})
