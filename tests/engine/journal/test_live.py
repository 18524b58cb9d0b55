"""The questions beside an engine that really runs."""

import json
from pathlib import Path

from tests.engine.workplace import FAST, Workplace, all_are

SCENARIO = """
sandbox:
  scenario:
    - {at: 500ms, do: reset, account: Account 1}
    - {at: 1200ms, do: reset, account: Account 1}
"""
ACCOUNT = '  - {name: Account 1, session: data/account1, phone: "+9996620001"}'


async def test_a_running_engine_forgets_and_what_is_left_is_true(tmp_path: Path) -> None:
    """``storage.keep`` takes the oldest entries from a running engine; the questions go on with the rest."""
    workplace = Workplace(tmp_path)
    workplace.write("sandbox", ACCOUNT, FAST + "storage: {keep: 1s}\n" + SCENARIO)
    async with workplace.running() as process:
        await workplace.until(lambda place: [entry.seq for entry in place.entries()][:1] > [3])
        await workplace.until(all_are("healthy", 1))
        for word in ("replay", "stats"):
            code, said = await workplace.command("log", word, "--json")
            assert code == 0, said
        assert json.loads(said)["fleet"]["availability"] > 0
        process.terminate()
        assert await workplace.finish(process) == 0
    code, said = await workplace.command("log", "replay", "--json")
    assert (code, json.loads(said)["skipped_records"]) == (0, 0), said
    code, said = await workplace.command("log", "explain", str(workplace.entries()[-1].seq), "--json")
    assert (code, json.loads(said)["doubt"]) == (0, None), said
