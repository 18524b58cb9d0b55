"""What an account claims to have handled: never more, whatever is repeated, cut off or lost on the way to the file."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sqlite.errors import StorageError
from adapters.telegram.account_ledger import MAX_MARKS, RENEWED_AFTER, TOLD_EVERY, AccountLedger, advances_of
from adapters.telegram.boxes import Advance, MessageRange
from adapters.telegram.connector import TelegramConnector
from adapters.telegram.inbox import Inbox
from states.ledger import HoleCause, Interval, LedgerRow, merge


class Stored:
    """A storage that stores what it is asked to when the test says so."""

    def __init__(self) -> None:
        self.rows: dict[tuple[Any, ...], LedgerRow] = {}
        self.waits: list[AccountLedger] = []

    def soon(self, ledger: AccountLedger) -> None:
        self.waits.append(ledger)

    async def now(self, ledger: AccountLedger) -> None:
        self.commit(ledger)

    def commit(self, ledger: AccountLedger, rows: Sequence[LedgerRow] | None = None) -> None:
        rows = ledger.take() if rows is None else rows
        for row in rows:
            self.rows[row.box, row.cause, row.login, row.interval.after] = row
        ledger.stored(rows)

    def handled(self, box: int = 0) -> list[Interval]:
        return merge(row.interval for row in self.rows.values() if row.box == box and row.cause is None)


def ledger_of(stored: Stored, now: float = 1000.0) -> AccountLedger:
    """Return the ledger of user 7."""
    ledger = AccountLedger(stored, "a", clock=lambda: now)
    ledger.begin(7, "login")
    return ledger


def up_to(number: int, box: int = 0, **more: Any) -> Advance:
    """Return what one event covers."""
    return Advance(box, Interval(number - 1, number), **more)


class ClosedSession:
    """A session that is closed, and whose store does not answer."""

    def write_states(self, _inbox: Inbox) -> None:
        raise StorageError("the server does not answer in time")


def test_a_session_that_cannot_be_opened_again_stops_no_ledger(tmp_path: Path) -> None:
    """The rows are stored; how far the session is stays in memory, and whoever stores the rows of others goes on."""
    stored, connector = Stored(), TelegramConnector(session=tmp_path / "a.session", api_id=1, api_hash="0" * 32)
    connector.memory.session = ClosedSession()  # type: ignore[assignment]
    ledger = ledger_of(stored)
    connector.inbox.use_ledger(ledger)
    ledger.add(1, [up_to(1)])
    ledger.handled(1)
    stored.commit(ledger)
    assert stored.handled() == [Interval(0, 1)]
    assert ledger.is_stored(1)


class BoxesStub:
    """A client without a ledger, whose boxes have come to this."""

    def __init__(self, *advances: Advance) -> None:
        self.inbox = SimpleNamespace(ledger=None)
        self._message_box = SimpleNamespace(take=lambda: ((), list(advances)))


def test_without_a_handler_only_what_came_is_lost() -> None:
    """A difference with nothing in it takes nothing from a program; what the box itself has lost stays as it is."""
    came, nothing = up_to(5), Advance(0, Interval(5, 5))
    left = Advance(7, Interval(3, 3), lost=HoleCause.NOT_SUBSCRIBED)
    boxes = BoxesStub(came, nothing, left)
    assert advances_of(boxes, handled=False) == [up_to(5, lost=HoleCause.NO_HANDLER), left]
    assert advances_of(boxes, handled=True) == [came, nothing, left]


class ClientStub:
    """A client whose dispatching of an update ends when the test lets it."""

    def __init__(self, count: int) -> None:
        self.let_go = {number: anyio.Event() for number in range(1, count + 1)}

    async def _dispatch_update(self, update: int) -> None:
        await self.let_go[update].wait()


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.permutations(range(1, 9)), st.data())
def test_only_what_was_handled_without_a_gap_is_claimed(order: list[int], data: st.DataObject) -> None:
    """Handlers end in any order, rows are stored, put back or on their way: claims are handled, states are claimed."""

    async def main() -> None:
        stored, inbox, client = Stored(), Inbox(), ClientStub(8)
        inbox.use_ledger(ledger := ledger_of(stored))
        inbox.use_client(client)
        async with anyio.create_task_group() as tasks:
            inbox.deliver(tasks.start_soon)
            seen = []  # the numbers of the inbox at which the box was at 1, 2, …
            for number in range(1, 9):
                inbox.add([number], [up_to(number)])
                seen.append(inbox.last)
            done: set[int] = set()
            for number in order:
                client.let_go[number].set()
                done.add(number)
                await anyio.wait_all_tasks_blocked()
                rows = ledger.take()
                if data.draw(st.booleans()):
                    stored.commit(ledger, rows)
                elif data.draw(st.booleans()):
                    ledger.put_back(rows)
                claimed = {each for part in stored.handled() for each in range(part.after + 1, part.upto + 1)}
                assert claimed <= done
                for box, last in enumerate(seen, 1):
                    assert not inbox.is_recorded(last) or set(range(1, box + 1)) <= claimed
            await ledger.flush()
            assert stored.handled() == [Interval(0, 8)]
            assert inbox.is_recorded(inbox.last)

    anyio.run(main)


def test_a_chain_is_one_row_however_long_it_is() -> None:
    """Contiguous events, and repeats of them, make one row; another box has its own."""
    stored = Stored()
    ledger = ledger_of(stored)
    for number in [*range(1, 50), *range(40, 60)]:
        ledger.add(number, [up_to(number), up_to(number, box=5)])
        ledger.handled(number)
        stored.commit(ledger)
    assert [row.interval for row in stored.rows.values()] == [Interval(0, 59)] * 2


def test_a_gap_begins_another_row() -> None:
    """Numbers that nobody counted are between two rows."""
    stored = Stored()
    ledger = ledger_of(stored)
    for number in (1, 2, 5, 6):
        ledger.add(number, [up_to(number)])
    ledger.handled(9)
    stored.commit(ledger)
    assert stored.handled() == [Interval(0, 2), Interval(4, 6)]


def test_a_loss_is_a_hole_with_its_cause() -> None:
    """It is claimed by no row, and the chain goes on behind it."""
    stored = Stored()
    ledger = ledger_of(stored)
    lost = Advance(0, Interval(2, 90), lost=HoleCause.TOO_LONG)
    ledger.add(1, [up_to(1), up_to(2), lost, up_to(91)])
    ledger.handled(1)
    stored.commit(ledger)
    assert stored.handled() == [Interval(0, 2), Interval(90, 91)]
    holes = [(row.cause, row.interval) for row in stored.rows.values() if row.cause is not None]
    assert holes == [(HoleCause.TOO_LONG, Interval(2, 90))]


def test_a_box_that_is_set_back_forgets_what_was_beyond() -> None:
    """Greater numbers mean other events from then on; rows that were not stored yet are not stored any more."""
    stored = Stored()
    ledger = ledger_of(stored)
    ledger.add(1, [Advance(0, Interval(5, 9)), Advance(3, Interval(1, 2)), Advance(0, Interval(9, 4)), up_to(5)])
    ledger.handled(1)
    rows = ledger.take()
    assert {(row.box, row.cause, row.interval) for row in rows} == {
        (0, HoleCause.RENUMBERED, Interval(4, 4)),
        (3, None, Interval(1, 2)),
        (0, None, Interval(4, 5)),
    }


def test_the_times_and_the_messages_of_a_chain_grow_with_it() -> None:
    """It begins at the date of its first message, and has the numbers of its first and its last."""
    stored = Stored()
    ledger = ledger_of(stored)
    ledger.add(1, [up_to(1, messages=MessageRange(20, 20, 900.0, 900.0)), up_to(2)])
    ledger.add(2, [up_to(3, messages=MessageRange(23, 25, 950.0, 990.0))])
    ledger.handled(2)
    (row,) = ledger.take()
    assert (row.since, row.until, row.first_id, row.last_id) == (900.0, 1000.0, 20, 25)


def test_a_time_is_never_claimed_that_nobody_knows() -> None:
    """A handler that ends late claims when its update came; a slice of a difference, its last message; never later."""
    now = [1000.0]
    ledger = AccountLedger(Stored(), "a", clock=lambda: now[0])
    ledger.begin(7, "login")
    ledger.add(1, [up_to(1, at=990.0), up_to(2, at=0.0), up_to(1, box=5), up_to(1, box=6, at=5000.0)])
    now[0] = 4000.0
    ledger.handled(1)
    assert [(row.box, row.since, row.until) for row in ledger.take()] == [
        (0, 990.0, 990.0), (5, 1000.0, 1000.0), (6, 1000.0, 1000.0),
    ]  # fmt: skip


def test_an_equal_number_proves_a_box_until_it_was_asked_for() -> None:
    """It makes the row longer in time, once in a few minutes, and covers no number that was not handled."""
    stored = Stored()
    ledger = ledger_of(stored, now=2000.0)
    ledger.add(1, [up_to(5, at=900.0)])
    ledger.handled(1)
    assert ledger.confirmations({0: 5}, 900.0 + RENEWED_AFTER - 1) == []
    for number, (box, pts, at) in enumerate([(0, 5, 900.0 + RENEWED_AFTER), (0, 9, 1500.0), (8, 3, 1500.0)], 2):
        ledger.add(number, ledger.confirmations({box: pts}, at))
    ledger.handled(9)
    stored.commit(ledger)
    assert [(row.box, row.interval, row.until) for row in stored.rows.values()] == [
        (0, Interval(4, 5), 1200.0), (0, Interval(9, 9), 1500.0), (8, Interval(3, 3), 1500.0),
    ]  # fmt: skip


def test_what_was_given_up_is_not_put_back() -> None:
    """Rows that were on their way when a box was set back, and may not be stored, end there when they go again."""
    ledger = ledger_of(Stored())
    ledger.add(1, [Advance(0, Interval(1, 9)), Advance(0, Interval(20, 30))])
    ledger.handled(1)
    rows = ledger.take()
    ledger.add(2, [Advance(0, Interval(30, 5))])
    ledger.handled(2)
    ledger.put_back(rows)
    assert {(row.cause, row.interval, row.until == row.since) for row in ledger.take()} == {
        (None, Interval(1, 5), True),
        (HoleCause.RENUMBERED, Interval(5, 5), True),
    }


def test_rows_on_their_way_are_told_apart() -> None:
    """An answer that comes late says nothing of the rows that are on their way now."""
    stored = Stored()
    ledger = ledger_of(stored)
    ledger.add(1, [up_to(1)])
    ledger.handled(1)
    first = ledger.take()
    stored.commit(ledger, first)
    ledger.add(2, [up_to(2)])
    ledger.handled(2)
    second = ledger.take()
    ledger.stored(first)
    assert not ledger.is_stored(2)
    ledger.stored(second)
    assert ledger.is_stored(2)


def test_what_is_stored_is_not_the_next_user_s() -> None:
    """A new login begins rows of its own; without a user nothing is claimed."""
    stored = Stored()
    ledger = ledger_of(stored)
    ledger.add(1, [up_to(1)])
    ledger.handled(1)
    ledger.begin(8, "other")
    ledger.add(2, [up_to(2)])
    ledger.handled(2)
    ledger.begin(None, "")
    ledger.add(3, [up_to(3)])
    ledger.handled(3)
    assert [(row.user, row.interval) for row in ledger.take()] == [(7, Interval(0, 1)), (8, Interval(1, 2))]


@pytest.mark.parametrize("count", [MAX_MARKS + 50])
def test_a_handler_that_hangs_costs_bounded_memory(count: int) -> None:
    """Moments beyond a number are claimed with the last, and all of them in the end."""
    stored = Stored()
    ledger = ledger_of(stored)
    for number in range(1, count + 1):
        ledger.add(number, [up_to(number)])
    assert len(ledger._marks) == MAX_MARKS
    ledger.handled(count - 1)
    stored.commit(ledger)
    assert stored.handled() == [Interval(0, MAX_MARKS - 1)]
    ledger.handled(count)
    stored.commit(ledger)
    assert stored.handled() == [Interval(0, count)]


def test_what_telegram_sends_no_more_is_named_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """With its numbers, and with the command that says what is missing; a name with a space is quoted."""
    now = [1000.0]
    ledger = AccountLedger(Stored(), "News 2", clock=lambda: now[0])
    ledger.begin(7, "login")
    account = Advance(0, Interval(4, 90), lost=HoleCause.TOO_LONG)
    channel = Advance(9, Interval(1, 5), lost=HoleCause.UNREADABLE)
    left = Advance(9, Interval(5, 5), lost=HoleCause.NOT_SUBSCRIBED)
    with caplog.at_level("WARNING", "holdfast.handlers"):
        for advances in ([up_to(1), left], [account, channel], [channel]):
            ledger.tell_lost(advances)
        now[0] += TOLD_EVERY
        ledger.tell_lost([channel])
    assert [record.__dict__["command"] for record in caplog.records] == [
        "prove CONFIG --chat 7 --account 'News 2'",
        "prove CONFIG --chat -1000000000009",
    ]
    assert "private chats and groups, 4 to 90 in their count (too_long)" in caplog.messages[0]
