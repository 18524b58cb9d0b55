"""The rows of accounts in ``engine.db`` that nodes share: who owns which, as in ``adapters/postgres/accounts.py``."""

import json
import sqlite3
import time
from collections.abc import Mapping
from typing import Any, Final

from adapters.sqlite.errors import StorageError
from adapters.sqlite.node_file import NodeFile
from adapters.sqlite.nodes import MATCHES
from adapters.stores.nodes import AccountGroup, ClaimedAccount, MoveTarget, groups_from

_CLAIM: Final = f"""
    UPDATE node_accounts SET owner = :life, epoch = epoch + 1, move_to = NULL, last_host = :host, withheld_until = NULL
    WHERE id IN (
        SELECT a.id FROM node_accounts a
        WHERE a.owner IS NULL AND a.hosts = :hosts AND coalesce(a.withheld_until, 0) <= :now
            AND {MATCHES.format(host=":host", hosts="a.hosts")}
            AND (a.move_to IS NULL OR a.move_to = :name OR NOT EXISTS (
                SELECT 1 FROM nodes n WHERE n.name = a.move_to AND n.state = 'alive'
                    AND {MATCHES.format(host="n.host", hosts="a.hosts")}))
        ORDER BY a.move_to IS NOT :name, a.last_host IS NOT :host, a.id LIMIT :up_to)
    RETURNING id, name, epoch"""
_MOVE: Final = f"""
    SELECT a.hosts, NULL, n.host, n.state, EXISTS (SELECT 1 FROM nodes WHERE name = :to),
        {MATCHES.format(host="n.host", hosts="a.hosts")}, n.id = a.owner, n.accounts_at_most,
        (SELECT count(*) FROM node_accounts o WHERE o.owner = n.id OR (o.move_to = n.name AND o.id <> a.id))
    FROM (SELECT 1) one LEFT JOIN node_accounts a ON a.name = :account AND a.hosts <> ''
        LEFT JOIN nodes n ON n.name = :to AND n.state <> 'dead'"""
_SET: Final = """INSERT INTO node_accounts (name, hosts) VALUES (?, ?)
    ON CONFLICT (name) DO UPDATE SET hosts = excluded.hosts WHERE hosts <> excluded.hosts"""
_NAMES: Final = "(SELECT value FROM json_each(?))"


class MoveRefused(StorageError):
    """An account cannot go to that node."""


class FileAccounts:
    """The rows of accounts, over one connection. All raise ``DatabaseUnusable`` when the file cannot be used."""

    def __init__(self, file: NodeFile) -> None:
        self._file = file

    async def _rows(self, sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
        return await self._file.transact(lambda db: db.execute(sql, values).fetchall())

    async def set_accounts(self, hosts: Mapping[str, str]) -> None:
        """Have these accounts in the store, each with its pattern of hosts; what it has of others stays."""
        await self._file.transact(lambda db: db.executemany(_SET, list(hosts.items())))

    async def use_accounts(self, hosts: Mapping[str, str], *, adds: bool) -> None:
        """Have these accounts and no others: one that a life owns is given up by it, and taken by nobody.

        Without ``adds`` those that are not there yet stay away.
        """

        def work(db: sqlite3.Connection) -> None:
            names = json.dumps(list(hosts))
            db.execute(f"DELETE FROM node_accounts WHERE owner IS NULL AND name NOT IN {_NAMES}", (names,))
            db.execute(f"UPDATE node_accounts SET hosts = '' WHERE name NOT IN {_NAMES}", (names,))
            there = {name for (name,) in db.execute("SELECT name FROM node_accounts WHERE hosts <> ''")}
            given = [(name, pattern) for name, pattern in hosts.items() if adds or name in there]
            db.executemany(_SET, given)

        await self._file.transact(work)

    async def listed(self) -> dict[str, str]:
        """Return all accounts that are in the config, each with its pattern of hosts."""
        return dict(await self._rows("SELECT name, hosts FROM node_accounts WHERE hosts <> '' ORDER BY id"))

    async def groups(self) -> tuple[AccountGroup, ...]:
        """Return how many accounts there are, are free and are owned by whom, for each pattern of hosts."""
        sql = "SELECT hosts, owner, count(*) FROM node_accounts WHERE hosts <> '' GROUP BY 1, 2 ORDER BY 1, 2"
        return groups_from(await self._rows(sql))

    async def free_accounts_of_the_dead(self) -> int:
        """Free the accounts of lives that are over, and return how many; to be called before a claim."""

        def work(db: sqlite3.Connection) -> int:
            dead = "(SELECT id FROM nodes WHERE state = 'dead' AND freed = 0)"
            freed = db.execute(f"UPDATE node_accounts SET owner = NULL WHERE owner IN {dead}").rowcount
            db.execute("UPDATE nodes SET freed = 1 WHERE state = 'dead' AND freed = 0")
            return freed

        return await self._file.transact(work)

    async def claim(self, life: int, server: str, up_to: Mapping[str, int]) -> tuple[ClaimedAccount, ...]:
        """Give a life up to so many free accounts of each pattern of hosts, and return them.

        None if the life is over or draining, if another file answers, or if its host does not match. Accounts that are
        to move to this node come first, then those that were connected from its host before.
        """

        def work(db: sqlite3.Connection) -> tuple[ClaimedAccount, ...]:
            mine = db.execute("SELECT name, host FROM nodes WHERE id = ? AND state = 'alive'", (life,)).fetchone()
            if mine is None or self._file.server != server:
                return ()
            got: list[ClaimedAccount] = []
            for hosts, number in up_to.items():
                if number <= 0:
                    continue
                before = "SELECT id, last_host FROM node_accounts WHERE owner IS NULL AND hosts = ?"
                last = dict(db.execute(before, (hosts,)).fetchall())
                values = {"life": life, "name": mine[0], "host": mine[1], "hosts": hosts, "up_to": number}
                values["now"] = time.time()
                got += [
                    ClaimedAccount(name=name, epoch=epoch, last_host=last[number])
                    for number, name, epoch in db.execute(_CLAIM, values).fetchall()
                ]
            return tuple(got)

        return await self._file.transact(work)

    async def owned(self, life: int) -> dict[str, int]:
        """Return the accounts that a life owns, each with its epoch; none if it is over."""
        return dict(
            await self._rows(
                """SELECT a.name, a.epoch FROM node_accounts a JOIN nodes n ON n.id = a.owner
                    WHERE n.id = ? AND n.state <> 'dead'""",
                (life,),
            )
        )

    async def moving(self, life: int) -> tuple[str, ...]:
        """Return the accounts of a life that are to go to another living node, are withheld, or in no config."""
        rows = await self._rows(
            """SELECT a.name FROM node_accounts a LEFT JOIN nodes n ON n.name = a.move_to AND n.state = 'alive'
                WHERE a.owner = ? AND (n.id IS NOT NULL OR a.withheld_until > ? OR a.hosts = '') ORDER BY a.id""",
            (life, time.time()),
        )
        return tuple(name for (name,) in rows)

    async def awaited(self, life: int) -> dict[str, int]:
        """Return how many free accounts of each pattern of hosts are to go to the node of this life."""
        rows = await self._rows(
            f"""SELECT a.hosts, count(*) FROM node_accounts a JOIN nodes n ON n.name = a.move_to
                WHERE n.id = ? AND n.state = 'alive' AND a.owner IS NULL
                    AND {MATCHES.format(host="n.host", hosts="a.hosts")} GROUP BY 1""",
            (life,),
        )
        return dict(rows)

    async def release(self, life: int, epochs: Mapping[str, int]) -> frozenset[str]:
        """Free accounts whose links this life has closed, each on condition of its epoch; return which they were."""

        def work(db: sqlite3.Connection) -> frozenset[str]:
            sql = "UPDATE node_accounts SET owner = NULL WHERE owner = ? AND name = ? AND epoch = ?"
            return frozenset(
                name for name, epoch in epochs.items() if db.execute(sql, (life, name, epoch)).rowcount > 0
            )

        return await self._file.transact(work)

    async def withhold(self, marks: Mapping[str, str], seconds: float) -> dict[str, str]:
        """Withhold accounts from all workers for a time, and return a mark of each; their owners give them up.

        ``marks`` has the accounts, each with its mark if it is withheld already by this, otherwise an empty one.
        """

        def work(db: sqlite3.Connection) -> dict[str, str]:
            now = time.time()
            sql = """UPDATE node_accounts SET withheld_until = ? WHERE name = ?
                AND (coalesce(withheld_until, 0) <= ? OR CAST(withheld_until AS TEXT) = ?)
                RETURNING name, CAST(withheld_until AS TEXT)"""
            return dict(
                row for name, mark in marks.items() for row in db.execute(sql, (now + seconds, name, now, mark))
            )

        return await self._file.transact(work)

    async def release_withheld(self, marks: Mapping[str, str]) -> None:
        """Let workers have accounts that ``withhold`` withholds, each by its mark."""
        sql = "UPDATE node_accounts SET withheld_until = NULL WHERE name = ? AND CAST(withheld_until AS TEXT) = ?"
        await self._file.transact(lambda db: db.executemany(sql, list(marks.items())))

    async def move(self, account: str, to: str) -> None:
        """Ask for an account to go to a node: its owner releases it, and then that node claims it.

        Raises ``MoveRefused`` if there is no such account, no such living node, or that node cannot have the account:
        it is draining or full, or its host is not one for the account.
        """

        def work(db: sqlite3.Connection) -> None:
            target = MoveTarget(*db.execute(_MOVE, {"account": account, "to": to}).fetchone())
            if (why := target.refusal(account, to)) is not None:
                raise MoveRefused(f"{self._file.path}: {why}")
            db.execute(
                "UPDATE node_accounts SET move_to = ? WHERE name = ?", (None if target.is_there else to, account)
            )

        await self._file.transact(work)
