"""A store of nodes in memory, and what a node acts for, in virtual time: fakes at the Protocols of ``engine.node``."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
from attrs import define, field, frozen

from engine.fleet.watchers import keep_running
from engine.node.assigner import Assigner
from engine.node.holder import LeaseHolder
from engine.node.ports import LifeOver, NameTaken, StoreSilent
from states.assignment import host_matches
from states.lease import LeaseTimes


@define
class Row:
    """A life in the store."""

    life: int
    name: str
    host: str = "eu-1"
    beat: int = 0
    alive: bool = True
    draining: bool = False
    freed: bool = False
    accounts_at_most: int | None = None


@define
class AccountRow:
    hosts: str = "*"
    owner: int | None = None
    epoch: int = 0
    last_host: str | None = None
    move_to: str | None = None


@frozen(kw_only=True)
class Report:
    draining: bool
    server: str
    settled: bool
    others: Mapping[int, int]
    accounts: int
    epochs: int
    has_free: bool
    has_moves: bool


@frozen
class Group:
    hosts: str
    free: int
    owned: Mapping[int, int]


@frozen
class Claimed:
    name: str
    epoch: int
    last_host: str | None


@define(eq=False)
class FakeStore:
    """The rows of ``adapters/postgres``, and its statements, which are carried out in one instant each."""

    rows: dict[int, Row] = field(factory=dict)
    accounts: dict[str, AccountRow] = field(factory=dict)
    server: str = "a"
    settled: set[str] = field(factory=lambda: {"a"})

    def add_accounts(self, count: int, hosts: str = "*") -> None:
        self.accounts |= {f"{hosts} {number}": AccountRow(hosts) for number in range(count)}

    def owned(self, life: int) -> dict[str, int]:
        return {name: row.epoch for name, row in self.accounts.items() if row.owner == life}

    def of_name(self, name: str) -> Row:
        """Return the life that a node has."""
        return next(row for row in self.rows.values() if row.name == name and row.alive)

    def kill(self, life: int) -> bool:
        row = self.rows.get(life)
        if row is None or not row.alive:
            return False
        row.alive = False
        return True


@define(eq=False, slots=False)
class FakeNodeStore:
    """One node's way to the store."""

    store: FakeStore
    name: str
    host: str = "eu-1"
    accounts_at_most: int | None = None
    before: float | None = 0.0
    """How long a statement takes until it is carried out; None if it never is."""
    after: float | None = 0.0
    """How long its answer takes; None if it never comes."""
    said: list[tuple[float, str]] = field(factory=list)
    """What was said to the store, and when."""
    lines: list["FakeLine"] = field(factory=list)

    async def connect(self) -> "FakeLine":
        if self.before is None:
            await anyio.sleep(2)
            raise StoreSilent("the store cannot be reached")
        line = FakeLine(self)
        self.lines.append(line)
        return line

    def lose_lines(self) -> None:
        """Break all connections."""
        for line in self.lines:
            line.broken = True


@define(eq=False, slots=False)
class FakeLine:
    """One connection."""

    way: FakeNodeStore
    broken: bool = False
    """Whether the network has lost it."""
    closed: bool = False

    async def _do(self, what: str, statement: Callable[[], object]) -> object:
        assert not self.closed, "a line that was given up is used"
        self.way.said.append((anyio.current_time(), what))
        await self._wait(self.way.before)
        found = statement()
        await self._wait(self.way.after)
        return found

    async def _wait(self, seconds: float | None) -> None:
        if seconds is None:
            await anyio.sleep_forever()
        await anyio.sleep(seconds or 0)
        if self.broken:
            raise StoreSilent("the connection was lost")

    async def begin(self, life: int, *, ends: int) -> None:
        store, way = self.way.store, self.way

        def statement() -> object:
            taken = [row for row in store.rows.values() if row.name == way.name and row.alive and row.life != ends]
            if life in store.rows:
                return None if store.rows[life].alive else LifeOver()
            if taken:
                return NameTaken("the name is taken", life=taken[0].life, beat=taken[0].beat, server=store.server)
            store.kill(ends)
            store.rows[life] = Row(life, way.name, way.host, accounts_at_most=way.accounts_at_most)
            return None

        error = await self._do("begin", statement)
        if isinstance(error, Exception):
            raise error

    async def beat(self, life: int) -> Report | None:
        store = self.way.store

        def statement() -> object:
            row = store.rows.get(life)
            if row is None or not row.alive:
                return None
            row.beat += 1
            own = store.owned(life)
            free = any(
                (each.owner is None and host_matches(row.host, each.hosts))
                or (each.owner is not None and not store.rows[each.owner].alive)
                for each in store.accounts.values()
            )
            return Report(
                draining=row.draining,
                server=store.server,
                settled=store.server in store.settled,
                others={each.life: each.beat for each in store.rows.values() if each.alive and each.life != life},
                accounts=len(own),
                epochs=sum(own.values()),
                has_free=free,
                has_moves=any(store.accounts[name].move_to for name in own),
            )

        found = await self._do("beat", statement)
        assert found is None or isinstance(found, Report)
        return found

    async def end(self, life: int, why: str) -> bool:
        return bool(await self._do("end", lambda: self.way.store.kill(life)))

    async def declare_dead(self, life: int, beat: int, server: str) -> bool:
        store = self.way.store
        return bool(
            await self._do(
                "declare dead",
                lambda: store.server == server and store.rows[life].beat == beat and store.kill(life),
            )
        )

    async def note_settled(self, server: str) -> bool:
        store = self.way.store
        return bool(await self._do("settled", lambda: store.server == server and not store.settled.add(server)))

    async def owned(self, life: int) -> Mapping[str, int]:
        found = await self._do("owned", lambda: self.way.store.owned(life))
        assert isinstance(found, dict)
        return found

    async def living(self) -> Sequence[Row]:
        found = await self._do("living", lambda: [row for row in self.way.store.rows.values() if row.alive])
        assert isinstance(found, list)
        return found

    async def groups(self) -> Sequence[Group]:
        def statement() -> object:
            found: dict[str, dict[int | None, int]] = {}
            for row in self.way.store.accounts.values():
                counts = found.setdefault(row.hosts, {})
                counts[row.owner] = counts.get(row.owner, 0) + 1
            return [
                Group(hosts, counts.get(None, 0), {owner: n for owner, n in counts.items() if owner is not None})
                for hosts, counts in found.items()
            ]

        found = await self._do("groups", statement)
        assert isinstance(found, list)
        return found

    async def free_accounts_of_the_dead(self) -> int:
        store = self.way.store

        def statement() -> int:
            gone = [row for row in store.accounts.values() if row.owner is not None and not store.rows[row.owner].alive]
            for row in gone:
                row.owner = None
            return len(gone)

        found = await self._do("free", statement)
        assert isinstance(found, int)
        return found

    async def claim(self, life: int, server: str, up_to: Mapping[str, int]) -> Sequence[Claimed]:
        store, way = self.way.store, self.way

        def statement() -> list[Claimed]:
            row = store.rows[life]
            if not row.alive or row.draining or store.server != server:
                return []
            got: list[Claimed] = []
            for hosts, count in up_to.items():
                free = [
                    name
                    for name, each in store.accounts.items()
                    if each.owner is None and each.hosts == hosts and each.move_to in (None, way.name)
                ]
                for name in free[:count]:
                    each = store.accounts[name]
                    got.append(Claimed(name, each.epoch + 1, each.last_host))
                    each.owner, each.epoch, each.last_host, each.move_to = life, each.epoch + 1, way.host, None
            return got

        found = await self._do("claim", statement)
        assert isinstance(found, list)
        return found

    async def awaited(self, life: int) -> Mapping[str, int]:
        store, way = self.way.store, self.way
        found = await self._do(
            "awaited",
            lambda: Counter(
                each.hosts for each in store.accounts.values() if each.owner is None and each.move_to == way.name
            ),
        )
        assert isinstance(found, Counter)
        return found

    async def moving(self, life: int) -> Collection[str]:
        store = self.way.store
        found = await self._do("moving", lambda: [name for name in store.owned(life) if store.accounts[name].move_to])
        assert isinstance(found, list)
        return found

    async def release(self, life: int, accounts: Mapping[str, int]) -> Collection[str]:
        store = self.way.store

        def statement() -> list[str]:
            freed = [name for name, epoch in store.owned(life).items() if accounts.get(name) == epoch]
            for name in freed:
                store.accounts[name].owner = None
            return freed

        found = await self._do("release", statement)
        assert isinstance(found, list)
        return found

    def close(self) -> None:
        self.closed = True


@define(eq=False, slots=False)
class FakeWork:
    """The links of a node. ``acting`` is shared by all nodes, and no account may be in it twice."""

    node: str
    acting: dict[str, str]
    """Who acts for which account."""
    seen: list[tuple[float, str, str]] = field(factory=list)
    """When what happened to which account; '*' is all."""
    close_seconds: float = 0.0
    """How long links take to close."""
    hangs: bool = False
    """Whether links do not close at all."""
    at_work: frozenset[str] = frozenset()
    """The accounts with which jobs run."""
    fails: int = 0
    """How often what they did is not stored when they are closed."""

    def _note(self, what: str, account: str) -> None:
        self.seen.append((anyio.current_time(), what, account))

    def take(self, account: str, epoch: int, last_host: str | None) -> None:
        self._note("take", account)
        assert account not in self.acting, f"{self.acting[account]} and {self.node} act for {account}"
        self.acting[account] = self.node

    def abort(self, accounts: Collection[str]) -> None:
        for account in sorted(accounts):
            self._note("abort", account)
            if not self.hangs and self.acting.get(account) == self.node:
                del self.acting[account]

    def abort_all(self) -> None:
        self._note("abort", "*")
        if not self.hangs:
            self.end()

    async def gone(self) -> None:
        if self.hangs:
            await anyio.sleep_forever()
        await anyio.sleep(self.close_seconds)

    async def give_up(self, accounts: Collection[str]) -> None:
        names = sorted(accounts)
        await anyio.sleep(self.close_seconds)
        for account in names:
            self._note("give up", account)
            if self.acting.get(account) == self.node:
                del self.acting[account]
        if self.fails:
            self.fails -= 1
            raise OSError("no space left on device")

    def idle(self, hosts: str) -> Sequence[str]:
        return sorted(name for name, node in self.acting.items() if node == self.node and name.startswith(f"{hosts} "))

    def busy(self) -> Collection[str]:
        return self.at_work

    def end(self) -> None:
        """Act for none any more, as a process that is ended."""
        for account in [name for name, node in self.acting.items() if node == self.node]:
            del self.acting[account]


@define(eq=False)
class FakeDeadMan:
    """Notes the deadlines, and calls ``kill`` at the one that comes."""

    kill: Callable[[], None] = lambda: None
    armed: list[float] = field(factory=list)
    """Every deadline that was set."""
    disarmed: list[float] = field(factory=list)
    closed: bool = False
    broken: bool = False
    _timer: asyncio.TimerHandle | None = None

    def arm(self, at: float) -> None:
        if self.broken:
            raise OSError("no timer")
        self.armed.append(at)
        self._cancel()
        self._timer = asyncio.get_running_loop().call_at(at, self.kill)

    def disarm(self) -> None:
        self.disarmed.append(anyio.current_time())
        self._cancel()

    def close(self) -> None:
        self.closed = True
        self._cancel()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class LoopClock:
    """The clock of a loop whose time is virtual."""

    def now(self) -> float:
        return anyio.current_time()


@define(eq=False)
class FakeNode:
    """A node with all of its parts, and the scope of its process."""

    store: FakeStore
    name: str = "n1"
    host: str = "eu-1"
    acting: dict[str, str] = field(factory=dict)
    accounts_at_most: int | None = None
    former: int = 0
    times: LeaseTimes = field(factory=LeaseTimes)
    way: FakeNodeStore = field(init=False)
    work: FakeWork = field(init=False)
    dead_man: FakeDeadMan = field(init=False)
    holder: LeaseHolder = field(init=False)
    assigner: Assigner = field(init=False)
    process: anyio.CancelScope = field(factory=anyio.CancelScope, init=False)
    begun: list[int] = field(factory=list, init=False)
    """The lives that it was given."""
    _numbers: "itertools.count[int]" = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._numbers = itertools.count(1 + 1000 * (1 + sum(self.name.encode())))
        self.way = FakeNodeStore(self.store, self.name, self.host, self.accounts_at_most)
        self.work = FakeWork(self.name, self.acting)
        self.dead_man = FakeDeadMan(self.kill)
        self.holder = LeaseHolder(
            self.way,
            self.work,
            self.dead_man,
            LoopClock(),
            self.times,
            former=self.former,
            life_begun=self.begun.append,
            draw=lambda: next(self._numbers),
        )
        self.assigner = Assigner(self.way, self.work, self.holder, LoopClock())

    def kill(self) -> None:
        """End the process, as the kernel does."""
        self.work.end()
        self.process.cancel()

    async def run(self) -> None:
        with self.process:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(keep_running, "assigner", self.assigner.run)
                await self.holder.run()
                tasks.cancel_scope.cancel()


@asynccontextmanager
async def running(*nodes: FakeNode) -> AsyncIterator[None]:
    """Run nodes, and kill those in the end that have not left."""
    async with anyio.create_task_group() as tasks:
        for node in nodes:
            tasks.start_soon(node.run)
        await anyio.lowlevel.checkpoint()
        yield
        for node in nodes:
            node.kill()


def times_of(node: FakeNode, what: str) -> list[float]:
    """Return when a node said something to the store."""
    return [round(at, 3) for at, said in node.way.said if said == what]


def seen(node: FakeNode, what: str) -> list[tuple[float, str]]:
    """Return when something happened to which account of a node."""
    return [(round(at, 3), account) for at, happened, account in node.work.seen if happened == what]
