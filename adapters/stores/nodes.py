"""Nodes and accounts as the rows of both stores have them; ``states.lease`` says what follows from them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

from states.nodes import OF_WORKERS, AccountPlace, NodeRecord, NodeState

KEPT_LIVES: Final = 20
"""How many lives of a node the store keeps, the present one among them, for people."""
MAX_DEAD: Final = 20
"""How many dead lives people are told of, the latest."""
DEAD_SECONDS: Final = 7 * 86_400
"""For how long they are told of a dead life."""
MAX_SHOWN: Final = 100
"""Characters of a name or a reason that are kept or shown."""


@frozen(kw_only=True)
class NodeEntry:
    """What a node says of itself when it begins a life."""

    name: str
    host: str
    lease: float
    """Seconds without a beat after which others may declare it dead."""
    accounts_at_most: int | None = None
    details: Mapping[str, Any] = field(factory=dict)
    generation: int = 0
    """Of the accounts section that its config has; workers of one machine have one config, and no generation."""


@frozen(kw_only=True)
class BeatAnswer:
    """What the store answers to a beat, all as of one instant."""

    beat: int
    draining: bool
    """Whether somebody asked the node to give its accounts away."""
    server: str
    settled: bool
    others: Mapping[int, int]
    """The beats of the other living lives, by their numbers."""
    accounts: int
    """How many accounts the life owns, and the sum of their epochs: what it should have itself."""
    epochs: int
    has_free: bool
    """Whether there is an account that the node might claim."""
    has_moves: bool
    """Whether an account of the life is to go to another node, or to be given up."""


@frozen(kw_only=True)
class LivingNode:
    """A node that is not dead, as everybody sees it."""

    life: int
    name: str
    host: str
    epoch: int
    beat: int
    draining: bool
    lease: float
    accounts_at_most: int | None
    accounts: int
    """How many it owns."""
    details: Mapping[str, Any]


@frozen(kw_only=True)
class ClaimedAccount:
    """An account that a life has claimed."""

    name: str
    epoch: int
    last_host: str | None
    """Where it was connected before, None if nowhere yet."""


@frozen(kw_only=True)
class AccountGroup:
    """The accounts with one pattern of hosts: how many there are, are free, and are owned by each life."""

    hosts: str
    total: int
    free: int
    owned: Mapping[int, int]


def groups_from(rows: Iterable[tuple[str, int | None, int]]) -> tuple[AccountGroup, ...]:
    """Return the groups in rows that have the hosts, an owner (None: free), and how many accounts have both."""
    counts: dict[str, dict[int | None, int]] = {}
    for hosts, owner, accounts in rows:
        counts.setdefault(hosts, {})[owner] = accounts
    return tuple(
        AccountGroup(
            hosts=hosts,
            total=sum(each.values()),
            free=each.get(None, 0),
            owned={owner: accounts for owner, accounts in each.items() if owner is not None},
        )
        for hosts, each in counts.items()
    )


@frozen
class MoveTarget:
    """What the store has of an account and of the node to which it is to go."""

    hosts: str | None
    taken_to: str | None
    """Where its session is, if it was taken out of the store."""
    host: str | None
    state: str | None
    died: bool
    """Whether a node of this name has lived, and none does."""
    matches: bool | None
    is_there: bool | None
    most: int | None
    accounts: int
    """How many it has, and how many are on their way to it."""

    def refusal(self, account: str, to: str) -> str | None:
        """Return why the account cannot go to the node, with the remedy; None if it can."""
        if self.hosts is None:
            return f"no account is called {plain(account)}; see 'status'"
        if self.taken_to is not None:
            return f"the session of {plain(account)} was taken to {plain(self.taken_to)}; bring it with 'session bring'"
        if self.host is None:
            if self.died:
                return f"node {plain(to)} is dead; start it, or name another one: see 'nodes'"
            return f"no node is called {plain(to)}; see 'nodes'"
        if self.is_there:
            return None
        if self.state == "draining":
            return f"node {plain(to)} is draining; name another one, or let it take accounts again with 'node resume'"
        if not self.matches:
            return (
                f"{plain(account)} may be on hosts {plain(self.hosts)} alone, and {plain(to)} is on {plain(self.host)};"
                " name another node, or change 'hosts' of the account"
            )
        if self.most is not None and self.accounts >= self.most:
            return (
                f"node {plain(to)} is full: it has {self.accounts} of at most {self.most} accounts; "
                "name another one, or move one away first"
            )
        return None


def records_from(
    rows: Iterable[Sequence[Any]], details_of: Callable[[Any], Mapping[str, Any]]
) -> tuple[NodeRecord, ...]:
    """Return the lives in rows whose columns are the fields of ``NodeRecord``; ``details_of`` reads the last one."""
    return tuple(
        NodeRecord(
            life=life, name=name, host=host, epoch=epoch, beat=beat, state=NodeState(state), lease=lease,
            accounts_at_most=most, accounts=accounts, jobs=jobs, started_at=began or 0.0, ended_at=ended,
            ended_why=why, details=details_of(details),
        )
        for life, name, host, epoch, beat, state, lease, most, accounts, jobs, began, ended, why, details in rows
    )  # fmt: skip


def places_from(rows: Iterable[Sequence[Any]]) -> dict[str, AccountPlace]:
    """Return where accounts are, by name, from rows whose columns are the fields of ``AccountPlace``."""
    return {
        name: AccountPlace(
            name=name, hosts=hosts, life=life, node=node, host=host, epoch=epoch, move_to=move_to, taken_to=taken_to,
            last_host=last_host,
        )
        for name, hosts, life, node, host, epoch, move_to, taken_to, last_host in rows
    }  # fmt: skip


def name_taken(store: object, name: str, host: str) -> str:
    """Return why a node cannot begin a life: another one with its name is not over; ``host`` is empty if unknown."""
    where = f" on host {plain(host)}" if host else ""
    if OF_WORKERS in name:  # nobody gives it its name
        return f"{store}: an earlier process of the worker {plain(name)}{where} is not known to be over"
    return (
        f"{store}: a node called {plain(name)} is alive already{where}; "
        "give this one another name (node.name), or stop that one"
    )


def plain(name: object) -> str:
    """Return a name that another program has written as it can stand in a sentence."""
    return "".join(sign if sign.isprintable() else "?" for sign in str(name)[:MAX_SHOWN])
