"""Nodes as a table for people, and as data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from engine.console.cells import width_of
from engine.console.format import iso, moment, seconds
from engine.console.safe_text import one_line
from states.assignment import host_matches
from states.nodes import AccountPlace, BeatWatch, NodeRecord, NodeState

SILENT: Final = "silent"
"""What a node is that the store takes for alive, and of which no beat was seen."""
OF_STOPPED: Final = "stopped"
"""What a node is that was stopped in an orderly way: it has given its accounts up."""
TITLES: Final = ("Node", "Host", "State", "Accounts", "Jobs", "Last beat", "Lease", "Version")
MAX_NAME: Final = 40
MAX_WHY: Final = 120
GAP: Final = "  "


@frozen
class SeenNode:
    """A node, and what its beats say."""

    node: NodeRecord
    age: float | None
    """Seconds since a beat was seen; None if none was seen."""
    silent_for: float
    """For how many seconds, at least, there has been no beat."""

    @property
    def state(self) -> str:
        """``alive``, ``draining``, ``silent``, ``stopped`` or ``dead``."""
        if self.node.was_stopped:
            return OF_STOPPED
        if self.node.lives and self.age is None:
            return SILENT
        return self.node.state.value

    @property
    def version(self) -> str | None:
        """The version that it says it is."""
        said = self.node.details.get("version")
        return said if isinstance(said, str) else None


def seen(nodes: Sequence[NodeRecord], watch: BeatWatch, now: float) -> list[SeenNode]:
    """Return nodes with what a watch has seen of their beats until ``now``, by the clock of the watch."""
    return [SeenNode(each, watch.age(each.life, now), watch.silent_for(each.life, now)) for each in nodes]


def as_data(found: SeenNode) -> dict[str, Any]:
    """Return what ``nodes --json`` prints of a node; its keys are a contract."""
    node = found.node
    return {
        "name": node.name,
        "host": node.host,
        "state": found.state,
        "lease": node.lease,
        "accounts": node.accounts,
        "accounts_at_most": node.accounts_at_most,
        "jobs_running": node.jobs,
        "last_beat": None if found.age is None else round(found.age, 1),
        "silent_for": round(found.silent_for, 1) if found.state == SILENT else None,
        "draining": node.state.value == "draining",
        "since": iso(node.started_at),
        "ended": iso(node.ended_at),
        "ended_why": node.ended_why,
        "lives": node.epoch,
        "version": found.version,
        "details": dict(node.details),
    }


def table(nodes: Sequence[SeenNode], now: float) -> list[str]:
    """Return lines, each node one; ``now`` is in Unix seconds."""
    rows = [TITLES, *(_row(each, now) for each in nodes)]
    widths = [max(width_of(row[at]) for row in rows) for at in range(len(TITLES))]
    return [GAP.join(_fitted(text, width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _fitted(text: str, width: int) -> str:
    return text + " " * (width - width_of(text))


def _row(found: SeenNode, now: float) -> Sequence[str]:
    node = found.node
    most = "" if node.accounts_at_most is None else f" of {node.accounts_at_most:,}"
    state = f"{SILENT}, draining" if found.state == SILENT and node.state.value == "draining" else found.state
    return (
        one_line(node.name, MAX_NAME),
        one_line(node.host, MAX_NAME),
        state,
        f"{node.accounts:,}{most}",
        f"{node.jobs:,}",
        _last_beat(found, now),
        seconds(node.lease),
        one_line(found.version or "", MAX_NAME),
    )


def _last_beat(found: SeenNode, now: float) -> str:
    if not found.node.lives:
        ended = found.node.ended_at
        return "ended" if ended is None else f"ended {moment(ended, now)}"
    if found.age is None:
        return f"none for {seconds(round(found.silent_for))}"
    return f"{seconds(max(round(found.age, 1), 0.1))} ago"


def remarks(nodes: Sequence[SeenNode], accounts: Mapping[str, AccountPlace]) -> list[str]:
    """Return what is to be known beside the table, a sentence for each: why nodes ended, and accounts without one."""
    lines = [
        f"{one_line(each.node.name, MAX_NAME)} is dead: {one_line(each.node.ended_why, MAX_WHY)}"
        for each in nodes
        if each.state == NodeState.DEAD and each.node.ended_why
    ]
    if not any(each.node.lives for each in nodes):
        lines.append("No node runs")
    lines += _other_configs([each.node for each in nodes if each.node.lives])
    taking = [each.node for each in nodes if each.state == "alive"]
    reasons = Counter(_why_nobody(at, taking) for at in accounts.values() if at.life is None)
    for why, count in sorted(reasons.items()):
        lines.append(f"{count:,} {'account has' if count == 1 else 'accounts have'} no node: {why}")
    return lines


def _other_configs(living: Sequence[NodeRecord]) -> list[str]:
    """Return which nodes run with another config than the one that began last."""
    configs = {each.name: found for each in living if isinstance(found := each.details.get("config"), dict)}
    latest = max((each for each in living if each.name in configs), key=lambda each: each.started_at, default=None)
    if latest is None:
        return []
    wanted, lines = configs[latest.name], list[str]()
    for name, found in configs.items():
        if sections := [key for key in wanted if found.get(key, wanted[key]) != wanted[key]]:
            what = one_line(", ".join(map(str, sections)), MAX_WHY)
            lines.append(
                f"{one_line(name, MAX_NAME)} runs with another config than {one_line(latest.name, MAX_NAME)}: {what}"
            )
    return lines


def _why_nobody(at: AccountPlace, taking: Sequence[NodeRecord]) -> str:
    if at.taken_to is not None:
        return "the session was taken out with 'session take'; bring it back with 'session bring'"
    if not taking:
        return "no node takes accounts now"
    fitting = [node for node in taking if host_matches(node.host, at.hosts)]
    if not fitting:
        return f"its 'hosts' ({one_line(at.hosts, MAX_NAME)}) fits no node that takes accounts"
    if all(node.accounts_at_most is not None and node.accounts >= node.accounts_at_most for node in fitting):
        return "the nodes that may have it are full (node.accounts_at_most)"
    return "free, and taken by a node within moments"
