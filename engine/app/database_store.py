"""The PostgreSQL database that nodes share, as one of them uses it. A composition root.

Imported for a config with ``storage.database`` alone.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import structlog
from anyio.abc import TaskGroup
from attrs import define, evolve, field

from adapters.postgres.accounts import AccountRows
from adapters.postgres.address import StoreAddress
from adapters.postgres.connect import StoreConnection, StorePool
from adapters.postgres.errors import StoreError
from adapters.postgres.fenced import FencedLink
from adapters.postgres.group_writer import StoreWriter
from adapters.postgres.incidents import PostgresIncidents
from adapters.postgres.jobs import PostgresJobs
from adapters.postgres.journal import StoreJournal
from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.live_rows import Ownership
from adapters.postgres.migrate import migrate
from adapters.postgres.nodes import NodeRows, leases_differ
from adapters.postgres.outbox import PostgresOutbox
from adapters.postgres.remote import PostgresRemote
from adapters.postgres.sections import apply_section, present_generation
from adapters.postgres.session_keys import PLAIN, USED, SessionKeys
from adapters.postgres.sessions import RowPlace, SessionRows
from adapters.postgres.usernames import PostgresUsernames
from adapters.stores.nodes import LivingNode, NodeEntry, plain
from engine.app.incidents import IncidentParts
from engine.app.journal import FLUSH_TIMEOUT, JournalTrouble, closed_in_time
from engine.app.node_store import DatabaseCommands, DatabaseNodes
from engine.app.node_stores import StoreParts
from engine.config import Config
from engine.config.node import NodeSection

log = structlog.get_logger("holdfast.node")


class AccountsDiffer(StoreError):
    """Nodes that live have other accounts than this one; the text is a sentence that says how to go on."""


class SessionsMissing(StoreError):
    """No account of the config has its session in the database; the text is a sentence that says how to go on."""


@define(eq=False)
class DatabaseStore:
    """A database of a PostgreSQL server, see ``engine.app.node_stores.SharedStore``."""

    address: StoreAddress
    keys: SessionKeys = PLAIN
    """By which the keys of sessions are encrypted there."""
    _sessions: SessionRows | None = field(default=None, init=False)
    _nodes: DatabaseNodes | None = field(default=None, init=False)
    _generation: int = field(default=0, init=False)
    """Of the accounts section that the node's config has."""

    @property
    def name(self) -> str:
        """The address, without its password."""
        return str(self.address)

    @property
    def records(self) -> None:
        """Where what it has is read: the config says so."""

    async def take_over(self, config: Config) -> None:
        """Bring schema and accounts up to date: nodes of other machines may run."""
        await self.prepare(config)

    async def prepare(self, config: Config) -> None:
        """Bring schema and accounts up to date. Raises ``SessionsMissing`` for a new database, or a wrong one."""
        self._generation = await prepare(self.address, config, self.keys, needs_sessions=True)

    async def apply_accounts(
        self, config: Config, life: int, details: Mapping[str, Any], *, changed: bool
    ) -> Sequence[str] | None:
        """Have all nodes know the accounts of another config of this node, whose life this is, and no others."""
        connection = await StoreConnection.open(self.address, application="holdfast reload")
        try:
            wanted = {account.name: account.hosts for account in config.accounts}
            applied = await apply_section(connection, wanted, life=life, details=details, changed=changed)
        finally:
            connection.close()
        if applied.differs:
            return None
        self._generation = applied.generation
        if self._nodes is not None:
            self._nodes.entry = evolve(self._nodes.entry, details=details, generation=applied.generation)
        return applied.older

    async def begin_added(self, config: Config) -> None:
        """Do nothing: an account has the generation of its section, and each node that of its config."""

    def nodes(self, node: NodeSection, details: Mapping[str, Any]) -> DatabaseNodes:
        """Return what the lease goes over."""
        entry = NodeEntry(
            name=node.known_as,
            host=node.place,
            lease=node.lease,
            accounts_at_most=node.accounts_at_most,
            details=details,
            generation=self._generation,
        )
        self._nodes = DatabaseNodes(self.address, entry)
        return self._nodes

    def holds(self, node: NodeSection) -> DatabaseNodes:
        """Return where accounts are withheld."""
        return self.nodes(node, {})

    def commands(self, life: Callable[[], int]) -> DatabaseCommands:
        """Return the commands from other hosts."""
        return DatabaseCommands(self.address, life)

    def place(self, account: str, life: int, epoch: int) -> RowPlace:
        """Return the rows of a session."""
        if self._sessions is None:
            self._sessions = SessionRows(self.address, keys=self.keys)
        return self._sessions.place(account, Ownership(life, epoch))

    async def close_sessions(self) -> None:
        """Write all sessions, in bounded time."""
        if self._sessions is not None:
            await anyio.to_thread.run_sync(self._sessions.close)

    @asynccontextmanager
    async def opened(
        self, life: int, node: str, engine: str, incidents: IncidentParts, tasks: TaskGroup
    ) -> AsyncIterator[StoreParts]:
        """Yield what the life writes; at the end, wait for what was written last."""
        async with AsyncExitStack() as parts:
            on_trouble = JournalTrouble(incidents)
            parts.callback(on_trouble.end)
            refused = anyio.Event()
            journal = await StoreJournal.open(
                self.address,
                life,
                on_trouble=on_trouble,
                on_fenced=refused.set,
                on_left_out=_tell_left_out,
                engine=str(life),
            )
            await parts.enter_async_context(closed_in_time(journal))
            pool = StorePool(self.address, application="holdfast jobs")
            parts.callback(pool.close)
            link = FencedLink(pool, life)
            writer = StoreWriter(store=link, on_fenced=refused.set, constants={"life": life, "clock": node})
            tasks.start_soon(writer.run, name="node: writes jobs")
            parts.push_async_callback(_close, writer)
            outbox = PostgresOutbox(writer=writer, link=link, life=life, node=node)
            yield StoreParts(
                journal=journal,
                jobs=PostgresJobs(writer=writer, link=link, life=life, node=node),
                usernames=PostgresUsernames(writer, link),
                ledger=PostgresLedger(writer),
                incidents=PostgresIncidents(writer=writer, link=link, life=life, node=node),
                outbox=outbox,
                claims=outbox,
                remote=PostgresRemote(writer, link, life),
                drop=journal.drop,
                refused=refused,
            )


def _tell_left_out(rows: int) -> None:
    log.warning("node_records_dropped", rows=rows)


async def _close(writer: StoreWriter) -> None:
    with anyio.CancelScope(shield=True):
        if lost := await writer.aclose(FLUSH_TIMEOUT):
            log.warning("node_rows_lost", rows=lost)


async def prepare(
    address: StoreAddress, config: Config, keys: SessionKeys = PLAIN, *, needs_sessions: bool = False
) -> int:
    """Bring the schema of a database up to date, and have the accounts of a config in it; return their generation.

    With ``needs_sessions`` nothing is done to the accounts of a database that has no session of any, but
    ``SessionsMissing`` is raised: each account would say so for itself, and those of another fleet would be removed.

    Raises ``StoreUnusable``, ``SessionKeyMissing`` if sessions are encrypted with a key that this node does not know,
    and ``AccountsDiffer`` or ``LeasesDiffer`` if nodes live that have other accounts or another lease than this one.
    """
    connection = await StoreConnection.open(address, application="holdfast start")
    try:
        await migrate(connection)
        await _agree_on_lease(connection, config.node)
        keys.check(address, dict(map(tuple, await connection.execute(USED))))
        rows, wanted = AccountRows(connection), {account.name: account.hosts for account in config.accounts}
        if needs_sessions and wanted and not await rows.with_sessions(wanted):
            raise SessionsMissing(
                f"{address}: no account of this config has its session in this database; mend storage.database if it "
                "names the wrong one, or bring the sessions with 'session bring'"
            )
        if away := await rows.sessions_away(wanted):
            account, place = next(iter(away.items()))
            log.warning("node_sessions_away", count=len(away), accounts=len(wanted), account=account, place=place)
        generation = await present_generation(connection)  # before the look: a reload in between is a later one
        stored = await rows.listed()
        if stored == wanted:
            return generation
        if stored and (others := [n for n in await NodeRows(connection).living() if n.name != config.node.known_as]):
            log.warning("node_accounts_differ", nodes=len(others))
            if living := await _living(connection, others):
                raise AccountsDiffer(_differing(address, stored, wanted, living))
        await rows.free_accounts_of_the_dead()  # of this node's own last life, too
        removed = stored.keys() - wanted.keys()
        # What a life has that is not known to be over is given up by whoever has it, and taken by nobody.
        owned = removed - await rows.remove_accounts(removed)
        await rows.set_accounts({**dict.fromkeys(owned, ""), **wanted})
        if needs_sessions and removed:
            await _tell_of_names(rows, removed, wanted.keys() - stored.keys())
        return generation
    finally:
        connection.close()


async def _tell_of_names(rows: AccountRows, removed: Collection[str], added: Collection[str]) -> None:
    """Say so if accounts seem to have got other names: some that are new have no session, and some that went have."""
    former, new = await rows.with_sessions(removed), frozenset(added) - await rows.with_sessions(added)
    if former and new:
        log.warning("node_accounts_renamed", account=min(new), former=min(former), count=len(new))


async def _agree_on_lease(connection: StoreConnection, node: NodeSection) -> None:
    """Return when no other node has another lease: one that is silent for the length of its own is declared dead here.

    Nobody else does that where all nodes have stopped to get another lease. Raises ``LeasesDiffer``.
    """
    rows = NodeRows(connection)
    others = {each.life: each for each in await rows.living() if each.lease != node.lease}  # also one of this name
    if not others:
        return
    log.warning("node_leases_differ", nodes=len(others), lease=node.lease)
    server = await rows.server()
    if living := await _living(connection, others.values()):
        other = next(each for each in others.values() if each.name == living[0])
        raise leases_differ(str(connection.address), node.lease, other.name, other.lease)
    for each in others.values():
        await rows.declare_dead(each.life, each.beat, server)


async def _living(connection: StoreConnection, others: Iterable[LivingNode]) -> list[str]:
    """Return the names of those nodes that certainly live: a silent one is waited for, as long as its lease is."""
    rows, before = NodeRows(connection), {node.life: node for node in others}
    deadline = anyio.current_time() + max(node.lease for node in before.values())
    while True:
        await anyio.sleep(1.0)
        found = [n.name for n in await rows.living() if n.life in before and n.beat != before[n.life].beat]
        if found or anyio.current_time() >= deadline:
            return found


def _differing(
    address: StoreAddress, stored: Mapping[str, str], wanted: Mapping[str, str], others: Collection[str]
) -> str:
    names = [name for name in (*wanted, *stored) if stored.get(name) != wanted.get(name)]
    nodes = ", ".join(map(plain, others))
    return (
        f"{address}: the accounts of this config are not those of the nodes that run ({nodes}): see "
        f"{plain(names[0])!r}; all nodes need the same accounts with the same hosts. Make the configs equal, with "
        "'reload' on each node that runs, or stop the other nodes first"
    )
