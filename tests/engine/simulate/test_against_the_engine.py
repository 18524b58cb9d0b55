"""The model says what the real engine does, with 50 real clients over TCP at the sandbox."""

from collections import defaultdict
from pathlib import Path

import pytest

from engine.config import load
from states.schedules import Backoff
from tests.engine.simulate.against import ACCOUNTS, STAGES, Seen, run_model, run_really

MORE_ATTEMPTS = 12
"""Connections by which both may differ in a stage: when a canary goes beside the end of a fault is chance."""
SAME_WAYS = ("reset of all", "−429 for 2 s", "a login revoked")
"""Stages in which no account's way depends on which of them is the canary."""


def ways(seen: Seen) -> dict[str, list[tuple[str, str, str]]]:
    """Return the changes of state of each account, in order."""
    found = defaultdict(list)
    for account, each in seen.records:
        if each.source is not each.target:
            found[account].append((each.source.value, each.event, each.target.value))
    return dict(found)


@pytest.mark.slow
async def test_the_model_does_what_the_engine_does(tmp_path: Path) -> None:
    """The same changes of state for the same causes, as many attempts, and waits of the same schedules."""
    real = await run_really(tmp_path)
    config = load(tmp_path / "config.yaml")
    model = run_model(tmp_path, config)
    schedules: dict[str, Backoff] = {
        "NetworkLost": config.states.backoff.network,
        "TimedOut": config.states.backoff.network,
        "TransportFlood": config.states.backoff.transport_flood,
    }
    for (stage, _), theirs, ours in zip(STAGES, real, model, strict=True):
        assert theirs.moves == ours.moves, stage
        assert (theirs.lost, theirs.back) == (ours.lost, ours.back), stage
        assert abs(theirs.attempts - ours.attempts) <= MORE_ATTEMPTS, stage
        assert theirs.waits.keys() == ours.waits.keys(), stage
        for seen in (theirs, ours):
            for event, (shortest, longest) in seen.waits.items():
                schedule = schedules[event]
                assert schedule.first * (1 - schedule.jitter) <= shortest <= longest <= schedule.cap, stage
        if stage in SAME_WAYS:
            assert ways(theirs) == ways(ours), stage
    assert real[0].lost == ACCOUNTS
