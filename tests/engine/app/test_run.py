"""``run`` as its user meets it: a process, real Telethon clients, a datacenter that hurts them, real signals."""

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from adapters.sandbox import Fault, FaultKind, Sandbox
from states import State
from tests.engine.harness import COMPLAINTS, FAST, EngineHarness, all_are, entries
from tests.timeouts import TIMEOUT

PHONES = ("+9996620001", "+9996620002", "+9996620003")
SLOW_BACKOFF = FAST.replace("first: 100ms, factor: 2, cap: 500ms", "first: 1h, factor: 2, cap: 1h")

SCENARIO = """
sandbox:
  scenario:
    - {at: 800ms, do: reset, account: Account 1}
    - {at: 800ms, do: refuse, account: Account 2, for: 600ms}
    - {at: 800ms, do: close, account: Account 2}
    - {at: 800ms, do: blackhole, account: Account 3, for: 250ms}
    - {at: 1600ms, do: accept_then_close, account: Account 1, for: 500ms}
    - {at: 1600ms, do: reset, account: Account 1}
    - {at: 1600ms, do: blackhole, account: Account 3, for: 1s}
"""
TROUBLED = {"timeout", "backoff", "reconnecting"}


def clean(harness: EngineHarness) -> bool:
    """Say whether the engine's stderr is free of everything that Python complains about."""
    return not COMPLAINTS.search(harness.text)


def sandboxed(harness: EngineHarness, *phones: str, rest: str = FAST) -> None:
    """Write a config whose accounts log in at the sandbox that the engine starts."""
    accounts = "\n".join(
        f'  - {{name: Account {number}, session: data/account{number}, phone: "{phone}"}}'
        for number, phone in enumerate(phones, 1)
    )
    harness.write("sandbox", accounts, rest)


def has_healed(harness: EngineHarness) -> bool:
    """Say whether all that the scenario does has been met, to the long silence at its end, and all are healthy now."""
    entered = {(entry.target.value, entry.event) for entry in harness.entries() if entry.target is not entry.source}
    met = {state for state, _ in entered} >= TROUBLED and ("reconnecting", "TimedOut") in entered
    return met and harness.states() == ["healthy"] * 3


async def test_the_sandbox_run_shows_the_whole_life_of_a_connection(harness: EngineHarness) -> None:
    """From nothing but a config: three accounts log in, are hurt in five ways, heal, and all of it is on record."""
    sandboxed(harness, *PHONES, rest=FAST.replace("[30s]", "[1s, 2s]") + SCENARIO)
    async with harness.running(dev=True) as process:
        await harness.until(has_healed)
        assert await harness.finish(process, signal.SIGINT) == 0
    assert clean(harness), harness.text
    code, printed = await harness.command("log", "config.yaml", "--json")
    assert code == 0
    told = entries(printed)
    for number in (1, 2, 3):
        mine = [entry for entry in told if entry["account"] == f"Account {number}"]
        assert any((entry["source"], entry["target"]) == ("connecting", "healthy") for entry in mine)
        before_the_end = next(entry for entry in mine if entry["event"] == "StopRequested")
        assert before_the_end["source"] == "healthy"
    causes = {state: {e["event"] for e in told if e["target"] == state != e["source"]} for state in State}
    assert causes["timeout"] == {"TimedOut"}
    assert causes["reconnecting"] >= {"TimedOut", "Elapsed"}
    assert "NetworkLost" in causes["backoff"] | causes["reconnecting"]  # by how stable the link was on this machine
    code, printed = await harness.command("status", "config.yaml", "--json")
    assert code == 3
    assert all(f'"Account {number}"' in printed for number in (1, 2, 3))


async def test_a_run_of_a_given_length_ends_by_itself(harness: EngineHarness) -> None:
    """``--for`` stops in order when the time is over, and says so."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        async with harness.running("--for", "300ms") as process:
            assert await harness.finish(process) == 0
    assert "Ran for 0.3 s, as asked" in harness.text
    assert "CONNECTION STATUS" in harness.printed


@pytest.mark.slow
async def test_a_sandbox_that_dies_is_told(harness: EngineHarness) -> None:
    """When the datacenter of our own is gone, the log says so, and Ctrl+C still leaves in order."""
    sandboxed(harness, PHONES[0])
    async with harness.running() as process:
        await harness.until(all_are("healthy", 1))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        await harness.until(lambda at: "ended by itself" in at.text)
        assert await harness.finish(process, signal.SIGINT) == 0
    assert len(children) == 1
    assert clean(harness), harness.text


@pytest.mark.slow
async def test_sessions_of_telethon_s_heal_at_another_datacenter(harness: EngineHarness) -> None:
    """With ``datacenter: {id, host, port, public_key}`` and files that Telethon wrote, a reset is healed."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES)
        async with harness.running(dev=True) as process:
            await harness.until(all_are("healthy", 3))
            await dc.inject(Fault(FaultKind.RESET))
            await harness.until(lambda at: at.text.count("Successfully reconnected") == 3)
            await harness.until(all_are("healthy", 3))
            assert await harness.finish(process, signal.SIGTERM) == 0
    assert "Received signal 15. Initiating graceful shutdown" in harness.text
    assert clean(harness), harness.text


async def test_ctrl_c_leaves_cleanly(harness: EngineHarness) -> None:
    """SIGINT begins with its line, ends with exit code 0, and Python has nothing to complain of."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES)
        async with harness.running(dev=True) as process:
            await harness.until(all_are("healthy", 3))
            assert await harness.finish(process, signal.SIGINT) == 0
        assert dc.stats()["connections"] == 0
    assert "Received signal 2. Initiating graceful shutdown" in harness.text
    assert harness.text.count("Disconnected Account") == 3
    assert clean(harness), harness.text


@pytest.mark.slow
async def test_ctrl_c_in_the_middle_of_a_connect_that_hangs(harness: EngineHarness) -> None:
    """An attempt that would hang for its whole patience does not hold the engine."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES, rest=FAST.replace("[30s]", "[1h]"))
        await dc.inject(Fault(FaultKind.BLACKHOLE))
        async with harness.running(dev=True) as process:
            await harness.until(lambda _: dc.stats()["connections"] == 3)
            assert await harness.finish(process, signal.SIGINT) == 0
    assert clean(harness), harness.text


@pytest.mark.slow
async def test_ctrl_c_during_back_off(harness: EngineHarness) -> None:
    """A wait of an hour does not hold the engine."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES, rest=SLOW_BACKOFF)
        await dc.inject(Fault(FaultKind.REFUSE))
        async with harness.running(dev=True) as process:
            await harness.until(all_are("backoff", 3))
            assert await harness.finish(process, signal.SIGINT) == 0
    assert clean(harness), harness.text


@pytest.mark.slow
async def test_ctrl_c_before_anything_is_up(harness: EngineHarness) -> None:
    """A stop while the sandbox is still starting leaves no sandbox and no complaint."""
    sandboxed(harness, PHONES[0])
    async with harness.running(dev=True) as process:
        await harness.until(lambda at: "Starting the sandbox" in at.text)
        assert await harness.finish(process, signal.SIGINT) == 0
    assert clean(harness), harness.text


@pytest.mark.slow
async def test_a_second_signal_leaves_at_once(harness: EngineHarness) -> None:
    """When an end takes long (here the journal's file is locked), a second Ctrl+C does not wait for it."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        async with harness.running() as process:
            await harness.until(all_are("healthy", 1))
            with closing(sqlite3.connect(harness.directory / "data" / "engine.db", isolation_level=None)) as locked:
                locked.execute("BEGIN IMMEDIATE")
                process.send_signal(signal.SIGINT)
                await harness.until(lambda at: "Disconnected Account 1" in at.text)
                assert await harness.finish(process, signal.SIGINT) == 128 + signal.SIGINT
    assert "Leaving at once" in harness.text


@pytest.mark.slow
async def test_a_second_engine_is_told_which_process_has_the_data(harness: EngineHarness) -> None:
    """One data directory has one engine; the other one leaves with 3 and names the process."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        async with harness.running() as process:
            await harness.until(all_are("healthy", 1))
            code, printed = await harness.command("run", "config.yaml")
            assert await harness.finish(process, signal.SIGINT) == 0
    assert code == 3
    assert str(process.pid) in printed
    assert "Traceback" not in printed


async def test_an_engine_that_was_killed_goes_on_where_it_was(harness: EngineHarness) -> None:
    """After ``kill -9`` the data is free at once, the wait that was going on goes on, and it is a new life."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=SLOW_BACKOFF)
        await dc.inject(Fault(FaultKind.REFUSE))
        async with harness.running() as process:
            await harness.until(all_are("backoff", 1))
            await harness.finish(process, signal.SIGKILL)
        code, _ = await harness.command("status", "config.yaml")
        assert code == 3
        async with harness.running() as process:
            await harness.until(lambda at: "goes on waiting" in at.text)
            assert await harness.finish(process, signal.SIGINT) == 0
    code, printed = await harness.command("log", "config.yaml", "--json", "--event", "Started")
    assert [entry["source"] for entry in entries(printed)] == ["connecting", "backoff"]


async def test_status_and_log_beside_a_running_engine(harness: EngineHarness) -> None:
    """Commands read while the engine writes: which process runs, that all is well, and the log as it grows."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES)
        async with harness.running() as process:
            await harness.until(all_are("healthy", 3))
            code, printed = await harness.command("status", "config.yaml")
            assert code == 0
            assert "3 of 3 healthy" in printed
            assert str(process.pid) in printed
            await dc.inject(Fault(FaultKind.REFUSE))
            await dc.inject(Fault(FaultKind.RESET))
            await harness.until(lambda at: "healthy" not in at.states())
            code, _ = await harness.command("status", "config.yaml")
            assert code == 1
            assert await harness.finish(process, signal.SIGINT) == 0


@pytest.mark.slow
async def test_log_follows_a_running_engine(harness: EngineHarness) -> None:
    """``log -f`` prints what happens after it was started, until Ctrl+C, and then leaves with 0."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        async with harness.running() as engine:
            await harness.until(all_are("healthy", 1))
            async with harness.beside("log", "config.yaml", "-f", "--json") as follower:
                assert follower.stdout is not None
                read = ""
                with anyio.fail_after(TIMEOUT):
                    while '"Connected"' not in read:
                        read += (await follower.stdout.receive()).decode()
                    await dc.inject(Fault(FaultKind.RESET))
                    while '"NetworkLost"' not in read:
                        read += (await follower.stdout.receive()).decode()
                assert await harness.finish(follower, signal.SIGINT) == 0
            assert await harness.finish(engine, signal.SIGINT) == 0
