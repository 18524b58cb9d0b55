"""What one account has handled, on its way to the ledger in ``engine.db``.

A box comes to a number when Telethon has counted it (``NotedMessageBox``). That is handled when the handlers of all
updates up to then have ended, and may be claimed then. The session file says that it was seen only after the claim is
durable: a crash between the two repeats updates, and the ledger has none that was not handled.
"""

import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from attrs import define, evolve, field
from telethon.tl.types import PeerChannel
from telethon.utils import get_peer_id

from adapters.log_events import event_logger
from adapters.telegram.boxes import Advance
from states.ledger import HoleCause, Interval, LedgerRow

MAX_MARKS: Final = 256
"""Moments at which boxes came to a number, while a handler runs; more are one with the last, and so claimed later."""
RENEWED_AFTER: Final = 300.0
"""Seconds after which it is noted again that a box has come no further, and so that nothing is missing until then."""

TOLD_EVERY: Final = 60.0
"""Seconds between two lines of the log about what was lost."""
_TOLD: Final = (HoleCause.TOO_LONG, HoleCause.UNREADABLE)
"""The causes of which nothing else says where they were; the others are named elsewhere."""
log = event_logger("holdfast.handlers")

_Key = tuple[int, HoleCause | None, int]
"""Box, cause and first number of a row."""


class LedgerStorage(Protocol):
    """Stores what accounts have handled."""

    def soon(self, ledger: "AccountLedger") -> None:
        """Take an account's rows in a moment."""

    async def now(self, ledger: "AccountLedger") -> None:
        """Store an account's rows; durable on return. Raises ``StorageError``."""


@define(eq=False)
class AccountLedger:
    """The intervals of one account that are not stored yet, and where each box's chain of them has come to."""

    storage: LedgerStorage
    account: str
    clock: Callable[[], float] = time.time
    note_stored: Callable[[], None] = field(default=lambda: None, init=False)
    """Called when rows have become durable."""
    _user: int = field(default=0, init=False)
    _login: str = field(default="", init=False)
    _chains: dict[tuple[int, HoleCause | None], LedgerRow] = field(factory=dict, init=False)
    """The last row of each box, and the last one of each cause for which something was lost in it."""
    _marks: list[tuple[int, float, list[Advance]]] = field(factory=list, init=False)
    """What is not handled yet: the number of the last update before, when it was noted, and the advances."""
    _rows: dict[_Key, LedgerRow] = field(factory=dict, init=False)
    """What is handled and not stored."""
    _in_flight: list[LedgerRow] = field(factory=list, init=False)
    _first_unstored: int | None = field(default=None, init=False)
    _first_in_flight: int | None = field(default=None, init=False)
    _told_at: float = field(default=-TOLD_EVERY, init=False)

    def begin(self, user: int | None, login: str) -> None:
        """Have all that follows belong to this user and this login; with None, note nothing: nobody knows whose it is.

        Numbers are those of a user; what another login has left may have been numbered in another world (a sandbox).
        """
        if (self._user, self._login) != (user or 0, login):
            self._user, self._login = user or 0, login
            self._chains.clear()

    def add(self, number: int, advances: Iterable[Advance]) -> None:
        """Note that boxes came to these numbers; handled once all updates up to ``number`` have been handled."""
        if not self._user:
            return
        if len(self._marks) >= MAX_MARKS:
            _, at, before = self._marks[-1]
            before.extend(advances)
            self._marks[-1] = (number, at, before)
        else:
            self._marks.append((number, self.clock(), list(advances)))

    def confirmations(self, numbers: Mapping[int, int], at: float) -> list[Advance]:
        """Return what is to be added because the datacenter had counted no further ``at`` this time (Unix seconds).

        ``numbers`` are the client's own of those boxes. A box of which that was noted lately is left out, and so are
        all while handlers are far behind: what waits for them is bounded.
        """
        if not self._user or len(self._marks) >= MAX_MARKS:
            return []
        found = []
        for box, number in numbers.items():
            row = self._chains.get((box, None))
            if row is None or row.interval.upto != number or at - row.until >= RENEWED_AFTER:
                found.append(Advance(box, Interval(number, number), at=at))
        return found

    def handled(self, number: int) -> None:
        """Claim what came before the update with this number, which was handled, as all before it."""
        while self._marks and self._marks[0][0] <= number:
            mark, at, advances = self._marks.pop(0)
            if self._first_unstored is None:
                self._first_unstored = mark
            for advance in advances:
                self._claim(advance, at)
        if not self._rows:
            self._first_unstored = None
        elif not self._in_flight:
            self.storage.soon(self)

    def is_stored(self, number: int) -> bool:
        """Return whether everything up to this update that can be claimed is in the file."""
        marks = (self._marks[0][0] if self._marks else None, self._first_unstored, self._first_in_flight)
        return all(mark is None or mark > number for mark in marks)

    def take(self) -> Sequence[LedgerRow]:
        """Return the rows to be stored, which are on their way until ``stored`` or ``put_back``; some at a time."""
        if not self._in_flight and self._rows:
            self._in_flight, self._rows = list(self._rows.values()), {}
            self._first_in_flight, self._first_unstored = self._first_unstored, None
        return self._in_flight

    def stored(self, rows: Sequence[LedgerRow]) -> None:
        """Note that these rows are durable."""
        if rows is self._in_flight:
            self._in_flight, self._first_in_flight = [], None
            if self._rows:
                self.storage.soon(self)
            self.note_stored()

    def put_back(self, rows: Sequence[LedgerRow]) -> None:
        """Note that these rows may not be durable: they are stored again, which does no harm."""
        if rows is self._in_flight and self._first_in_flight is not None:
            kept = {(row.box, row.cause, row.interval.after): row for row in rows}
            for box, cause, upto in self._rows:
                if cause is HoleCause.RENUMBERED:
                    kept = _below(kept, box, upto)
            self._rows = kept | self._rows
            self._first_unstored = self._first_in_flight
            self._in_flight, self._first_in_flight = [], None

    def tell_lost(self, advances: Iterable[Advance]) -> None:
        """Name in the log what Telegram does not send any more, and the command that says how to read it.

        Of many losses at once one is named; ``status`` and ``prove`` have all of them.
        """
        lost = [each for each in advances if each.lost in _TOLD and not each.interval.is_empty]
        if not lost or not self._user or 0 <= (now := self.clock()) - self._told_at < TOLD_EVERY:
            return
        box, interval, self._told_at = lost[0].box, lost[0].interval, now
        chat = str(get_peer_id(PeerChannel(box))) if box else f"{self._user} --account {shlex.quote(self.account)}"
        log.warning(
            "updates_lost",
            account=self.account,
            where=f"channel {box}" if box else "private chats and groups",
            after=interval.after,
            upto=interval.upto,
            cause=(lost[0].lost or HoleCause.NOT_RUNNING).value,
            command=f"prove CONFIG --chat {chat}",
        )

    async def flush(self) -> None:
        """Store what is handled; durable on return. Raises ``StorageError``."""
        while self._rows or self._in_flight:
            await self.storage.now(self)

    def _claim(self, advance: Advance, now: float) -> None:
        """Claim what was noted at ``now``: whatever has come since then is not in it, however late it was handled."""
        box, interval, seen = advance.box, advance.interval, advance.messages
        until = now if advance.at is None or advance.lost is not None else min(advance.at, now)
        if interval.upto < interval.after:
            self._restart(advance, now)
            return
        key = box, advance.lost
        row = self._chains.get(key)
        if row is None or not row.interval.after <= interval.after <= row.interval.upto:
            since = min(seen.first_at, now) if seen else until or now
            row = LedgerRow(
                user=self._user, login=self._login, box=box, interval=interval, cause=advance.lost,
                since=since, until=max(until, since),
                first_id=seen.first_id if seen else None, last_id=seen.last_id if seen else None,
            )  # fmt: skip
        elif interval.is_empty and 0 <= until - row.until < RENEWED_AFTER:
            return
        else:
            row = evolve(
                row,
                interval=Interval(row.interval.after, max(row.interval.upto, interval.upto)),
                until=max(row.until, until),
                first_id=row.first_id if row.first_id is not None or seen is None else seen.first_id,
                last_id=row.last_id if seen is None else max(row.last_id or 0, seen.last_id),
            )
        self._chains[key] = row
        self._rows[box, advance.lost, row.interval.after] = row

    def _restart(self, advance: Advance, now: float) -> None:
        """Give up what was claimed beyond a number to which the server has set a box back: it means other events."""
        box = advance.box
        for key in [key for key in self._chains if key[0] == box]:
            del self._chains[key]
        upto = advance.interval.upto
        self._rows = _below(self._rows, box, upto)
        self._rows[box, HoleCause.RENUMBERED, upto] = LedgerRow(
            user=self._user, login=self._login, box=box, interval=Interval(upto, upto), cause=HoleCause.RENUMBERED,
            since=now, until=now, first_id=None, last_id=None,
        )  # fmt: skip


def _below(rows: dict[_Key, LedgerRow], box: int, upto: int) -> dict[_Key, LedgerRow]:
    """Return rows without what they claim of a box beyond a number, as ``ledger_schema.CUT`` does it in the file."""
    kept = {}
    for key, row in rows.items():
        if row.box == box and row.cause is None and row.interval.upto > upto:
            if row.interval.after >= upto:
                continue
            kept[key] = evolve(row, interval=Interval(row.interval.after, upto), until=row.since, last_id=None)
        else:
            kept[key] = row
    return kept


def advances_of(client: Any, *, handled: bool) -> list[Advance]:
    """Return what the boxes of a client have come to just now; without any handler what came is lost for the program.

    An answer that nothing has come is no loss: noted as one, it would say that something is missing from now on.
    """
    _, advances = client._message_box.take()
    if advances and client.inbox.ledger is not None:
        client.inbox.ledger.begin(client._mb_entity_cache.self_id, client.session.login)
        client.inbox.ledger.tell_lost(advances)
    if handled:
        return list(advances)
    return [
        evolve(each, lost=each.lost or HoleCause.NO_HANDLER)
        for each in advances
        if each.lost is not None or not each.interval.is_empty
    ]


def note_confirmed(client: Any, numbers: Mapping[int, int], at: float) -> None:
    """Note that the datacenter had counted no further than the client in these boxes, ``at`` this time (Unix)."""
    ledger = client.inbox.ledger
    if ledger is not None and not client._message_box.advances:
        ledger.begin(client._mb_entity_cache.self_id, client.session.login)
        if advances := ledger.confirmations(numbers, at):
            client.inbox.add((), advances)


def note_set_back(client: Any, box: int, wrong: int, number: int) -> None:
    """Give up what was claimed of a box beyond a number: those beyond were never the datacenter's."""
    client._message_box.lose(box, wrong, number, HoleCause.RENUMBERED)
    client.inbox.add((), advances_of(client, handled=True))
