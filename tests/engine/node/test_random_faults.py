"""Nodes under random faults, in virtual time: never two that act for one account, and in the end one for each."""

from itertools import count
from random import Random

import anyio
import pytest
from anyio.abc import TaskGroup

from tests.engine.node.fakes import FakeNode, FakeStore

pytestmark = pytest.mark.virtual
NUMBERS = count(1)


class Fleet:
    """Three nodes, some accounts, and what goes wrong with them. ``FakeWork.take`` refuses a second owner."""

    def __init__(self, rng: Random, tasks: TaskGroup) -> None:
        self.rng, self.tasks = rng, tasks
        self.store, self.acting = FakeStore(), dict[str, str]()
        self.store.add_accounts(8)
        self.store.add_accounts(4, "eu-*")
        self.nodes = [self.begin(f"n{number}") for number in range(3)]

    def begin(self, name: str) -> FakeNode:
        node = FakeNode(self.store, name, f"{'us' if name == 'n0' else 'eu'}-1", acting=self.acting)
        node._numbers = NUMBERS
        node.work.close_seconds = self.rng.choice((0, 0.5, 1.5))
        self.tasks.start_soon(node.run)
        return node

    def restart(self, index: int) -> None:
        old = self.nodes[index]
        old.kill()
        self.nodes[index] = self.begin(old.name)

    def go_wrong(self) -> None:
        """Do one thing to one node, or to the store."""
        index = self.rng.randrange(3)
        node, store = self.nodes[index], self.store
        way = node.way
        match self.rng.randrange(11):
            case 0:
                self.restart(index)
            case 1:
                way.before = None
            case 2:
                way.after = None
            case 3 | 4:
                way.before, way.after = self.rng.choice((0.0, 0.5, 2.5)), self.rng.choice((0.0, 0.5, 2.5))
            case 5:
                way.lose_lines()
            case 6:
                store.server = str(next(NUMBERS))
                for each in self.nodes:
                    each.way.lose_lines()
            case 7:
                node.holder.leave()
            case 8:
                node.work.hangs = not node.work.hangs
            case 9:
                for row in store.rows.values():
                    row.draining = row.alive and row.name == node.name
            case 10:
                name = self.rng.choice(list(store.accounts))
                store.accounts[name].move_to = "n1"

    def owners(self) -> dict[str, str]:
        """Return who has each account, by the store; nobody is empty."""
        rows = self.store.rows
        return {name: rows[row.owner].name if row.owner else "" for name, row in self.store.accounts.items()}

    def calm_down(self) -> None:
        """Let nothing go wrong any more."""
        for index, node in enumerate(self.nodes):
            self.restart(index)
            node.way.before = node.way.after = 0.0
        for row in self.store.rows.values():
            row.draining = False


@pytest.mark.parametrize("seed", range(25))
async def test_no_two_nodes_act_for_one_account(seed: int) -> None:
    """Whatever happens; and when nothing goes wrong any more, each account has one owner, that acts for it."""
    rng = Random(seed)
    async with anyio.create_task_group() as tasks:
        fleet = Fleet(rng, tasks)
        for _ in range(60):
            await anyio.sleep(rng.choice((0.3, 2, 7)))
            fleet.go_wrong()
        fleet.calm_down()
        for _ in range(120):  # seconds; an account that moves has no owner for a moment
            await anyio.sleep(1)
            if (owners := fleet.owners()) == fleet.acting and all(owners.values()):
                break
        assert owners == fleet.acting
        assert all(owners.values())
        assert all(owners[name] != "n0" for name in owners if name.startswith("eu-*"))
        for node in fleet.nodes:
            node.kill()
