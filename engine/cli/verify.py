"""``verify``."""

import json
import time

from rich.console import Console

from engine.cli.common import EXIT_FAILED, AsJson
from engine.verify import ALWAYS, POLICIES
from engine.verify import verify as explore
from states import EVENTS, ROWS, State


def verify(*, as_json: AsJson = False) -> None:
    """Check the machine exhaustively, and print what the check covered.

    Exit code 0 if every property holds, 1 if one does not; the shortest path to the violation is then printed.
    """
    began = time.perf_counter()
    report = explore()
    took = time.perf_counter() - began
    covered = {
        "states": len(report.states),
        "events": len({event for _, event in report.pairs}),
        "pairs": len(report.pairs),
        "rules": len(report.rules),
        "configurations": report.configurations,
        "decisions": report.decisions,
        "policies": len(POLICIES),
        "findings": [str(finding) for finding in report.findings],
    }
    if as_json:
        print(json.dumps(covered, ensure_ascii=False, indent=2))
    else:
        console = Console(highlight=False)
        for finding in report.findings:
            console.print(f"❌ {finding}", markup=False, soft_wrap=True)
        console.print(
            f"{covered['states']} of {len(State)} states, {covered['events']} of {len(EVENTS)} events, "
            f"{covered['pairs']} of {len(State) * len(EVENTS)} pairs, {covered['rules']} of {len(ROWS)} rules; "
            f"{report.configurations} configurations and {report.decisions} decisions under {len(POLICIES)} policies, "
            f"in {took:.1f} s",
            markup=False,
            soft_wrap=True,
        )
        if not report.findings:
            console.print(
                f"✅ always: {len(ALWAYS)} properties hold of every decision; sometimes: every rule is taken and every "
                "state entered; eventually: every configuration comes to rest",
                markup=False,
                soft_wrap=True,
            )
    if report.findings:
        raise SystemExit(EXIT_FAILED)
