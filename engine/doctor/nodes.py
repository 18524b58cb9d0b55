"""The checks of the nodes that share a database: whether they live, and whether their configs agree with this one."""

import time
from collections.abc import Iterator, Mapping
from typing import Final

from adapters.sqlite import StorageError
from engine.app.node_details import digests_of
from engine.app.stored_fleet import open_fleet, watch_beats
from engine.config import Config
from engine.console.format import seconds
from engine.console.node_lines import SILENT, SeenNode, seen
from engine.console.shell import engine_command
from engine.doctor.findings import Finding
from states.nodes import AccountPlace

NAME: Final = "nodes"


def check(config: Config) -> Iterator[Finding]:
    """Yield what is found of the nodes; nothing without a database, or with one that its own check has refused."""
    try:
        reading = open_fleet(config.storage)
        if reading is None:
            return
        with reading as fleet:
            found, watch = watch_beats(fleet)
            accounts = fleet.accounts()
    except StorageError:
        return
    looks = [each for each in seen(found, watch, time.monotonic()) if each.node.lives]
    if not looks:
        yield Finding(NAME, True, "none runs on this database")
    own = digests_of(config)
    for each in looks:
        yield _of_node(config, each)
        yield from _of_config(each, own)
    yield from _of_accounts(config, accounts, runs=bool(looks))


def _of_node(config: Config, each: SeenNode) -> Finding:
    node = each.node
    where = f"{node.name} on host {node.host}"
    if each.state == SILENT:
        text = f"{where} has not reached the database for {seconds(round(each.silent_for))} at least"
        remedy = (
            f"see its process and its way to the database; the others take its accounts after {seconds(node.lease)}"
        )
        return Finding(NAME, False, text, remedy)
    if each.state == "draining":
        text = f"{where} beats, is drained and takes no accounts"
        return Finding(NAME, None, text, engine_command("node resume", config.path, node.name))
    version = "" if each.version is None else f", version {each.version}"
    return Finding(NAME, True, f"{where} beats{version}; it has {node.accounts:,} accounts")


def _of_config(each: SeenNode, own: Mapping[str, str]) -> Iterator[Finding]:
    """Say which sections a node has otherwise than this config. One that is no node's yet differs from none."""
    said = each.node.details.get("config")
    if not isinstance(said, dict):
        return
    differing = [name for name, digest in own.items() if said.get(name, digest) != digest]
    if differing:
        text = f"{each.node.name} runs with another config than this one: {', '.join(differing)}"
        yield Finding(NAME, None, text, "give all nodes the same settings, and start that node again")


def _of_accounts(config: Config, accounts: Mapping[str, AccountPlace], *, runs: bool) -> Iterator[Finding]:
    wanted = {account.name: account.hosts for account in config.accounts}
    stored = {name: at.hosts for name, at in accounts.items()}
    differing = [name for name in (*wanted, *stored) if wanted.get(name) != stored.get(name)]
    if not stored or not differing:
        return
    text = f"the accounts of this config are not those of the database: see {differing[0]!r}"
    if runs:
        yield Finding(NAME, False, text, "all nodes need the same accounts with the same hosts: make the configs equal")
    else:
        yield Finding(NAME, None, text, "the first node that starts brings its own")
