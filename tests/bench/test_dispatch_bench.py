"""The benchmark compares like with like. Nothing here looks at a clock."""

from collections.abc import Sequence

import pytest

from states.machine import ROWS
from states.snapshot import State
from tests.bench.contenders import OURS, STOCK, Contender, Dispatched
from tests.bench.dispatch import ACCOUNTS, bytes_of, disagreement
from tests.bench.walk import Beat, long_lived, rules_taken, walk

BEATS = walk(events=4_000, accounts=ACCOUNTS)


@pytest.mark.parametrize("contender", [*OURS, *STOCK], ids=lambda contender: contender.key)
def test_every_contender_decides_alike(contender: Contender) -> None:
    """Ours, and the library's own machines, are in the right state after every event of the walk."""
    assert disagreement(contender, BEATS, ACCOUNTS) is None


@pytest.mark.parametrize("key", ["python-statemachine", "automat"])
def test_other_libraries_decide_alike(key: str) -> None:
    """So are the libraries of the group ``bench``, where they are installed."""
    pytest.importorskip("automat")
    pytest.importorskip("statemachine")
    from tests.bench.others import OTHERS

    [contender] = [other for other in OTHERS if other.key == key]
    assert disagreement(contender, BEATS[:1_000], ACCOUNTS) is None


def test_a_contender_that_decides_otherwise_is_found() -> None:
    """The check is a check: one that never leaves its first state does not pass."""

    class Stuck(Dispatched):
        def state(self, account: int) -> str:
            return State.CONNECTING

    said = disagreement(Contender(key="stuck", name="stuck", fleet=Stuck, crowd=1), BEATS, ACCOUNTS)
    assert said is not None
    assert said.startswith("stuck: beat ")


def test_the_walk_is_seeded_and_goes_everywhere() -> None:
    """The same walk every time, through all states and a good part of the rules."""

    def path(beats: Sequence[Beat]) -> list[tuple[int, str]]:
        return [(beat.account, beat.row.name) for beat in beats]

    assert path(walk(events=4_000, accounts=ACCOUNTS)) == path(BEATS)
    assert {beat.moment.snapshot.state for beat in BEATS} == set(State)
    assert rules_taken(BEATS) >= len(ROWS) / 4


def test_an_account_stays_small() -> None:
    """The snapshot of a connected account takes at most 500 bytes, also late in a long life."""
    assert bytes_of(lambda accounts: [long_lived(account) for account in range(accounts)], 300) <= 500
