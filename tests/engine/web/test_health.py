"""Whether an engine lives and is ready, from measured values."""

from collections.abc import Mapping
from typing import Any

import anyio
import attrs
import pytest
import structlog

from engine.web.health import HealthReports, Readiness, Vitals, examine, hangs, problems


@pytest.mark.parametrize(
    ("vitals", "said", "hang"),
    [
        (Vitals(), [], False),
        (Vitals(loop_late=4.9, journal_behind=29.0, dispatcher_silent=89.0), [], False),
        (Vitals(loop_late=6.0), ["the event loop is 6 s late"], False),
        (Vitals(loop_late=100.0), ["the event loop is 1 min 40 s late"], True),
        (
            Vitals(journal_behind=31.0, journal_rows=1, journal_trouble="the disk is full"),
            ["no row of the journal was saved for 31 s, and 1 row waits (the disk is full)"],
            False,
        ),
        (
            Vitals(journal_behind=600.0, journal_silent=600.0, journal_rows=12),
            ["no row of the journal was saved for 10 min, and 12 rows wait"],
            True,
        ),
        (
            Vitals(dispatcher_silent=95.0),
            ["the dispatcher of the jobs has done nothing for 1 min 35 s"],
            True,
        ),
        (Vitals(signs_expected=1000, signs_overdue=499), [], False),
        (
            Vitals(signs_expected=1000, signs_overdue=500),
            ["500 of 1000 healthy accounts gave no sign of life, and none was asked for"],
            True,
        ),
        (
            Vitals(signs_expected=1, signs_overdue=1),
            ["1 of 1 healthy account gave no sign of life, and none was asked for"],
            True,
        ),
    ],
)
def test_a_part_that_does_not_work_is_a_sentence(vitals: Vitals, said: list[str], hang: bool) -> None:
    """And what only a new process could mend is told apart: a restart would lose the rows of a full disk."""
    found = examine(vitals)
    assert [finding.part for finding in found] == ["loop", "journal", "dispatcher", "links"]
    assert problems(found) == said
    assert hangs(found) is hang


def test_what_waits_for_the_journal_does_not_hang() -> None:
    """The watchdog would restart an engine again and again whose disk is full."""
    more = {"signs_expected": 2, "signs_overdue": 2}
    found = examine(Vitals(dispatcher_silent=300.0, journal_behind=300.0, journal_silent=5.0, journal_rows=4, **more))
    assert len(problems(found)) == 3
    assert not hangs(found)


@pytest.mark.parametrize(
    ("counts", "needed", "ready"),
    [
        ({"healthy": 9, "backoff": 1}, 0.9, True),
        ({"healthy": 27, "backoff": 3}, 0.9, True),
        ({"healthy": 8, "backoff": 2}, 0.9, False),
        ({"healthy": 9, "paused": 90, "timeout": 1}, 0.9, True),
        ({"paused": 3}, 0.9, True),
        ({"unknown": 3}, 0.9, False),
        ({"unknown": 3}, 0.0, True),
        ({"healthy": 2, "connecting": 1}, 1.0, False),
        ({}, 0.9, True),
    ],
)
def test_ready_is_a_share_of_the_accounts_that_count(counts: Mapping[str, int], needed: float, ready: bool) -> None:
    """Paused accounts do not; those of which nothing is known are not healthy."""
    assert (Readiness(counts=counts, needed=needed).problems == []) is ready


def test_why_it_is_not_ready_is_a_sentence() -> None:
    """It has both numbers, and what the others are."""
    (problem,) = Readiness(counts={"healthy": 7, "backoff": 2, "auth_failed": 1, "paused": 4}, needed=0.9).problems
    assert problem == ("7 of 10 accounts are healthy, and ready_when is 90 % (1 auth_failed, 2 backoff, 4 paused)")


def test_an_engine_that_stops_is_not_ready() -> None:
    """No new work must be sent to it."""
    assert Readiness(counts={"healthy": 5}, needed=0.5, stopping=True).problems == ["the engine stops"]


class Fleet:
    """What reports are made from; a test changes it."""

    def __init__(self) -> None:
        self.vitals = Vitals()
        self.counts: dict[str, int] = {"healthy": 3}
        self.counted = 0
        self.stopping = False
        self.needed = 0.9

    def count(self) -> Mapping[str, int]:
        self.counted += 1
        return dict(self.counts)

    def reports(self) -> HealthReports:
        return HealthReports(lambda: self.vitals, self.count, lambda: self.needed, lambda: self.stopping)


@pytest.mark.virtual
async def test_the_bodies_say_what_is_and_why_not() -> None:
    """A program reads ``live`` and ``ready``, a person ``why``."""
    fleet = Fleet()
    reports = fleet.reports()
    assert reports.live() == {
        "live": True,
        "hangs": False,
        "why": [],
        "checks": {
            "loop": {"ok": True, "late": 0.0},
            "journal": {"ok": True, "behind": 0.0, "rows": 0},
            "dispatcher": {"ok": True, "silent": 0.0},
            "links": {"ok": True, "expected": 0, "overdue": 0},
        },
    }
    fleet.vitals = attrs.evolve(fleet.vitals, loop_late=7.0)
    body: dict[str, Any] = reports.live()
    assert (body["live"], body["checks"]["loop"]) == (False, {"ok": False, "late": 7.0})
    body = reports.ready()
    assert (body["ready"], body["why"]) == (False, ["the event loop is 7 s late"])
    assert (body["accounts"], body["healthy"], body["states"]) == (3, 3, {"healthy": 3})


@pytest.mark.virtual
async def test_accounts_are_counted_once_a_second_however_many_ask() -> None:
    """Counting ten thousand takes a while, and anybody may ask."""
    fleet = Fleet()
    reports = fleet.reports()
    for _ in range(100):
        reports.ready()
    assert fleet.counted == 1
    await anyio.sleep(1.5)
    fleet.counts = {"backoff": 3}
    assert not reports.ready()["ready"]
    assert fleet.counted == 2


@pytest.mark.virtual
async def test_the_log_says_once_that_a_part_does_not_work_and_that_it_works_again() -> None:
    """Also where nobody asks for health."""
    fleet = Fleet()
    with structlog.testing.capture_logs() as said:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fleet.reports().watch)
            await anyio.sleep(60)
            fleet.vitals = Vitals(dispatcher_silent=100.0)
            await anyio.sleep(60)
            fleet.vitals = Vitals()
            await anyio.sleep(60)
            tasks.cancel_scope.cancel()
    assert [(each["event"], each["log_level"]) for each in said] == [
        ("liveness_lost", "error"),
        ("liveness_back", "info"),
    ]
    assert said[1]["took"] == pytest.approx(60, abs=6)


@pytest.mark.virtual
async def test_what_was_lost_is_told_as_back_also_by_a_watch_that_began_anew() -> None:
    """A reload ends the watch and begins it again; the end of a trouble must not be lost with it."""
    fleet = Fleet()
    reports = fleet.reports()
    with structlog.testing.capture_logs() as said:
        for vitals in (Vitals(loop_late=9.0), Vitals()):
            fleet.vitals = vitals
            with anyio.move_on_after(20):
                await reports.watch()
    assert [each["event"] for each in said] == ["liveness_lost", "liveness_back"]


@pytest.mark.virtual
async def test_another_share_holds_from_the_next_question_on() -> None:
    """A reload has changed it."""
    fleet = Fleet()
    reports, fleet.counts = fleet.reports(), {"healthy": 1, "backoff": 1}
    assert not reports.ready()["ready"]
    fleet.needed = 0.5
    assert reports.ready()["ready"]
