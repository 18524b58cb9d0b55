"""Chaos as the user meets it: a word in the config, and an engine that comes through it."""

import os
import signal
import time
from contextlib import suppress

import pytest

from adapters.sandbox import Fault
from adapters.sandbox.control.chaos import chaos
from tests.engine.harness import COMPLAINTS, FAST, EngineHarness, all_are

QUICK = FAST.replace("[30s]", "[500ms, 1s]").replace(
    "  backoff:\n", "  backoff:\n    transport_flood: {first: 500ms}\n"
)
PHONES = ("+9996620001", "+9996620002", "+9996620003")
ACCOUNTS = "\n".join(
    f'  - {{name: Account {phone[-1]}, session: data/account{phone[-1]}, phone: "{phone}"}}' for phone in PHONES
)


SLACK = 2
"""Descriptors that a look at the journal or at a session file may hold at the moment of counting."""


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has; 0 if it is gone."""
    with suppress(FileNotFoundError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def calm(harness: EngineHarness) -> bool:
    """Return whether all accounts are healthy and nothing has happened to them for two seconds."""
    return all_are("healthy", 3)(harness) and time.time() - harness.entries()[-1].at > 2


@pytest.mark.slow
async def test_every_account_comes_through_chaos(harness: EngineHarness) -> None:
    """Twenty kinds of trouble in ten seconds: all are healthy at the end, nothing is left open, the journal replays."""
    harness.write("sandbox", ACCOUNTS, QUICK + "sandbox: {scenario: chaos, seed: 7, for: 10s}\n")
    log = harness.directory / "data" / "sandbox" / "sandbox.log"
    faults = sum(isinstance(step.action, Fault) for step in chaos(7, PHONES, 10))
    async with harness.running(dev=True) as process:
        await harness.until(all_are("healthy", 3))
        open_at_first = descriptors(process.pid)
        await harness.until(lambda _: log.read_text().count("fault: kind") == faults)
        await harness.until(calm)
        await harness.until(
            lambda _: descriptors(process.pid) <= open_at_first + SLACK
        )  # idle files close after a while
        assert await harness.finish(process, signal.SIGINT) == 0
    assert open_at_first > 0
    code, replayed = await harness.command("log", "replay", "config.yaml")
    assert code == 0, replayed
    assert "Chaos in the sandbox for 10 s, with the seed 7" in harness.text
    assert not COMPLAINTS.search(harness.text), harness.text
    entries = harness.entries()
    assert {entry.target.value for entry in entries} >= {"timeout", "backoff", "reconnecting", "healthy"}
    assert "auth_failed" not in {entry.target.value for entry in entries}
    at_the_end = [entry.source.value for entry in entries if entry.event == "StopRequested"]
    assert at_the_end == ["healthy"] * 3, harness.text
    assert "a step of the scenario failed" not in log.read_text()


@pytest.mark.slow
async def test_a_request_that_does_not_exist_is_told_with_its_place(harness: EngineHarness) -> None:
    """The config knows no methods; the sandbox does, and the engine says which step it was."""
    step = "{at: 0s, do: slow, for: 1s, seconds: 1s, request: updates.getStat}"
    harness.write("sandbox", ACCOUNTS, QUICK + f"sandbox: {{scenario: [{step}]}}\n")
    async with harness.running() as process:
        assert await harness.finish(process) == 1
    assert "sandbox.scenario[0]: No request is called 'updates.getStat'" in harness.text
