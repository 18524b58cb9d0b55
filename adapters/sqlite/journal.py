"""The write side of ``engine.db``: every account's records, snapshots and lives, durable within a moment.

A record and the snapshot after it are stored in one transaction, in the order of writing. So the stored snapshot of an
account is the one after its last stored record, except for routine (quiet) steps, which the journal leaves out.

Routine changes only when an account last answered. So its snapshots wait in memory, and those of all accounts are
stored together, twice a minute and at the end; a crash loses so much of these times, and nothing else.
"""

import os
import sqlite3
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import anyio.to_thread
from attrs import define, field

from adapters.sqlite import rename_schema, renames, retention, schema
from adapters.sqlite.codec import MAX_NUMBER, encode_body, encode_policy, encode_snapshot, policy_key
from adapters.sqlite.connect import open_database
from adapters.sqlite.errors import DatabaseUnusable, translating_errors
from adapters.sqlite.incidents import IncidentStore
from adapters.sqlite.jobs import JobStore
from adapters.sqlite.ledger import LedgerStore
from adapters.sqlite.memory import Memory
from adapters.sqlite.node_file import end_lives
from adapters.sqlite.open_file import INDEX, LOG, beside
from adapters.sqlite.outbox import Outbox
from adapters.sqlite.pulse import WriterPulse
from adapters.sqlite.queue import Statement, storable
from adapters.sqlite.reader import JournalReader
from adapters.sqlite.remote import RemoteStore
from adapters.sqlite.repair import OnRepair, Repair, repair_snapshots
from adapters.sqlite.rescue import Rescue
from adapters.sqlite.usernames import UsernameStore
from adapters.sqlite.writer import GroupWriter, WriterObserver, WriterTimeouts
from adapters.stores.routine import RoutineRow, RoutineSnapshots
from states.events import DatabaseUnavailable
from states.record import Record
from states.schedules import Policy
from states.snapshot import Snapshot

_Row = tuple[Statement, tuple[Any, ...]]


@define(eq=False)
class JournalWriter:
    """Appends to the journal. One per process; the event loop never waits for SQLite.

    ``begin_life`` and ``write`` queue rows; they return at once unless the writer's queue is full, and raise what
    ``GroupWriter.write`` raises. ``flush`` waits until the rows are durable.
    """

    path: Path
    _writer: GroupWriter
    engine: str = ""
    """The identity of the engine that writes, which its lives have."""
    _named: set[str] = field(factory=set, init=False)
    """Names that the writer has already, and that SQLite has as they are. This only saves rows and checks, since
    storing a name twice does no harm."""
    _policies: dict[str, str] = field(factory=dict, init=False)
    """The keys of policies that were changed under a life, by account; the others go by the policy of their life."""
    _routine: RoutineSnapshots = field(init=False)

    @_routine.default
    def _make_routine(self) -> RoutineSnapshots:
        return RoutineSnapshots(self._offer_routine)

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        on_trouble: WriterObserver,
        on_rescue: Callable[[Rescue], None] | None = None,
        timeouts: WriterTimeouts | None = None,
        on_repair: OnRepair | None = None,
        engine: str = "",
        life: int = 0,
        on_ended: Callable[[], None] | None = None,
    ) -> Self:
        """Open the journal at ``path``, and create it if need be, in a worker thread.

        ``on_trouble`` is called on the loop after each try at which the database kept rows from being saved, and with
        None when it works again; ``on_rescue`` when the file was lost, and a new one has taken its place; ``on_repair``
        for each snapshot that could not be read and was made anew. Raises ``DatabaseUnusable`` and ``JournalTooNew``.

        ``life`` is that of a node which shares the file with others: nothing is written once it is over, of which
        ``on_ended`` hears on the loop, and a lost file is left alone.
        """
        memory = None if life else Memory(path)
        connection, repairs = await anyio.to_thread.run_sync(_open, path, memory)
        if on_repair is not None:
            for each in repairs:
                on_repair(each)
        writer = GroupWriter(
            path=str(path),
            connection=connection,
            on_trouble=on_trouble,
            timeouts=timeouts or WriterTimeouts(),
            memory=memory,
            on_rescue=on_rescue,
            life=life,
            on_ended=on_ended,
        )
        return cls(path, writer, engine)

    @property
    def waiting(self) -> int:
        """How many rows are not durable yet."""
        return self._writer.waiting

    @property
    def pulse(self) -> WriterPulse:
        """Whether the writer's thread still works, and how far it is behind."""
        return self._writer.pulse

    @property
    def jobs(self) -> JobStore:
        """The jobs in the same file, written by the same thread."""
        return JobStore(self.path, self._writer)

    @property
    def incidents(self) -> IncidentStore:
        """The incidents in the same file, written by the same thread."""
        return IncidentStore(self.path, self._writer)

    @property
    def usernames(self) -> UsernameStore:
        """What is known of usernames, in the same file, written by the same thread."""
        return UsernameStore(self.path, self._writer)

    @property
    def outbox(self) -> Outbox:
        """The alerts in the same file, written by the same thread."""
        return Outbox(self.path, self._writer)

    def make_ledger(self) -> LedgerStore:
        """Return the ledger in the same file, written by the same thread; one for all accounts."""
        return LedgerStore(self._writer)

    @property
    def remote(self) -> RemoteStore:
        """What waits for other programs, in the same file, written by the same thread."""
        return RemoteStore(self.path, self._writer)

    async def begin_life(self, account: str, at: float, policy: Policy, snapshot: Snapshot) -> None:
        """Store that a life of ``account`` began at ``at`` (Unix seconds) with ``snapshot``: a replay starts there."""
        text = encode_policy(policy)
        state = encode_snapshot(snapshot)
        self._policies.pop(account, None)  # before the wait: the policy may change during it
        await self._write_together(
            (account,),
            (schema.POLICY, (text,)),
            (schema.LIFE, (account, snapshot.life, at, text, state)),
            (schema.SNAPSHOT, (account, at, state)),
            (schema.PRESENT, (account, snapshot.life, self.engine)),
        )
        self._routine.forget(account)

    async def prove_writable(self, policy: Policy) -> None:
        """Return when something that is written now is durable: a policy, which is stored once however often."""
        await self._writer.write(schema.POLICY, (encode_policy(policy),))
        await self._writer.flush()

    def use_policy(self, account: str, policy: Policy) -> None:
        """Note that another policy decides from now on, in the same life: each record says by which it was decided.

        Raises what ``GroupWriter.write`` raises, and does not wait.
        """
        text = encode_policy(policy)
        key = policy_key(text)
        if key not in self._policies.values():
            self._writer.offer([(schema.POLICY, (text,))], always=True)  # queued before the first record that needs it
        self._policies[account] = key

    async def end_life(self, account: str, life: int) -> None:
        """Store that a life is over although its last snapshot does not say so: an error of the engine ended it."""
        await self._write_together((account,), (schema.ABSENT, (account, life)))

    async def write(self, account: str, record: Record, snapshot: Snapshot) -> None:
        """Append ``record`` and store ``snapshot``, the account's state after it. A quiet record is left out."""
        if record.quiet:
            await self.save(account, snapshot)
            return
        source, target = str(record.source), str(record.target)
        row = (
            account, snapshot.life, source, record.event, target, record.rule, record.attempt, record.failures,
            record.at, record.dwell, record.delay, record.draw, record.deadline,
            encode_body(record, self._policies.get(account)),
        )  # fmt: skip
        names = (account, source, record.event, target, record.rule)
        rows: list[_Row] = [
            (schema.RECORD, row),
            (schema.SNAPSHOT, (account, record.at, encode_snapshot(snapshot))),
        ]
        # What SQLite does not have makes the sum what it is; texts come from the codec.
        sum_ = record.at + record.dwell + (record.delay or 0) + (record.draw or 0) + (record.deadline or 0)
        sum_ += record.attempt + record.failures
        is_checked = self._named.issuperset(names) and -MAX_NUMBER < sum_ < MAX_NUMBER
        if not (is_checked and self._writer.offer_checked(rows)):
            await self._write_together(names, *rows)
        self._routine.forget(account)

    async def save(self, account: str, snapshot: Snapshot) -> None:
        """Store ``snapshot``, the state after a quiet step, within ``routine.SAVE_SECONDS`` or with the next record.

        Raises what ``GroupWriter.write`` raises, and does not wait.
        """
        self._writer.raise_if_over()
        self._routine.keep(account, snapshot)

    def _offer_routine(self, found: Sequence[RoutineRow], always: bool) -> bool:
        rows: list[_Row] = [(schema.NAME, (account,)) for account, _, _ in found if account not in self._named]
        rows += [(schema.SNAPSHOT, (account, at, encode_snapshot(snapshot))) for account, at, snapshot in found]
        return self._writer.offer(rows, always=always)

    async def remember_login(self, account: str, login: str, user: int | None) -> None:
        """Store whose login an account has: the fingerprint of its key, and the user if it is known."""
        await self._write_together((account,), (rename_schema.LOGIN, (account, login, user)))

    async def rename(self, moved: Sequence[renames.Rename], files: Sequence[renames.FileMove], now: float) -> None:
        """Give what is stored other names, durably, while none of these accounts runs. Raises ``DatabaseUnusable``.

        ``files`` are noted in the same transaction, see ``renames.pending_files``.
        """
        await self.flush()
        await anyio.to_thread.run_sync(self._rename, moved, files, now)
        self._named.clear()

    def _rename(self, moved: Sequence[renames.Rename], files: Sequence[renames.FileMove], now: float) -> None:
        renames.rename(self.path, moved, files, now)
        if self._writer.memory is not None:
            self._writer.memory.rename({each.former: each.name for each in moved})

    async def look(self) -> None:
        """Return when the file was compared with the one that is open, and replaced if it was lost."""
        await self._writer.look()

    async def flush(self, *, routine: bool = True) -> None:
        """Return when everything written before is durable; without ``routine``, what ``save`` keeps can wait."""
        if routine:
            self._routine.store_all()
        await self._writer.flush()

    async def snapshots(self) -> dict[str, Snapshot]:
        """Return the stored snapshot of each account. Queued ones are not among them: ``flush`` first.

        Those that cannot be read are left out: ``open`` has made them anew. Raises ``DatabaseUnusable``.
        """
        return await anyio.to_thread.run_sync(_read_snapshots, self.path)

    async def prune(self, before: float) -> int:
        """Delete the oldest entries if they were written before ``before`` (Unix seconds), at most a few hundred.

        Returns how many, durably; 0 when there is nothing more to delete. Snapshots stay, and so does the newest
        entry. A life without entries is deleted too, unless it is the account's last; a life that loses its first
        entries keeps the snapshot after them. Raises what ``snapshots`` and ``GroupWriter.write`` raise.
        """
        plan = await anyio.to_thread.run_sync(retention.plan_step, self.path, before)
        if plan is None:
            return 0
        await self._writer.write_together(plan.statements)
        await self._writer.flush()
        return plan.rows

    async def aclose(self, timeout: float) -> int:
        """Save the queued rows and close, within ``timeout`` seconds. Return how many rows could not be saved."""
        self._routine.close()
        return await self._writer.aclose(timeout)

    async def _write_together(self, names: tuple[str, ...], *rows: _Row) -> None:
        if self._named.issuperset(names):
            if not self._writer.offer(rows):
                await self._writer.write_together(rows)
            return
        new = [name for name in dict.fromkeys(names) if name not in self._named]
        await self._writer.write_together([*((schema.NAME, (name,)) for name in new), *rows])
        # Only now: a cancelled write has queued nothing.
        self._named.update([name for name in new if storable((name,)) == (name,)])


def _open(path: Path, memory: Memory | None) -> tuple[sqlite3.Connection, list[Repair]]:
    schema.check_owner(path)
    _check_writable(path)
    connection = open_database(path)
    try:
        _check_writable(path)  # it may have been made just now
        schema.migrate(connection, path)
        if memory is None:  # other processes write: what cannot be read was repaired before they did
            return connection, []
        repairs = repair_snapshots(connection, path)
        with translating_errors(path):
            end_lives(connection)
            memory.load(connection)
    except BaseException:
        connection.close()
        raise
    return connection, repairs


def _check_writable(path: Path) -> None:
    """Raise ``DatabaseUnusable`` for files that cannot be written: SQLite opens them, and would lose what is written.

    The files beside the database get its permissions: a command that looked at it while it was read-only has left them
    with others.
    """
    for each in (path, beside(path, LOG), beside(path, INDEX)):
        with suppress(FileNotFoundError):
            if os.access(each, os.W_OK) or not each.exists():
                continue
            with suppress(OSError):
                if each is not path:
                    each.chmod(stat.S_IMODE(path.stat().st_mode))
            if not os.access(each, os.W_OK):
                why = "the database is read-only"
                raise DatabaseUnusable(
                    f"{each}: {why}; make the file and its directory writable", DatabaseUnavailable(detail=why)
                )


def _read_snapshots(path: Path) -> dict[str, Snapshot]:
    with JournalReader.open(path) as reader:
        reader.on_unreadable = lambda row: None  # opening has repaired what can be
        return {name: snapshot for name, (snapshot, _) in reader.snapshots().items()}
