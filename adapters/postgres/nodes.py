"""The rows of nodes: the statements by which ``states.lease`` is carried out. ``accounts.py`` has those of claims.

What makes them safe, each tried against a real server in ``tests/postgres/test_nodes.py``:

- Life and beat of a node stand in one row. In two rows, a beat and a death could both be committed, each by what it
  read of the other (write skew).
- A beat and a death are single statements, not transactions: a process that is stopped holds no lock meanwhile.
- A death takes its row with ``FOR UPDATE`` first. ``UPDATE … SET state`` alone would pass ``FOR KEY SHARE``, the fence.
- Which server answers is asked in the same statement: another one may have forgotten what this one has confirmed.

Raises ``StoreUnusable`` whenever the store does not answer. All methods but ``begin`` may simply be called again.
"""

from collections.abc import Mapping
from typing import Any, Final

from psycopg.types.json import Jsonb

from adapters.postgres.connect import StoreConnection
from adapters.postgres.errors import LeasesDiffer, NodeNameTaken
from adapters.postgres.fence import fenced
from adapters.stores.nodes import KEPT_LIVES, MAX_SHOWN, BeatAnswer, LivingNode, NodeEntry, name_taken, plain

SERVER: Final = """(extract(epoch FROM pg_postmaster_start_time())::text || ' ' ||
    substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || ' ' ||
    (SELECT oid::text FROM pg_database WHERE datname = current_database()) || ' ' || pg_relation_filenode('nodes'))"""
"""Which server answers, as an expression: in which of its starts, on which timeline, and with which table of nodes.

A standby has none. A database that was restored from a dump has forgotten as much as a server that failed over, and has
another table, also where the server has not been started anew and the dump says that it is settled.
"""

CLAIMABLE: Final = "(withheld_until IS NULL OR withheld_until <= clock_timestamp())"
"""Whether a node may have an account, as an expression. Its clock decides for how long, never who."""

KNOWN: Final = "generation <= (SELECT coalesce(min(n.generation), 0) FROM nodes n WHERE n.state <> 'dead')"
"""Whether the configs of all living nodes have an account, as an expression about a row of ``accounts``."""

_BEAT: Final = f"""
    WITH mine AS (
        UPDATE nodes SET beat = beat + 1 WHERE id = %(life)s AND state <> 'dead'
        RETURNING id, name, host, beat, state)
    SELECT mine.beat, mine.state = 'draining', {SERVER},
        EXISTS (SELECT FROM settled_servers WHERE server = {SERVER}),
        others.ids, others.beats, own.accounts, own.epochs,
        EXISTS (SELECT FROM nodes WHERE state = 'dead' AND NOT freed)
            OR EXISTS (SELECT FROM accounts
                WHERE owner IS NULL AND {CLAIMABLE} AND {KNOWN} AND mine.host LIKE hosts_like),
        EXISTS (SELECT FROM accounts WHERE owner = mine.id AND move_to IS NOT NULL)
            OR EXISTS (SELECT FROM accounts WHERE owner = mine.id AND (NOT {CLAIMABLE} OR hosts = ''))
    FROM mine,
        LATERAL (SELECT coalesce(array_agg(id), '{{}}') AS ids, coalesce(array_agg(beat), '{{}}') AS beats
            FROM nodes WHERE state <> 'dead' AND id <> mine.id) others,
        LATERAL (SELECT count(*) AS accounts, coalesce(sum(epoch), 0)::bigint AS epochs
            FROM accounts WHERE owner = mine.id) own"""

_DIE: Final = """
    WITH d AS (SELECT id FROM nodes WHERE id = %(life)s AND state <> 'dead' {condition} FOR UPDATE)
    UPDATE nodes n SET state = 'dead', ended_at = clock_timestamp(), ended_why = %(why)s
    FROM d WHERE n.id = d.id RETURNING n.id"""
_DECLARE_DEAD: Final = _DIE.format(condition=f"AND beat = %(beat)s AND {SERVER} = %(server)s")
_END: Final = _DIE.format(condition="")


class NodeRows:
    """The rows of nodes, over one connection; ``timeout`` in seconds is for each statement."""

    def __init__(self, connection: StoreConnection, *, timeout: float | None = None) -> None:
        self._connection = connection
        self._timeout = timeout

    async def _execute(self, sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        return await self._connection.execute(sql, dict(values), timeout=self._timeout)

    async def begin(self, life: int, node: NodeEntry, *, ends: int = 0) -> None:
        """Begin the life with this number, and end this node's life ``ends`` (0: none) in the same transaction.

        With a number that is already begun, and not over, it does nothing more: ask again with the same number when the
        answer did not arrive. Raises ``NodeNameTaken`` while another life with this name is not over, ``LeasesDiffer``
        while one of any name is not over that has another lease, and ``Fenced`` when this one is over.
        """
        async with self._connection.transaction():
            if ends:
                await self._execute(_END, {"life": ends, "why": "the node began a new life"})
            found = await self._execute(
                "SELECT name, state = 'dead' FROM nodes WHERE id = %(life)s FOR KEY SHARE", {"life": life}
            )
            if found and found[0] == (node.name, False):
                return
            if found:
                raise fenced(self._connection, life)
            await self._insert(life, node)
            await self._refuse_other_leases(node)

    async def _insert(self, life: int, node: NodeEntry) -> None:
        begun = await self._execute(
            """WITH before AS (SELECT epoch, drain_asked FROM nodes WHERE name = %(name)s ORDER BY epoch DESC LIMIT 1),
                asked AS (SELECT coalesce((SELECT drain_asked FROM before), false) AS drain)
                INSERT INTO nodes (id, name, host, epoch, lease, accounts_at_most, details, generation, drain_asked,
                    state)
                SELECT %(life)s, %(name)s, %(host)s, coalesce((SELECT epoch FROM before), 0) + 1, %(lease)s, %(most)s,
                    %(details)s, %(generation)s, drain, CASE WHEN drain THEN 'draining' ELSE 'alive' END
                FROM asked
                ON CONFLICT (name) WHERE state <> 'dead' DO NOTHING RETURNING epoch""",
            {
                "life": life,
                "name": node.name,
                "host": node.host,
                "lease": node.lease,
                "most": node.accounts_at_most,
                "details": Jsonb(dict(node.details)),
                "generation": node.generation,
            },
        )
        if not begun:
            raise await self._taken(node.name)
        await self._execute(
            """DELETE FROM nodes WHERE name = %(name)s AND state = 'dead' AND freed AND epoch <= %(before)s""",
            {"name": node.name, "before": begun[0][0] - KEPT_LIVES},
        )

    async def _refuse_other_leases(self, node: NodeEntry) -> None:
        """Raise ``LeasesDiffer`` if not all lives have this lease: each waits for the others as long as its own is."""
        # Of two that begin at once the second one sees the first. Beats only read this table, so they do not wait.
        await self._execute("LOCK TABLE settled_servers IN SHARE ROW EXCLUSIVE MODE", {})
        found = await self._execute(
            "SELECT name, lease FROM nodes WHERE state <> 'dead' AND lease <> %(lease)s ORDER BY name LIMIT 1",
            {"lease": node.lease},
        )
        if found:
            raise leases_differ(str(self._connection.address), node.lease, *found[0])

    async def _taken(self, name: str) -> NodeNameTaken:
        found = await self._execute(
            f"SELECT id, beat, host, {SERVER} FROM nodes WHERE name = %(name)s AND state <> 'dead'", {"name": name}
        )
        life, beat, host, server = found[0] if found else (0, 0, "", "")
        why = name_taken(self._connection.address, name, host)
        return NodeNameTaken(why, life=life, beat=beat, server=server)

    async def beat(self, life: int) -> BeatAnswer | None:
        """Beat once, and return the answer; None if the life is over."""
        rows = await self._execute(_BEAT, {"life": life})
        if not rows:
            return None
        beat, draining, server, settled, ids, beats, accounts, epochs, has_free, has_moves = rows[0]
        return BeatAnswer(
            beat=beat,
            draining=draining,
            server=server,
            settled=settled,
            others=dict(zip(ids, beats, strict=True)),
            accounts=accounts,
            epochs=epochs,
            has_free=has_free,
            has_moves=has_moves,
        )

    async def server(self) -> str:
        """Return which server answers: a condition of a death."""
        return str((await self._execute(f"SELECT {SERVER}", {}))[0][0])

    async def declare_dead(self, life: int, beat: int, server: str) -> bool:
        """Declare a life dead, on condition that it has this beat still and this server answers; return whether.

        Waits for the transactions that have its fence.
        """
        why = "another node saw no beat for the length of the lease"
        rows = await self._execute(_DECLARE_DEAD, {"life": life, "beat": beat, "server": server, "why": why})
        return bool(rows)

    async def end(self, life: int, why: str) -> bool:
        """End a life whose links are closed, or whose process is known to be gone; return whether it was not over."""
        return bool(await self._execute(_END, {"life": life, "why": why[:MAX_SHOWN]}))

    async def drain(self, name: str) -> bool | None:
        """Ask a node to give its accounts away and to take none, also after its next start, until ``resume``.

        Returns whether it lives now; None if no node was ever called so.
        """
        return await self._set_drain(name, drain=True)

    async def resume(self, name: str) -> bool | None:
        """Take ``drain`` back; return what that returns."""
        return await self._set_drain(name, drain=False)

    async def _set_drain(self, name: str, *, drain: bool) -> bool | None:
        rows = await self._execute(
            """UPDATE nodes SET drain_asked = %(drain)s,
                    state = CASE WHEN state = 'dead' THEN state WHEN %(drain)s THEN 'draining' ELSE 'alive' END
                WHERE id = (
                    SELECT id FROM nodes WHERE name = %(name)s ORDER BY state <> 'dead' DESC, epoch DESC LIMIT 1)
                RETURNING state""",
            {"name": name, "drain": drain},
        )
        return rows[0][0] != "dead" if rows else None

    async def note_settled(self, server: str) -> bool:
        """Note that everybody who had a claim that this server may have forgotten has dropped it; return whether.

        It is not noted if another server answers.
        """
        sql = f"""
            WITH gone AS (DELETE FROM settled_servers WHERE server <> %(server)s AND %(server)s = {SERVER})
            INSERT INTO settled_servers (server) SELECT %(server)s WHERE %(server)s = {SERVER}
            ON CONFLICT (server) DO UPDATE SET server = EXCLUDED.server RETURNING server"""
        return bool(await self._execute(sql, {"server": server}))

    async def living(self) -> tuple[LivingNode, ...]:
        """Return the nodes that are not dead, by name."""
        rows = await self._execute(
            """SELECT n.id, n.name, n.host, n.epoch, n.beat, n.state = 'draining', n.lease, n.accounts_at_most,
                    (SELECT count(*) FROM accounts WHERE owner = n.id), n.details
                FROM nodes n WHERE n.state <> 'dead' ORDER BY n.name""",
            {},
        )
        return tuple(
            LivingNode(
                life=life,
                name=name,
                host=host,
                epoch=epoch,
                beat=beat,
                draining=draining,
                lease=lease,
                accounts_at_most=most,
                accounts=accounts,
                details=details,
            )
            for life, name, host, epoch, beat, draining, lease, most, accounts, details in rows
        )


def leases_differ(shown: str, own: float, name: str, lease: float) -> LeasesDiffer:
    """Return the error for a node ``name`` that has another ``lease`` than the ``own`` one, in seconds."""
    return LeasesDiffer(
        f"{shown}: node.lease is {own:g} s here, and {lease:g} s at the node {plain(name)}; all nodes need the same, "
        "for each waits that long before it takes another one's accounts. Make the configs equal, or stop the other "
        "nodes first"
    )
