"""A Telegram data centre on loopback that speaks real MTProto, for clients that want to be hurt safely.

The unmodified Telethon client connects, logs in, sends, receives, and meets the faults that are injected.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from adapters.sandbox.channels import ChannelMessage as ChannelMessage
    from adapters.sandbox.commands import Clear as Clear
    from adapters.sandbox.commands import Post as Post
    from adapters.sandbox.commands import Push as Push
    from adapters.sandbox.commands import Step as Step
    from adapters.sandbox.credentials import NumberStatus as NumberStatus
    from adapters.sandbox.errors import SandboxDied as SandboxDied
    from adapters.sandbox.errors import SandboxError as SandboxError
    from adapters.sandbox.faults import Fault as Fault
    from adapters.sandbox.faults import FaultKind as FaultKind
    from adapters.sandbox.process import SandboxProcess as SandboxProcess
    from adapters.sandbox.server import Sandbox as Sandbox

_HOMES: Final = {
    "ChannelMessage": "channels",
    "Clear": "commands",
    "Post": "commands",
    "Push": "commands",
    "Step": "commands",
    "NumberStatus": "credentials",
    "SandboxDied": "errors",
    "SandboxError": "errors",
    "Fault": "faults",
    "FaultKind": "faults",
    "SandboxProcess": "process",
    "Sandbox": "server",
}


def __getattr__(name: str) -> Any:
    """Imports a name when it is first asked for.

    Telethon takes a second to import, and `python -m adapters.sandbox` imports this package before it can say what
    is to become of Ctrl+C.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
