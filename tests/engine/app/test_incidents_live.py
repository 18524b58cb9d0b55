"""Incidents of a whole engine against the sandbox: a trouble is one incident, and other processes see it."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import Process

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.sqlite import StorageError
from adapters.sqlite.incident_reader import IncidentReader
from engine import Engine
from states import incident_book
from states.incident import Incident, IncidentKind
from tests.adapters.telegram.proxies import Behaviour, LocalProxy
from tests.engine.harness import COMPLAINTS, FAST, EngineHarness, all_are
from tests.timeouts import TIMEOUT

PHONES = tuple(f"+999662000{number}" for number in range(1, 5))
CALM = 0.4
"""Seconds of health after which an incident is over, in these tests."""
PROGRAM = f"""
from states import incident_book
incident_book.CALM = {CALM}
from engine.__main__ import _run
_run("python -m engine")
"""
"""The engine's own program, with a short calm."""


def after(length: str) -> str:
    """Return settings that are fast, and in which a trouble is an incident after this time."""
    return f"{FAST}\nincidents: {{after: {length}}}\n"


def incidents(harness: EngineHarness) -> list[Incident]:
    """Return all incidents, as the file has them."""
    try:
        with IncidentReader.open(harness.directory / "data" / "engine.db") as reader:
            return reader.incidents()
    except StorageError:
        return []  # the engine has not made its file yet


def are_open(count: int) -> Callable[[EngineHarness], bool]:
    """Return whether so many incidents are open."""
    return lambda harness: sum(each.is_open for each in incidents(harness)) == count


def is_over(number: int) -> Callable[[EngineHarness], bool]:
    """Return whether an incident is over."""
    return lambda harness: any(each.id == number and not each.is_open for each in incidents(harness))


def change(harness: EngineHarness, text: str, into: str) -> None:
    """Change the config file."""
    config = harness.config.read_text("utf-8")
    assert config.count(text) == 1
    harness.config.write_text(config.replace(text, into), "utf-8")


async def printed(harness: EngineHarness, *words: str) -> tuple[int, list[dict[str, Any]]]:
    """Run a command, and return its exit code and the objects that it printed."""
    code, said = await harness.command(*words)
    return code, [json.loads(line) for line in said.splitlines() if line.startswith("{")]


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let incidents be over soon, in the engines of this process."""
    monkeypatch.setattr(incident_book, "CALM", CALM)


@asynccontextmanager
async def running(harness: EngineHarness) -> AsyncIterator[Engine]:
    """Run an engine in this process for the block, whose accounts are healthy at first."""
    async with Engine.from_config(harness.config) as engine:
        count = len(engine.config.accounts)
        await harness.until(all_are("healthy", count))
        yield engine


@asynccontextmanager
async def process_of(harness: EngineHarness) -> AsyncIterator[Process]:
    """Run an engine with a short calm as a process of its own, which the block ends."""
    command = [sys.executable, "-c", PROGRAM, "run", str(harness.config)]
    async with await anyio.open_process(
        command, stdin=subprocess.DEVNULL, cwd=harness.directory, env=harness.environment
    ) as process:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(harness._read, process.stderr, harness.said)
                tasks.start_soon(harness._read, process.stdout, harness.shown)
                yield process
        finally:
            if process.returncode is None:
                process.kill()


@pytest.mark.slow
async def test_a_revoked_login_is_an_incident_at_once(harness: EngineHarness) -> None:
    """However long ``after`` is; both commands say what to do, and the engine hears of an acknowledgement."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES[:2], rest=after("1h"))
        async with running(harness) as engine:
            await dc.inject(Fault(FaultKind.REVOKE, PHONES[0], text="SESSION_REVOKED"))
            await harness.until(are_open(1))
            code, found = await printed(harness, "incidents", "--open", "--json")
            assert code == 1
            (one,) = found
            assert (one["kind"], one["cause"], one["accounts"]) == ("needs_person", "log_in", ["Account 1"])
            assert (one["severity"], one["action"]) == ("critical", "log in again")
            _, said = await harness.command("status", "--json")
            (shown,) = json.loads(said)["incidents"]
            assert shown == one
            code, said = await harness.command("incidents", "ack", "1")
            assert (code, said) == (0, "incident 1 is acknowledged: Account 1 cannot go on before somebody acts\n")
            await harness.until(lambda _: engine.incidents.open[1].acked is not None)
            _, found = await printed(harness, "incidents", "show", "1", "--json")
            assert [each["account"] for each in found[0]["lost"]] == ["Account 1"]
            assert "AuthRejected" in [each["event"] for each in found[0]["records"]]
            assert found[0]["missed"] is None
        assert len(incidents(harness)) == 1, "the end of the engine neither ends it nor makes another"


@pytest.mark.slow
async def test_a_proxy_that_fails_is_one_incident(harness: EngineHarness) -> None:
    """Three accounts behind it have one together, which is over when all are back; the one beside it has none."""
    proxy = LocalProxy("http")
    async with Sandbox() as dc, proxy.listening():
        harness.at(dc, *PHONES, rest=after("2s"))
        text = harness.config.read_text("utf-8")
        for phone in PHONES[:3]:
            text = text.replace(f'"{phone}"}}', f'"{phone}", proxy: "http://127.0.0.1:{proxy.port}"}}')
        harness.config.write_text(text, "utf-8")
        async with running(harness) as engine:
            proxy.behaviour = Behaviour.CLOSES
            proxy.cut()
            await harness.until(lambda _: any(len(each.accounts) == 3 for each in engine.incidents.open.values()))
            (one,) = engine.incidents.open.values()
            assert (one.kind, one.fleet) == (IncidentKind.OUTAGE, True)
            assert one.cause == f"the proxy http://127.0.0.1:{proxy.port}"
            assert one.accounts == ("Account 1", "Account 2", "Account 3")
            proxy.behaviour = Behaviour.WORKS
            await harness.until(is_over(one.id))
            assert not engine.incidents.open


async def test_a_blip_is_none(harness: EngineHarness) -> None:
    """A connection that was lost and is back before ``after`` is in the journal, and no incident."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=after("1h"))
        async with running(harness) as engine:
            await dc.inject(Fault(FaultKind.RESET, PHONES[0]))
            await harness.until(lambda it: any(entry.event == "NetworkLost" for entry in it.entries()))
            await harness.until(all_are("healthy", 1))
            assert not engine.incidents.open
    assert incidents(harness) == []


@pytest.mark.slow
async def test_an_account_that_flaps_is_one(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses that are each shorter than ``after``, again and again, are one incident, in which no further one opens."""
    monkeypatch.setattr(incident_book, "CALM", 3600.0)
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=after("8s"))
        async with running(harness) as engine:
            losses = 0
            with anyio.fail_after(TIMEOUT):
                while not engine.incidents.open or losses < 8:
                    await engine.account("Account 1").ready()
                    await dc.inject(Fault(FaultKind.RESET, PHONES[0]))
                    losses += 1
                    await anyio.sleep(0.5)
            (one,) = engine.incidents.open.values()
            assert (one.kind, one.accounts, one.fleet) == (IncidentKind.FLAPPING, ("Account 1",), False)
    assert len(incidents(harness)) == 1


@pytest.mark.slow
async def test_kills_neither_end_an_incident_nor_make_another(harness: EngineHarness) -> None:
    """The engine is killed twice during an outage; the third closes the incident once, with its whole length."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=after("500ms"))
        async with process_of(harness) as process:
            await harness.until(all_are("healthy", 1))
            began = time.time()
            await dc.inject(Fault(FaultKind.REFUSE))
            await dc.inject(Fault(FaultKind.RESET, PHONES[0]))
            await harness.until(are_open(1))
            (first,) = incidents(harness)
            await harness.finish(process, signal.SIGKILL)
        async with process_of(harness) as process:
            await harness.until(lambda it: len([entry for entry in it.entries() if entry.event == "Started"]) == 2)
            code, _ = await harness.command("incidents", "ack", str(first.id))
            assert code == 0
            await harness.finish(process, signal.SIGKILL)
        (second,) = incidents(harness)
        assert second.acked is not None
        assert (second.id, second.since, second.closed) == (first.id, first.since, None)
        async with process_of(harness) as process:
            await harness.until(lambda it: len([entry for entry in it.entries() if entry.event == "Started"]) == 3)
            back = time.time()
            await dc.clear()
            await harness.until(is_over(first.id))
            seen = time.time()
            assert await harness.finish(process, signal.SIGTERM) == 0
    (last,) = incidents(harness)
    assert began - 1 <= last.since <= first.opened
    assert last.closed is not None
    assert back - 1 <= last.closed <= seen
    assert last.acked == second.acked
    assert harness.text.count("Incident 1 is over after") == 1
    assert not COMPLAINTS.search(harness.text)


async def test_an_account_that_is_renamed_stays_in_its_incident(harness: EngineHarness) -> None:
    """A reload closes it and begins it anew under another name: its incident neither ends nor opens again."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES[:2], rest=after("1h"))
        async with running(harness) as engine:
            await dc.inject(Fault(FaultKind.REVOKE, PHONES[0], text="SESSION_REVOKED"))
            await harness.until(are_open(1))
            (first,) = incidents(harness)
            change(harness, "name: Account 1", "name: News")
            engine.reload_soon()
            await harness.until(lambda it: any(entry.account == "News" and entry.life == 2 for entry in it.entries()))
    (last,) = incidents(harness)
    assert (last.id, last.accounts, last.since, last.closed) == (first.id, ("News",), first.since, None)


async def test_a_reload_changes_how_long_a_trouble_may_last(harness: EngineHarness) -> None:
    """An account that is in trouble already is an incident at once, when it has lasted for the new ``after``."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES[:2], rest=after("1h"))
        async with running(harness) as engine:
            await dc.inject(Fault(FaultKind.REFUSE))
            await dc.inject(Fault(FaultKind.RESET, PHONES[0]))
            await harness.until(lambda it: sorted(it.states())[0] != "healthy")
            change(harness, "after: 1h", "after: 100ms")
            engine.reload_soon()
            await harness.until(are_open(1))
            assert engine.incidents.config.incidents.after == 0.1
