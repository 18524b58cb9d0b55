"""A period with two ends, in each command that reads the journal."""

import json
from datetime import UTC, datetime
from pathlib import Path

from adapters.sqlite import JournalReader
from tests.engine.journal.conftest import Run


def iso(at: float) -> str:
    """Return a time with its offset."""
    return datetime.fromtimestamp(at, UTC).isoformat()


def test_log_prints_what_lies_between(run: Run, path: Path) -> None:
    """The start is in the period, the end is not; both are in any offset."""
    with JournalReader.open(path) as reader:
        entries = list(reader.entries())
    moments = sorted({entry.at for entry in entries})
    since, until = moments[1], moments[-2]
    expected = [entry.seq for entry in entries if since <= entry.at < until]
    _, out, _ = run("--json", "--since", iso(since), "--until", iso(until))
    assert [json.loads(line)["seq"] for line in out.splitlines()] == expected
    assert 0 < len(expected) < len(entries)


def test_stats_end_at_the_end_of_the_period(run: Run, path: Path) -> None:
    """Time, outages and repairs after the end do not count."""
    with JournalReader.open(path) as reader:
        first = next(entry for entry in reader.entries() if entry.account == "News 2").at
    _, out, _ = run("stats", "--json", "--until", iso(first))
    found = json.loads(out)
    assert datetime.fromisoformat(found["until"]).timestamp() == first
    news_2 = next(each for each in found["accounts"] if each["name"] == "News 2")
    assert (news_2["outages"], sum(news_2["seconds"].values())) == (0, 1.0)


def test_a_time_in_the_past_ends_following(run: Run, path: Path) -> None:
    """``log -f`` has nothing to wait for when its period is over."""
    code, _, _ = run("-f", "--since", "2000-01-01", "--until", "2001-01-01")
    assert code == 0
