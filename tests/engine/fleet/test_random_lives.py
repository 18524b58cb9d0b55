"""Random lives through the real runner, crashes and restarts included: the journal always tells where they got to."""

from typing import Any

import anyio
import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from states import Event, Policy, Record, Snapshot, State
from states.events import (
    AccountLimited,
    AuthKeyUnknown,
    AuthRejected,
    ClockJumped,
    CredentialsReplaced,
    DatabaseLocked,
    FloodWait,
    NetworkLost,
    NetworkRestored,
    ProtocolBroken,
    RetryRequested,
    ServerFault,
    StopRequested,
    TransportFlood,
    Unexpected,
)
from states.redo import redo
from tests.engine.fakes import FakeConnector, MemoryJournal, runner_for
from tests.virtual_time import virtually

FAILURES = st.sampled_from(
    [NetworkLost(), ServerFault(), ProtocolBroken(), Unexpected(), AuthKeyUnknown(), AuthRejected(), TransportFlood()]
) | st.builds(FloodWait, seconds=st.integers(1, 500).map(float))
NOTICES = st.sampled_from(
    [
        AccountLimited(),
        DatabaseLocked(),
        ClockJumped(seconds=60.0),
        NetworkRestored(),
        RetryRequested(),
        CredentialsReplaced(),
    ]
)
ACTIONS = st.one_of(
    st.tuples(st.just("wait"), st.floats(0.01, 400)),
    st.tuples(st.just("lose"), FAILURES),
    st.tuples(st.just("tell"), NOTICES),
    st.tuples(st.just("silence"), st.booleans()),
    st.tuples(st.just("crash"), st.none()),
)
OUTCOMES = st.one_of(st.just("ok"), st.just("ok"), st.just("hang"), FAILURES)


async def act(connector: FakeConnector, runner: Any, what: str, given_: Any) -> None:
    """Let one thing happen to the account."""
    match what:
        case "wait":
            await anyio.sleep(given_)
        case "lose" if connector.current is not None and not connector.current.lost:
            connector.lose(given_)
        case "tell":
            await runner.post(given_)
        case "silence":
            connector.silent = given_


def lives_of(
    connector: FakeConnector, journal: MemoryJournal, actions: list[tuple[str, Any]], outcomes: list[Any]
) -> tuple[Snapshot, Policy]:
    """Run the actions, a new life after each crash, and stop; return where the account was, and its policy."""
    connector.outcomes = outcomes
    chapters: list[list[tuple[str, Any]]] = [[]]
    for action in actions:
        if action[0] == "crash":
            chapters.append([])
        else:
            chapters[-1].append(action)
    last: list[Any] = []

    async def main() -> None:
        for number, chapter in enumerate(chapters):
            runner = runner_for(connector, journal, restored=journal.stored.get("A"))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(runner.live)
                for what, given_ in chapter:
                    await act(connector, runner, what, given_)
                if number == len(chapters) - 1:
                    await runner.post(StopRequested())
                    await runner_over(runner)
                tasks.cancel_scope.cancel()  # the last life is over; the others end as by kill -9
            last[:] = [runner.snapshot, runner.policy]

    async def runner_over(runner: Any) -> None:
        with anyio.fail_after(3600):
            while runner.snapshot.state is not State.SHUTTING_DOWN or not runner._over:
                await anyio.sleep(0.01)

    virtually(main)
    return last[0], last[1]


def event_of(record: Record) -> Event:
    """Make the event of a record again."""
    from states import EVENT_BY_NAME

    return EVENT_BY_NAME[record.event](**record.payload)


def comparable(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot without the two times that routine moves."""
    return attrs.evolve(snapshot, last_success=None, proved_at=None, offline=None)


@settings(max_examples=60)
@given(st.lists(ACTIONS, max_size=25), st.lists(OUTCOMES, max_size=12))
def test_the_replayed_journal_is_the_live_snapshot(actions: list[tuple[str, Any]], outcomes: list[Any]) -> None:
    """Whatever happened, every record comes out of ``step`` as it was written, and the last is where the account is."""
    connector, journal = FakeConnector(), MemoryJournal()
    live, policy = lives_of(connector, journal, actions, outcomes)
    begun = {snapshot.life: snapshot for _, snapshot in journal.lives}
    at, life = None, 0
    for _, record in journal.records:
        if record.event == "Started":
            life += 1
            at = begun[life]
        assert at is not None
        made = redo(at, record, event_of(record), policy)
        assert made.record == record
        at = made.snapshot
    assert at is not None
    assert comparable(at) == comparable(live)
    assert connector.max_open <= 1, "never two links, whatever happens"
    assert live.state is State.SHUTTING_DOWN
