"""The time in a line of a file of jobs: an odd zone or year is a sentence, and what is added can be read."""

import json

import pytest

from engine.app.job_registry import LAST_DUE, JobRegistry
from engine.config import load
from engine.work.kinds import BadJob
from tests.engine.commands import Run
from tests.engine.harness import EngineHarness
from tests.engine.test_jobs_cli import harness, jobs, rows  # noqa: F401  # fixtures

LINE = {"kind": "count", "data": {"upto": 5}}


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00",
        "0001-01-01T00:00+14:00",
        "9999-12-31T23:59:59-23:59",
        "9999-12-31T23:59:59",
        "3000-01-01T00:00+00:00",
        "1969-12-31T00:00+00:00",
        "2026-01-31T12:00+24:00",
        "2026-02-30T12:00",
        "soon",
        "",
    ],
)
def test_a_time_that_cannot_be_is_a_sentence(jobs: Run, harness: EngineHarness, text: str) -> None:  # noqa: F811
    """Exit code 2, the line's number and what a time looks like; nothing is queued."""
    (harness.directory / "jobs.jsonl").write_text(json.dumps({**LINE, "not_before": text}))
    code, _, error = jobs("add", "config.yaml", "--file", "jobs.jsonl")
    assert code == 2
    assert "jobs.jsonl:1: " in error
    assert "from 1970 to 2999" in error
    assert "Traceback" not in error
    assert rows(harness) == []


@pytest.mark.parametrize(
    "text", ["1970-01-02", "2026-01-31T12:00+23:59", "2026-01-31T12:00:00.5-23:59", "20300101T0000Z", "2999-12-30"]
)
def test_a_time_that_can_be_is_shown_as_it_was_meant(jobs: Run, harness: EngineHarness, text: str) -> None:  # noqa: F811
    """Any offset will do; ``list`` and ``show`` can write the time."""
    (harness.directory / "jobs.jsonl").write_text(json.dumps({**LINE, "not_before": text}))
    assert jobs("add", "config.yaml", "--file", "jobs.jsonl")[0] == 0
    assert json.loads(jobs("list", "config.yaml", "--json")[1])["due"]
    assert jobs("show", "config.yaml", "1")[0] == 0


def test_a_line_that_is_nested_too_deep_is_a_sentence(jobs: Run, harness: EngineHarness) -> None:  # noqa: F811
    """No traceback of the JSON reader."""
    (harness.directory / "jobs.jsonl").write_text('{"kind": ' + "[" * 200_000)
    code, _, error = jobs("add", "config.yaml", "--file", "jobs.jsonl")
    assert code == 2
    assert "jobs.jsonl:1: its values are nested too deep" in error


@pytest.mark.parametrize("due", [-1.0, LAST_DUE, 1e300, float("inf"), float("nan")])
def test_a_program_cannot_add_such_a_time_either(harness: EngineHarness, due: float) -> None:  # noqa: F811
    """``add_job`` of the library refuses what could not be read again."""
    registry = JobRegistry.of(load(harness.config))
    with pytest.raises(BadJob, match="from 1970 to 2999"):
        registry.check("count", {"upto": 5}, None, due=due)
