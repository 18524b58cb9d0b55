"""The ranking of the live table is that of the status page, whatever changes, and a change looks at one account."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from engine.console.account_status import AccountStatus, status_of
from engine.console.live import picture
from engine.console.ranking import Ranking
from engine.console.status import EngineInfo, count_states, worst_first
from states import Snapshot, State
from states.jobs import JobSummary

NAMES = [f"{letter}{number}" for number in range(4) for letter in "bAc"]
STATUSES = st.builds(
    AccountStatus,
    st.none() | st.builds(Snapshot, state=st.sampled_from(State), paused=st.booleans()),
    present=st.booleans(),
)


@given(st.lists(st.tuples(st.sampled_from(NAMES), STATUSES), max_size=60))
def test_the_order_is_that_of_the_status_page(changes: list[tuple[str, AccountStatus]]) -> None:
    """After any changes the order and the counts are those of all accounts ranked anew."""
    now: dict[str, AccountStatus] = {}
    ranking = Ranking(NAMES, now.__getitem__)
    for name, at in changes:
        now[name] = at
        ranking.update(name)
        assert ranking.first(len(NAMES)) == worst_first(now)
        assert +ranking.states == count_states(now)
        assert len(ranking) == len(now)


def test_a_change_and_a_look_ask_for_few_of_many_accounts() -> None:
    """Among ten thousand accounts, a change asks for the one and the first five for five."""
    names = [f"Account {number}" for number in range(10_000)]
    asked: list[str] = []

    def status(name: str) -> AccountStatus:
        asked.append(name)
        return status_of(Snapshot(state=State.HEALTHY))

    ranking = Ranking(names, status)
    for name in names:
        ranking.update(name)
    asked.clear()
    ranking.update(names[5000])
    assert asked == [names[5000]]
    ranking.first(5)
    assert len(asked) == 6


def test_a_picture_has_the_worst_accounts_and_says_how_many_more() -> None:
    """What does not fit is counted; the accounts in trouble are shown."""
    accounts = {f"Account {number}": Snapshot(state=State.HEALTHY) for number in range(1000)}
    accounts["The sick one"] = Snapshot(state=State.BACKOFF)
    console = Console(file=io.StringIO(), width=100, record=True)
    console.print(picture(EngineInfo(running=True), Ranking.of(accounts), 1e9, JobSummary(), [], most=10))
    text = console.export_text()
    assert "The sick one" in text
    assert "and 991 more" in text
    assert "1000 of 1001 healthy" in text
    assert len(text.splitlines()) < 20
