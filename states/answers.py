"""What the guards of a decision saw and answered, for whoever explains one."""

from collections.abc import Callable
from typing import Any

from attrs import frozen

from states.guards import Moment, schedule_of, streak_after
from states.machine import ROWS, by_pair

_ROWS_OF = by_pair(ROWS)

Reader = Callable[[Moment], Any]


def _of_event(name: str) -> tuple[str, Reader]:
    return f"event.{name}", lambda moment: getattr(moment.event, name, None)


def _of_snapshot(name: str) -> tuple[str, Reader]:
    return name, lambda moment: getattr(moment.snapshot, name)


def _of_stall(name: str) -> tuple[str, Reader]:
    return f"stall.{name}", lambda moment: getattr(moment.snapshot.stall, name, None)


def _of_schedule(name: str) -> tuple[str, Reader]:
    return f"schedule.{name}", lambda moment: getattr(schedule_of(moment), name, None)


_CAUSE: tuple[str, Reader] = ("cause", lambda moment: moment.snapshot.cause.event if moment.snapshot.cause else None)
_RESTRICTED: tuple[str, Reader] = (
    "restricted",
    lambda moment: moment.snapshot.restricted and moment.snapshot.restricted.limit,
)
_STREAK: tuple[str, Reader] = ("streak with this one", streak_after)
_FAILURES: tuple[str, Reader] = ("failures with this one", lambda moment: moment.snapshot.failures + 1)

GUARD_INPUTS: dict[str, tuple[tuple[str, Reader], ...]] = {
    "stale": (_of_event("generation"), _of_snapshot("generation")),
    "foreign": (_of_event("link"), _of_snapshot("link")),
    "new_credentials": (_of_event("credentials"), _of_snapshot("credentials")),
    "under_way": (_of_snapshot("link"),),
    "stable": (_of_snapshot("stable"),),
    "patience_left": (_of_snapshot("silences"), ("timeout.patience", lambda moment: moment.policy.timeout.patience)),
    "of_request": (_of_event("what"),),
    "told": (_of_snapshot("exhausted"),),
    "doubts_key": (_CAUSE, _of_snapshot("deadline")),
    "out_of_tries": (_FAILURES, _STREAK, _of_schedule("tries"), _of_schedule("then")),
    "exhausted": (_of_snapshot("exhausted"), _FAILURES, _of_schedule("tries")),
    "parked": (_of_snapshot("state"), _of_snapshot("deadline")),
    "flooded": (_CAUSE,),
    "waits_for_network": (_CAUSE, _of_snapshot("deadline")),
    "limited": (_of_snapshot("limited"),),
    "stalled": (_of_stall("detail"),),
    "asked_for": (_of_event("asked"), _of_stall("detail")),
    "told_of_stall": (_of_stall("told"), _of_event("asked")),
    "clients_in_vain": (
        _of_event("asked"),
        _of_stall("clients"),
        ("backoff.updates.tries", lambda moment: moment.policy.backoff.updates.tries),
        _of_stall("told"),
    ),
    "client_due": (_of_event("asked"), _of_stall("until"), ("now", lambda moment: moment.now)),
    "of_some_requests": (_of_event("limit"),),
    "restricted_already": (_of_event("limit"), _RESTRICTED),
    "restricted": (_RESTRICTED,),
    "lifted": (_of_event("limit"), _RESTRICTED),
    "worth_telling": (
        _of_event("waited"),
        ("backoff.database.alert_after", lambda moment: moment.policy.backoff.database.alert_after),
        ("database", lambda moment: moment.snapshot.database and moment.snapshot.database.event),
        ("database.told", lambda moment: moment.snapshot.database and moment.snapshot.database.told),
    ),
}
"""The values that each guard depends on, each with its name and how to read it."""


@frozen(kw_only=True)
class GuardAnswer:
    """A guard that was asked: its question, the values that it saw, and its answer."""

    guard: str
    question: str
    saw: dict[str, Any]
    holds: bool


def ask_guards(moment: Moment) -> tuple[GuardAnswer, ...]:
    """Ask the guards as a decision asks them, from the top of the pair to the first that holds."""
    asked = []
    for row in _ROWS_OF[moment.snapshot.state, type(moment.event)]:
        if row.when is None:
            break
        saw = {name: read(moment) for name, read in GUARD_INPUTS[row.when.__name__]}
        holds = row.when(moment)
        asked.append(
            GuardAnswer(guard=row.when.__name__, question=(row.when.__doc__ or "").strip(), saw=saw, holds=holds)
        )
        if holds:
            break
    return tuple(asked)
