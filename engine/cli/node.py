"""``node drain``, ``node resume`` and ``move``: which node has which accounts, as a person wants it."""

import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Final, NoReturn

from attrs import frozen

from engine.app.stored_fleet import LOOK_EVERY, StoredFleet, drain_node, move_account, open_nodes, watch_beats
from engine.cli.common import (
    DEFAULT_CONFIG,
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    AsJson,
    fail,
    is_config,
    match_accounts,
    reporting_errors,
    say,
    standing,
)
from engine.cli.declared import CommandGroup, Parameter
from engine.cli.nodes import no_nodes
from engine.config import Config, load
from engine.console.format import nearest, seconds
from engine.console.names import as_typed
from engine.console.safe_text import json_text, one_line
from engine.console.shell import engine_command
from states.nodes import OF_WORKERS, AccountPlace

NO_PROGRESS: Final = 60.0
"""Seconds beyond the grace of ``shutting_down`` in which no account leaves: then a drain is waited for no longer."""
BEYOND_GRACE: Final = 30.0
"""Seconds beyond that grace that a move may take: beats of both nodes, and what is stored between."""

app = CommandGroup(name="node", help="Nodes that share a database, or workers: have one give its accounts away.")

NodeName = Annotated[
    str,
    Parameter(
        name="[CONFIG] NODE",
        negative="",
        help="The config file (config.yaml), and the name of a node, as 'nodes' has it.",
    ),
]
AccountAndNode = Annotated[
    str,
    Parameter(
        name="[CONFIG] ACCOUNT NODE",
        negative="",
        help="The config file (config.yaml), an account's name or a pattern of names, and the name of a node.",
    ),
]
NoWait = Annotated[
    bool, Parameter(name="--no-wait", negative="", help="Only ask for it; 'nodes' and 'status' say what came of it.")
]


@frozen
class _Told:
    """What came of a move, for people and for programs."""

    account: str
    to: str
    at: AccountPlace | None
    refused: str | None
    only_asked: bool

    @property
    def node(self) -> str | None:
        """The node that has the account now."""
        return None if self.at is None else self.at.node

    @property
    def done(self) -> bool:
        """Whether the command has done what it was to do."""
        return self.refused is None and (self.only_asked or self.node == self.to)

    @property
    def said(self) -> str:
        """The sentence."""
        if self.refused is not None:
            return self.refused
        if self.node == self.to and self.at is not None:
            return f"{self.account} is at {self.to} now (host {self.at.host})"
        if self.only_asked:
            return f"{self.account} goes to {self.to}"
        where = "no node has it" if self.node is None else f"it is at {self.node}"
        if self.at is None or self.at.move_to != self.to:
            return (
                f"{self.account} is not at {self.to}: {where}, for something else was asked for meanwhile; see 'nodes'"
            )
        return f"{self.account} is not at {self.to} yet: {where}, and goes there if {self.to} lives on; see 'nodes'"

    @property
    def data(self) -> dict[str, object]:
        """What ``--json`` prints."""
        return {"account": self.account, "to": self.to, "node": self.node, "done": self.done, "said": self.said}


@app.command("drain")
def drain(*words: NodeName, no_wait: NoWait = False, as_json: AsJson = False) -> None:
    """Have a node give all its accounts away, in order, and take none until 'node resume', even after a restart.

    The node runs on without accounts. Other nodes take them; where none can, an account has no node. A worker that
    shares a file takes accounts again when its process was started again.

    Exit code 0 if it is done, 1 if accounts are left, 2 for an unknown node.
    """
    with reporting_errors():
        settings, name = _config_and_node(words)
        _require_nodes(settings)
        meant = _meant(settings, name)
        lives = [drain_node(settings.storage, each, drain=True) for each in meant]
        if lives == [None]:
            _unknown(settings, name)
        of_file = settings.storage.database is None
        if not any(lives) and of_file:
            _tell(as_json, name, False, 0, f"{name} does not run, and a worker starts without a drain; see 'nodes'")
            raise SystemExit(EXIT_FAILED)
        if not any(lives):
            _tell(
                as_json, name, True, 0, f"{name} does not run; when it starts, it takes no accounts until 'node resume'"
            )
            return
        until = "until 'node resume', or until its process ends" if of_file else "until 'node resume'"
        if no_wait:
            _tell(as_json, name, True, None, f"{name} gives its accounts away, and takes none {until}")
            return
        back = engine_command("node resume", settings.path, name)
        with standing(f"{name} goes on draining; to let it take accounts again: {back}"):
            left = _until_empty(settings, meant)
            homeless = 0 if left else _count_homeless(settings)
        if left:
            text = f"{name} still has {left:,} of its accounts, and none leaves it; see its log. It goes on draining"
            _tell(as_json, name, False, left, text)
            raise SystemExit(EXIT_FAILED)
        have = "account has" if homeless == 1 else "accounts have"
        more = f"; {homeless:,} {have} no node now, see 'nodes'" if homeless else ""
        _tell(as_json, name, True, 0, f"{name} has no accounts any more, and takes none {until}{more}")


@app.command("resume")
def resume(*words: NodeName, as_json: AsJson = False) -> None:
    """Let a node take accounts again that was drained. Accounts come one by one, and free ones at once.

    Exit code 0 if it is done, 2 for an unknown node.
    """
    with reporting_errors():
        settings, name = _config_and_node(words)
        _require_nodes(settings)
        lives = [drain_node(settings.storage, each, drain=False) for each in _meant(settings, name)]
        if lives == [None]:
            _unknown(settings, name)
        when = "takes accounts again" if any(lives) else "does not run; when it starts, it takes accounts again"
        _tell(as_json, name, True, None, f"{name} {when}")


def move(*words: AccountAndNode, no_wait: NoWait = False, as_json: AsJson = False) -> None:
    """Have an account go to another node: its node closes the connection and stores everything, the other takes it.

    To take that back before it is done, move it to the node where it is.

    Exit code 0 if it is done, 1 if it was not done in time, 2 for an unknown account, or a node that cannot have it.
    """
    with reporting_errors():
        if len(words) not in (2, 3):
            fail(EXIT_BAD_INPUT, "name an account and a node, after the config if that is not config.yaml")
        if len(words) == 2 and is_config(words[0]) and Path(words[0]).is_file():
            fail(EXIT_BAD_INPUT, f"name an account and a node, after {words[0]}")
        settings = load(Path(words[0]) if len(words) == 3 else DEFAULT_CONFIG)
        _require_nodes(settings)
        to = as_typed(words[-1])
        names = match_accounts([each.name for each in settings.accounts], words[-2])
        with _opened(settings) as fleet:
            found, watch = watch_beats(fleet, to)
            silent = [each for each in found if each.name == to and each.lives and watch.age(each.life, 0.0) is None]
            if silent:
                waited = seconds(round(watch.silent_for(silent[0].life, time.monotonic())))
                fail(
                    EXIT_BAD_INPUT,
                    f"node {to} has been silent for {waited} at least, and may be dead; nothing was moved. See 'nodes'",
                )
            refused = {name: why for name in names if (why := move_account(settings.storage, name, to)) is not None}
            going = [name for name in names if name not in refused]
            limit = 0.0 if no_wait else settings.states.shutting_down.grace + BEYOND_GRACE
            stands = f"what goes to {to} goes on; 'status' says where accounts are, and 'move' has them go elsewhere"
            with standing(stands):
                places = _until_there(fleet, going, to, limit)
        told = [_Told(name, to, places.get(name), refused.get(name), no_wait) for name in names]
        for each in told:
            if as_json:
                print(json_text(each.data))
            elif each.refused is None:
                say(each.said)
        if not as_json:
            for why in dict.fromkeys(refused.values()):  # such as one for all: no node is called so
                print(one_line(why), file=sys.stderr)
        if refused:
            raise SystemExit(EXIT_BAD_INPUT)
        raise SystemExit(0 if all(each.done for each in told) else EXIT_FAILED)


def _meant(settings: Config, name: str) -> list[str]:
    """Return the nodes that a name means: that one, or all workers of the engine whose name it is."""
    with _opened(settings) as fleet:
        living = [each.name for each in fleet.nodes() if each.lives]
    workers = [each for each in living if each.startswith(f"{name}{OF_WORKERS}")]
    return workers if workers and name not in living else [name]


def _until_empty(settings: Config, names: Sequence[str]) -> int:
    """Wait until nodes have no accounts, as long as they leave them; return how many are left."""
    patience = settings.states.shutting_down.grace + NO_PROGRESS
    with _opened(settings) as fleet:
        before, since = -1, time.monotonic()
        while True:
            left = sum(each.accounts for each in fleet.nodes() if each.name in names and each.lives)
            if left != before:
                before, since = left, time.monotonic()
            if not left or time.monotonic() - since > patience:
                return left
            time.sleep(LOOK_EVERY)


def _count_homeless(settings: Config) -> int:
    """Return how many accounts no node has, after those that are free for a moment only were taken."""
    began = time.monotonic()
    with _opened(settings) as fleet:
        while True:
            count = sum(at.life is None and at.taken_to is None for at in fleet.accounts().values())
            if not count or time.monotonic() - began > BEYOND_GRACE / 3:
                return count
            time.sleep(LOOK_EVERY)


def _until_there(fleet: StoredFleet, names: Sequence[str], to: str, limit: float) -> dict[str, AccountPlace]:
    """Wait until accounts are at a node; return where they are."""
    began = time.monotonic()
    while True:
        places = dict(fleet.accounts(names))
        if all(at.node == to for at in places.values()) or time.monotonic() - began > limit:
            return places
        time.sleep(LOOK_EVERY)


def _tell(as_json: bool, name: str, done: bool, accounts: int | None, said: str) -> None:
    if as_json:
        print(json_text({"node": name, "done": done, "accounts": accounts, "said": said}))
    else:
        say(said)


def _config_and_node(words: Sequence[str]) -> tuple[Config, str]:
    if not 1 <= len(words) <= 2 or (len(words) == 1 and is_config(words[0])):
        fail(EXIT_BAD_INPUT, "name a node, after the config if that is not config.yaml; 'nodes' lists them")
    return load(Path(words[0]) if len(words) == 2 else DEFAULT_CONFIG), as_typed(words[-1])


def _require_nodes(settings: Config) -> None:
    """End the command, with a sentence, for a config whose accounts are of one engine alone."""
    if settings.storage.database is None and settings.node.workers == 1:
        fail(EXIT_BAD_INPUT, no_nodes(settings.path))


def _opened(settings: Config) -> AbstractContextManager[StoredFleet]:
    reading = open_nodes(settings)
    assert reading is not None, "the config has nodes"
    return reading


def _unknown(settings: Config, name: str) -> NoReturn:
    with _opened(settings) as fleet:
        names = [each.name for each in fleet.nodes()]
    fail(EXIT_BAD_INPUT, f"no node is called {name!r}; {nearest(name, names)}")
