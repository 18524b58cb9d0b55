"""The judges: each is a function of the evidence, and knows nothing of the implementation."""

from collections.abc import Iterator
from typing import Final

from tests.simulation.evidence import Evidence, Verdict
from tests.simulation.judges.attempts import done_once
from tests.simulation.judges.commands import commands_are_answered, paused_stays_paused
from tests.simulation.judges.durability import acknowledged_is_kept
from tests.simulation.judges.incidents import incidents_are_told_once, incidents_are_true
from tests.simulation.judges.keys import dead_keys_are_silent, one_link_for_each_key
from tests.simulation.judges.pace import backoff_is_a_floor, fleet_keeps_its_rate, floods_are_floors, no_storm
from tests.simulation.judges.records import journal_replays, log_is_clean
from tests.simulation.judges.resources import nothing_is_left
from tests.simulation.judges.rest import (
    accounts_come_to_rest,
    engines_end_when_told,
    nothing_stands_still,
    stops_end_in_time,
)
from tests.simulation.judges.shared import Judge, healing_bound
from tests.simulation.judges.updates import followed_once, heard_once, ledger_is_true, noticed_in_time
from tests.simulation.judges.work import jobs_end, sent_once

JUDGES: Final[tuple[Judge, ...]] = (
    nothing_stands_still,
    engines_end_when_told,
    stops_end_in_time,
    one_link_for_each_key,
    dead_keys_are_silent,
    acknowledged_is_kept,
    sent_once,
    jobs_end,
    done_once,
    commands_are_answered,
    paused_stays_paused,
    heard_once,
    ledger_is_true,
    noticed_in_time,
    followed_once,
    fleet_keeps_its_rate,
    backoff_is_a_floor,
    no_storm,
    floods_are_floors,
    accounts_come_to_rest,
    nothing_is_left,
    incidents_are_told_once,
    incidents_are_true,
    journal_replays,
    log_is_clean,
)
"""All of them, in the order in which their verdicts are told."""
MAX_VERDICTS: Final = 5
"""Verdicts of one judge that are told."""

__all__ = ["JUDGES", "Judge", "healing_bound", "judge"]


def judge(evidence: Evidence) -> Iterator[Verdict]:
    """Yield what all judges condemn, the first few things of each."""
    for each in JUDGES:
        for number, verdict in enumerate(each(evidence)):
            if number == MAX_VERDICTS:
                break
            yield verdict
