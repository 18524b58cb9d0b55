"""Reads which workers share a file, and where each account is, as ``adapters/postgres/fleet_reader.py`` does."""

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from attrs import define

from adapters.sqlite import node_schema
from adapters.sqlite.connect import read_rows
from adapters.sqlite.nodes import details_from
from adapters.sqlite.read_only import reading
from adapters.stores.nodes import DEAD_SECONDS, MAX_DEAD, places_from, records_from
from states.nodes import AccountPlace, NodeRecord

_NODES: Final = """
    SELECT n.id, n.name, n.host, n.epoch, n.beat, n.state, n.lease, n.accounts_at_most,
        (SELECT count(*) FROM node_accounts WHERE owner = n.id AND n.state <> 'dead'),
        (SELECT count(*) FROM jobs WHERE node = n.id AND state = 'running' AND n.state <> 'dead'),
        n.began, n.ended, n.ended_why, n.details
    FROM nodes n
    WHERE n.state <> 'dead' OR n.id IN (
        SELECT d.id FROM nodes d WHERE d.state = 'dead' AND d.ended > ?
            AND NOT EXISTS (SELECT 1 FROM nodes l WHERE l.name = d.name AND (l.state <> 'dead' OR l.epoch > d.epoch))
        ORDER BY d.ended DESC LIMIT ?)
    ORDER BY n.state = 'dead', n.name"""
"""A worker that has a living life needs no mention of those before."""
_ACCOUNTS: Final = """
    SELECT a.name, a.hosts, n.id, n.name, n.host, a.epoch, a.move_to, NULL, a.last_host
    FROM node_accounts a LEFT JOIN nodes n ON n.id = a.owner AND n.state <> 'dead'
    WHERE a.hosts <> '' AND (:names IS NULL OR a.name IN (SELECT value FROM json_each(:names))) ORDER BY a.id"""


@define(eq=False)
class FileFleetReader:
    """Reads the workers and the accounts of one file. Not for an event loop. All raise ``DatabaseUnusable``.

    A file that no engine has opened since there are workers has none.
    """

    path: Path
    _db: sqlite3.Connection
    has_nodes: bool

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Open the file for the block. Raises ``JournalMissing``, ``JournalTooNew`` and ``DatabaseUnusable``."""
        with reading(path) as (db, version):
            yield cls(path, db, version >= node_schema.FIRST_VERSION)

    def nodes(self) -> tuple[NodeRecord, ...]:
        """Return the living workers by name, and then those that have no life any more, as long as that is news."""
        return records_from(self._rows(_NODES, (time.time() - DEAD_SECONDS, MAX_DEAD)), details_from)

    def accounts(self, names: Sequence[str] | None = None) -> dict[str, AccountPlace]:
        """Return where each account is, or each of these, by its name, in the order of the config that made them."""
        values = {"names": None if names is None else json.dumps(list(names))}
        return places_from(self._rows(_ACCOUNTS, values))

    def _rows(self, sql: str, values: Any) -> list[tuple[Any, ...]]:
        return list(read_rows(self._db, sql, values)) if self.has_nodes else []
