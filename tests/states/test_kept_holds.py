"""A hold ends when its time has come, and by nothing else that happens to the account."""

import attrs
import pytest

from states import State
from states.events import Event, NetworkLost, NetworkRestored, RetryRequested, Stable
from states.snapshot import Hold
from tests.states.harness import NOW, AccountDriver, in_state

HOLD = Hold(request="SendMessage", until=NOW + 3600, length=3600.0)


@pytest.mark.parametrize("event", [Stable(generation=0), NetworkLost(), RetryRequested(), NetworkRestored()])
def test_a_hold_outlives_what_resets_the_failures(event: Event) -> None:
    """The server's wait is a floor: neither a link that held nor a person's wish ends it, and the next link has it."""
    account = AccountDriver(snapshot=attrs.evolve(in_state(State.HEALTHY), holds=(HOLD,), failures=4))
    assert account.take(event).snapshot.holds == (HOLD,)
