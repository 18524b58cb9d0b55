"""``log replay --follow`` beside real engines: it checks them through kills, restarts and the loss of the database."""

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process

from adapters.sandbox import Fault, FaultKind, Sandbox
from tests.engine.harness import EngineHarness, all_are
from tests.timeouts import TIMEOUT

FOLLOW = ("log", "replay", "config.yaml", "--follow", "--json")


class Said:
    """The lines that a command prints."""

    def __init__(self, process: Process) -> None:
        self._process, self._rest = process, b""

    async def line(self) -> dict[str, Any]:
        """Return the next one."""
        assert self._process.stdout is not None
        with anyio.fail_after(TIMEOUT):
            while b"\n" not in self._rest:
                self._rest += await self._process.stdout.receive()
        first, _, self._rest = self._rest.partition(b"\n")
        found: dict[str, Any] = json.loads(first)
        return found


@pytest.mark.slow
async def test_an_engine_is_followed(tmp_path: Path) -> None:
    """Outages, ``kill -9``, a next engine and a lost database: every record agrees, and Ctrl+C is exit code 0."""
    harness = EngineHarness(tmp_path)
    async with Sandbox() as dc:
        harness.at(dc, "+9996620001", "+9996620002")
        async with harness.running() as engine:
            await harness.until(all_are("healthy", 2))
            async with harness.beside(*FOLLOW) as follower:
                said = Said(follower)
                assert (await said.line())["event"] == "following"
                await dc.inject(Fault(FaultKind.REFUSE, duration=0.5))
                await dc.inject(Fault(FaultKind.RESET))
                await harness.until(lambda at: any(entry.event == "NetworkLost" for entry in at.entries()))
                await harness.until(all_are("healthy", 2))
                engine.kill()
                await engine.wait()
                async with harness.running() as following:
                    await harness.until(lambda at: any(entry.life == 2 for entry in at.entries()))
                    await harness.until(all_are("healthy", 2))
                    (tmp_path / "data" / "engine.db").unlink()
                    await harness.until(all_are("healthy", 2))
                    assert await harness.finish(following, signal.SIGTERM) == 0
                await anyio.sleep(0.6)  # two reads of the journal
                follower.send_signal(signal.SIGINT)
                events = [await said.line()]
                while events[-1]["event"] != "ended":
                    events.append(await said.line())
                with anyio.fail_after(TIMEOUT):
                    assert await follower.wait() == 0
    assert events[-1]["agrees"] is True, events
    assert events[-1]["records"] > 10
    assert not [each for each in events if each["event"] == "restarted"], "the new file had all that was checked"


@pytest.mark.slow
async def test_a_spoilt_record_of_a_running_engine(tmp_path: Path) -> None:
    """A record that somebody changes as it is written is an incident: exit code 1, and one sentence that names it."""
    harness = EngineHarness(tmp_path)
    async with Sandbox() as dc:
        harness.at(dc, "+9996620001")
        async with harness.running():
            await harness.until(all_are("healthy", 1))
            with closing(sqlite3.connect(tmp_path / "data" / "engine.db")) as db:
                db.execute(
                    """CREATE TRIGGER spoil AFTER INSERT ON journal WHEN new.delay IS NOT NULL
                    BEGIN UPDATE journal SET delay = delay / 2 WHERE seq = new.seq; END"""
                )
                db.commit()
            async with harness.beside(*FOLLOW) as follower:
                said = Said(follower)
                assert (await said.line())["event"] == "following"
                await dc.inject(Fault(FaultKind.REFUSE, duration=0.5))
                await dc.inject(Fault(FaultKind.RESET))
                incident = await said.line()
                with anyio.fail_after(TIMEOUT):
                    assert await follower.wait() == 1
                assert follower.stderr is not None
                sentence = (await follower.stderr.receive()).decode()
    assert (incident["event"], incident["difference"]["field"]) == ("incident", "delay")
    assert sentence.startswith(f"incident: record {incident['difference']['seq']} of Account 1")
