"""Which account ends the workers that have it."""

import random

import pytest
from attrs import define, field

from engine.workers.suspects import DEATHS, FIRST_HOLD, LEAST_PROOF, NOTHING, WINDOW_SECONDS, SearchStep, Suspects

ACCOUNTS = [f"A{number:03}" for number in range(200)]


@define
class World:
    """Two workers that share accounts, some of which end whichever has them."""

    guilty: frozenset[str]
    seed: int = 0
    now: float = 0.0
    deaths: int = 0
    withheld: dict[str, float] = field(factory=dict)
    found: list[str] = field(factory=list)
    search: Suspects = field(factory=Suspects)

    def do(self, step: SearchStep) -> None:
        """Carry a step out."""
        for name in step.release:
            self.withheld.pop(name, None)
        self.withheld.update(dict.fromkeys(step.withhold, self.now + step.seconds))
        if step.guilty is not None:
            self.found.append(step.guilty)
            self.withheld[step.guilty] = self.now + step.hold

    def run(self, seconds: float) -> None:
        """Let a time pass: each few seconds the accounts are dealt anew, and who has a guilty one dies."""
        dice, until = random.Random(self.seed), self.now + seconds
        while self.now < until:
            self.now += 4.0
            self.withheld = {name: at for name, at in self.withheld.items() if at > self.now}
            free = [name for name in ACCOUNTS if name not in self.withheld]
            if dice.random() < 0.5:  # one of the workers is just being started: the other has all
                shares = [free]
            else:
                dice.shuffle(free)
                shares = [free[::2], free[1::2]]
            for share in shares:
                if self.guilty & set(share):
                    self.deaths += 1
                    self.do(self.search.died(self.now, 3.0, share))
                    break
            else:
                self.do(self.search.look(self.now, free))


@pytest.mark.parametrize("seed", range(10))
def test_the_account_that_ends_its_workers_is_found(seed: int) -> None:
    """In not many more deaths than halving takes; then it alone is withheld, and no worker dies."""
    world = World(frozenset({ACCOUNTS[seed * 19]}), seed)
    world.run(LEAST_PROOF * 30)
    assert world.found == sorted(world.guilty)
    assert set(world.withheld) == world.guilty
    assert world.deaths <= DEATHS + 9
    deaths = world.deaths
    world.run(FIRST_HOLD / 10)
    assert world.deaths == deaths


def test_an_account_that_goes_on_ending_workers_is_withheld_for_longer() -> None:
    """It comes back after a time, for what ended them may be mended; each time it is found again that is longer."""
    world = World(frozenset({"A077"}))
    world.run(FIRST_HOLD * (1 + 2 + 3))
    assert world.found == ["A077"] * 3
    assert world.withheld["A077"] - world.now > FIRST_HOLD


@pytest.mark.parametrize("seed", range(5))
def test_several_accounts_that_end_workers_are_found_and_no_others(seed: int) -> None:
    """However many: all others of its worker were cleared when an account is found to be guilty."""
    world = World(frozenset(random.Random(seed).sample(ACCOUNTS, 3)), seed)
    world.run(FIRST_HOLD)
    assert set(world.found) == world.guilty
    assert set(world.withheld) <= world.guilty


def test_one_death_or_two_withhold_nothing() -> None:
    """Nor do more, if they are far apart, or the workers had no account in common."""
    search = Suspects()
    assert search.died(0.0, 1.0, ["A", "B"]) == NOTHING
    assert search.died(1.0, 1.0, ["A", "B"]) == NOTHING
    assert search.died(2.0, 1.0, ["C"]) == NOTHING
    assert search.died(3.0, 1.0, []) == NOTHING
    search = Suspects()
    assert {search.died(at * WINDOW_SECONDS * 0.6, 1.0, ["A", "B"]) for at in range(9)} == {NOTHING}


def test_workers_that_die_of_something_else_bring_all_accounts_back() -> None:
    """Where a worker dies whose accounts are all cleared, the search is over."""
    search = Suspects()
    for at in range(DEATHS):
        step = search.died(float(at), 1.0, ["A", "B"])
    assert step.withhold == {"B"}
    search.look(9.0, ["A", "C", "D"])
    assert search.look(9.0 + LEAST_PROOF, ["A", "C", "D"]).release == {"B"}
    assert search.died(30.0, 1.0, ["C", "D"]) == NOTHING
    assert not search.searching


def test_nobody_is_cleared_by_a_time_in_which_no_worker_had_it() -> None:
    """Workers may take long to start: the trial begins when they have all of its accounts."""
    search = Suspects()
    for at in range(DEATHS):
        search.died(float(at), 1.0, ["A", "B"])
    assert search.look(100.0, []).withhold == {"B"}
    assert search.look(101.0, ["A"]) == NOTHING
    assert search.look(101.0 + LEAST_PROOF, ["A"]).release == {"B"}
    assert search.trial == {"B"}
