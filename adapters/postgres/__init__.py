"""The store of many nodes: PostgreSQL. Only ``storage.database: postgresql://…`` imports it, and with it psycopg."""

from typing import TYPE_CHECKING

from states.lazy_names import lazy_names

if TYPE_CHECKING:
    from adapters.postgres.accounts import AccountRows
    from adapters.postgres.address import StoreAddress, is_store_address
    from adapters.postgres.checks import Durability, durability
    from adapters.postgres.connect import StoreConnection, StorePool, StoreTimeouts
    from adapters.postgres.errors import (
        BadAddress,
        CannotMove,
        DriverMissing,
        Fenced,
        NodeNameTaken,
        SchemaTooNew,
        SchemaTooOld,
        StoreError,
        StoreUnusable,
    )
    from adapters.postgres.fence import FENCE, fence
    from adapters.postgres.migrate import migrate, require_schema
    from adapters.postgres.nodes import NodeRows
    from adapters.stores.nodes import AccountGroup, BeatAnswer, ClaimedAccount, LivingNode, NodeEntry

__all__ = [
    "FENCE",
    "AccountGroup",
    "AccountRows",
    "BadAddress",
    "BeatAnswer",
    "CannotMove",
    "ClaimedAccount",
    "DriverMissing",
    "Durability",
    "Fenced",
    "LivingNode",
    "NodeEntry",
    "NodeNameTaken",
    "NodeRows",
    "SchemaTooNew",
    "SchemaTooOld",
    "StoreAddress",
    "StoreConnection",
    "StoreError",
    "StorePool",
    "StoreTimeouts",
    "StoreUnusable",
    "durability",
    "fence",
    "is_store_address",
    "migrate",
    "require_schema",
]

_HOMES = {
    "adapters.postgres.accounts": ("AccountRows",),
    "adapters.postgres.address": ("StoreAddress", "is_store_address"),
    "adapters.postgres.checks": ("Durability", "durability"),
    "adapters.postgres.connect": ("StoreConnection", "StorePool", "StoreTimeouts"),
    "adapters.postgres.errors": (
        "BadAddress",
        "CannotMove",
        "DriverMissing",
        "Fenced",
        "NodeNameTaken",
        "SchemaTooNew",
        "SchemaTooOld",
        "StoreError",
        "StoreUnusable",
    ),
    "adapters.postgres.fence": ("FENCE", "fence"),
    "adapters.postgres.migrate": ("migrate", "require_schema"),
    "adapters.postgres.nodes": ("NodeRows",),
    "adapters.stores.nodes": ("AccountGroup", "BeatAnswer", "ClaimedAccount", "LivingNode", "NodeEntry"),
}
"""The module of each name, which is imported when the name is first asked for."""

if not TYPE_CHECKING:  # a type checker would take any name for one of the package's
    __getattr__ = lazy_names(__name__, _HOMES)
