"""A backup of a fleet in the middle of trouble: what it knew, and what it had told, comes back with it."""

import json
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from adapters.sandbox import Fault, FaultKind, Sandbox
from tests.engine.harness import FAST, EngineHarness
from tests.timeouts import TIMEOUT

PHONES = ("+9996620001", "+9996620002", "+9996620003")
GROUP = "holdfast_test"
ALERTS = """
incidents: {{after: 1s}}
alerts:
  - {{exec: {0}/tell, on: [needs_person]}}
  - {{exec: {0}/deaf, on: [needs_person]}}
"""
TABLES = ("alerts", "incident_members", "incidents", "jobs", "logins", "messages")
"""Tables that rest when nothing happens."""


def stored(database: Path, table: str) -> list[tuple[Any, ...]]:
    """Return all rows of a table."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as read:
        return read.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()


def write_programs(directory: Path) -> None:
    """Write the commands that are told of incidents: one keeps what it is told, and one does not take it."""
    for name, script in (("tell", "cat >> told; echo >> told"), ("deaf", "exit 1")):
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o700)


async def status_of(harness: EngineHarness) -> dict[str, dict[str, Any]]:
    """Return what ``status --json`` says of each account."""
    _, said = await harness.command("status", "config.yaml", "--json")
    return {row["name"]: row for row in json.loads(said)["accounts"]}


async def status_when_known(harness: EngineHarness) -> dict[str, dict[str, Any]]:
    """Return the same when an engine knows all of them."""
    with anyio.fail_after(TIMEOUT):
        while True:
            rows = await status_of(harness)
            if all(row["known"] for row in rows.values()):
                return rows
            await anyio.sleep(0.1)


async def open_incidents(harness: EngineHarness) -> list[dict[str, Any]]:
    """Return what ``incidents --open --json`` prints."""
    _, said = await harness.command("incidents", "config.yaml", "--open", "--json")
    return [json.loads(line) for line in said.splitlines()]


async def get_into_trouble(harness: EngineHarness, dc: Sandbox) -> None:
    """Have one account rejected and told of, one held by a flood wait with a job that waits for it, one paused."""
    await harness.until(lambda engine: engine.states() == ["healthy"] * 3)
    await dc.inject(Fault(FaultKind.REVOKE, account=PHONES[0]))
    flood = Fault(FaultKind.RPC_ERROR, code=420, text="FLOOD_WAIT_6000", request="messages.sendMessage", times=1)
    await dc.inject(flood)
    added = ("jobs", "add", "config.yaml", "send", f"to=@{GROUP}", "text=later", "--account", "Account 2")
    code, said = await harness.command(*added)
    assert code == 0, said
    code, said = await harness.command("pause", "config.yaml", "Account 3")
    assert code == 0, said
    database = harness.directory / "data" / "engine.db"

    def is_quiet(engine: EngineHarness) -> bool:
        return (
            sorted(engine.states()) == ["auth_failed", "healthy", "shutting_down"]
            and _read(database, "SELECT state FROM jobs WHERE due > 0") == [("queued",)]
            and len(_read(database, "SELECT 1 FROM incidents WHERE kind = 'channel'")) == 1
            and len(_read(database, "SELECT 1 FROM alerts WHERE told IS NOT NULL")) == 1
            and (harness.directory / "told").exists()
        )

    await harness.until(is_quiet)


def _read(database: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as read:
        return read.execute(query).fetchall()


@pytest.mark.slow
async def test_what_a_fleet_in_trouble_knew_comes_back(harness: EngineHarness) -> None:
    """Accounts, pause, flood hold, the job that waits for it, incidents, and what was told and what is still to be."""
    async with Sandbox() as dc:
        await dc.create_channel(GROUP, "Test", megagroup=True, members=PHONES)
        harness.at(dc, *PHONES, rest=FAST + ALERTS.format(harness.directory))
        write_programs(harness.directory)
        async with harness.running() as process:
            await get_into_trouble(harness, dc)
            before, incidents = await status_of(harness), await open_incidents(harness)
            code, said = await harness.command("backup", "config.yaml", "all.tar.gz")
            assert code == 0, said
            rows = {table: stored(harness.directory / "data" / "engine.db", table) for table in TABLES}
            assert await harness.finish(process, signal.SIGTERM) == 0
        elsewhere = EngineHarness(harness.directory / "elsewhere")
        elsewhere.directory.mkdir(mode=0o700)
        code, said = await elsewhere.command("restore", str(elsewhere.config), str(harness.directory / "all.tar.gz"))
        assert code == 0, said
        assert "1 job waited" in said
        assert {name: stored(elsewhere.directory / "data" / "engine.db", name) for name in TABLES} == rows
        code, said = await elsewhere.command("doctor", "config.yaml")
        assert code == 1
        assert all("Account 1" in line for line in said.splitlines() if "❌" in line), said
        shutil.rmtree(harness.directory / "data")
        async with elsewhere.running() as process:
            await elsewhere.until(lambda engine: "Successfully connected Account 2" in engine.text)
            after = await status_when_known(elsewhere)
            for name, row in after.items():
                for key in ("state", "paused", "action", "holds"):
                    assert row[key] == before[name][key], (name, key)
            assert after["Account 2"]["holds"]
            kept = [each for each in incidents if each["kind"] == "needs_person"]
            assert [each for each in await open_incidents(elsewhere) if each["kind"] == "needs_person"] == kept
            assert [row[0] for row in stored(elsewhere.directory / "data" / "engine.db", "jobs")] == [1]
            assert await elsewhere.finish(process, signal.SIGTERM) == 0
        assert not (elsewhere.directory / "told").exists(), "it was told before, and is told once"
        code, said = await elsewhere.command("log", "replay", "config.yaml")
        assert code == 0, said
