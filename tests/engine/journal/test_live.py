"""The questions beside an engine that really runs."""

import json
from pathlib import Path

import pytest

from tests.engine.harness import FAST, EngineHarness, all_are

SCENARIO = """
sandbox:
  scenario:
    - {at: 500ms, do: reset, account: Account 1}
    - {at: 1200ms, do: reset, account: Account 1}
"""
ACCOUNT = '  - {name: Account 1, session: data/account1, phone: "+9996620001"}'


@pytest.mark.slow
async def test_a_running_engine_forgets_and_what_is_left_is_true(tmp_path: Path) -> None:
    """``storage.keep`` takes the oldest entries from a running engine; the questions go on with the rest."""
    harness = EngineHarness(tmp_path)
    harness.write("sandbox", ACCOUNT, FAST + "storage: {keep: 1s}\n" + SCENARIO)
    async with harness.running() as process:
        await harness.until(lambda harness: [entry.seq for entry in harness.entries()][:1] > [3])
        await harness.until(all_are("healthy", 1))
        for word in ("replay", "stats"):
            code, said = await harness.command("log", word, "--json")
            assert code == 0, said
        assert json.loads(said)["fleet"]["availability"] > 0
        process.terminate()
        assert await harness.finish(process) == 0
    code, said = await harness.command("log", "replay", "--json")
    assert (code, json.loads(said)["skipped_records"]) == (0, 0), said
    code, said = await harness.command("log", "explain", str(harness.entries()[-1].seq), "--json")
    assert (code, json.loads(said)["doubt"]) == (0, None), said
