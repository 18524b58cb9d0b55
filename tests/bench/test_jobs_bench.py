"""The benchmark of jobs does what it counts. Nothing here judges by a clock."""

from pathlib import Path

import pytest

from tests.bench import jobs


@pytest.mark.parametrize("name", jobs.CONTENDERS)
async def test_each_job_that_is_counted_is_done(name: str, tmp_path: Path) -> None:
    """When a contender returns, every job is done in the file with the result of its function."""
    path = tmp_path / "x.db"
    jobs.fill(path, 300)
    assert await jobs.CONTENDERS[name](path, 300) > 0
    jobs.check(path, 300)


def test_a_job_that_is_not_done_is_noticed(tmp_path: Path) -> None:
    """``check`` refuses a file in which work is left."""
    jobs.fill(tmp_path / "x.db", 2)
    with pytest.raises(AssertionError):
        jobs.check(tmp_path / "x.db", 2)


@pytest.mark.slow
def test_rates_are_a_table(tmp_path: Path) -> None:
    """There is a row for each contender, and a target."""
    lines = jobs.rates(tmp_path, jobs=200, rounds=2).lines()
    assert lines[2] == "|  | jobs per second | ratio |"
    assert [line.split("|")[1].strip() for line in lines[4:6]] == list(jobs.CONTENDERS)
    assert "against a commit per step" in lines[7]


@pytest.mark.slow
def test_flatness_is_a_table(tmp_path: Path) -> None:
    """There is a row for each length of the queue, measured in processes of their own."""
    lines = jobs.flatness(tmp_path, queues=(200, 400), rounds=1).lines()
    assert [line.split("|")[1].strip() for line in lines[4:6]] == ["200", "400"]
    assert "first job begins, 400 in the queue, against 200 in it" in lines[7]
