"""Commands to accounts, wherever they are: at the engine of this data, or at a node that shares its database.

A composition root: it says which way a command takes, and what is told when nobody answers.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from attrs import frozen

from engine.app.records import StoragePlace
from engine.app.stored_fleet import open_fleet
from engine.config import Config
from engine.control.client import BEYOND_GRACE_TIMEOUT
from engine.control.protocol import CommandOutcome, Verb
from states.nodes import AccountPlace, NodeRecord

if TYPE_CHECKING:
    from adapters.postgres.account_commands import CommandAnswer


class NoNodeRuns(Exception):
    """No node lives, so there is nobody to carry a command out."""


@frozen
class PlacedOutcome:
    """What a command did to one account, and which node has it."""

    outcome: CommandOutcome
    node: str | None


WAITING: Final = "16 commands wait for it already; ask again when they are done"


def command_nodes(config: Config, verb: Verb, names: Sequence[str]) -> list[PlacedOutcome]:
    """Have the nodes that own these accounts carry a command out; return what came of it, for each account.

    An account that goes to another node meanwhile is commanded there. Blocks for no longer than an engine may take.
    Raises ``NoNodeRuns`` and ``StorageError``.
    """
    return command_at(config.storage, verb, names, timeout=config.states.shutting_down.grace + BEYOND_GRACE_TIMEOUT)


def command_at(place: StoragePlace, verb: Verb, names: Sequence[str], *, timeout: float) -> list[PlacedOutcome]:
    """Do what ``command_nodes`` does, with the nodes of this place's database, for at most ``timeout`` seconds."""
    places, nodes = _look(place, names)
    if not any(each.lives for each in nodes):
        raise NoNodeRuns
    from adapters.postgres.account_commands import ask_accounts  # noqa: PLC0415 - needs PostgreSQL's client
    from adapters.postgres.address import StoreAddress  # noqa: PLC0415

    assert place.database is not None, "the caller has asked"
    asked = [name for name in names if (at := places.get(name)) is not None and at.taken_to is None]
    answers = ask_accounts(StoreAddress.parse(place.database), verb, asked, timeout=timeout)
    places, _ = _look(place, names)
    return [_outcome(name, places.get(name), answers.get(name), timeout) for name in names]


def _look(place: StoragePlace, names: Sequence[str]) -> tuple[Mapping[str, AccountPlace], Sequence[NodeRecord]]:
    reading = open_fleet(place)
    assert reading is not None, "the config has a database"
    with reading as fleet:
        return fleet.accounts(names), fleet.nodes()


def _outcome(name: str, at: AccountPlace | None, answer: "CommandAnswer | str | None", timeout: float) -> PlacedOutcome:
    node = None if at is None else at.node
    if answer is None or isinstance(answer, str):
        return PlacedOutcome(CommandOutcome(name, False, f"{name}: {_why_none(at, answer, timeout)}"), node)
    return PlacedOutcome(CommandOutcome(name, answer.done, answer.said), node)


def _why_none(at: AccountPlace | None, answer: str | None, timeout: float) -> str:
    """Return why nobody has carried a command out."""
    from adapters.postgres.account_commands import NoOutcome  # noqa: PLC0415 - as above

    if at is None:
        return "the nodes that run do not have it; if the config is newer than they are, 'reload' it on each of them"
    if at.taken_to is not None:
        return f"its session was taken to {at.taken_to}, so no node has it; bring it back with 'session bring'"
    if answer == NoOutcome.CROWDED:
        return WAITING
    if answer == NoOutcome.BEGUN:
        return f"its node has begun to do it, and has not answered within {timeout:g} s; see its status"
    if at.node is None:
        return f"no node has had it for {timeout:g} s, so nothing was done; see 'nodes'"
    return f"node {at.node}, which has it, has not answered within {timeout:g} s, so nothing was done; see 'nodes'"
