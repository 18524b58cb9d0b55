"""``python -m tests.soak.jobs [SECONDS] [KILLS] [SEED]``: durable jobs in chaos, their engine killed now and then.

A thousand messages are sent and ten thousand collected by three accounts, while the datacenter hurts them and
``kill -9`` hits the engine. Then the file is compared with what the datacenter remembers: nothing missed, nothing
done twice. Two minutes, five kills if not said otherwise.
"""

import itertools
import random
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import anyio
import attrs
from attrs import define, field, frozen

from adapters.sandbox import Clear, Fault, FaultKind, Push, Sandbox, SandboxError, TimedAction
from adapters.sandbox.control.chaos import chaos
from adapters.sandbox.faults.kinds import FAULT_RULES, FaultPoint
from adapters.sqlite.connect import open_read_only
from adapters.sqlite.jobs import NewJob, add, counts_of
from tests.engine.harness import COMPLAINTS, EngineHarness
from tests.soak import job_record
from tests.soak.job_record import PHONES, TALK, Figures
from tests.soak.storage import Lost, ask

SENDS = 1000
HISTORIES = 20
"""Chats that are read; some are groups, some channels, some are private chats of the first account."""
LENGTH = 500
"""Messages in each."""
LIVELY = 0.8
"""Of the time, after which nothing hurts any more."""
TIMEOUT_SECONDS = 120.0
"""How long work may go on after the time is over, on a busy machine."""
START_SECONDS = 3.0
"""About what the start of an engine takes."""
NAMES = tuple(f"Account {number}" for number in range(1, len(PHONES) + 1))

CONFIG = """
states:
  connecting: {patience: [1s, 2s]}
  reconnecting: {patience: [1s, 2s]}
  healthy: {probe_every: 200ms, prove_every: 500ms, stable_after: 400ms}
  timeout: {patience: [400ms, 600ms]}
  backoff:
    transport_flood: {first: 500ms}
    network: {first: 100ms, factor: 2, cap: 500ms, jitter: 0.2}
    server: {first: 100ms, factor: 2, cap: 500ms, jitter: 0.2}
fleet: {stagger: 0}
work:
  per_account: 4
  retry: {first: 200ms, factor: 2, cap: 1s, jitter: 0.2, tries: 5}
  kinds: {send: {per_account: 3}, collect: {per_account: 1}}
"""


@frozen(kw_only=True)
class Plan:
    """What is to happen; the same for the same seed. Seconds are those in which an engine lives."""

    seconds: float = 120.0
    kills: int = 5
    seed: int = 1
    chance: random.Random = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "chance", random.Random(self.seed))

    @property
    def lively(self) -> float:
        """After so many seconds nothing hurts any more."""
        return self.seconds * LIVELY

    def moments(self) -> list[float]:
        """Return when the engine is killed: once in each part of the lively time, as many parts as kills."""
        part = self.lively / max(1, self.kills)
        return [(number + self.chance.uniform(0.1, 0.9)) * part for number in range(self.kills)]

    def jobs(self, histories: Sequence[tuple[str, str | None]], now: float) -> list[NewJob]:
        """Return all work: a third of it ready now, the rest at random times as long as it is lively."""
        targets = ("me", f"@{TALK}", "@user9996610001", "@user9996610002")
        lasts = self.lively + self.kills * START_SECONDS
        sends = [
            NewJob(
                kind="send",
                data={"to": targets[number % len(targets)], "text": f"Message {number}"},
                account=self.chance.choice((None, *NAMES)),
                due=None if self.chance.random() < 1 / 3 else now + self.chance.uniform(0, lasts),
                priority=self.chance.choice((0, 0, 1)),
            )
            for number in range(SENDS)
        ]
        collects = [NewJob(kind="collect", data={"chat": chat}, account=account) for chat, account in histories]
        return [*sends, *collects]

    def steps(self) -> list[TimedAction]:
        """Return what hurts: the sandbox's own chaos, requests that are slow, and what befalls those of the jobs.

        All accounts share a port here, so a port that is shut is shut for all of them.
        """
        slow = (("messages.sendMessage", self.seconds / 300), ("messages.getHistory", self.seconds / 100))
        steps = [
            TimedAction(0, Fault(FaultKind.SLOW, request=request, seconds=seconds)) for request, seconds in slow
        ]  # fmt: skip
        for step in chaos(self.chance.randrange(2**32), PHONES, self.seconds):
            hurt = step.action
            shuts = isinstance(hurt, Fault) and FAULT_RULES[hurt.kind].point is FaultPoint.LISTEN
            steps.append(TimedAction(step.at, attrs.evolve(hurt, account=None)) if shuts else step)
        for fault in _of_requests(each_times=max(1, round(self.seconds / 30))):
            steps.append(TimedAction(self.chance.uniform(0, self.lively), fault))
        return [*sorted(steps, key=lambda step: step.at), TimedAction(self.lively, Clear())]


def _of_requests(each_times: int) -> Iterator[Fault]:
    """Yield what befalls one request each: it is heard and not answered, not heard, refused, told to wait."""
    for phone, request in itertools.product(PHONES, ("messages.sendMessage", "messages.getHistory")):
        for _ in range(each_times):
            for kind in (FaultKind.RESET_AFTER, FaultKind.RESET_AFTER, FaultKind.RESET_BEFORE):
                yield Fault(kind, phone, request=request)
            for code, text in ((500, job_record.OWN_ERROR), (420, "FLOOD_WAIT_1")):
                yield Fault(FaultKind.RPC_ERROR, phone, request=request, code=code, text=text)


async def furnish(dc: Sandbox, length: int = LENGTH) -> list[tuple[str, str | None]]:
    """Write the histories, and return them, each with the account that alone can read it, if there is one."""
    await dc.create_channel(TALK, "Talk", megagroup=True, members=PHONES)
    for phone in ("+9996610001", "+9996610002"):
        await dc.push(phone, "Welcome")
    histories: list[tuple[str, str | None]] = []
    for number in range(HISTORIES):
        if number % 5 == 4:  # private chats, with words of both sides
            other = f"+999663{number:04}"
            for line in range(length):
                sides = (PHONES[0], other) if line % 3 else (other, PHONES[0])
                await dc.push(sides[0], f"Line {line} of {number}", sender=sides[1])
            histories.append((f"@user{other[1:]}", NAMES[0]))
            continue
        name, group = f"history{number}", number % 5 != 3
        writers = [f"+999664{writer:04}" for writer in range(3)] if group else [None]
        await dc.create_channel(name, name, megagroup=group, members=[each for each in writers if each])
        for line in range(length):
            await dc.post(name, f"Line {line} of {number}", writers[line % len(writers)])
        histories.append((f"@{name}", None))
    return histories


@define
class Stage:
    """Where the steps are played, one stretch after the other; between two of them time stands still."""

    dc: Sandbox
    steps: deque[TimedAction]
    at: float = 0.0

    async def play(self, until: float) -> None:
        """Go on to this time."""
        while self.steps and self.steps[0].at <= until:
            step = self.steps.popleft()
            await self._wait(step.at)
            match step.action:
                case Fault():
                    await self.dc.inject(step.action)
                case Clear():
                    await self.dc.clear()
                case Push(account, text, sender):
                    await self.dc.push(account, text, sender)
                case _:
                    raise SandboxError(f"an unknown step: {step}")
        await self._wait(until)

    async def _wait(self, until: float) -> None:
        await anyio.sleep(max(0.0, until - self.at))
        self.at = until


async def run(directory: Path, plan: Plan) -> Figures:
    """Do it, compare, and return the figures. Raises ``Lost`` with the first things that differ."""
    harness, file = EngineHarness(directory), directory / "data" / "engine.db"
    async with Sandbox() as dc:
        harness.at(dc, *PHONES, rest=CONFIG)
        histories, steps = await furnish(dc), plan.steps()
        began, numbers = time.time(), add(file, plan.jobs(histories, time.time()))
        stage, cut = Stage(dc, deque(steps)), 0
        for life, moment in enumerate([*plan.moments(), plan.seconds], 1):
            async with harness.running() as engine:
                await harness.until(lambda at, life=life: any(entry.life == life for entry in at.entries()[-9:]))
                await stage.play(moment)
                if engine.returncode is not None:
                    raise Lost(f"the engine ended by itself with {engine.returncode}:\n{harness.text[-3000:]}")
                if life <= plan.kills:
                    engine.kill()
                    await engine.wait()
                    cut += ask(file, "select count(*) from jobs where state = 'running'")[0][0]
                    continue
                await _all_over(harness, file)
                if code := await harness.finish(engine, signal.SIGTERM):
                    raise Lost(f"the last run ended with {code}:\n{harness.text[-3000:]}")
        if complaint := COMPLAINTS.search(harness.text):
            raise Lost(f"a log says {complaint.group()!r}:\n{harness.text[-6000:]}")
        return job_record.compare(harness, dc, numbers, steps, began=began, cut=cut)


async def _all_over(harness: EngineHarness, file: Path) -> None:
    """Wait until no job is queued or running. Raises ``Lost`` when that takes too long."""
    until = anyio.current_time() + TIMEOUT_SECONDS
    while True:
        with closing(open_read_only(file)) as db:
            counts: Counter[str] = Counter()
            for states in counts_of(db).values():
                counts.update(states)
        if not counts["queued"] and not counts["running"]:
            return
        if anyio.current_time() > until:
            left = ask(file, "select id, kind, account, state, due, detail from jobs where state <> 'done' limit 10")
            raise Lost(f"work does not end: {dict(counts)}, {left}\n{harness.text[-6000:]}")
        await anyio.sleep(0.1)


def main(seconds: float = 120.0, kills: int = 5, seed: int | None = None) -> None:
    """Do it, and say what came of it; ends with an exception if anything was missed or done twice."""
    seed = time.time_ns() % 2**32 if seed is None else seed
    print(f"{seconds:g} s of chaos, {kills} kills, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as harness:
        figures = anyio.run(run, Path(harness), Plan(seconds=seconds, kills=kills, seed=seed))
    print("\n".join(figures.lines()))


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:]))
