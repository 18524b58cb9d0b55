"""``simulate``."""

import gc
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final

from attrs import define, field

from engine.cli.common import (
    EXIT_BAD_INPUT,
    AsJson,
    ConfigPath,
    check_output,
    fail,
    parse_duration_option,
    reporting_errors,
    write_output,
)
from engine.cli.declared import Parameter
from engine.cli.process import EXIT_INTERRUPTED
from engine.config import load
from engine.console.format import seconds
from engine.console.safe_text import json_text, one_line

if TYPE_CHECKING:  # what runs a fleet imports much, and a list of the commands need not wait for it
    from engine.config import Config
    from engine.simulate.driver import Simulation
    from engine.simulate.scenario import SimulatedScenario
    from engine.simulate.summary import SimulationSummary

MOST_SIMULATED: Final = 5_000_000
MOST_SECONDS: Final = 31 * 86_400.0
MOST_SEED: Final = 2**63 - 1
PROGRESS_INTERVAL: Final = 0.5
"""Seconds between two progress lines."""
BUILT_IN: Final = "built-in scenario"


def simulate(
    config: ConfigPath = Path("config.yaml"),
    *,
    accounts: Annotated[
        int | None,
        Parameter(
            help="How many accounts. More than the config has are made of its accounts in turn, with their settings; "
            "left out, those of the config."
        ),
    ] = None,
    duration: Annotated[str, Parameter(name="--for", help="How long, in virtual time, like 10m or 1h.")] = "1h",
    scenario: Annotated[
        Path | None,
        Parameter(
            help="A YAML file of what goes wrong and when. Left out: the network is gone for all, later all links are "
            "reset, and then a third of the links is silent."
        ),
    ] = None,
    seed: Annotated[int, Parameter(help="The same seed gives the same run.")] = 0,
    svg: Annotated[Path | None, Parameter(help="Draw the charts into this file.")] = None,
    nodes: Annotated[
        int | None,
        Parameter(help="Plan a fleet of so many nodes on one database instead: its traffic, and how a takeover goes."),
    ] = None,
    kill: Annotated[int, Parameter(help="With --nodes: how many are killed at once.")] = 1,
    store_cores: Annotated[int, Parameter(help="With --nodes: processors of the database's server.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Run the config's accounts, or many more, in virtual time: the engine's own decisions over a model of the network.

    Nothing is connected, and nothing is written but --svg. It shows availability, attempts and handshakes at the peak,
    the journal's rows, and how soon accounts are back after each fault. With --nodes, what a fleet of many nodes asks
    of its database, how soon the accounts of nodes that are killed are back, and what breaks first.
    """
    length = _length(duration)
    if accounts is not None and not 1 <= accounts <= MOST_SIMULATED:
        fail(EXIT_BAD_INPUT, f"--accounts: {accounts} must be from 1 to {MOST_SIMULATED:,}")
    if not 0 <= seed <= MOST_SEED:
        fail(EXIT_BAD_INPUT, f"--seed: {seed} must be a whole number from 0 to {MOST_SEED}")
    if nodes is not None:
        from engine.cli.simulate_nodes import plan_nodes  # noqa: PLC0415 - it imports much, for this command alone

        if scenario is not None or svg is not None:
            fail(EXIT_BAD_INPUT, "--nodes: it has no scenario and no picture; leave out --scenario and --svg")
        return plan_nodes(config, accounts, nodes, kill, store_cores=store_cores, seed=seed, as_json=as_json)
    _simulate_fleet(config, scenario, accounts=accounts, duration=length, seed=seed, svg=svg, as_json=as_json)


def _length(duration: str) -> float:
    """Return how long to simulate, in seconds."""
    length = parse_duration_option("--for", duration)
    if not 0 < length <= MOST_SECONDS:
        fail(EXIT_BAD_INPUT, f"--for: {duration} must be more than 0 s and at most {seconds(MOST_SECONDS)}")
    return length


def _simulate_fleet(
    config: Path,
    scenario: Path | None,
    *,
    accounts: int | None,
    duration: float,
    seed: int,
    svg: Path | None,
    as_json: bool,
) -> None:
    """Run the fleet of one engine, and print what was found."""
    from engine.simulate.drawing import draw  # noqa: PLC0415 - as above
    from engine.simulate.scenario import SimulatedScenario, built_in, load_scenario  # noqa: PLC0415
    from engine.simulate.summary import as_data, summarise  # noqa: PLC0415

    with reporting_errors():
        if svg is not None:
            check_output(svg)
        settings = load(config)
        given = SimulatedScenario(scenario=built_in(duration)) if scenario is None else load_scenario(scenario)
        count = len(settings.accounts) if accounts is None else accounts
        began = time.perf_counter()
        with _watched(duration, quiet=not sys.stderr.isatty()) as watch, _without_collector():
            simulation = _build(
                settings, given, count, path=scenario or config, duration=duration, seed=seed, progress=watch.look
            )
            simulation.run()
            found = summarise(simulation)
        took = time.perf_counter() - began
        name = BUILT_IN if scenario is None else str(scenario)
        heading = f"{found.accounts:,} account{'s' if found.accounts != 1 else ''} for {seconds(found.lasted)}, {name}"
        unwritten = None
        if svg is not None:
            unwritten = _write_picture(svg, draw(found, f"{heading}, seed {seed}"))
        if as_json:
            print(json_text(as_data(found, seed=seed, scenario=name), indent=2))
        else:
            whole = f"{heading}, seed {seed}; computed in {seconds(took)}"
            from rich.console import Console  # noqa: PLC0415 - for the page alone

            from engine.simulate.page import page  # noqa: PLC0415

            Console(highlight=False).print(page(found, whole, _remarks(settings, found)))
        if unwritten is not None:
            raise unwritten
    if not found.complete:
        raise SystemExit(EXIT_INTERRUPTED)


def _write_picture(path: Path, picture: str) -> OSError | None:
    """Write the picture before anything is printed, whose reader may go; return what hindered it, to be told last."""
    try:
        write_output(path, picture.encode())
    except OSError as exc:
        return exc
    return None


def _build(config: "Config", given: "SimulatedScenario", count: int, *, path: Path, **options: Any) -> "Simulation":
    """Return the simulation of a config with so many accounts; ``path`` is the scenario's, for what is wrong in it."""
    from engine.simulate.driver import AccountModel, Simulation  # noqa: PLC0415 - as above
    from engine.simulate.scenario import DIRECT, disturbances_of  # noqa: PLC0415

    own = [
        AccountModel(account.name, str(account.proxy[0] or DIRECT) if account.proxy else DIRECT)
        for account in config.accounts
    ]
    disturbances = disturbances_of(given.scenario, own, count=count, seed=options["seed"], path=path)
    models = [own[index % len(own)] for index in range(count)]
    models[len(own) :] = [
        AccountModel(f"{model.name} ({index // len(own) + 1})", model.route)
        for index, model in enumerate(models[len(own) :], len(own))
    ]
    return Simulation(models, config.states, config.fleet, disturbances, network=given.network, **options)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Search for no cycles meanwhile: what is made is kept, or goes at once, and a search takes seconds."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _remarks(config: "Config", found: "SimulationSummary") -> list[str]:
    """Return what explains figures that may surprise."""
    remarks = []
    if not found.complete:
        remarks.append(f"⚠️ ended after {seconds(found.lasted)} of {seconds(found.wanted)}")
    elif late := found.not_reached:
        steps = "1 step" if len(late) == 1 else f"{len(late):,} steps"
        remarks.append(f"⚠️ {steps} of the scenario did not happen: --for ends before {seconds(min(late))}")
    stagger = config.fleet.stagger
    if found.never_connected and isinstance(stagger, float) and stagger * found.accounts > found.lasted / 2:
        remarks.append(
            f"⚠️ fleet.stagger: {seconds(stagger)} lets at most {_rate(stagger)} connect; "
            "'auto' lets as many as the machine and the datacenter can"
        )
    if any(len(account.proxy) > 1 for account in config.accounts):
        remarks.append("⚠️ of several proxies of an account the model uses the first alone")
    return remarks


def _rate(every: float) -> str:
    """Return how many accounts that is, if one may begin ``every`` so many seconds."""
    return f"{1 / every:,.0f} accounts per second" if every < 1 else f"one account each {seconds(every)}"


@define(eq=False)
class _RunWatch:
    """Ends a run at Ctrl+C, and shows on a terminal how far it is."""

    length: float
    quiet: bool
    stopped: bool = field(default=False, init=False)
    _due: float = field(factory=lambda: time.monotonic() + 2 * PROGRESS_INTERVAL, init=False)
    _shown: bool = field(default=False, init=False)

    def look(self, virtual: float) -> bool:
        """Return whether to go on."""
        if not self.quiet and time.monotonic() >= self._due:
            self._due = time.monotonic() + PROGRESS_INTERVAL
            self._shown = True
            said = f"⏳ {seconds(virtual)} of {seconds(self.length)}; Ctrl+C shows what is known so far"
            sys.stderr.write(f"\r\x1b[K{one_line(said)}")
            sys.stderr.flush()
        return not self.stopped

    def stop(self, _: int, __: FrameType | None) -> None:
        """Take Ctrl+C: the first lets the run end, the next ends the process."""
        self.stopped = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def clear(self) -> None:
        """Take the progress line away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


@contextmanager
def _watched(length: float, *, quiet: bool) -> Iterator[_RunWatch]:
    watch = _RunWatch(length, quiet)
    before = signal.signal(signal.SIGINT, watch.stop)
    try:
        yield watch
    finally:
        watch.clear()
        signal.signal(signal.SIGINT, before)
