"""``simulate --nodes``: a fleet of many nodes on one database."""

import gc
from pathlib import Path
from typing import Final

from engine.cli.common import EXIT_BAD_INPUT, fail, reporting_errors
from engine.config import load
from engine.console.format import seconds
from engine.console.safe_text import json_text
from states.lease import LeaseTimes

MOST_NODES: Final = 2000
MOST_CORES: Final = 1024


def plan_nodes(
    path: Path, accounts: int | None, nodes: int, kill: int, *, store_cores: int, seed: int, as_json: bool
) -> None:
    """Print the plan of a fleet with the settings of a config."""
    if not 2 <= nodes <= MOST_NODES:
        fail(EXIT_BAD_INPUT, f"--nodes: {nodes} must be from 2 to {MOST_NODES:,}")
    if not 1 <= kill < nodes:
        fail(EXIT_BAD_INPUT, f"--kill: {kill} must be from 1 to {nodes - 1}: one of the {nodes} nodes has to live")
    if not 1 <= store_cores <= MOST_CORES:
        fail(EXIT_BAD_INPUT, f"--store-cores: {store_cores} must be from 1 to {MOST_CORES:,}")
    from engine.simulate.nodes.plan import FleetPlan, as_data, count_records  # noqa: PLC0415 - for this command alone
    from engine.simulate.nodes.takeover import FleetSize, kill_nodes, start_all  # noqa: PLC0415

    with reporting_errors():
        config = load(path)
        size = FleetSize(
            accounts=len(config.accounts) if accounts is None else accounts, nodes=nodes, killed=kill,
            times=LeaseTimes.of(config.node.lease), fleet=config.fleet, takeover_gap=config.node.takeover_gap,
            store_cores=store_cores, seed=seed,
        )  # fmt: skip
        gc.disable()  # what is made is kept to the end
        try:
            plan = FleetPlan(size=size, counts=count_records(config.states, seed), keep=config.storage.keep)
            killed, started = kill_nodes(size), start_all(size)
        finally:
            gc.enable()
        if as_json:
            print(json_text(as_data(plan, killed, started), indent=2))
            return
        from rich.console import Console  # noqa: PLC0415 - for the page alone

        from engine.simulate.nodes.page import fleet_page  # noqa: PLC0415

        dead = "1 is" if kill == 1 else f"{kill:,} are"
        heading = (
            f"{size.accounts:,} accounts on {nodes:,} nodes, of which {dead} killed; lease "
            f"{seconds(config.node.lease)}, seed {seed}"
        )
        Console(highlight=False).print(fleet_page(plan, killed, started, heading))
