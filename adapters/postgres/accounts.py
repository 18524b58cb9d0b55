"""The rows of accounts: who owns which, and how accounts come to other owners.

A claim is one statement that takes the fence of its life. So what a life has claimed is visible to every statement that
begins after its death, and ``free_accounts_of_the_dead`` misses none. Claimers pass over the rows that another one is
taking (``SKIP LOCKED``), so none waits for another.

Raises ``StoreUnusable`` whenever the store does not answer.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from adapters.postgres.connect import StoreConnection
from adapters.postgres.errors import CannotMove
from adapters.postgres.nodes import CLAIMABLE, KNOWN, SERVER
from adapters.stores.nodes import AccountGroup, ClaimedAccount, MoveTarget, groups_from

_FREE: Final = """
    WITH over AS (SELECT id FROM nodes WHERE state = 'dead' AND NOT freed FOR UPDATE SKIP LOCKED),
        given AS (UPDATE accounts SET owner = NULL WHERE owner IN (SELECT id FROM over) RETURNING 1),
        noted AS (UPDATE nodes SET freed = true WHERE id IN (SELECT id FROM over))
    SELECT count(*) FROM given"""

_CLAIM: Final = f"""
    WITH mine AS (
        SELECT id, name, host FROM nodes
        WHERE id = %(life)s AND state = 'alive' AND {SERVER} = %(server)s FOR KEY SHARE),
    got AS (
        SELECT free.id, free.last_host, mine.host
        FROM mine, unnest(%(hosts)s::text[], %(up_to)s::int[]) AS wanted (hosts, up_to), LATERAL (
            SELECT a.id, a.last_host FROM accounts a
            WHERE a.owner IS NULL AND {CLAIMABLE} AND a.{KNOWN}
                AND a.hosts = wanted.hosts AND mine.host LIKE a.hosts_like
                AND (a.move_to IS NULL OR a.move_to = mine.name OR NOT EXISTS (
                    SELECT FROM nodes n WHERE n.name = a.move_to AND n.state = 'alive' AND n.host LIKE a.hosts_like))
            ORDER BY a.move_to = mine.name DESC NULLS LAST, a.last_host = mine.host DESC NULLS LAST, a.id
            LIMIT wanted.up_to FOR UPDATE SKIP LOCKED) free)
    UPDATE accounts a SET owner = %(life)s, epoch = a.epoch + 1, move_to = NULL, last_host = got.host
    FROM got WHERE a.id = got.id RETURNING a.name, a.epoch, got.last_host"""


_MOVE: Final = """
    SELECT a.hosts, s.taken_to, n.host, n.state, EXISTS (SELECT FROM nodes WHERE name = %(to)s),
        n.host LIKE a.hosts_like, n.id = a.owner, n.accounts_at_most,
        (SELECT count(*) FROM accounts o WHERE o.owner = n.id OR (o.move_to = n.name AND o.id <> a.id))
    FROM (SELECT) AS one LEFT JOIN accounts a ON a.name = %(account)s AND a.hosts <> ''
        LEFT JOIN sessions s ON s.account = a.id LEFT JOIN nodes n ON n.name = %(to)s AND n.state <> 'dead'"""


class AccountRows:
    """The rows of accounts, over one connection; ``timeout`` in seconds is for each statement."""

    def __init__(self, connection: StoreConnection, *, timeout: float | None = None) -> None:
        self._connection = connection
        self._timeout = timeout

    async def _execute(self, sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        return await self._connection.execute(sql, dict(values), timeout=self._timeout)

    async def set_accounts(self, hosts: Mapping[str, str]) -> None:
        """Have these accounts in the store, each with its pattern of hosts; what it has of others stays.

        While other nodes live it is ``sections.apply_section`` that changes accounts.
        """
        await self._execute(
            """INSERT INTO accounts (name, hosts) SELECT * FROM unnest(%(names)s::text[], %(hosts)s::text[])
                ON CONFLICT (name) DO UPDATE SET hosts = EXCLUDED.hosts WHERE accounts.hosts <> EXCLUDED.hosts""",
            {"names": list(hosts), "hosts": list(hosts.values())},
        )

    async def remove_accounts(self, names: Collection[str]) -> frozenset[str]:
        """Take out those of the accounts that nobody owns, and return them.

        One that has a session is kept, with its login, for a host that nobody has: until it is in a config again.
        """
        rows = await self._execute(
            """WITH kept AS (
                    UPDATE accounts SET hosts = '' WHERE name = ANY(%(names)s) AND owner IS NULL
                        AND id IN (SELECT account FROM sessions) RETURNING name),
                gone AS (
                    DELETE FROM accounts WHERE name = ANY(%(names)s) AND owner IS NULL
                        AND id NOT IN (SELECT account FROM sessions) RETURNING name)
                SELECT name FROM kept UNION ALL SELECT name FROM gone""",
            {"names": list(names)},
        )
        return frozenset(name for (name,) in rows)

    async def listed(self) -> dict[str, str]:
        """Return all accounts that are in a config, each with its pattern of hosts."""
        return dict(await self._execute("SELECT name, hosts FROM accounts WHERE hosts <> '' ORDER BY id", {}))

    async def sessions_away(self, names: Collection[str]) -> dict[str, str]:
        """Return those of the accounts that nobody may run, for their sessions were taken away, each with the place."""
        rows = await self._execute(
            """SELECT a.name, s.taken_to FROM accounts a JOIN sessions s ON s.account = a.id
                WHERE s.taken_to IS NOT NULL AND a.name = ANY(%(names)s) ORDER BY a.id""",
            {"names": list(names)},
        )
        return dict(rows)

    async def with_sessions(self, names: Collection[str]) -> frozenset[str]:
        """Return those of the accounts whose session is in the database, or was taken out of it."""
        question = "SELECT a.name FROM sessions s JOIN accounts a ON a.id = s.account WHERE a.name = ANY(%(names)s)"
        return frozenset(name for (name,) in await self._execute(question, {"names": list(names)}))

    async def groups(self) -> tuple[AccountGroup, ...]:
        """Return how many accounts there are, are free and are owned by whom, for each pattern of hosts."""
        rows = await self._execute(
            f"""SELECT hosts, owner, count(*) FROM accounts
                WHERE hosts <> '' AND (owner IS NOT NULL OR ({CLAIMABLE} AND {KNOWN}))
                GROUP BY 1, 2 ORDER BY 1, 2""",
            {},
        )
        return groups_from(rows)

    async def free_accounts_of_the_dead(self) -> int:
        """Free the accounts of lives that are over, and return how many; to be called before a claim."""
        [[freed]] = await self._execute(_FREE, {})
        return int(freed)

    async def claim(self, life: int, server: str, up_to: Mapping[str, int]) -> tuple[ClaimedAccount, ...]:
        """Give a life up to so many free accounts of each pattern of hosts, and return them.

        None if the life is over or draining, if another server answers, or if its host does not match. Accounts that
        are to move to this node come first, then those that were connected from its host before.
        """
        wanted = {hosts: number for hosts, number in up_to.items() if number > 0}
        rows = await self._execute(
            _CLAIM, {"life": life, "server": server, "hosts": list(wanted), "up_to": list(wanted.values())}
        )
        return tuple(ClaimedAccount(name=name, epoch=epoch, last_host=host) for name, epoch, host in rows)

    async def owned(self, life: int) -> dict[str, int]:
        """Return the accounts that a life owns, each with its epoch; none if it is over."""
        rows = await self._execute(
            """SELECT a.name, a.epoch FROM accounts a JOIN nodes n ON n.id = a.owner
                WHERE n.id = %(life)s AND n.state <> 'dead'""",
            {"life": life},
        )
        return dict(rows)

    async def moving(self, life: int) -> tuple[str, ...]:
        """Return the accounts that a life owns and is to give up: for another node, a command, or for good."""
        rows = await self._execute(
            f"""SELECT a.name FROM accounts a
                WHERE a.owner = %(life)s AND (a.move_to IS NOT NULL OR a.withheld_until IS NOT NULL OR a.hosts = '')
                    AND (NOT {CLAIMABLE} OR a.hosts = ''
                        OR EXISTS (SELECT FROM nodes n WHERE n.name = a.move_to AND n.state = 'alive'))
                ORDER BY a.id""",
            {"life": life},
        )
        return tuple(name for (name,) in rows)

    async def awaited(self, life: int) -> dict[str, int]:
        """Return how many free accounts of each pattern of hosts are to go to the node of this life."""
        rows = await self._execute(
            f"""SELECT a.hosts, count(*) FROM accounts a JOIN nodes n ON n.name = a.move_to AND n.host LIKE a.hosts_like
                WHERE n.id = %(life)s AND n.state = 'alive' AND a.owner IS NULL AND {CLAIMABLE} AND a.{KNOWN}
                GROUP BY 1""",
            {"life": life},
        )
        return dict(rows)

    async def release(self, life: int, epochs: Mapping[str, int]) -> frozenset[str]:
        """Free accounts whose links this life has closed, each on condition of its epoch; return those that were its.

        A release whose answer did not arrive may be carried out after the life has claimed the account once more: then
        it has another epoch.
        """
        rows = await self._execute(
            """UPDATE accounts a SET owner = NULL
                FROM unnest(%(names)s::text[], %(epochs)s::bigint[]) AS r (name, epoch)
                WHERE a.owner = %(life)s AND a.name = r.name AND a.epoch = r.epoch RETURNING a.name""",
            {"life": life, "names": list(epochs), "epochs": list(epochs.values())},
        )
        return frozenset(name for (name,) in rows)

    async def withhold(self, marks: Mapping[str, str], seconds: float) -> dict[str, str]:
        """Withhold accounts from all nodes for a time, and return a mark of each; their owners give them up.

        ``marks`` has the accounts, each with its mark if it is withheld already by this, otherwise an empty one. What
        another one withholds is left out.
        """
        rows = await self._execute(
            """UPDATE accounts a SET withheld_until = clock_timestamp() + make_interval(secs => %(seconds)s)
                FROM unnest(%(names)s::text[], %(marks)s::text[]) AS w (name, mark)
                WHERE a.name = w.name
                    AND (coalesce(a.withheld_until, '-infinity') <= clock_timestamp()
                        OR a.withheld_until::text = w.mark)
                RETURNING a.name, a.withheld_until::text""",
            {"names": list(marks), "marks": list(marks.values()), "seconds": seconds},
        )
        return dict(rows)

    async def release_withheld(self, marks: Mapping[str, str]) -> None:
        """Let nodes have accounts that ``withhold`` withholds, each by its mark."""
        await self._execute(
            """UPDATE accounts a SET withheld_until = NULL
                FROM unnest(%(names)s::text[], %(marks)s::text[]) AS w (name, mark)
                WHERE a.name = w.name AND a.withheld_until::text = w.mark RETURNING a.name""",
            {"names": list(marks), "marks": list(marks.values())},
        )

    async def move(self, account: str, to: str) -> None:
        """Ask for an account to go to a node: its owner releases it, and then that node claims it.

        Raises ``CannotMove`` if there is no such account, no such living node, or that node cannot have the account:
        it is draining or full, its host is not one for the account, or the session was taken away.
        """
        rows = await self._execute(_MOVE, {"account": account, "to": to})
        target = MoveTarget(*rows[0])
        if (why := target.refusal(account, to)) is not None:
            raise CannotMove(f"{self._connection.address}: {why}")
        is_there = target.is_there
        await self._execute(
            "UPDATE accounts SET move_to = %(to)s WHERE name = %(account)s",
            {"account": account, "to": None if is_there else to},
        )
