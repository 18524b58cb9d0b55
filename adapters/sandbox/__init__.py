"""A Telegram data centre on loopback that speaks real MTProto, for clients that want to be hurt safely.

The unmodified Telethon client connects, logs in, sends, receives, and meets the faults that are injected.
"""

from adapters.sandbox.commands import Clear as Clear
from adapters.sandbox.commands import Push as Push
from adapters.sandbox.commands import Step as Step
from adapters.sandbox.errors import SandboxDied as SandboxDied
from adapters.sandbox.errors import SandboxError as SandboxError
from adapters.sandbox.faults import Fault as Fault
from adapters.sandbox.faults import FaultKind as FaultKind
from adapters.sandbox.process import SandboxProcess as SandboxProcess
from adapters.sandbox.server import Sandbox as Sandbox
