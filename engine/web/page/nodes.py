"""The nodes that share the accounts, and which of them has each: what the page knows of them, in words."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from attrs import field, frozen
from markupsafe import Markup, escape

from engine.console.format import seconds
from engine.console.node_lines import OF_STOPPED, SILENT, SeenNode
from engine.console.safe_text import one_line
from engine.web.page.words import MAX_NAME, MAX_WHY
from states import State

MAX_NODES: Final = 50
"""Nodes that are shown, those first that somebody should look at."""
MAX_SEARCH: Final = 100
"""Characters of a node's name that an address has."""
_ORDER: Final = (SILENT, "draining", "alive", "dead", OF_STOPPED)
_LOOKS: Final = {
    SILENT: ("warning", State.TIMEOUT.value),
    "draining": ("stop", State.SHUTTING_DOWN.value),
    "alive": ("healthy", State.HEALTHY.value),
    "dead": ("failed", State.AUTH_FAILED.value),
    OF_STOPPED: ("stop", State.SHUTTING_DOWN.value),
}
"""The icon of a node's state, and the state of an account that has its colour."""


@frozen
class AccountWhere:
    """Which node has an account, and how what is said of the account is known."""

    node: str
    """Its name; empty if no node has the account."""
    here: bool
    """Whether that is this engine, which sees the account live."""
    stored: float | None = None
    """When the node has stored what is shown (Unix seconds); None if it is seen live, or nothing is stored."""
    note: str = ""
    """What else is to be known: where it goes, or why no node has it."""

    @property
    def name(self) -> str:
        """The node's name as it is shown."""
        return one_line(self.node, MAX_NAME)

    @property
    def path(self) -> Markup:
        """The path of the node's accounts."""
        return node_path(self.node)


@frozen
class FleetNodes:
    """The nodes of a database, as this engine knows them."""

    own: str
    """The name of this node; empty where the page is of none, but of several workers."""
    nodes: Sequence[SeenNode] = ()
    read: float | None = None
    """When they were read (Unix seconds); None before the first time."""
    trouble: str = ""
    """Why they cannot be read now; then all but this node is as of ``read``."""


@frozen
class NodeWords:
    """A node in words."""

    name: str
    path: Markup
    host: str
    here: bool
    state: str
    icon: str
    colour: str
    accounts: str
    jobs: int
    lease: str
    silent: float | None
    """Since when no beat of it was seen (Unix seconds), if it should have beaten since."""
    ended: float | None
    why: str
    """Why it ended."""
    version: str = field(default="")


def node_path(name: str) -> Markup:
    """Return the path of the accounts of a node."""
    return escape(f"/?{urlencode({'node': name[:MAX_SEARCH]}, errors='backslashreplace')}")


def node_words(found: FleetNodes, now: float) -> list[NodeWords]:
    """Return the nodes in words, those first that somebody should look at."""
    ordered = sorted(found.nodes, key=lambda each: (_ORDER.index(each.state), each.node.name))
    return [_words(each, found.own, found.read or now) for each in ordered[:MAX_NODES]]


def _words(seen: SeenNode, own: str, read: float) -> NodeWords:
    node = seen.node
    icon, colour = _LOOKS[seen.state]
    most = "" if node.accounts_at_most is None else f" of {node.accounts_at_most:,} at most"
    draining = ", draining" if seen.state == SILENT and node.state.value == "draining" else ""
    return NodeWords(
        name=one_line(node.name, MAX_NAME),
        path=node_path(node.name),
        host=one_line(node.host, MAX_NAME),
        here=node.name == own and node.lives,
        state=f"{seen.state}{draining}",
        icon=icon,
        colour=colour,
        accounts=f"{node.accounts:,}{most}",
        jobs=node.jobs,
        lease=seconds(node.lease),
        silent=read - seen.silent_for if seen.state == SILENT else None,
        ended=node.ended_at if not node.lives else None,
        why=one_line(node.ended_why or "", MAX_WHY) if not node.lives else "",
        version=one_line(seen.version or "", MAX_NAME),
    )
