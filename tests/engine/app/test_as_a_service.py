"""An engine as its systemd unit has it: started, watched, reloaded and stopped, with the unit's own lines."""

import os
import re
import shlex
import signal
import socket
from pathlib import Path

import pytest

from adapters.sandbox import Sandbox
from tests.engine.harness import FAST, ROOT, EngineHarness, all_are

PHONE = "+9996620001"
UNIT = (ROOT / "deploy" / "systemd" / "holdfast.service").read_text("utf-8")
PROGRAM = "/opt/holdfast/bin/holdfast"


def setting(name: str) -> str:
    """Return what the unit sets."""
    [value] = re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    return str(value)


def words(name: str) -> list[str]:
    """Return a command line of the unit, behind the program."""
    program, *rest = shlex.split(setting(name))
    assert program == PROGRAM
    return rest


class Manager:
    """A service manager: hears what the engine tells it."""

    def __init__(self, name: str) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.listener.bind(f"\0{name}")
        self.listener.setblocking(False)
        self.said: list[str] = []

    def hears(self, *messages: str) -> bool:
        """Return whether it has heard all of these."""
        while True:
            try:
                self.said.append(self.listener.recv(4096).decode())
            except BlockingIOError:
                return set(messages) <= set(self.said)


@pytest.mark.slow
async def test_an_engine_does_what_its_unit_says(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ready, fed watchdog, a reload that is refused and one that is done, and an end in order with exit code 0."""
    name = f"holdfast-unit-{os.getpid()}-{tmp_path.name}"
    manager = Manager(name)
    assert (setting("Type"), setting("KillSignal"), words("ExecStart")) == ("notify", "SIGTERM", ["run", "config.yaml"])
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    monkeypatch.setenv("WATCHDOG_USEC", str(int(setting("WatchdogSec").removesuffix("s")) * 1_000_000))
    with manager.listener:
        async with Sandbox() as dc:
            harness.at(dc, PHONE)
            async with harness.running() as process:
                await harness.until(lambda _: manager.hears("READY=1", "WATCHDOG=1"))
                assert manager.said[0] == "READY=1"
                await harness.until(all_are("healthy", 1))
                good = harness.config.read_text()
                harness.config.write_text("accounts: none\n")
                code, said = await harness.command(*words("ExecReload"))
                assert (code, "Traceback" in said) == (2, False)
                harness.config.write_text(good.replace(FAST, FAST + "incidents: {after: 1m}\n"))
                code, said = await harness.command(*words("ExecReload"))
                assert code == 0, said
                assert "incidents.after" in said
                assert await harness.finish(process, signal.SIGTERM) == 0
        assert manager.hears("STOPPING=1")
