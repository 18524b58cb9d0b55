"""Snapshots that only routine has changed: they wait in memory, and those of all accounts are stored together."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final

from attrs import define, field

from adapters.sqlite.errors import StorageError
from states.snapshot import Snapshot

SAVE_SECONDS: Final = 30.0
"""How long a snapshot that only routine has changed may wait in memory."""
_SAVED_AT_ONCE: Final = 256
_SAVE_PAUSE: Final = 0.02
"""Seconds between so many and the next: storing ten thousand at once would hold up the loop."""

RoutineRow = tuple[str, float, Snapshot]
"""An account, when it last had an event (Unix seconds), and its snapshot."""


@define(eq=False)
class RoutineSnapshots:
    """The snapshots of accounts that only routine has changed since they were stored. Belongs to the loop."""

    _offer: Callable[[Sequence[RoutineRow], bool], bool]
    """Queues snapshots for storage, and returns whether there was room; with True, even if there is none.

    Raises ``StorageError`` when nothing is stored any more.
    """
    _waiting: dict[str, Snapshot] = field(factory=dict, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)

    @property
    def is_due(self) -> bool:
        """Whether a time is set to store what waits."""
        return self._timer is not None

    def keep(self, account: str, snapshot: Snapshot) -> None:
        """Keep the latest snapshot of an account; it is stored within ``SAVE_SECONDS``."""
        self._waiting[account] = snapshot
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SAVE_SECONDS, self._store_some)

    def forget(self, account: str) -> None:
        """Leave out an account: a later snapshot of it was stored, or another node may have it."""
        self._waiting.pop(account, None)

    def store_all(self) -> None:
        """Queue the snapshots of all accounts, even if there is no room. Raises ``StorageError``."""
        if self._waiting:
            self._offer(self._rows_of(self._waiting), True)
            self._waiting.clear()

    def close(self) -> None:
        """Queue what waits, if it can be stored still, and set no time any more."""
        if self._timer is not None:
            self._timer.cancel()
        with suppress(StorageError):  # whoever writes a record is told
            self.store_all()

    def _store_some(self) -> None:
        """Queue snapshots of some accounts, and come back for the others."""
        self._timer = None
        if not self._waiting:  # each has had a record since
            return
        accounts = list(islice(self._waiting, _SAVED_AT_ONCE))
        with suppress(StorageError):  # whoever writes a record is told
            stored = self._offer(self._rows_of(accounts), False)
            if stored:
                for account in accounts:
                    del self._waiting[account]
            if self._waiting:
                wait = _SAVE_PAUSE if stored else SAVE_SECONDS
                self._timer = asyncio.get_running_loop().call_later(wait, self._store_some)

    def _rows_of(self, accounts: Iterable[str]) -> list[RoutineRow]:
        rows = []
        for account in accounts:
            at = self._waiting[account]
            # A quiet step changes only these times, so the latest of them says when it was.
            rows.append((account, max(at.since, at.last_success or 0.0, at.proved_at or 0.0), at))
        return rows
