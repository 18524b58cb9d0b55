"""The benchmark of capacity measures what it says. Nothing here judges by a clock."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest
from attrs import evolve

from adapters.sandbox import SandboxProcess
from tests.bench import capacity
from tests.bench.capacity import ENGINE, ROWS, YARDSTICK, Capacity, Figures, Row, phone, quantile, summary, table
from tests.bench.capacity_process import LagMeter
from tests.timeouts import TIMEOUT

BARE = Figures(
    start=2.0,
    start_cpu=1.0,
    steady=60.0,
    steady_cpu=3.0,
    stop=1.0,
    few=100_000_000,
    held=100_000_000 + 950 * 40_000,
    lags=(0.001, 0.002),
    own=(0.001, 0.001),
    sandbox_cpu=1.0,
    lost=0,
)
LEAN = evolve(BARE, start=3.0, steady_cpu=6.0)


def verdicts(ours: Figures) -> list[bool]:
    return [target.kept for target in table(1000, {ENGINE: ours, YARDSTICK: BARE}).targets]


def test_each_target_is_kept_or_missed_by_its_own_figure() -> None:
    """What is twice as dear as bare Telethon is within the targets; each figure beyond misses its own."""
    assert all(verdicts(LEAN))
    for worse in (
        evolve(LEAN, start=4.1),
        evolve(LEAN, steady_cpu=6.1),
        evolve(LEAN, lags=(0.001, 0.021, 0.021)),
        evolve(LEAN, lags=(*[0.001] * 1000, 0.3)),
        evolve(LEAN, stop=16.0),
        evolve(LEAN, lost=1),
    ):
        assert verdicts(worse).count(False) == 1


def test_memory_is_judged_by_one_account_more_and_by_ten_thousand() -> None:
    """Those that are there in any case are not counted in the one, and are in the other."""
    held = evolve(LEAN, held=LEAN.few + 950 * 41_000)
    assert verdicts(held).count(False) == 1
    assert held.per_account(1000) == 41_000
    assert held.with_accounts(1000, 10_000) == LEAN.few + 9_950 * 41_000
    assert verdicts(evolve(LEAN, held=LEAN.few + 950 * 120_000)).count(False) == 2


def test_ratios_are_to_bareping_of_the_same_run() -> None:
    """A row shows its figures and how many times bareping's they are; without bareping it has no ratio."""
    lines = table(1000, {ENGINE: LEAN, YARDSTICK: BARE}).lines()
    assert [cell.strip() for cell in lines[4].split("|")[1:8]] == [
        ENGINE, "3.0 s", "1.5", "1.0 s", "10.0%", "2", "0.36",
    ]  # fmt: skip
    alone = table(1000, {ENGINE: LEAN})
    assert [cell.strip() for cell in alone.lines()[4].split("|")[2:4]] == ["3.0 s", ""]
    assert not alone.targets


def test_a_quantile_is_a_value_of_the_list() -> None:
    """The last one is the maximum, and of nothing it is 0."""
    values = sorted(range(1000))
    assert [quantile(values, part) for part in (0.5, 0.99, 1)] == [500, 990, 999]
    assert quantile([], 0.99) == 0


async def test_a_blocked_loop_is_a_lag_and_a_sleeping_process_is_not_its_own() -> None:
    """What computes delays the loop by its own doing; what only waits for something else is a lag, and not its own."""
    meter = LagMeter()
    task = asyncio.create_task(meter.run())
    await asyncio.sleep(0.05)
    meter.taken()
    time.sleep(0.3)  # noqa: ASYNC251  # as another program on the machine that has the processor
    await asyncio.sleep(0.05)
    waited = meter.taken()
    began = time.process_time()
    while time.process_time() < began + 0.3:
        pass
    await asyncio.sleep(0.05)
    computed = meter.taken()
    task.cancel()
    assert max(waited["lags"]) > 0.2
    assert max(waited["own"]) < 0.2
    assert max(computed["own"]) > 0.2


def test_there_are_numbers_for_ten_thousand_accounts() -> None:
    """Each account has a number of the sandbox of its own."""
    assert len({phone(index) for index in range(20_000)}) == 20_000
    assert phone(10_000) == "+9996620000"


def test_too_few_accounts_are_refused() -> None:
    """In a sentence."""
    command = [sys.executable, "-m", "tests.bench.capacity", "--accounts", "50"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=capacity.ROOT, check=False, timeout=TIMEOUT)
    assert done.returncode == 1
    assert done.stderr == "--accounts is above 50: the memory of one account more is measured from there.\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", [ENGINE, "engine without table", YARDSTICK, "bareping without both"])
async def test_each_contender_holds_its_accounts_to_the_end(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Start, steady state and stop are measured, and no account is lost."""
    monkeypatch.setattr(capacity, "FEW", 2)
    async with SandboxProcess.start() as sandbox:
        keys = [await sandbox.authorize(phone(index)) for index in range(4)]
        harness = Capacity(tmp_path, sandbox, keys, steady=1.0, settle=0.5, stagger="0")
        found = await asyncio.to_thread(harness.measure, ROWS[name])
        accepted = (await sandbox.stats())["accepted"]
    assert found.lost == 0
    assert accepted >= 2 + 4
    assert min(found.start, found.steady, found.steady_cpu, found.stop, found.few) > 0
    assert found.lags
    assert json.dumps(summary(4, found))


PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-m", "tests.bench.capacity_process", "bareping"], stdin=subprocess.PIPE)
child.stdin.write(sys.argv[1].encode())
child.stdin.flush()
time.sleep(600)
"""


@pytest.mark.slow
async def test_a_contender_does_not_outlive_a_benchmark_that_is_killed() -> None:
    """The contender ends with the process that started it, which could not tell it to."""
    async with SandboxProcess.start() as at:
        given = {"dc": at.dc_id, "host": "127.0.0.1", "port": at.port, "public_key": at.public_key}
        given |= {"keys": [], "settle": 600.0, "steady": 1.0}
        command = [sys.executable, "-c", PARENT, f"{json.dumps(given)}\n"]
        async with await anyio.open_process(command, cwd=capacity.ROOT, stderr=None) as parent:
            assert parent.stdout is not None
            with anyio.fail_after(TIMEOUT):
                assert json.loads(await parent.stdout.receive())["what"] == "started"
                parent.kill()
                async for _ in parent.stdout:  # its end is the contender's, who writes there, too
                    pass


@pytest.mark.slow
async def test_a_contender_that_fails_says_why(tmp_path: Path) -> None:
    """The end of what it wrote is in the message."""
    async with SandboxProcess.start() as sandbox:
        harness = Capacity(tmp_path, sandbox, [], steady=0.1, settle=0.1, stagger="auto")
        with pytest.raises(SystemExit, match="KeyError: 'nobody'"):
            await asyncio.to_thread(harness.run, Row("nobody"), 1, 0.1, 0.1)
