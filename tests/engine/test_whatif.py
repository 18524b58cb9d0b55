"""``whatif`` as people use it: beside journals of real engines, spoilt ones, none, and with mistakes in its options."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from adapters.sandbox import Fault, FaultKind, Sandbox
from tests.engine.commands import Run, runs, write_stories
from tests.engine.harness import EngineHarness, all_are
from tests.engine.test_every_column import BAD
from tests.engine.whatif.test_past import DOWN, OUTAGE, UP

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}
accounts:
  - {name: News 1, session: one}
  - {name: News 2, session: two}
"""
STORIES = {"News 1": [*UP, *OUTAGE, *OUTAGE, *DOWN], "News 2": [*UP, *OUTAGE], "Gone": [*UP, *OUTAGE]}
FIRST = "states.backoff.network.first"
THEN = "states.backoff.network.then"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs ``whatif``: exit code, stdout, stderr."""
    return runs("whatif", capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)


@pytest.fixture
async def directory(tmp_path: Path) -> Path:
    """Write a journal of three accounts, one of which the config does not have any more."""
    return await write_stories(tmp_path, CONFIG, STORIES)


def answer(run: Run, *words: str) -> Any:
    """Return what the command prints as JSON; nothing is said beside it."""
    code, out, err = run(*words, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_it_compares_then_and_now(directory: Path, run: Run) -> None:
    """Each choice has bounds of downtime and attempts for the fleet and for each account."""
    found = answer(run, "--set", f"{FIRST}=[1s,5s]")
    assert (found["then"]["outages"], found["then"]["attempts"]) == (4, 11)
    assert [choice["set"] for choice in found["settings"]] == [{}, {FIRST: "1s"}, {FIRST: "5s"}]
    for choice in found["settings"]:
        assert 0 <= choice["downtime"]["least"] <= choice["downtime"]["most"]
        assert [account["name"] for account in choice["accounts"]] == ["Gone", "News 1", "News 2"]
    assert [account["name"] for account in found["accounts"] if not account["in_config"]] == ["Gone"]
    assert any("no longer in the config" in sentence for sentence in found["unknown"])


def test_several_settings_are_their_product(directory: Path, run: Run) -> None:
    """Two lists of two are four choices, besides the config as it is."""
    found = answer(run, "--set", f"{FIRST}=[1s,2s]", "--set", "fleet.connects_at_once=[1,2]")
    assert len(found["settings"]) == 5


def test_it_is_a_page_for_people(directory: Path, run: Run) -> None:
    """The page has the choices, the accounts, and what is not known."""
    code, out, err = run("--set", f"{FIRST}=2s", "--account", "News*")
    assert (code, err) == (0, "")
    for words in ("as it happened", "the config as it is", "first=2s", f"Set: {FIRST}", "News 1", "What is not known"):
        assert words in out
    assert "Gone " not in out


@pytest.mark.parametrize("columns", ["30", "40", "60"])
def test_a_narrow_terminal_gets_every_figure(
    directory: Path, run: Run, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    """As sentences, in which no word is cut and no column is left out."""
    monkeypatch.setenv("COLUMNS", columns)
    code, out, _ = run("--set", f"{FIRST}=2s", "--set", "states.backoff.network.tries=1", "--set", f"{THEN}=park")
    said = " ".join(out.split())
    assert code == 0
    assert "…" not in said
    for words in (
        "as it happened: downtime",
        "change",
        "attempts",
        "per minute",
        "parked",
        "then → first=2s",
        "News 1",
    ):
        assert words in said


def test_the_network_probe_is_among_what_is_not_known(directory: Path, run: Run) -> None:
    """With other waits it asks at other times, and nobody knows what it would have found."""
    assert any("network probe" in sentence for sentence in answer(run)["unknown"])


def test_averages_of_counts_are_exact(directory: Path, run: Run) -> None:
    """Ten runs of the same peak have this peak on average, and not a little less."""
    peak = answer(run, "--draws", "10")["settings"][0]["attempts_per_minute"]
    assert all((bound * 10).is_integer() for bound in peak.values())


def test_one_is_said_as_one(directory: Path, run: Run) -> None:
    """An account that is gone is not several."""
    sentences = answer(run)["unknown"]
    assert "1 account is no longer in the config, and counts as part of the fleet of then." in sentences


def test_a_section_is_shown_as_yaml_has_it(directory: Path, run: Run) -> None:
    """Not as Python's own notation."""
    code, out, _ = run("--set", "states.backoff.network={first: 2s}")
    assert (code, "network={first: 2s}" in out) == (0, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "states.backoff.network.frist=2s"], "did you mean 'first'?"),
        (["--set", f"{FIRST}=2s", "--set", f"{FIRST}=3s"], "is given twice"),
        (["--set", f"{FIRST}=500s"], "cap (120 s) must not be below first (500 s)"),
        (["--set", "fleet.connects_at_once=[" + ",".join(map(str, range(1, 40))) + "]"], "32 are the most"),
        (["--draws", "0"], "--draws: must be from 1 to 100"),
        (["--since", "yesterdayish"], "--since"),
        (["--since", "9999-12-30"], "--since: '9999-12-30' has not come yet"),
        (["--seed", "-1"], "--seed: must be 0 or more"),
        (["--account", "Nobody"], "no account is named like"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(directory: Path, run: Run, words: list[str], said: str) -> None:
    """Nothing is run, and the sentence says what to write."""
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_no_journal_is_said(tmp_path: Path, run: Run) -> None:
    """As in the other commands that read it."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    code, _, err = run("--set", f"{FIRST}=2s")
    assert (code, err.count("\n")) == (1, 1)
    assert "there is no journal yet" in err


async def test_a_journal_without_records_is_said(tmp_path: Path, run: Run) -> None:
    """There is nothing to run again."""
    await write_stories(tmp_path, CONFIG, {})
    code, out, _ = await anyio.to_thread.run_sync(run)
    assert code == 0
    assert "nothing to run again" in out
    code, out, _ = run("--since", "1h", "--json")
    assert (code, json.loads(out)["records"]) == (0, 0)


@pytest.mark.parametrize("table", ["journal", "lives", "snapshots", "names", "policies"])
def test_no_spoilt_row_ends_the_command(directory: Path, run: Run, table: str) -> None:
    """Each column is spoilt in turn in the first rows; what cannot be read is counted, and the rest is answered."""
    path = directory / "data" / "engine.db"
    with closing(sqlite3.connect(path)) as db:
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        kept = path.read_bytes()
    for column in columns:
        for bad in BAD[:5]:
            path.write_bytes(kept)
            with closing(sqlite3.connect(path, isolation_level=None)) as db:
                try:
                    db.execute(
                        f"UPDATE {table} SET {column} = ? WHERE rowid IN (SELECT rowid FROM {table} LIMIT 1)", [bad]
                    )
                except sqlite3.Error:
                    continue
            code, out, err = run("--set", f"{FIRST}=2s", "--draws", "1", "--json")
            assert code in (0, 1), (column, bad, err)
            assert "Traceback" not in err
            if code == 0:
                assert json.loads(out)["settings"]
            else:
                assert err.count("\n") == 1, (column, bad, err)


@pytest.mark.slow
async def test_the_journal_of_a_real_engine_is_reproduced(tmp_path: Path) -> None:
    """A real engine's outages come out as they were, while it runs, within the milliseconds that a machine takes."""
    harness = EngineHarness(tmp_path)
    async with Sandbox() as dc:
        harness.at(dc, *(f"+99966200{number}1" for number in range(1, 6)))
        async with harness.running() as engine:
            for kinds in ((), (FaultKind.REFUSE, FaultKind.RESET), (FaultKind.RESET,), (FaultKind.REFUSE,)):
                for kind in kinds:
                    await dc.inject(Fault(kind))
                await anyio.sleep(0.9)
                await dc.clear()
                await harness.until(all_are("healthy", 5))
            code, said = await harness.command("whatif", "--json", "--set", f"{FIRST}=400ms")
            engine.terminate()
            assert await harness.finish(engine) == 0
    assert code == 0, said
    found = json.loads(said)
    assert found["then"]["outages"] >= 10
    assert found["check"]["downtime"] == pytest.approx(found["then"]["downtime"], rel=0.25, abs=1)
    bounds = found["settings"][0]["downtime"]
    assert bounds["least"] - 1 <= found["then"]["downtime"]
