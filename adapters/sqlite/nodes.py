"""The rows of nodes in ``engine.db``: what ``adapters/postgres/nodes.py`` is for a server, for workers of one machine.

``states.lease`` is carried out by the same statements. Each is one transaction that has the file for itself, so neither
a beat nor a death nor a claim is decided by what another one is about to change. The tests in ``tests/storage`` ask the
same of both stores.
"""

import json
import sqlite3
import time
from collections.abc import Mapping
from typing import Any, Final

from adapters.sqlite.node_file import NameHeld, NodeFile, life_ended
from adapters.stores.nodes import KEPT_LIVES, MAX_SHOWN, BeatAnswer, LivingNode, NodeEntry, name_taken

MATCHES: Final = "{host} GLOB replace({hosts}, '[', '[[]')"
"""Whether a host is one of a pattern, which has ``*`` and ``?`` as in file names."""
_HAS_FREE: Final = f"""SELECT EXISTS (SELECT 1 FROM nodes WHERE state = 'dead' AND freed = 0)
    OR EXISTS (SELECT 1 FROM node_accounts WHERE owner IS NULL AND hosts <> ''
        AND {MATCHES.format(host="?", hosts="hosts")})"""
_DIE: Final = "UPDATE nodes SET state = 'dead', ended = ?, ended_why = ? WHERE id = ? AND state <> 'dead'"


class FileNodes:
    """The rows of nodes, over one connection. All raise ``DatabaseUnusable`` when the file cannot be used."""

    def __init__(self, file: NodeFile) -> None:
        self._file = file

    async def begin(self, life: int, node: NodeEntry, *, ends: int = 0) -> None:
        """Begin the life with this number, and end this node's life ``ends`` (0: none) in the same transaction.

        With a number that is already begun, and not over, it does nothing more. Raises ``NameHeld`` while another life
        with this name is not over, and ``LifeIsOver`` when this one is.
        """

        def work(db: sqlite3.Connection) -> None:
            if ends:
                db.execute(_DIE, (time.time(), "the node began a new life", ends))
            found = db.execute("SELECT name, state = 'dead' FROM nodes WHERE id = ?", (life,)).fetchone()
            if found == (node.name, 0):
                return
            if found:
                raise life_ended(self._file.path, life)
            self._insert(db, life, node)

        await self._file.transact(work)

    def _insert(self, db: sqlite3.Connection, life: int, node: NodeEntry) -> None:
        taken = db.execute(
            "SELECT id, beat, host FROM nodes WHERE name = ? AND state <> 'dead'", (node.name,)
        ).fetchone()
        if taken is not None:
            number, beat, host = taken
            why = name_taken(self._file.path, node.name, host)
            raise NameHeld(why, life=number, beat=beat, server=self._file.server)
        (epoch,) = db.execute("SELECT coalesce(max(epoch), 0) + 1 FROM nodes WHERE name = ?", (node.name,)).fetchone()
        db.execute(
            """INSERT INTO nodes (id, name, host, epoch, lease, accounts_at_most, details, began)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                life, node.name, node.host, epoch, node.lease, node.accounts_at_most, json.dumps(dict(node.details)),
                time.time(),
            ),
        )  # fmt: skip
        db.execute(
            "DELETE FROM nodes WHERE name = ? AND state = 'dead' AND freed = 1 AND epoch <= ?",
            (node.name, epoch - KEPT_LIVES),
        )

    async def beat(self, life: int) -> BeatAnswer | None:
        """Beat once, and return the answer; None if the life is over."""

        def work(db: sqlite3.Connection) -> BeatAnswer | None:
            mine = db.execute(
                """UPDATE nodes SET beat = beat + 1 WHERE id = ? AND state <> 'dead'
                    RETURNING beat, state = 'draining', host""",
                (life,),
            ).fetchall()
            if not mine:
                return None
            [(beat, draining, host)] = mine
            others = db.execute("SELECT id, beat FROM nodes WHERE state <> 'dead' AND id <> ?", (life,)).fetchall()
            accounts, epochs, moves = db.execute(
                """SELECT count(*), coalesce(sum(epoch), 0),
                        count(CASE WHEN hosts = '' THEN '' ELSE coalesce(move_to, withheld_until) END)
                    FROM node_accounts WHERE owner = ?""",
                (life,),
            ).fetchone()
            return BeatAnswer(
                beat=beat,
                draining=bool(draining),
                server=self._file.server,
                settled=self._file.is_settled,
                others=dict(others),
                accounts=accounts,
                epochs=epochs,
                has_free=bool(db.execute(_HAS_FREE, (host,)).fetchone()[0]),
                has_moves=bool(moves),
            )

        return await self._file.transact(work)

    async def declare_dead(self, life: int, beat: int, server: str) -> bool:
        """Declare a life dead, on condition that it has this beat still and this file answers; return whether."""

        def work(db: sqlite3.Connection) -> bool:
            if self._file.server != server:
                return False
            why = "another node saw no beat for the length of the lease"
            return db.execute(f"{_DIE} AND beat = ?", (time.time(), why, life, beat)).rowcount > 0

        return await self._file.transact(work)

    async def end(self, life: int, why: str) -> bool:
        """End a life whose links are closed, or whose process is known to be gone; return whether it was not over."""
        return await self._file.transact(lambda db: db.execute(_DIE, (time.time(), why[:MAX_SHOWN], life)).rowcount > 0)

    async def drain(self, name: str) -> bool | None:
        """Ask a node to give its accounts away and to take none, until ``resume`` or the end of its life.

        Returns whether it lives now; None if no node was ever called so.
        """
        return await self._set_state(name, "draining")

    async def resume(self, name: str) -> bool | None:
        """Take ``drain`` back; return what that returns."""
        return await self._set_state(name, "alive")

    async def _set_state(self, name: str, state: str) -> bool | None:
        def work(db: sqlite3.Connection) -> bool | None:
            if db.execute("UPDATE nodes SET state = ? WHERE name = ? AND state <> 'dead'", (state, name)).rowcount:
                return True
            return False if db.execute("SELECT 1 FROM nodes WHERE name = ?", (name,)).fetchone() else None

        return await self._file.transact(work)

    async def note(self, life: int, details: Mapping[str, Any]) -> bool:
        """Note what a node says of itself after a reload; return whether its life is not over."""
        sql = "UPDATE nodes SET details = ? WHERE id = ? AND state <> 'dead'"
        return await self._file.transact(lambda db: db.execute(sql, (json.dumps(dict(details)), life)).rowcount > 0)

    async def note_settled(self, server: str) -> bool:
        """Note that everybody who had a claim that this file may not know has dropped it; return whether it answers."""

        def work(_: sqlite3.Connection) -> bool:
            if self._file.server != server:
                return False
            self._file.note_settled()
            return True

        return await self._file.transact(work)

    async def living(self) -> tuple[LivingNode, ...]:
        """Return the nodes that are not dead, by name."""
        rows = await self._file.transact(
            lambda db: db.execute(
                """SELECT id, name, host, epoch, beat, state = 'draining', lease, accounts_at_most,
                        (SELECT count(*) FROM node_accounts WHERE owner = nodes.id), details
                    FROM nodes WHERE state <> 'dead' ORDER BY name"""
            ).fetchall()
        )
        return tuple(
            LivingNode(
                life=life, name=name, host=host, epoch=epoch, beat=beat, draining=bool(draining), lease=lease,
                accounts_at_most=most, accounts=accounts, details=details_from(details),
            )
            for life, name, host, epoch, beat, draining, lease, most, accounts, details in rows
        )  # fmt: skip


def details_from(text: Any) -> Mapping[str, Any]:
    """Return what a node said of itself; nothing if something else has spoilt it."""
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
