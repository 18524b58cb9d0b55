"""``python -m tests.soak.follow``: chats that are followed through chaos, their engine killed now and then.

Messages are posted, edited and deleted in many channels while the datacenter hurts the accounts and ``kill -9`` hits
the engine. Then all is quiet, and the table ``messages`` is compared with the datacenter's own record: nothing missed,
nothing doubled, nothing different. ``prove`` says that each channel is complete; an interval is then taken out of the
ledger, and ``prove`` names it.
"""

import argparse
import json
import random
import signal
import sqlite3
import tempfile
import time
from collections import Counter, deque
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import anyio
import attrs
from attrs import define, field, frozen

from adapters.sandbox import Fault, FaultKind, Sandbox, TimedAction
from adapters.sandbox.control.chaos import chaos
from adapters.sandbox.faults.kinds import FAULT_RULES, FaultPoint
from adapters.sqlite.jobs import NewJob, add
from tests.engine.harness import COMPLAINTS, EngineHarness
from tests.soak.jobs import CONFIG, Stage
from tests.soak.storage import Lost, ask

LIVELY: Final = 0.85
"""Of the time, after which nothing hurts any more, and nothing is written."""
HISTORY: Final = 0.2
"""Of the posts, which are there before the engine begins."""
EDITS, DELETIONS = 0.15, 0.05
"""How many edits and deletions there are for each post."""
QUIET_SECONDS: Final = 240.0
"""How long the engine may take to have everything, on a busy machine."""
MARK: Final = 10**12


@frozen(kw_only=True)
class FollowPlan:
    """What is to happen; the same for the same seed."""

    accounts: int = 5
    channels: int = 50
    posts: int = 100_000
    seconds: float = 300.0
    kills: int = 10
    seed: int = 1

    @property
    def phones(self) -> list[str]:
        """The accounts' numbers."""
        return [f"+99966200{number:02}" for number in range(1, self.accounts + 1)]

    @property
    def names(self) -> list[str]:
        """The channels' names."""
        return [f"news{number:03}" for number in range(self.channels)]

    def moments(self) -> list[float]:
        """Return when the engine is killed: once in each part of the lively time."""
        chance = random.Random(self.seed)
        part = self.seconds * LIVELY / max(1, self.kills)
        return [(number + chance.uniform(0.1, 0.9)) * part for number in range(self.kills)]

    def jobs(self) -> list[NewJob]:
        """Return a job for each channel, a third of them for no account, and some channels followed by two."""
        jobs = []
        for number, name in enumerate(self.names):
            owner = f"Account {number % self.accounts + 1}"
            data = {"chat": f"@{name}"}
            jobs.append(NewJob(kind="follow", data=data, account=None if number % 3 == 2 else owner))
            if number % 10 == 0 and self.accounts > 1:
                other = f"Account {(number + 1) % self.accounts + 1}"
                jobs.append(NewJob(kind="follow", data=data, account=other))
        return jobs

    def steps(self) -> list[TimedAction]:
        """Return what hurts: the sandbox's own chaos, and pushes that are lost."""
        chance, lively, steps = random.Random(self.seed + 1), self.seconds * LIVELY, []
        for step in chaos(chance.randrange(2**32), self.phones, lively):
            hurt = step.action
            shuts = isinstance(hurt, Fault) and FAULT_RULES[hurt.kind].point is FaultPoint.LISTEN
            steps.append(TimedAction(step.at, attrs.evolve(hurt, account=None)) if shuts else step)
        for phone in self.phones:
            for _ in range(max(1, round(self.seconds / 20))):
                fault = Fault(FaultKind.LOST_UPDATE, phone, times=chance.randint(1, 5))
                steps.append(TimedAction(chance.uniform(0, lively), fault))
                flood = {"request": "updates.getChannelDifference", "code": 420, "text": "FLOOD_WAIT_1", "times": 1}
                steps.append(TimedAction(chance.uniform(0, lively), Fault(FaultKind.RPC_ERROR, phone, 5.0, **flood)))
        return sorted(steps, key=lambda step: step.at)


@define
class Writer:
    """Who posts, edits and deletes; at random, the same for the same seed."""

    dc: Sandbox
    plan: FollowPlan
    counts: Counter[str] = field(factory=Counter)
    _chance: random.Random = field(init=False)
    _there: dict[str, list[int]] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._chance = random.Random(self.plan.seed + 2)

    async def write(self, posts: int) -> None:
        """Write so many posts, with edits and deletions between them."""
        for _ in range(posts):
            name = self._chance.choice(self.plan.names)
            there = self._there.setdefault(name, [])
            number = self.counts["posts"] = self.counts["posts"] + 1
            answered = self._chance.choice(there) if there and self._chance.random() < 0.1 else None
            there.append(await self.dc.post(name, f"Post {number}", reply_to=answered))
            if self._chance.random() < EDITS:
                self.counts["edits"] += 1
                await self.dc.edit(name, self._chance.choice(there), f"Edit {self.counts['edits']}")
            if self._chance.random() < DELETIONS and len(there) > 1:
                self.counts["deletions"] += 1
                await self.dc.delete(name, [there.pop(self._chance.randrange(len(there)))])

    async def write_over(self, seconds: float, posts: int) -> None:
        """Write so many posts, spread over the time."""
        began, written = anyio.current_time(), 0
        while written < posts:
            due = min(posts, int(posts * (anyio.current_time() - began + 0.05) / seconds) + 1)
            await self.write(max(0, due - written))
            written = max(due, written)
            await anyio.sleep(0.02)


@frozen(kw_only=True)
class FollowFigures:
    """What came of a run."""

    posts: int
    edits: int
    deletions: int
    stored: int
    missed: int
    doubled: int
    different: int
    settled: float
    took: float
    lives: int
    complete: int
    channels: int
    named: str

    def lines(self) -> list[str]:
        """Return them as sentences."""
        return [
            f"{self.posts:,} posts, {self.edits:,} edits, {self.deletions:,} deletions in {self.channels} channels; "
            f"{self.took:.0f} s, {self.lives} lives of the engine",
            f"stored {self.stored:,}: missed {self.missed}, doubled {self.doubled}, different {self.different}; "
            f"all there {self.settled:.1f} s after the last post",
            f"prove: {self.complete} of {self.channels} channels complete; {self.named}",
        ]


def differences(dc: Sandbox, plan: FollowPlan, file: Path) -> tuple[int, int, int, int, list[str]]:
    """Return how many messages are stored, missed, doubled and different, and the first that are."""
    stored = missed = different = 0
    said: list[str] = []
    for name in plan.names:
        chat = -MARK - dc._hub.store.channels.named(name).id
        query = f"select id, text, edited is not null, deleted is not null, reply_to from messages where chat = {chat}"
        rows = {row[0]: row[1:] for row in ask(file, query)}
        record = {each.id: each for each in dc.channel_messages(name)}
        stored += len(rows)
        for number, each in record.items():
            row = rows.pop(number, None)
            if row is None:
                if each.deleted is None:
                    missed += 1
                    said.append(f"{name} {number} is missing")
                continue
            wanted: tuple[Any, ...] = (each.text, each.edited is not None, each.deleted is not None, each.reply_to)
            # Of a message that is deleted, an edit just before may have come in no difference: only the end is told.
            if (row[0], bool(row[1]), bool(row[2]), row[3]) != wanted and not (row[2] and each.deleted):
                different += 1
                said.append(f"{name} {number} is {row}, not {wanted}")
        different += len(rows)
        said += [f"{name} {number} does not exist" for number in rows]
    [(doubled,)] = ask(file, "select count(*) - count(distinct chat || '/' || id) from messages")
    return stored, missed, int(doubled), different, said[:10]


async def run(directory: Path, plan: FollowPlan) -> FollowFigures:
    """Do it, compare, and return the figures. Raises ``Lost`` with the first things that differ."""
    harness, file = EngineHarness(directory), directory / "data" / "engine.db"
    async with Sandbox() as dc:
        harness.at(dc, *plan.phones, rest=CONFIG)
        for name in plan.names:
            await dc.create_channel(name, name, members=plan.phones)
        writer, began = Writer(dc, plan), time.monotonic()
        await writer.write(int(plan.posts * HISTORY))
        add(file, plan.jobs())
        stage, before, live = Stage(dc, deque(plan.steps())), 0.0, plan.posts - int(plan.posts * HISTORY)
        lively, last = plan.seconds * LIVELY, len(plan.moments()) + 1
        for life, moment in enumerate([*plan.moments(), lively], 1):
            async with harness.running() as engine:
                await harness.until(lambda at, life=life: any(entry.life == life for entry in at.entries()[-9:]))
                share = live - writer.counts["live"] if life == last else int(live * (moment - before) / lively * 0.95)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(writer.write_over, moment - before, share)
                    await stage.play(moment)
                writer.counts["live"] += share
                before = moment
                if engine.returncode is not None:
                    raise Lost(f"the engine ended by itself with {engine.returncode}:\n{harness.text[-3000:]}")
                if life < last:
                    engine.send_signal(signal.SIGKILL)
                    await engine.wait()
                    share = int(live * 0.04 / last)
                    await writer.write(share)  # while nobody listens
                    writer.counts["live"] += share
                    continue
                await dc.clear()
                quiet = time.monotonic()
                await _all_there(dc, plan, file, harness)
                settled = time.monotonic() - quiet
                if code := await harness.finish(engine, signal.SIGTERM):
                    raise Lost(f"the last run ended with {code}:\n{harness.text[-3000:]}")
        if complaint := COMPLAINTS.search(harness.text):
            around = harness.text[max(0, complaint.start() - 2000) : complaint.end() + 4000]
            raise Lost(f"a log says {complaint.group()!r}:\n{around}")
        stored, missed, doubled, different, _ = differences(dc, plan, file)
        complete, named = await prove(harness, plan, file, dc)
        return FollowFigures(
            posts=writer.counts["posts"], edits=writer.counts["edits"], deletions=writer.counts["deletions"],
            stored=stored, missed=missed, doubled=doubled, different=different, settled=settled,
            took=time.monotonic() - began, lives=plan.kills + 1, complete=complete, channels=plan.channels, named=named,
        )  # fmt: skip


async def _all_there(dc: Sandbox, plan: FollowPlan, file: Path, harness: EngineHarness) -> None:
    """Wait until the table is what the record is. Raises ``Lost`` when that takes too long."""
    until = anyio.current_time() + QUIET_SECONDS
    while True:
        _, missed, doubled, different, said = differences(dc, plan, file)
        if not missed + doubled + different:
            return
        if anyio.current_time() > until:
            jobs = ask(file, "select id, account, worker, state, attempts, detail from jobs limit 60")
            counts = f"missed {missed}, doubled {doubled}, different {different}"
            raise Lost(f"{counts}: {said}\n{jobs}\n{harness.text[-4000:]}")
        await anyio.sleep(1.0)


async def prove(harness: EngineHarness, plan: FollowPlan, file: Path, dc: Sandbox) -> tuple[int, str]:
    """Return how many channels ``prove`` calls complete, and what it says when one interval is taken out."""
    complete = 0
    for name in plan.names:
        code, said = await harness.command("prove", str(harness.config), "--chat", f"@{name}")
        if code:
            raise Lost(f"prove says of {name}, which is complete: {said}")
        complete += 1
    chosen = plan.names[plan.seed % len(plan.names)]
    box = dc._hub.store.channels.named(chosen).id
    with closing(sqlite3.connect(file)) as db, db:
        low, high = db.execute("SELECT min(after), max(upto) FROM ledger WHERE box = ?", (box,)).fetchone()
        middle = (low + high) // 2
        hole = (middle, middle + 1)
        [moment] = db.execute("SELECT max(until) FROM ledger WHERE box = ?", (box,)).fetchone()  # after the history
        for user, login, after, upto, since, until in db.execute(
            "SELECT user, login, after, upto, since, until FROM ledger WHERE box = ?", (box,)
        ).fetchall():
            if after < hole[1] and upto > hole[0]:
                db.execute("DELETE FROM ledger WHERE user = ? AND box = ? AND after = ?", (user, box, after))
                columns = "user, box, login, after, upto, since, until"
                insert = f"INSERT OR REPLACE INTO ledger ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)"
                parts = ((after, hole[0], since, moment), (hole[1], upto, moment, until))
                for first, last, begin, end in parts:
                    if first < last:
                        db.execute(insert, (user, box, login, first, last, min(begin, end), max(begin, end)))
    accused = {}
    for name in plan.names:
        _, said = await harness.command("prove", str(harness.config), "--chat", f"@{name}", "--json")
        holes = [each for each in json.loads(said)["holes"] if each["filled"] is None]
        if holes:
            accused[name] = [(each["after_pts"], each["upto_pts"]) for each in holes]
    if accused != {chosen: [hole]}:
        raise Lost(f"the interval {hole} of {chosen} is missing, and prove accuses {accused}")
    return complete, f"without pts {hole[1]} of @{chosen} it says that exactly this one is missing"


def main() -> None:
    """Do it, and say what came of it; ends with an exception if anything was missed, doubled or different."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.follow", description=__doc__)
    for name, default in (("accounts", 5), ("channels", 50), ("posts", 100_000), ("kills", 10), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--for", dest="seconds", type=float, default=300.0)
    plan = FollowPlan(**vars(parser.parse_args()))
    print(f"{plan.posts:,} posts, {plan.seconds:g} s, {plan.kills} kills, seed {plan.seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        figures = anyio.run(run, Path(directory), plan)
    print("\n".join(figures.lines()))


if __name__ == "__main__":
    main()
