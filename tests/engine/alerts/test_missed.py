"""What was missed: one sentence from the records of the accounts."""

from typing import Any

from engine.alerts.missed import missed_of
from states.record import Entry
from states.snapshot import State


def entry(account: str = "A", **payload: Any) -> Entry:
    return Entry(
        seq=1, account=account, life=1, at=0.0, source=State.HEALTHY, event="CaughtUp",
        payload={"recovered": 0} | payload, rule="r", target=State.HEALTHY, attempt=0, failures=0, delay=None,
        draw=None, deadline=None, effects=(), detail="", cause=(), dwell=0.0, quiet=False,
    )  # fmt: skip


def test_nothing_is_said_of_accounts_that_missed_nothing() -> None:
    """The message then says that nothing is known to be missing."""
    assert missed_of([]) == ""
    assert missed_of([entry()]) == ""


def test_updates_that_came_late_are_counted_once() -> None:
    """A late record of a link counts again what the one before it has counted."""
    assert missed_of([entry(recovered=1)]) == "nothing of 1 update that came late"
    found = [entry(recovered=1_000), entry(recovered=1_200, late=True), entry(recovered=5), entry("B", recovered=3)]
    assert missed_of(found) == "nothing of 1,208 updates that came late"


def test_what_is_still_missing_is_named() -> None:
    """And no more once it was fetched."""
    gap = entry(recovered=2, missing=["channel 5 (refused)"])
    assert missed_of([gap]) == "2 updates came late; some updates of A, which could not be fetched yet"
    assert missed_of([gap, entry(recovered=4, late=True)]) == "nothing of 4 updates that came late"


def test_what_telegram_lists_no_more_is_named() -> None:
    """For ever: it does not come later."""
    accounts = [entry(f"A{number}", too_long=True) for number in range(7)]
    assert missed_of([*accounts, entry("A0", recovered=1)]) == (
        "1 update came late; what Telegram does not list any more for A0, A1, A2, A3, A4 and 2 more: read the chats "
        "for it"
    )
