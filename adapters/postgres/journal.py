"""The write side of the journal on PostgreSQL: as ``adapters.sqlite.journal``, for the life of one node of many.

Records wait in the same bounded queue, and those that wait together become durable in one transaction, which begins
with the fence of the life: nothing is stored after another node has declared this one dead.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, Self

import anyio.to_thread
from attrs import define, field

from adapters.postgres import journal_retention
from adapters.postgres.address import StoreAddress
from adapters.postgres.connect import StoreTimeouts
from adapters.postgres.group_writer import RETRY_SECONDS, StoreObserver, StoreWriter
from adapters.postgres.journal_link import JournalLink
from adapters.postgres.journal_reader import StoreRecords
from adapters.postgres.journal_statements import LIFE, LOGIN, POLICY, PRESENCE, RECORD, SNAPSHOT, JournalRows
from adapters.postgres.statements import clean
from adapters.sqlite.codec import MAX_NUMBER, encode_body, encode_policy, encode_snapshot, policy_key
from adapters.sqlite.pulse import WriterPulse
from adapters.stores.routine import RoutineRow, RoutineSnapshots
from states.record import Record
from states.schedules import Policy
from states.snapshot import Snapshot

_Row = tuple[JournalRows, Sequence[Any]]


@define(eq=False)
class StoreJournal:
    """Appends to the journal, for the life of one node. The event loop never waits for the store.

    ``begin_life`` and ``write`` queue rows; they return at once unless the queue is full, and raise what
    ``StoreWriter.write`` raises: after the end of the node's life, ``Fenced``. ``flush`` waits until the rows are
    durable.
    """

    address: StoreAddress
    _link: JournalLink
    _writer: StoreWriter
    _running: "asyncio.Task[None]"
    """Stores what is queued; ends in ``aclose``."""
    engine: str = ""
    """The identity of the engine that writes, which its lives have."""
    _named: set[str] = field(factory=set, init=False)
    """Names that PostgreSQL has as they are."""
    _policies: dict[str, str] = field(factory=dict, init=False)
    """The keys of policies that were changed under a life, by account; the others go by the policy of their life."""
    _routine: RoutineSnapshots = field(init=False)

    @_routine.default
    def _make_routine(self) -> RoutineSnapshots:
        return RoutineSnapshots(self._offer_routine)

    @classmethod
    async def open(
        cls,
        address: StoreAddress,
        life: int,
        *,
        on_trouble: StoreObserver,
        on_fenced: Callable[[], None] = lambda: None,
        on_left_out: Callable[[int], None] = lambda rows: None,
        timeouts: StoreTimeouts | None = None,
        retry: float = RETRY_SECONDS,
        engine: str = "",
    ) -> Self:
        """Open the journal for the life of a node (the row of ``nodes``). Raises ``StoreUnusable``.

        ``on_trouble`` is called after each try at which the store did not take the rows, and with None when it takes
        them again; ``on_fenced`` when it refuses them because the life is over; ``on_left_out`` as ``drop`` says.
        ``retry`` is the longest time between two tries, in seconds.
        """
        link = JournalLink(address, life, timeouts or StoreTimeouts(), on_left_out)
        await link.begin()
        writer = StoreWriter(store=link, on_trouble=on_trouble, on_fenced=on_fenced, retry=retry)
        # Owned by the journal, as the writer's thread of SQLite is: it ends in ``aclose``.
        running = asyncio.create_task(writer.run(), name=f"journal on {address}")
        return cls(address, link, writer, running, engine)

    @property
    def life(self) -> int:
        """The life of the node that writes: the row of ``nodes``."""
        return self._link.life

    @property
    def waiting(self) -> int:
        """How many rows are not durable yet."""
        return self._writer.waiting

    @property
    def pulse(self) -> WriterPulse:
        """Whether rows are being saved, and how far that is behind."""
        return self._writer.pulse

    async def begin_life(self, account: str, at: float, policy: Policy, snapshot: Snapshot) -> None:
        """Store that a life of ``account`` began at ``at`` (Unix seconds) with ``snapshot``: a replay starts there."""
        text = encode_policy(policy)
        state = encode_snapshot(snapshot)
        self._policies.pop(account, None)  # before the wait: the policy may change during it
        self._link.take(account)
        await self._write_together(
            (POLICY, (policy_key(text), text)),
            (LIFE, (account, snapshot.life, at, policy_key(text), state)),
            (SNAPSHOT, (account, at, snapshot)),
            (PRESENCE, (account, snapshot.life, self.engine)),
        )
        self._routine.forget(account)

    async def prove_writable(self, policy: Policy) -> None:
        """Return when something that is written now is durable: a policy, which is stored once however often."""
        text = encode_policy(policy)
        await self._writer.write(POLICY, (policy_key(text), text))
        await self._writer.flush()

    def use_policy(self, account: str, policy: Policy) -> None:
        """Note that another policy decides from now on, in the same life: each record says by which it was decided.

        Raises what ``StoreWriter.write`` raises, and does not wait.
        """
        text = encode_policy(policy)
        key = policy_key(text)
        if key not in self._policies.values():
            self._writer.offer([(POLICY, (key, text))], always=True)  # queued before the first record that needs it
        self._policies[account] = key

    async def end_life(self, account: str, life: int) -> None:
        """Store that a life is over although its last snapshot does not say so: an error of the engine ended it."""
        await self._write_together((PRESENCE, (account, life, None)))

    async def remember_login(self, account: str, login: str, user: int | None) -> None:
        """Store whose login an account has: the fingerprint of its key, and the user if it is known."""
        await self._write_together((LOGIN, (account, login, user)))

    async def write(self, account: str, record: Record, snapshot: Snapshot) -> None:
        """Append ``record`` and store ``snapshot``, the account's state after it. A quiet record is left out."""
        if record.quiet:
            await self.save(account, snapshot)
            return
        row = (
            account, snapshot.life, record.source, record.event, record.target, record.rule, record.attempt,
            record.failures, record.at, record.dwell, record.delay, record.draw, record.deadline,
            encode_body(record, self._policies.get(account)),
        )  # fmt: skip
        rows: list[tuple[JournalRows, Any]] = [(RECORD, row), (SNAPSHOT, (account, record.at, snapshot))]
        # What PostgreSQL does not have makes the sum what it is; texts come from the codec.
        sum_ = record.at + record.dwell + (record.delay or 0) + (record.draw or 0) + (record.deadline or 0)
        sum_ += record.attempt + record.failures
        names = (account, record.event, record.rule)
        if not (-MAX_NUMBER < sum_ < MAX_NUMBER and self._named.issuperset(names) and self._writer.offer_checked(rows)):
            await self._write_together(*rows)
            self._named.update([name for name in names if clean(name) == name])
        self._routine.forget(account)

    async def save(self, account: str, snapshot: Snapshot) -> None:
        """Store ``snapshot``, the state after a quiet step, within ``routine.SAVE_SECONDS`` or with the next record.

        Raises what ``StoreWriter.write`` raises, and does not wait.
        """
        self._writer.raise_if_over()
        self._routine.keep(account, snapshot)

    def _offer_routine(self, found: Sequence[RoutineRow], always: bool) -> bool:
        return self._writer.offer([(SNAPSHOT, row) for row in found], always=always)

    def drop(self, accounts: Collection[str]) -> None:
        """Store nothing more of accounts that may be another node's, also of what waits, until a life of them begins.

        Call ``flush`` before that. ``on_left_out`` is called with the number of rows. A batch that is on its way
        is stored as it is: others may not have the account yet.
        """
        for name in accounts:
            self._routine.forget(name)
            self._link.drop(name)

    async def look(self) -> None:
        """Return at once: a store that does not answer is found by what is written to it, and by the node's beats."""

    async def flush(self, *, routine: bool = True) -> None:
        """Return when everything written before is durable; without ``routine``, what ``save`` keeps can wait."""
        if routine:
            self._routine.store_all()
        await self._writer.flush()

    async def snapshots(self) -> dict[str, Snapshot]:
        """Return the stored snapshot of each account of the whole fleet. Queued ones are not among them.

        Those that cannot be read are left out. Raises ``StoreUnusable``.
        """
        return await anyio.to_thread.run_sync(_read_snapshots, self.address)

    async def prune(self, before: float) -> int:
        """Delete the oldest entries if they were written before ``before`` (Unix seconds), at most a few hundred.

        As ``adapters.sqlite.journal.JournalWriter.prune``. Any node may do it, also several at once. Raises ``Fenced``
        and ``StoreUnusable``.
        """
        self._writer.raise_if_over()
        return await anyio.to_thread.run_sync(journal_retention.prune, self.address, self.life, before)

    async def aclose(self, timeout: float) -> int:
        """Save the queued rows and close, within ``timeout`` seconds. Return how many rows could not be saved."""
        self._routine.close()
        lost = await self._writer.aclose(timeout)
        with anyio.CancelScope(shield=True):  # bounded: a connection that is waited for is cut
            self._running.cancel()
            await asyncio.wait({self._running})
            self._link.close()
        return lost

    async def _write_together(self, *rows: _Row) -> None:
        if not self._writer.offer(rows):
            await self._writer.write_together(rows)


def _read_snapshots(address: StoreAddress) -> dict[str, Snapshot]:
    with StoreRecords.open(address) as records:
        records.on_unreadable = lambda row: None
        return {name: snapshot for name, (snapshot, _) in records.snapshots().items()}
