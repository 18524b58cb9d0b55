"""The accounts sections of the nodes' configs: the one that was applied last is that of all nodes.

accounts added      come with the generation of their section; nobody takes one while a node lives whose config has
an older section, for it may be given to that node, which does not know it
accounts removed    have no hosts from then on: nobody takes them, and whoever has one gives it up
another ``hosts``   holds at once, for all
"""

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from psycopg.types.json import Jsonb

from adapters.postgres.connect import StoreConnection
from adapters.postgres.errors import Fenced

_TURN = "UPDATE account_section SET generation = generation + %(step)s RETURNING generation"
_REMOVE = "UPDATE accounts SET hosts = '' WHERE hosts <> '' AND NOT name = ANY(%(names)s)"
_ADD = """INSERT INTO accounts (name, hosts, generation)
    SELECT name, hosts, %(generation)s FROM unnest(%(names)s::text[], %(hosts)s::text[]) AS given (name, hosts)
    ON CONFLICT (name) DO UPDATE SET hosts = excluded.hosts,
        generation = CASE WHEN accounts.hosts = '' THEN excluded.generation ELSE accounts.generation END
    WHERE accounts.hosts <> excluded.hosts"""
_NOTE = """UPDATE nodes SET generation = %(generation)s, details = %(details)s WHERE id = %(life)s AND state <> 'dead'
    RETURNING id"""
_OLDER = "SELECT name FROM nodes WHERE state <> 'dead' AND generation < %(generation)s ORDER BY name"


@frozen(kw_only=True)
class AppliedSection:
    """An accounts section that was applied."""

    generation: int
    older: tuple[str, ...]
    """The living nodes whose configs have an older section."""
    differs: bool = False
    """Whether the section is another one than that which was applied last, and was not to be applied."""


async def present_generation(connection: StoreConnection) -> int:
    """Return the generation of the section that was applied last."""
    [(generation,)] = await connection.execute("SELECT generation FROM account_section", {})
    return int(generation)


async def apply_section(
    connection: StoreConnection,
    hosts: Mapping[str, str],
    *,
    life: int,
    details: Mapping[str, Any],
    changed: bool = True,
) -> AppliedSection:
    """Have all nodes know these accounts, each with its pattern of hosts, and no others, for the life of a node.

    For the parent of workers, which has no life (0), it is noted of no node: each of its workers does that.

    A section that is as the last one has its generation. One that is not ``changed``, which the node had before, takes
    nothing back that another node has applied. Raises ``Fenced`` if the life is over, and ``StoreUnusable``.
    """
    names, values = list(hosts), list(hosts.values())
    async with connection.transaction():
        [(before,)] = await connection.execute("SELECT generation FROM account_section FOR UPDATE", {})
        stored = dict(await connection.execute("SELECT name, hosts FROM accounts WHERE hosts <> ''", {}))
        if differs := stored != dict(hosts) and not changed:
            return AppliedSection(generation=before, older=(), differs=differs)
        [(generation,)] = await connection.execute(_TURN, {"step": 0 if stored == dict(hosts) else 1})
        if generation != before:
            await connection.execute(_REMOVE, {"names": names})
            await connection.execute(_ADD, {"names": names, "hosts": values, "generation": generation})
        noted = {"generation": generation, "details": Jsonb(dict(details)), "life": life}
        if life and not await connection.execute(_NOTE, noted):
            raise Fenced(f"{connection.address}: this node has no lease now; try again when it has one")
        older = await connection.execute(_OLDER, {"generation": generation})
    return AppliedSection(generation=generation, older=tuple(name for (name,) in older))
