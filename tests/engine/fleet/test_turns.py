"""The arithmetic of turns to connect."""

import pytest

from engine.fleet.turns import Turns


def test_answers_of_many_routes_keep_the_stagger() -> None:
    """Each route that answers lets another account try at once, but no two turns are nearer than the stagger."""
    turns = Turns(at_once=5, stagger=0.1)
    turns.begin_outage(10.0)
    turns.give(10.0)
    turns.begin_outage(10.001)
    assert turns.next_start() == pytest.approx(10.1)
    turns.give(10.1)
    turns.end_outage(10.102)
    assert turns.next_start() == pytest.approx(10.2)
    turns.end_outage(11.0)
    assert turns.next_start() == 11.0
