"""Runs a fleet of nodes, hurts it as planned, and has it judged."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread
from attrs import define, field, frozen

from adapters.postgres.address import StoreAddress
from adapters.postgres.errors import StoreError
from adapters.postgres.job_commands import add_jobs
from adapters.postgres.job_reader import PostgresJobReader
from adapters.postgres.journal_reader import StoreRecords
from adapters.postgres.node_commands import drain, move
from adapters.sandbox import Sandbox
from states.jobs import Job
from tests.engine.harness import EngineHarness
from tests.soak.fleet import judges
from tests.soak.fleet.clock import SetClock, clock_library
from tests.soak.fleet.nodes import FleetNode
from tests.soak.fleet.plan import FleetFault, FleetPlan, Trouble
from tests.soak.fleet.store import FleetStore, address, ask, fleet_store
from tests.soak.fleet.wires import wire
from tests.soak.follow import FollowPlan, Writer
from tests.soak.storage import Lost

QUIET_SECONDS: Final = 240.0
"""How long everything may take to be done once nothing hurts any more, on a busy machine."""
END_SECONDS: Final = 60.0
"""How long a node may take to end."""
FIRST_SECONDS: Final = 240.0
"""How long all accounts may take to become healthy at first."""

CONFIG: Final = """
states:
  connecting: {patience: [15s]}
  reconnecting: {patience: [15s]}
  healthy: {probe_every: 5s, prove_every: 15s, stable_after: 3s}
  timeout: {patience: [2s, 3s]}
  backoff:
    network: {first: 200ms, factor: 2, cap: 2s, jitter: 0.2}
    server: {first: 200ms, factor: 2, cap: 2s, jitter: 0.2}
fleet: {stagger: 20ms}
work:
  per_account: 4
  retry: {first: 200ms, factor: 2, cap: 2s, jitter: 0.2, tries: 8}
"""

T = TypeVar("T")
Say = Callable[[str], None]


@frozen(kw_only=True)
class FleetFigures:
    """What came of a soak."""

    complaints: list[str]
    said: list[str]
    """What there is to say besides."""

    def lines(self) -> list[str]:
        """Return them as sentences."""
        return [*self.said, *(f"WRONG: {each}" for each in self.complaints)] or ["nothing is wrong"]


@define(eq=False)
class FleetSoak:
    """One run of a plan."""

    plan: FleetPlan
    directory: Path
    dc: Sandbox
    store: FleetStore
    thread: ThreadPoolExecutor
    """The one from which the store's servers are started."""
    say: Say
    nodes: list[FleetNode] = field(factory=list, init=False)
    complaints: list[str] = field(factory=list, init=False)
    began: float = field(default=0.0, init=False)
    hurts: Counter[Trouble] = field(factory=Counter, init=False)
    memory: dict[tuple[str, int], list[int]] = field(factory=dict, init=False)
    """Of each process, by its node and how many that has had: what it had, look by look."""
    _store_lock: anyio.Lock = field(factory=anyio.Lock, init=False)

    @property
    def url(self) -> str:
        """The address of the store, past all relays."""
        return self.store.url()

    async def blocking(self, function: Callable[..., T], *values: Any) -> T:
        """Call something that blocks, in the store's own thread."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, partial(function, *values))

    async def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the primary."""
        return await anyio.to_thread.run_sync(ask, self.store, statement)

    @asynccontextmanager
    async def prepared(self) -> AsyncIterator[None]:
        """Have nodes that are ready to be started, for the length of the block; none of them outlives it."""
        library = clock_library(self.directory)
        if library is None and Trouble.CLOCK in self.plan.kinds:
            self.say("there is no C compiler here, so no clock is set")
        async with AsyncExitStack() as stack:
            for number in range(self.plan.nodes):
                name = f"n{number + 1}"
                harness = EngineHarness(self.directory / name)
                harness.directory.mkdir()
                telegram = await stack.enter_async_context(wire(lambda: self.dc.port))
                ways = [
                    await stack.enter_async_context(wire(partial(self.store.place, place)))
                    for place in range(self.store.places)
                ]
                node = FleetNode(name, self.plan.lives(number), harness, telegram, ways)
                if library is not None:
                    node.clock = SetClock.new(harness.directory / "clock", library)
                stack.callback(node.kill)
                self._write_config(node)
                self.nodes.append(node)
            await self._bring_sessions()
            yield

    def _write_config(self, node: FleetNode) -> None:
        plan = self.plan
        (node.harness.directory / "dc.pem").write_text(self.dc.public_key)
        accounts = "\n".join(
            f'  - {{name: {name}, session: account{number}, phone: "{phone}"}}'
            for number, (name, phone) in enumerate(zip(plan.accounts_named, plan.phones, strict=True), 1)
        )
        where = f"{{id: {self.dc.dc_id}, host: 127.0.0.1, port: {node.telegram.port}, public_key: dc.pem}}"
        url = address(self.store, [each.port for each in node.store])
        workers = f", workers: {len(node.lives)}" if len(node.lives) > 1 else ""
        itself = f"{{name: {node.name}, host: {node.name}, lease: {plan.lease:g}s{workers}}}"
        rest = f"storage: {{database: '{url}'}}\nnode: {itself}\n"
        node.harness.write(where, accounts, CONFIG + rest)

    async def _bring_sessions(self) -> None:
        first = self.nodes[0].harness
        config = first.config.read_bytes()
        first.at(self.dc, *self.plan.phones)  # for the session files
        first.config.write_bytes(config)
        code, said = await first.command("session", "bring", "config.yaml")
        if code:
            raise Lost(f"the sessions cannot be brought: {said[-2000:]}")

    async def furnish(self) -> Writer:
        """Make the channels, and add all jobs."""
        plan = self.plan
        for number, name in enumerate(plan.names):
            await self.dc.create_channel(name, name, members=plan.members(number))
        for group in plan.groups:
            members = [phone for number, phone in enumerate(plan.phones) if plan.group_of(number) == group]
            await self.dc.create_channel(group, group, megagroup=True, members=members)
        writer = Writer(self.dc, FollowPlan(channels=plan.channels, seed=plan.seed))
        await writer.write(plan.written // 10)
        return writer

    async def run(self) -> FleetFigures:
        """Do it, and have it judged. Raises ``Lost`` for what cannot go on."""
        plan = self.plan
        async with self.prepared():
            writer = await self.furnish()
            async with anyio.create_task_group() as tasks:
                for node in self.nodes:
                    tasks.start_soon(node.supervise, name=f"runs {node.name}")
                took = await self._until(self._all_healthy, FIRST_SECONDS, "not all accounts become healthy")
                self.say(f"{plan.accounts} accounts are healthy after {took:.1f} s")
                add = partial(add_jobs, StoreAddress.parse(self.url))
                await anyio.to_thread.run_sync(add, [*plan.follows(), *plan.messages(time.time())])
                self.began = anyio.current_time()
                async with anyio.create_task_group() as lively:
                    lively.start_soon(self._write_over, writer)
                    lively.start_soon(self._watch, tasks.cancel_scope)
                    async with anyio.create_task_group() as hurting:
                        for fault in plan.troubles:
                            hurting.start_soon(self._befall, fault)
                        await anyio.sleep(plan.lively)
                    lively.cancel_scope.cancel()
                await writer.write(max(0, plan.written - writer.counts["posts"]))
                for node in self.nodes:
                    for each in (node.telegram, *node.store):
                        each.restore()
                took = await self._until(self._all_done, QUIET_SECONDS, "not all is done")
                self.say(f"all is done {took:.1f} s after the last trouble")
                tasks.cancel_scope.cancel()
            return await self._judged(writer)

    # --- what befalls ---

    async def _befall(self, fault: FleetFault) -> None:
        await anyio.sleep(fault.at)
        node, what = self.nodes[fault.node], fault.what
        self.hurts[what] += 1
        self.say(fault.line())
        match what:
            case Trouble.KILL:
                node.end(signal.SIGKILL, "SIGKILL", fault.seconds)
            case Trouble.RESTART:
                node.end(signal.SIGTERM, "SIGTERM", fault.seconds)
            case Trouble.FREEZE:
                node.send_all(signal.SIGSTOP)
                await anyio.sleep(fault.seconds)
                node.send_all(signal.SIGCONT)
            case Trouble.WORKER:
                for worker in node.workers()[:1]:
                    os.kill(worker, signal.SIGKILL)
            case Trouble.STORE_CUT:
                for each in node.store:
                    each.cut()
            case Trouble.TELEGRAM_CUT:
                node.telegram.cut()
            case Trouble.STORE_SLOW | Trouble.STORE_HOLE:
                await self._hurt_ways(node.store, fault)
            case Trouble.TELEGRAM_SLOW | Trouble.TELEGRAM_HOLE:
                await self._hurt_ways([node.telegram], fault)
            case Trouble.STORE_CRASH:
                async with self._store_lock:
                    await self.blocking(self.store.crash, fault.seconds)
            case Trouble.SWITCHOVER:
                async with self._store_lock:
                    await self.blocking(self.store.switch_over, fault.seconds)
            case Trouble.FAILOVER:
                async with self._store_lock:
                    await self.blocking(self.store.fail_over, fault.seconds)
            case Trouble.CLOCK if node.clock is not None:
                node.clock.set(round(fault.amount))
                await anyio.sleep(fault.seconds)
                node.clock.set(0)
            case Trouble.DRAIN:
                await self._commanded(partial(drain, name=node.lives[-1], drain=True))
                await anyio.sleep(fault.seconds)
                while not await self._commanded(partial(drain, name=node.lives[-1], drain=False)):
                    await anyio.sleep(1.0)
            case Trouble.MOVE:
                account = self.plan.accounts_named[int(fault.amount)]
                await self._commanded(partial(move, account=account, to=node.lives[0]))

    async def _commanded(self, command: Callable[[StoreAddress], object]) -> bool:
        """Give a command; return whether the store has taken it."""
        try:
            answer = await anyio.to_thread.run_sync(command, StoreAddress.parse(self.url))
        except StoreError as exc:
            self.say(f"          not done: {exc}")
            return False
        if isinstance(answer, str):
            self.say(f"          not done: {answer}")
        return True

    async def _hurt_ways(self, ways: list[Any], fault: FleetFault) -> None:
        for each in ways:
            if fault.amount:
                each.late = fault.amount
            else:
                each.swallow()
        await anyio.sleep(fault.seconds)
        for each in ways:
            each.restore()

    async def _write_over(self, writer: Writer) -> None:
        await writer.write_over(self.plan.lively, self.plan.written - writer.counts["posts"])

    async def _watch(self, whole: anyio.CancelScope) -> None:
        """Look at what must hold at any time, every second; the first wrong thing ends the soak."""
        while True:
            await anyio.sleep(1.0)
            for node in self.nodes:
                self.memory.setdefault((node.name, node.starts), []).append(node.memory())
            if found := judges.of_keys(self.dc.stats()):
                raise Lost(f"{found[0]}\n" + "\n".join(node.tail for node in self.nodes))

    # --- what is looked at ---

    async def _until(self, left: Callable[[], Awaitable[list[str]]], seconds: float, what: str) -> float:
        """Wait until nothing is left; return the seconds that it took. Raises ``Lost``."""
        began = anyio.current_time()
        while found := await left():
            if anyio.current_time() - began > seconds:
                tails = "\n".join(f"--- {node.name}\n{node.tail[-3000:]}" for node in self.nodes)
                raise Lost(f"{what} within {seconds:g} s: {'; '.join(found)}\n{tails}")
            await anyio.sleep(0.5)
        return anyio.current_time() - began

    def _states(self) -> dict[str, str]:
        with StoreRecords.open(StoreAddress.parse(self.url)) as records:
            return {name: at.state.value for name, (at, _) in records.snapshots().items()}

    def _jobs(self) -> list[Job]:
        with PostgresJobReader.open(StoreAddress.parse(self.url)) as reader:
            return list(reader.jobs({}))

    async def _all_healthy(self) -> list[str]:
        """Return what is missing of: all accounts owned and healthy."""
        running = [life for node in self.nodes for life in node.lives]
        living = [name for (name,) in await self.ask(judges.LIVING)]
        return [
            *judges.of_owners(await self.ask(judges.OWNERS), living, running),
            *judges.of_states(await anyio.to_thread.run_sync(self._states), self.plan.accounts_named),
        ]

    async def _posts(self) -> list[str]:
        return judges.of_followed(judges.posts_of(self.dc, self.plan.names), await self.ask(judges.POSTS))

    async def _all_done(self) -> list[str]:
        """Return what is left to do."""
        query = "SELECT id, state, detail FROM jobs WHERE kind = 'send' AND state IN ('queued', 'running')"
        return [
            *judges.told("messages are to be sent", await self.ask(query)),
            *await self._posts(),
            *await self._all_healthy(),
        ]

    # --- the judgement ---

    async def _judged(self, writer: Writer) -> FleetFigures:
        plan, found = self.plan, self.complaints
        for node in self.nodes:
            owned = sum(name in node.lives for _, name, _ in await self.ask(judges.OWNERS))
            found += judges.of_descriptors(
                node.name, node.descriptors(), accounts=owned, lives=len(node.lives),
                to_telegram=node.telegram.open, to_store=sum(each.open for each in node.store),
            )  # fmt: skip
            found += node.odd
        first = self.nodes[0].harness
        found += await self._proven("while the nodes run")
        for node in self.nodes:
            code = await node.finish(END_SECONDS)
            if code != 0:
                found.append(f"{node.name} ended with {code} at the end:\n{node.tail[-3000:]}")
        await self._until_closed()
        found += await self._proven("after the end")
        code, said = await first.command("log", "replay", "config.yaml")
        if code:
            found.append(f"the journal does not replay: {said[-2000:]}")
            _, lines = await first.command("log", "config.yaml", "--json")
            (self.directory / "journal.jsonl").write_text(lines, encoding="utf-8")
        replay = " ".join(said.split())[-200:]
        jobs = await anyio.to_thread.run_sync(self._jobs)
        found += judges.of_keys(self.dc.stats())
        found += judges.of_sends(jobs, self.dc, plan)
        found += await self._posts()
        found += judges.of_transactions(await self.ask(judges.CONNECTIONS), await self.ask(judges.PREPARED))
        found += judges.of_logs({node.name: node.text for node in self.nodes})
        return FleetFigures(complaints=found, said=[*self._said(writer, jobs), f"log replay: {replay}"])

    async def _proven(self, when: str) -> list[str]:
        """Ask whether each channel is complete."""
        found = []
        for name in self.plan.names:
            code, said = await self.nodes[0].harness.command("prove", "config.yaml", "--chat", f"@{name}")
            if code:
                channel = self.dc._hub.store.channels.named(name)
                rows = await self.ask(f"SELECT * FROM ledger WHERE box = {channel.id} ORDER BY after, upto")
                holes = await self.ask(f"SELECT * FROM ledger_holes WHERE box = {channel.id}")
                shown = "\n".join(map(str, [f"pts {channel.pts}", "ledger", *rows, "holes", *holes]))
                (self.directory / f"ledger-{name}-{when.partition(' ')[0]}").write_text(shown, encoding="utf-8")
                found.append(f"prove says of {name}, which is complete, {when}: {said[-1000:]}")
        return found

    async def _until_closed(self) -> None:
        """Wait until the ends of connections have gone through."""
        with anyio.move_on_after(10):
            while self.dc.stats()["connections"] or any(each.open for node in self.nodes for each in node.store):
                await anyio.sleep(0.1)
        if left := self.dc.stats()["connections"]:
            self.complaints.append(f"{left} connections to Telegram are open, and no node runs")

    def _said(self, writer: Writer, jobs: list[Job]) -> list[str]:
        stats = self.dc.stats()
        counts = writer.counts
        ends = Counter(f"{how}" for node in self.nodes for how in node.ends)
        again = stats["requests"].get("messages.sendMessage", 0) - self.plan.sends
        attempts = sum(job.attempts for job in jobs)
        most = max((max(each) for each in self.memory.values()), default=0)
        return [
            f"{self.plan.sends} messages sent, {again} asked for again, {attempts} failures of jobs; "
            f"{counts['posts']} posts, {counts['edits']} edits, {counts['deletions']} deletions in "
            f"{self.plan.channels} followed channels; logins destroyed: {stats['logins_destroyed']}",
            f"troubles: {', '.join(f'{what} {times}' for what, times in sorted(self.hurts.items())) or 'none'}",
            f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
            f"processes: {sum(node.starts for node in self.nodes)}; ended by themselves: "
            f"{', '.join(f'{how} {times}' for how, times in ends.items()) or 'none'}; most memory {most / 1e6:.0f} MB",
        ]


async def soak(directory: Path, plan: FleetPlan, say: Say = print) -> FleetFigures:
    """Run a plan in a directory, and return what came of it. Raises ``Lost`` for what ended it early."""
    with ThreadPoolExecutor(1, "store") as thread:
        loop, context = asyncio.get_running_loop(), fleet_store(plan.store, directory)
        store = await loop.run_in_executor(thread, context.__enter__)
        try:
            async with Sandbox() as dc:
                return await FleetSoak(plan, directory, dc, store, thread, say).run()
        finally:
            with anyio.CancelScope(shield=True):
                await loop.run_in_executor(thread, context.__exit__, None, None, None)
