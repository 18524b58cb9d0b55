"""A reload among many: ten accounts come, five go, two are other than before, and 193 keep their connection."""

import json
import shutil
import signal

import pytest

from adapters.sandbox import Sandbox
from adapters.sqlite import JournalReader
from tests.engine.app.test_reload import add
from tests.engine.harness import COMPLAINTS, EngineHarness

STEADY = """
states:
  healthy: {probe_every: 5s, prove_every: 20s}
fleet: {connects_at_once: 32, stagger: auto}
"""
"""Schedules under which no account of a busy machine is lost by itself."""


def healthy(harness: EngineHarness) -> set[str]:
    """Return the accounts that are healthy, as the journal's file has it now."""
    try:
        with JournalReader.open(harness.directory / "data" / "engine.db") as reader:
            return {name for name, (at, _) in reader.snapshots().items() if at.state.value == "healthy"}
    except Exception:
        return set()  # the engine has not made its file yet


@pytest.mark.slow
async def test_the_unchanged_accounts_keep_their_connection(harness: EngineHarness) -> None:
    """The datacenter accepts twelve connections more, those of the ten that come and the two that changed."""
    phones = [f"+99966{number:05}" for number in range(20_001, 20_211)]
    async with Sandbox() as dc:
        harness.at(dc, *phones[:200], rest=STEADY)
        async with harness.running() as process:
            await harness.until(lambda it: len(healthy(it)) == 200)
            assert dc.stats()["accepted"] == 200
            new = [add(harness, dc, number, phones[number - 1]) for number in range(201, 211)]
            shutil.copy(harness.directory / "account7.session", harness.directory / "moved.session")
            lines = harness.config.read_text("utf-8").splitlines(keepends=True)
            gone = tuple(f"name: Account {number}," for number in (1, 50, 100, 150, 200))
            kept = [line for line in lines if not any(each in line for each in gone)]
            text = "".join(kept).replace("session: account7,", "session: moved,")
            text = text.replace("name: Account 8,", "name: Other,")
            harness.config.write_text(text.replace("accounts:\n", "accounts:\n" + "".join(new)), encoding="utf-8")
            code, said = await harness.command("reload", "--json")
            assert code == 0, said
            found = json.loads(said)
            counts = {key: len(found[key]) for key in ("added", "removed", "renamed", "changed")}
            assert (counts, found["kept"]) == ({"added": 10, "removed": 5, "renamed": 1, "changed": 2}, 193)
            await harness.until(lambda it: len(healthy(it)) == 205)
            assert dc.stats()["accepted"] == 212
            assert dc.stats()["logins_destroyed"] == 0
            assert await harness.finish(process, signal.SIGTERM) == 0
        code, said = await harness.command("log", "replay", "--json")
        assert (code, json.loads(said)["agrees"]) == (0, True)
    assert not COMPLAINTS.search(harness.text)
