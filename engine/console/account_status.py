"""``AccountStatus``: where an account is, or that nobody knows, and where it was last."""

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from states import Snapshot, State
from states.nodes import AccountPlace
from states.waits import RequestWait

UNKNOWN: Final = "unknown"
"""What stands in the place of a state while nobody knows it."""
PAUSED: Final = "paused"


@frozen
class AccountStatus:
    """Where an account is, as far as it is known.

    A state is only known while the engine that decided it runs. What an earlier engine has left is what was last known:
    a connection does not outlive its process. A pause is a person's decision and stands until the account is resumed.
    """

    last: Snapshot | None
    """Where the account is or, if that is not known, where it was last; None if it has not run yet."""
    present: bool = True
    """Whether the engine that runs now has decided ``last``."""
    waits: tuple[RequestWait, ...] = ()
    """The requests that wait in place until a hold is over."""
    place: AccountPlace | None = None
    """Which node has the account; None where there are no nodes."""

    @property
    def paused(self) -> bool:
        """Whether the account waits until a person resumes it."""
        return self.last is not None and self.last.paused

    @property
    def known(self) -> bool:
        """Whether the account's state is known."""
        return self.last is not None and (self.present or self.paused)

    @property
    def healthy(self) -> bool:
        """Whether the account is known to be healthy."""
        return self.known and self.last is not None and self.last.state is State.HEALTHY

    @property
    def state(self) -> str:
        """The name of the state, ``paused``, or ``unknown``."""
        if self.paused:
            return PAUSED
        return self.last.state.value if self.known and self.last is not None else UNKNOWN

    @property
    def until(self) -> float | None:
        """When there was the last sign of ``last`` (Unix seconds); None if the state is known, or there was none."""
        if self.known or self.last is None:
            return None
        return max(self.last.since, self.last.last_success or 0.0, self.last.proved_at or 0.0)


Statuses = Mapping[str, AccountStatus | Snapshot]
"""Accounts by their names. A snapshot stands for an account that is known to be there now."""


def status_of(account: AccountStatus | Snapshot) -> AccountStatus:
    """Return the status of an account that may be given as its present snapshot."""
    return AccountStatus(account) if isinstance(account, Snapshot) else account
