"""Since when an account is in trouble: the first moment after the last healthy one.

It is not the time of its present state: an account that goes from ``backoff`` to ``reconnecting`` and back has been in
each of them for seconds, and in trouble for an hour. The time in which no engine ran is nobody's trouble: an account
that a stop or a crash took from ``healthy`` is in trouble from its next start on.
"""

from collections.abc import Iterable, Mapping

from attrs import define, field

from engine.console.account_status import AccountStatus
from states import Record, State, Step


def trouble_since(after: Iterable[Record]) -> float | None:
    """Return since when (Unix seconds) an account is in trouble, by its records after the last that ended in healthy.

    The first few are enough. None stands for no trouble yet: nothing came after that record, or only a stop.
    """
    return next((record.at for record in after if record.target is not State.SHUTTING_DOWN), None)


@define(eq=False)
class Troubles:
    """Since when each account of a running engine is in trouble, as its decisions are made."""

    began: dict[str, float] = field(factory=dict, init=False)
    """By name, in Unix seconds; a healthy account is not in it."""
    _healed: set[str] = field(factory=set, init=False)
    """Accounts that were healthy once: what was stored before is over."""

    def observe(self, account: str, step: Step) -> None:
        """Take a decision. It is called for each decision of each account."""
        record = step.record
        if record.target is State.HEALTHY:
            self.began.pop(account, None)
            self._healed.add(account)
        elif record.target is State.SHUTTING_DOWN:
            pass  # a stop neither begins a trouble nor ends one
        elif account not in self.began:
            self.began[account] = record.at
        elif record.event == "ClockJumped":
            self.began[account] += _shift(record)

    def remember(self, stored: Mapping[str, float]) -> None:
        """Take what the journal says of the time before this engine: a trouble that a restart has not ended goes on."""
        for account, since in stored.items():
            if account not in self._healed:
                self.began[account] = min(since, self.began.get(account, since))

    def forget(self, account: str) -> None:
        """Know nothing any more of an account that was removed."""
        self.began.pop(account, None)
        self._healed.discard(account)

    def since(self, account: str, at: AccountStatus) -> float | None:
        """Return since when an account is in trouble; None if it is not, is paused, or if that is not known."""
        return self.began.get(account) if in_trouble(at) else None


def _shift(record: Record) -> float:
    """Return by how many seconds the clock had been set: stored times move with it."""
    seconds, slept = record.payload.get("seconds", 0.0), record.payload.get("slept")
    return 0.0 if slept is None else float(seconds - slept)


def in_trouble(at: AccountStatus) -> bool:
    """Return whether an account is known to be in trouble; a paused one rests because a person wants it to."""
    return at.known and not at.healthy and not at.paused
