"""Commands: an engine that runs hears and answers them, and keeps what it has answered."""

from collections.abc import Iterator
from typing import Final

from tests.simulation.evidence import Evidence, Verdict
from tests.simulation.judges.shared import DISK, MOMENT, active, faults_of, sentence

ANSWERED: Final = "commands are answered"
PAUSED: Final = "a pause that was acknowledged stays"
STARTING: Final = 60.0
"""Seconds after which an engine has started."""


def commands_are_answered(evidence: Evidence) -> Iterator[Verdict]:
    """An engine that takes a command answers it in time, and one that runs can be reached, unless its disk fails."""
    for command in evidence.commands:
        end = command.answered if command.answered is not None else evidence.seconds
        if active(faults_of(evidence, DISK), command.at, end):
            continue
        if command.hung:
            what = f"the engine took '{command.what}' and did not answer within {end - command.at:.1f} s"
        elif command.unreached and _ran(evidence, command.at, end):
            what = f"'{command.what}' did not reach an engine that ran: {sentence(command.said)}"
        else:
            continue
        yield Verdict(judge=ANSWERED, what=what, at=end, account=command.account)


def _ran(evidence: Evidence, begin: float, end: float) -> bool:
    """Return whether an engine had started, and neither ended nor was stopped in between."""
    return any(
        life.began + STARTING <= begin
        and all(at is None or at > end + MOMENT for at in (life.ended, life.asked_to_stop))
        for life in evidence.lives
    )


def paused_stays_paused(evidence: Evidence) -> Iterator[Verdict]:
    """An account whose pause was acknowledged connects again only when somebody resumes it, also after a power cut."""
    for number, pause in enumerate(evidence.commands):
        if pause.what != "pause" or not pause.ok or pause.answered is None:
            continue
        later = [each for each in evidence.commands[number:] if each.account == pause.account]
        until = min((each.at for each in later if each.what == "resume"), default=evidence.seconds)
        for each in evidence.connections:
            if each.key and each.account == pause.account and pause.answered + MOMENT < each.began < until - MOMENT:
                passed = each.began - pause.answered
                what = f"it connected {passed:.3f} s after it was paused, and nobody had resumed it"
                yield Verdict(judge=PAUSED, what=what, at=each.began, account=pause.account)
                break
