"""The model against the real thing: one scenario, run by the real engine at the sandbox, and by the simulation.

    uv run python -m tests.engine.simulate.against

prints the table of ``docs/simulate.md``. The real run takes 50 real Telethon clients over TCP through it, and its
journal is read afterwards.
"""

import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import anyio
from attrs import evolve, field, frozen

from adapters.sandbox import Fault, FaultKind, Sandbox
from engine import Engine
from engine.config import Config, load
from engine.simulate.driver import AccountModel, Simulation
from engine.simulate.scenario import SimulatedScenario, disturbances_of, load_scenario
from states import Record, State
from tests.engine.harness import EngineHarness
from tests.timeouts import TIMEOUT

ACCOUNTS: Final = 50
LEAD: Final = 4.0
"""Seconds from the moment at which all are healthy to the scenario's beginning: the links are stable by then."""
REST: Final = """
states:
  connecting: {patience: [20s]}
  reconnecting: {patience: [6s]}
  healthy: {probe_every: 1s, prove_every: 2s, stable_after: 2s}
  timeout: {patience: [3s, 3s]}
  backoff:
    network: {first: 1s, factor: 2, cap: 4s, jitter: 0.2}
    transport_flood: {first: 3s, factor: 2, cap: 6s, jitter: 0.2}
fleet: {connects_at_once: 32, stagger: 0}
storage: {directory: data}
"""
SCENARIO: Final = """
network: {latency: 5ms, spread: 0, handshakes: 300}
scenario:
  - {at: 0s, do: reset}
  - {at: 8s, do: refuse, for: 4s}
  - {at: 8s, do: close}
  - {at: 22s, do: blackhole, for: 9s}
  - {at: 50s, do: transport_error, code: -429, for: 2s}
  - {at: 66s, do: revoke, account: Account 7}
"""
STAGES: Final = (("reset of all", 0.0), ("refused for 4 s", 8.0), ("silence for 9 s", 22.0), ("−429 for 2 s", 50.0),
                 ("a login revoked", 66.0))  # fmt: skip
END: Final = 74.0


@frozen
class Seen:
    """What one world saw in one stage of the scenario."""

    records: Sequence[tuple[str, Record]] = field(repr=False)
    """Account and record."""

    @property
    def moves(self) -> set[tuple[str, str, str]]:
        """Each change of state that any account made: from, event, to."""
        return {(each.source.value, each.event, each.target.value) for _, each in self._moved()}

    @property
    def attempts(self) -> int:
        """How many connections were tried."""
        return sum("Open" in each.effects for _, each in self.records)

    @property
    def lost(self) -> int:
        """How many accounts left ``healthy``."""
        return len({name for name, each in self._moved() if each.source is State.HEALTHY})

    @property
    def back(self) -> int:
        """How many of them were healthy again."""
        last = {name: each.target for name, each in self._moved()}
        return sum(state is State.HEALTHY for state in last.values())

    @property
    def waits(self) -> dict[str, tuple[float, float]]:
        """The shortest and the longest wait that each kind of failure began, as it was decided."""
        found: dict[str, list[float]] = {}
        for _, each in self.records:
            if each.delay is not None:
                found.setdefault(each.event, []).append(each.delay)
        return {event: (min(delays), max(delays)) for event, delays in found.items()}

    def _moved(self) -> Iterable[tuple[str, Record]]:
        return ((name, each) for name, each in self.records if each.source is not each.target)


def stages(records: Iterable[tuple[str, Record]], begin: float) -> list[Seen]:
    """Return what was seen in each stage; ``begin`` is when the scenario began."""
    edges = [begin + at for _, at in STAGES] + [begin + END]
    known = list(records)
    return [Seen([(name, each) for name, each in known if first <= each.at < last]) for first, last in pairwise(edges)]


def scenario_in(directory: Path) -> tuple[Path, SimulatedScenario]:
    """Write the scenario into a directory; return its path and what is in it."""
    path = directory / "scenario.yaml"
    path.write_text(SCENARIO)
    return path, load_scenario(path)


async def run_really(directory: Path) -> list[Seen]:
    """Run the scenario with the real engine, and return what its journal says of each stage."""
    harness = EngineHarness(directory)
    _, scenario = scenario_in(directory)
    async with Sandbox() as dc:
        phones = {f"Account {number}": f"99966210{number:02}" for number in range(1, ACCOUNTS + 1)}
        harness.at(dc, *phones.values(), rest=REST)
        engine = Engine.from_config(harness.config)
        async with engine:
            with anyio.fail_after(TIMEOUT):
                for name in phones:
                    await engine.account(name).ready()
            await anyio.sleep(LEAD)
            begin, started = time.time(), anyio.current_time()
            for step in scenario.scenario:
                await anyio.sleep(max(0.0, started + step.at - anyio.current_time()))
                account = phones[step.account] if step.account else None
                await dc.inject(Fault(FaultKind(step.do), account, step.duration, code=step.code))
            await anyio.sleep(started + END - anyio.current_time())
    return stages([(entry.account, entry) for entry in harness.entries()], begin)


def run_model(directory: Path, config: Config, seed: int = 0) -> list[Seen]:
    """Run the scenario by the simulation, and return what it says of each stage."""
    path, scenario = scenario_in(directory)
    models = [AccountModel(account.name) for account in config.accounts]
    first = 10.0
    steps = [evolve(step, at=step.at + first) for step in scenario.scenario]
    disturbances = disturbances_of(steps, models, count=len(models), seed=seed, path=path)
    simulation = Simulation(
        models,
        config.states,
        config.fleet,
        disturbances,
        duration=first + END,
        network=scenario.network,
        keeps=True,
        seed=seed,
    )
    lives = simulation.run().lives
    assert lives is not None
    records = [(model.name, record) for model, life in zip(models, lives, strict=True) for record in life.records]
    return stages(sorted(records, key=lambda each: each[1].at), simulation.begin + first)


def table(real: Sequence[Seen], model: Sequence[Seen]) -> str:
    """Return the comparison as a table in Markdown."""
    lines = [
        "| stage | | lost | back | attempts | waits decided | moves |",
        "|---|---|---:|---:|---:|---|---:|",
    ]
    for (name, _), theirs, ours in zip(STAGES, real, model, strict=True):
        for world, seen in (("engine", theirs), ("model", ours)):
            waits = ", ".join(
                f"{event} {shortest:.2f} to {longest:.2f} s"
                for event, (shortest, longest) in sorted(seen.waits.items())
            )
            lines.append(
                f"| {name if world == 'engine' else ''} | {world} | {seen.lost} | {seen.back} | {seen.attempts} "
                f"| {waits or '–'} | {len(seen.moves)} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Run both, and print the table, and what only one of them saw."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        real = anyio.run(run_really, directory)
        model = run_model(directory, load(directory / "config.yaml"))
    print(table(real, model))
    for (name, _), theirs, ours in zip(STAGES, real, model, strict=True):
        for world, only in (("engine", theirs.moves - ours.moves), ("model", ours.moves - theirs.moves)):
            for move in sorted(only):
                print(f"{name}: the {world} alone: {move}", file=sys.stderr)


if __name__ == "__main__":
    main()
