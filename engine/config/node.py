"""The section ``node``: what this engine is among the others that share its database."""

import socket
from typing import Any, Final, Literal

from attrs import field, frozen

from engine.config.outline import MAX_INT
from engine.config.values import MAX_NAME, is_name
from states.nodes import OF_WORKERS

MIN_LEASE: Final = 3.0
MAX_LEASE: Final = 300.0
MAX_WORKERS: Final = 64


def host_name() -> str:
    """Return what this machine is called, as the name of a node can be."""
    signs = (sign if sign.isprintable() and sign != OF_WORKERS else "-" for sign in socket.gethostname())
    name = "".join(signs).strip()[:MAX_NAME].strip()
    return name or "node"


def _is_optional_name(_: Any, attribute: Any, value: str | None) -> None:
    if value is not None and not is_name(value):
        raise ValueError(f"{attribute.name} must be 1 to {MAX_NAME} printable characters, with no space at either end")


def _is_node_name(_: Any, attribute: Any, value: str | None) -> None:
    _is_optional_name(_, attribute, value)
    if value is not None and OF_WORKERS in value:
        raise ValueError(
            f"{attribute.name} must have no {OF_WORKERS!r}, which stands before the number of a worker of a node"
        )


def is_pattern(_: Any, attribute: Any, value: str) -> None:
    """Raise for a pattern of hosts that could not be one."""
    if not is_name(value):
        raise ValueError(
            f"{attribute.name} must be the tag of a host, or a pattern such as eu-*, of 1 to {MAX_NAME} printable "
            "characters"
        )


def _is_lease(_: Any, attribute: Any, value: float) -> None:
    if not MIN_LEASE <= value <= MAX_LEASE:
        raise ValueError(f"{attribute.name} must be from {MIN_LEASE:g} s to {MAX_LEASE:g} s")


def _at_least_one(_: Any, attribute: Any, value: int | None) -> None:
    if value is not None and not 1 <= value <= MAX_INT:
        raise ValueError(f"{attribute.name} must be from 1 to {MAX_INT}, or be left out")


def _is_number_of_workers(_: Any, attribute: Any, value: int | str) -> None:
    if value != "auto" and not 1 <= int(value) <= MAX_WORKERS:
        raise ValueError(f"{attribute.name} must be auto, or from 1 to {MAX_WORKERS}")


@frozen(kw_only=True)
class NodeSection:
    """One of the engines that share a database."""

    name: str | None = field(default=None, validator=_is_node_name)
    """What this node is called, which no other node may be. Left out, it is the name of the machine."""
    host: str | None = field(default=None, validator=_is_optional_name)
    """The tag of the place where it runs, such as ``eu-1``: ``accounts[].hosts`` is compared with it, and an account
    that comes from another one waits for ``takeover_gap``. Left out, it is the name of the machine."""
    lease: float = field(default=15.0, validator=_is_lease)
    """How long the others believe a silent node, from ``3s`` to ``300s``: then they take its accounts. It closes its
    own connections after two thirds of that. Longer than the database needs to fail over. Of all nodes the same."""
    accounts_at_most: int | None = field(default=None, validator=_at_least_one)
    """How many accounts it takes at most. Left out, it takes its share, however many that are."""
    takeover_gap: float = 0.0
    """How long an account stays silent before it connects from another ``host`` than the last time. After the death of
    a node the lease has been such a gap already."""

    workers: int | Literal["auto"] = field(default=1, validator=_is_number_of_workers)
    """How many processes of `run` share the accounts on this machine, up to `64`; `auto` is one for each processor that
    it may use. Without `storage.database` they share `engine.db`. With `1` there is one process, and no parent."""

    @property
    def known_as(self) -> str:
        """The name."""
        return self.name or host_name()

    @property
    def worker(self) -> int | None:
        """The number of this worker; None for a process without a parent."""
        return None

    @property
    def is_metered(self) -> bool:
        """Whether a parent asks this worker for its metrics."""
        return False

    @property
    def place(self) -> str:
        """The tag of the host."""
        return self.host or host_name()
