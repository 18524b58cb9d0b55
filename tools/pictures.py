"""Draws the screen for the documents, with the code that draws it on a terminal and example data.

``python -m tools.pictures`` writes ``docs/images/live-table.svg``, and ``explorer.png`` if that is stale; ``--check``
fails if one of them is stale.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from logging import INFO, WARNING
from pathlib import Path
from typing import Final

from rich.console import Group

from engine.console.ranking import Ranking
from engine.console.status import EngineInfo
from engine.console.svg import COLUMNS, svg
from engine.screen.layout import Scene, draw
from engine.screen.model import Model
from engine.screen.text import to_rich
from states import Snapshot, State
from states.incident import Incident, IncidentKind, Severity
from states.jobs import Job, JobState, JobSummary
from states.snapshot import Cause
from tools import page_picture

PICTURE: Final = Path(__file__).resolve().parents[1] / "docs" / "images" / "live-table.svg"
NOW: Final = 1795953863.0  # 2026-11-29 12:04:23 UTC

ACCOUNTS: Final = {
    "News bot": Snapshot(
        state=State.AUTH_FAILED,
        since=NOW - 191,
        failures=1,
        reconnects=1,
        last_success=NOW - 192,
        cause=Cause(event="SessionDuplicated", detail="AUTH_KEY_DUPLICATED"),
    ),
    "Account 1": Snapshot(
        state=State.BACKOFF,
        since=NOW - 6,
        deadline=NOW + 14,
        attempt=2,
        failures=2,
        reconnects=3,
        last_success=NOW - 31,
        cause=Cause(event="NetworkLost", detail="connection refused"),
    ),
    "Account 2": Snapshot(
        state=State.TIMEOUT, since=NOW - 3, deadline=NOW + 17, reconnects=1, last_success=NOW - 25, link=2
    ),
    "Account 3": Snapshot(state=State.HEALTHY, since=NOW - 259, stable=True, last_success=NOW - 1, link=1),
    "Account 4": Snapshot(state=State.HEALTHY, since=NOW - 62, stable=True, reconnects=1, last_success=NOW - 1, link=2),
}

JOBS: Final = JobSummary(
    counts={"queued": 12, "running": 2, "done": 340},
    running=(
        Job(
            id=351,
            kind="collect",
            worker="Account 3",
            state=JobState.RUNNING,
            done=1840,
            total=3000,
            since=NOW - 13,
            since_done=20,
            seen=NOW,
        ),
        Job(id=354, kind="send", worker="Account 4", state=JobState.RUNNING, since=NOW - 1),
    ),
)

INCIDENTS: Final = (
    Incident(
        id=7,
        kind=IncidentKind.NEEDS_PERSON,
        cause="stop_other_copy",
        accounts=("News bot",),
        severity=Severity.CRITICAL,
        since=NOW - 191,
        opened=NOW - 191,
        detail="AUTH_KEY_DUPLICATED",
    ),
)
TROUBLES: Final = {"News bot": NOW - 191, "Account 1": NOW - 47, "Account 2": NOW - 3}
"""Since when accounts are in trouble."""
HEIGHT: Final = 28

LINES: Final = (
    (WARNING, "2026-11-29 12:04:07 - WARNING - 🔌 Network error for Account 1: connection reset"),
    (INFO, "2026-11-29 12:04:07 - INFO - 🔄 Attempting to reconnect Account 1..."),
    (WARNING, "2026-11-29 12:04:07 - WARNING - 🔌 Network error for Account 1: connection refused"),
    (INFO, "2026-11-29 12:04:07 - INFO - ⏱️ Retrying Account 1 in 9.4 s"),
    (WARNING, "2026-11-29 12:04:17 - WARNING - 🔌 Network error for Account 1: connection refused"),
    (INFO, "2026-11-29 12:04:17 - INFO - ⏱️ Retrying Account 1 in 20 s after 2 failures in a row"),
    (WARNING, "2026-11-29 12:04:20 - WARNING - ⏱️ Timeout for Account 2: no answer within 10 s"),
    (INFO, "2026-11-29 12:04:20 - INFO - 🔍 Asking Account 2 again, for 20 s this time"),
)


def drawn() -> str:
    """Return the picture as it would be drawn now, wherever this machine is."""
    with in_utc():
        ranking = Ranking.of(ACCOUNTS)
        shown = Scene(
            info=EngineInfo(running=True, pid=4711, since=NOW - 263),
            ranking=ranking,
            names=[name for name, _ in ranking.ordered()],
            trouble_since=lambda name, _: TROUBLES.get(name),
            jobs=JOBS,
            incidents=INCIDENTS,
            log=LINES,
            now=NOW,
            width=COLUMNS,
            height=HEIGHT,
            longest=max(map(len, ACCOUNTS)),
        )
        lines = draw(Model(), shown).lines
        return svg(Group(*map(to_rich, lines)), "python -m engine run config.yaml")


@contextmanager
def in_utc() -> Iterator[None]:
    """Let local time be UTC for the block."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


def main() -> None:
    """Draw the pictures, or check them."""
    parser = argparse.ArgumentParser(prog="python -m tools.pictures", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if a picture is stale")
    check = parser.parse_args().check
    for name, current in ((PICTURE.name, drawn() == PICTURE.read_text("utf-8")), _page_picture()):
        if check and not current:
            sys.exit(f"{name} is stale; run: python -m tools.pictures")
    if not check:
        PICTURE.write_text(drawn(), "utf-8")
        if not _page_picture()[1]:
            page_picture.take()


def _page_picture() -> tuple[str, bool]:
    picture = page_picture.PICTURE
    return picture.name, picture.exists() and page_picture.is_current()


if __name__ == "__main__":
    main()
