"""``nodes``: the nodes that share a database."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.app.stored_fleet import open_nodes, watch_beats
from engine.cli.common import (
    DEFAULT_CONFIG,
    EXIT_BAD_INPUT,
    EXIT_ENGINE_DOWN,
    EXIT_FAILED,
    AsJson,
    ConfigPath,
    fail,
    reporting_errors,
    say,
)
from engine.config import load
from engine.console.node_lines import as_data, remarks, seen, table
from engine.console.safe_text import json_text
from engine.console.shell import engine_command
from states.nodes import AccountPlace, NodeRecord


def nodes(config: ConfigPath = DEFAULT_CONFIG, *, as_json: AsJson = False) -> None:
    """List the nodes that share the config's database, or the workers that share its file, and whether they live.

    It watches their beats, for 4 s at most: the store keeps no time that could be believed. A node without a beat is
    silent, and is taken for dead by the others after its lease. Nodes that have ended are listed for a week.

    Exit code 0 if all nodes live and every account has one, 1 if not, 3 if no node lives.
    """
    with reporting_errors():
        settings = load(config)
        reading = open_nodes(settings)
        if reading is None:
            fail(EXIT_BAD_INPUT, no_nodes(settings.path))
        with reading as fleet:
            found, watch = watch_beats(fleet)
            accounts = fleet.accounts()
        looks = seen(found, watch, time.monotonic())
        if as_json:
            for each in looks:
                print(json_text(as_data(each)))
        else:
            say(*table(looks, time.time()), *_spaced(remarks(looks, accounts)))
        raise SystemExit(_exit_code([each.state for each in looks], found, accounts))


def no_nodes(path: Path) -> str:
    """Return the sentence for a config whose accounts are of one engine alone."""
    status = engine_command("status", path)
    return f"{path} has no storage.database and no node.workers, so its accounts are of one engine alone; see: {status}"


def _spaced(lines: Sequence[str]) -> Sequence[str]:
    return ["", *lines] if lines else []


def _exit_code(states: Sequence[str], found: Sequence[NodeRecord], accounts: Mapping[str, AccountPlace]) -> int:
    if not any(each.lives for each in found):
        return EXIT_ENGINE_DOWN
    homeless = any(at.life is None and at.taken_to is None for at in accounts.values())
    return EXIT_FAILED if "silent" in states or homeless else 0
