"""Reads which nodes there are and where each account is, for commands and pages on any host."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import define

from adapters.postgres.blocking import StoreReader
from adapters.postgres.statements import clean
from adapters.stores.nodes import DEAD_SECONDS, MAX_DEAD, places_from, records_from
from states.nodes import AccountPlace, NodeRecord

_NODES: Final = """
    SELECT n.id, n.name, n.host, n.epoch, n.beat, n.state, n.lease, n.accounts_at_most,
        (SELECT count(*) FROM accounts WHERE owner = n.id AND n.state <> 'dead'),
        (SELECT count(*) FROM jobs WHERE node = n.id AND state = 'running'),
        extract(epoch FROM n.started_at)::float8, extract(epoch FROM n.ended_at)::float8, n.ended_why, n.details
    FROM nodes n
    WHERE n.state <> 'dead' OR n.id IN (
        SELECT id FROM (
            SELECT DISTINCT ON (name) id, ended_at FROM nodes d
            WHERE state = 'dead' AND ended_at > clock_timestamp() - make_interval(secs => %s)
                AND NOT EXISTS (SELECT FROM nodes l WHERE l.name = d.name AND l.state <> 'dead')
            ORDER BY name, epoch DESC) latest
        ORDER BY ended_at DESC LIMIT %s)
    ORDER BY n.state = 'dead', n.name"""
"""A node that has a living life needs no mention of those before. What a dead one owns is free: rows say so later."""

_ACCOUNTS: Final = """
    SELECT a.name, a.hosts, n.id, n.name, n.host, a.epoch, a.move_to, s.taken_to, a.last_host
    FROM accounts a LEFT JOIN nodes n ON n.id = a.owner AND n.state <> 'dead' LEFT JOIN sessions s ON s.account = a.id
    WHERE a.hosts <> '' AND (%(names)s::text[] IS NULL OR a.name = ANY(%(names)s)) ORDER BY a.id"""


@define(eq=False)
class FleetReader(StoreReader):
    """Reads the nodes and the accounts of a fleet. Not for an event loop. All methods raise ``StoreUnusable``."""

    def nodes(self) -> tuple[NodeRecord, ...]:
        """Return the living nodes by name, and then those that have no life any more, as long as that is news."""
        return records_from(self._store.rows(_NODES, (DEAD_SECONDS, MAX_DEAD)), _details)

    def accounts(self, names: Sequence[str] | None = None) -> dict[str, AccountPlace]:
        """Return where each account is, or each of these, by its name, in the order of the config that made them."""
        values = {"names": None if names is None else [clean(name) for name in names]}
        return places_from(self._store.rows(_ACCOUNTS, values))


def _details(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}
