"""What belongs to an engine that is gone is unknown, everywhere, until the present engine has decided itself."""

import json
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from adapters.sandbox import Sandbox
from adapters.sqlite import JournalWriter
from adapters.system import EngineLock
from engine import Engine, paths
from engine.cli.status import account_statuses, read_info
from engine.config import load_outline
from engine.console.status import ExitCode, as_data, exit_code
from states import Policy, State
from states.events import Connected, Started, StopRequested, TurnGranted
from tests.engine.commands import ENGINE, Run, runs, write_stories
from tests.engine.harness import EngineHarness, all_are
from tests.states.harness import AccountDriver
from tests.timeouts import TIMEOUT

PHONES = ("+9996620001", "+9996620002", "+9996620003")
CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}
accounts:
  - {name: News, session: one}
  - {name: Rests, session: two}
  - {name: Never, session: three}
"""


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """Write the journal of an engine that was killed: News is healthy, Rests is paused, Gone is not in the config."""
    healthy = [Started(), TurnGranted(generation=0), Connected()]
    paused = [Started(), StopRequested(reason="a person pauses it", paused=True)]
    await write_stories(tmp_path, CONFIG, {"News": healthy, "Rests": paused, "Gone": healthy})
    return tmp_path / "data"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs ``status``."""
    return runs("status", capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)


def rows_of(run: Run) -> dict[str, dict[str, Any]]:
    """Return what ``status --json`` says of each account."""
    return {row["name"]: row for row in json.loads(run("--json")[1])["accounts"]}


def test_the_rows_of_a_dead_engine_are_unknown(run: Run, data: Path) -> None:
    """Nothing is green and no clock runs; what was known last is said with its end."""
    row = rows_of(run)["News"]
    code, page, _ = run()
    assert code == ExitCode.NOT_RUNNING
    assert (row["state"], row["known"], row["since"], row["deadline"]) == ("unknown", False, None, None)
    assert row["last"]["state"] == "healthy"
    assert row["last"]["until"] >= row["last"]["since"]
    assert "was healthy " in page
    assert "✅" not in page


@pytest.mark.parametrize("identity", ["the next engine", ""])
@pytest.mark.parametrize("since", [0.0, 1e12])
def test_the_next_engine_has_not_decided_yet(run: Run, data: Path, identity: str, since: float) -> None:
    """Another engine with the lock does not make old rows its own, whatever its clock says: exit code 1."""
    with EngineLock(data / paths.LOCK).held(since, identity):
        assert rows_of(run)["News"]["state"] == "unknown"
        assert run()[0] == ExitCode.TROUBLED


def test_the_engine_s_own_rows_are_known(run: Run, data: Path) -> None:
    """While the engine that decided them holds the lock, rows say where the accounts are."""
    with EngineLock(data / paths.LOCK).held(0.0, ENGINE):
        row = rows_of(run)["News"]
        assert (row["state"], row["known"], row["last"]) == ("healthy", True, None)
        assert run("config.yaml", "News")[0] == ExitCode.HEALTHY
        assert json.loads(run("--json")[1])["engine"]["since"] is None, "0 is no time"


def test_an_account_that_never_ran_has_no_time(run: Run, data: Path) -> None:
    """It has no state, no start in 1970, and the page says so."""
    with EngineLock(data / paths.LOCK).held(0.0, ENGINE):
        row = rows_of(run)["Never"]
        line = run("config.yaml", "Never")[1].splitlines()[-1]
    assert (row["state"], row["known"], row["since"], row["last"]) == ("unknown", False, None, None)
    assert line.split() == ["Never", "❔", "unknown", "–", "has", "not", "run", "yet", "0", "0", "never"]
    assert "1970" not in json.dumps(row)


def test_an_account_that_left_the_config_is_shown_while_it_runs(run: Run, data: Path) -> None:
    """The engine keeps it until its end; what an engine that is gone had is not shown."""
    with EngineLock(data / paths.LOCK).held(0.0, ENGINE):
        assert "Gone" in rows_of(run)
    assert "Gone" not in rows_of(run)


@pytest.mark.parametrize("identity", [ENGINE, "the next engine"])
def test_a_pause_outlives_the_engine_and_is_counted_apart(run: Run, data: Path, identity: str) -> None:
    """Paused accounts are neither healthy nor unhealthy: alone they are no reason for exit code 1."""
    with EngineLock(data / paths.LOCK).held(0.0, identity):
        told = json.loads(run("--json")[1])
        code, page, _ = run("config.yaml", "Rests")
    assert told["counts"]["paused"] == 1
    assert code == ExitCode.HEALTHY
    assert "⏸" in page
    assert "1 paused" in page
    assert "shutting_down" not in page


async def test_a_life_that_an_error_ended_is_unknown(tmp_path: Path, data: Path) -> None:
    """An engine's own error ends a life without a last decision: its last snapshot is no longer true."""
    journal = await JournalWriter.open(data / "engine.db", on_trouble=lambda *_: None, engine=ENGINE)
    driver = AccountDriver()
    await journal.begin_life("News", driver.now, Policy(), driver.snapshot)
    with EngineLock(data / paths.LOCK).held(0.0, ENGINE):
        await journal.flush()
        assert account_statuses(load_outline(tmp_path / "config.yaml"))["News"].known
        await journal.end_life("News", driver.snapshot.life)
        await journal.flush()
        assert account_statuses(load_outline(tmp_path / "config.yaml"))["News"].state == "unknown"
    await journal.aclose(5)


@pytest.mark.slow
async def test_after_kill_9_no_account_is_healthy_before_it_was_tried(harness: EngineHarness) -> None:
    """Killed and started without a network: from the first moment on, no look at the status is green."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES)
        async with harness.running() as engine:
            await harness.until(all_are("healthy", 3))
            engine.kill()
            await engine.wait()
    outline = load_outline(harness.config)
    data = as_data(read_info(outline.directory), account_statuses(outline))
    assert [row["state"] for row in data["accounts"]] == ["unknown"] * 3
    seen = set()
    async with harness.running():
        with anyio.fail_after(TIMEOUT):
            while seen != {State.BACKOFF.value}:
                await anyio.lowlevel.checkpoint()
                info, accounts = read_info(outline.directory), account_statuses(outline)
                seen = {at.state for at in accounts.values()}
                assert State.HEALTHY not in seen
                assert exit_code(info, accounts.values()) in (ExitCode.TROUBLED, ExitCode.NOT_RUNNING)


async def test_the_library_knows_no_state_before_the_engine_decided(harness: EngineHarness) -> None:
    """``account.state`` and ``engine.status`` are unknown until an account's life begins, and true afterwards."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        async with Engine.from_config(harness.config) as engine:
            with anyio.fail_after(TIMEOUT):
                await engine.account("Account 1").ready()
        engine = Engine.from_config(harness.config)
        account = engine.account("Account 1")
        assert (account.state, engine.status["Account 1"].known, engine.info.running) == ("unknown", False, False)
        assert account.snapshot.state is State.CONNECTING
        async with engine:
            assert account.state != State.HEALTHY
            assert account.snapshot.state is not State.HEALTHY
            with anyio.fail_after(TIMEOUT):
                await account.ready()
            assert account.state == State.HEALTHY
            assert engine.status["Account 1"].healthy
        assert account.state == State.SHUTTING_DOWN
        assert not engine.info.running
