"""What is to happen in a soak of a fleet of nodes: the same for the same seed."""

import itertools
import random
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from attrs import field, frozen

from adapters.sqlite.jobs import NewJob

LIVELY: Final = 0.85
"""Of the time, after which nothing hurts any more."""
MEMBERS: Final = 6
"""Of each channel, but for the channels that all accounts are members of."""
FOR_ALL: Final = 10
"""Each so many channels, one that all accounts are members of: its job is for no account, and moves with any."""


class Trouble(StrEnum):
    """What can befall a fleet."""

    KILL = "kill -9 of a node"
    WORKER = "kill -9 of a worker"
    RESTART = "SIGTERM of a node"
    FREEZE = "SIGSTOP of a node"
    STORE_CUT = "a node's connections to the store are cut"
    STORE_SLOW = "the way of a node to the store is slow"
    STORE_HOLE = "the way of a node to the store is a black hole"
    TELEGRAM_CUT = "a node's connections to Telegram are cut"
    TELEGRAM_SLOW = "the way of a node to Telegram is slow"
    TELEGRAM_HOLE = "the way of a node to Telegram is a black hole"
    STORE_CRASH = "kill -9 of the store"
    SWITCHOVER = "switchover of the store"
    FAILOVER = "the host of the store's primary is lost"
    CLOCK = "the clock of a node is set"
    DRAIN = "a node is drained"
    MOVE = "an account is moved to a node"


@frozen(kw_only=True)
class FleetFault:
    """One thing that befalls the fleet."""

    at: float
    """Seconds after the fleet has begun."""
    what: Trouble
    node: int
    """Which node, from 0; without meaning for what befalls the store."""
    seconds: float
    """How long it lasts: for kills, until the service manager starts the process again."""
    amount: float = 0.0
    """Of a slow way the seconds by which each packet is late, of a clock those by which it is set, of a move which
    account, from 0."""

    def line(self) -> str:
        """Return it as a line of the plan."""
        of_node = "" if self.what in OF_STORE else f" n{self.node + 1},"
        amount = f", by {self.amount:g} s" if self.amount and self.what is not Trouble.MOVE else ""
        return f"{self.at:6.1f} s  {self.what}:{of_node} {self.seconds:.1f} s{amount}"


OF_STORE: Final = (Trouble.STORE_CRASH, Trouble.SWITCHOVER, Trouble.FAILOVER)


@frozen(kw_only=True)
class FleetPlan:
    """The size of a soak, and all that befalls it."""

    nodes: int = 4
    accounts: int = 200
    sends: int = 1000
    channels: int = 20
    posts: int | None = None
    """Left out, four a second."""
    seconds: float = 600.0
    lease: float = 15.0
    faults: int | None = None
    """How many; left out, one for each two thirds of a lease."""
    kinds: tuple[Trouble, ...] = tuple(Trouble)
    workers: int = 2
    """Of the last node; the others have no parent."""
    store: str = "pair"
    """See ``store.STORES``."""
    seed: int = 7
    troubles: tuple[FleetFault, ...] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "troubles", tuple(sorted(self._troubles(), key=lambda each: each.at)))

    def lives(self, node: int) -> list[str]:
        """Return the names in the store of a node, from 0, or of its workers."""
        name = f"n{node + 1}"
        is_parent = self.workers > 1 and node == self.nodes - 1
        return [f"{name}#{number}" for number in range(1, self.workers + 1)] if is_parent else [name]

    @property
    def lively(self) -> float:
        """After so many seconds nothing hurts any more."""
        return self.seconds * LIVELY

    @property
    def written(self) -> int:
        """How many posts there are in all."""
        return round(self.seconds * 4) if self.posts is None else self.posts

    @property
    def phones(self) -> list[str]:
        """The accounts' numbers."""
        return [f"+99966{20000 + number}" for number in range(1, self.accounts + 1)]

    @property
    def accounts_named(self) -> list[str]:
        """The accounts' names, in the order of their numbers."""
        return [f"Account {number}" for number in range(1, self.accounts + 1)]

    @property
    def names(self) -> list[str]:
        """The names of the channels that are followed."""
        return [f"news{number:03}" for number in range(self.channels)]

    @property
    def groups(self) -> list[str]:
        """The names of the groups that are written to."""
        return [f"talk{number:03}" for number in range(max(1, self.accounts // 20))]

    def members(self, number: int) -> list[str]:
        """Return the numbers of those who are in a channel."""
        if number % FOR_ALL == 2:
            return self.phones
        return random.Random(f"{self.seed} {number}").sample(self.phones, min(MEMBERS, self.accounts))

    def group_of(self, account: int) -> str:
        """Return the group that an account, from 0, is in."""
        return self.groups[account % len(self.groups)]

    def follows(self) -> list[NewJob]:
        """Return a job for each channel; those that all are members of are followed by whoever can."""
        jobs = []
        for number, name in enumerate(self.names):
            members = self.members(number)
            owner = None if number % FOR_ALL == 2 else self._name_of(members[0])
            jobs.append(NewJob(kind="follow", data={"chat": f"@{name}"}, account=owner))
            if number % 5 == 0 and owner is not None and len(members) > 1:  # and some by two
                jobs.append(NewJob(kind="follow", data={"chat": f"@{name}"}, account=self._name_of(members[1])))
        return jobs

    def messages(self, now: float) -> list[NewJob]:
        """Return the messages to send: a tenth of them now (Unix seconds), the others over the lively time."""
        chance = random.Random(self.seed + 1)
        jobs = []
        for number in range(self.sends):
            account = chance.randrange(self.accounts)
            for_any = chance.random() < 1 / 3
            to = chance.choice(("me", f"@user{chance.choice(self.phones)[1:]}"))
            if not for_any and chance.random() < 0.3:
                to = f"@{self.group_of(account)}"
            due = None if chance.random() < 0.1 else now + chance.uniform(0, self.lively)
            owner = None if for_any else self.accounts_named[account]
            jobs.append(NewJob(kind="send", data={"to": to, "text": f"Message {number}"}, account=owner, due=due))
        return jobs

    def _name_of(self, phone: str) -> str:
        return self.accounts_named[self.phones.index(phone)]

    def _troubles(self) -> Iterator[FleetFault]:
        chance = random.Random(self.seed)
        faults = round(self.lively / self.lease * 1.5) if self.faults is None else self.faults
        possible = [each for each in self.kinds if each is not Trouble.WORKER or self.workers > 1]
        if not possible or not faults:
            return
        shuffled = [list(possible) for _ in range(faults // len(possible) + 1)]
        for each in shuffled:
            chance.shuffle(each)
        kinds = itertools.islice(itertools.chain.from_iterable(shuffled), faults)
        part = self.lively / faults
        for number, what in enumerate(kinds):
            seconds, amount = self._length(what, chance), 0.0
            if what in (Trouble.STORE_SLOW, Trouble.TELEGRAM_SLOW):
                amount = round(chance.uniform(0.05, 0.3), 2)
            if what is Trouble.CLOCK:
                amount = round(chance.choice((-1, 1)) * 10 ** chance.uniform(1, 5))
            if what is Trouble.MOVE:
                amount = chance.randrange(self.accounts)
            yield FleetFault(
                at=round((number + chance.uniform(0.1, 0.9)) * part, 1),
                what=what,
                node=self.nodes - 1 if what is Trouble.WORKER else chance.randrange(self.nodes),
                seconds=round(seconds, 1),
                amount=amount,
            )

    def _length(self, what: Trouble, chance: random.Random) -> float:
        """Return how long a trouble lasts: some well within a lease, some near its deadlines, some past it."""
        match what:
            case Trouble.KILL | Trouble.RESTART:
                return chance.choice((1.0, self.lease * chance.uniform(0.5, 2)))
            case Trouble.STORE_CRASH | Trouble.SWITCHOVER | Trouble.FAILOVER:
                return chance.choice((0.5, self.lease * chance.uniform(0.1, 0.9)))
            case Trouble.FREEZE | Trouble.STORE_HOLE:
                return self.lease * chance.choice((chance.uniform(0.2, 0.6), chance.uniform(0.6, 1.2), 2.0))
            case _:
                return self.lease * chance.uniform(0.2, 1.2)
