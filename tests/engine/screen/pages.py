"""Fleets and what the screen shows of them, as text."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from engine.console.account_status import AccountStatus
from engine.console.cells import width_of
from engine.console.ranking import Ranking
from engine.console.safe_text import one_line
from engine.console.status import EngineInfo
from engine.screen.layout import Scene, ScreenPicture, draw
from engine.screen.model import Model, shown
from engine.screen.text import plain
from states import Cause, Hold, Snapshot, State

NOW = 1_795_953_863.0  # 2026-11-29 12:04:23 UTC
INFO = EngineInfo(running=True, pid=4711, since=NOW - 263)


def lost(since: float, **more: Any) -> Snapshot:
    """Return an account that waits for its next attempt."""
    cause = Cause(event="NetworkLost", detail="connection refused")
    return Snapshot(
        state=State.BACKOFF, since=NOW - since, deadline=NOW + 14, attempt=2, failures=2, cause=cause, **more
    )


FLEET: dict[str, AccountStatus] = {
    name: AccountStatus(at)
    for name, at in {
        "News bot": Snapshot(
            state=State.AUTH_FAILED,
            since=NOW - 191,
            failures=1,
            reconnects=1,
            last_success=NOW - 192,
            cause=Cause(event="SessionDuplicated", detail="AUTH_KEY_DUPLICATED"),
        ),
        "Account 1": lost(6, reconnects=3, last_success=NOW - 31),
        "Account 2": Snapshot(state=State.TIMEOUT, since=NOW - 3, deadline=NOW + 17, last_success=NOW - 25, link=2),
        "Account 3": Snapshot(state=State.HEALTHY, since=NOW - 259, stable=True, last_success=NOW - 1, link=1),
        "Account 4": Snapshot(
            state=State.HEALTHY,
            since=NOW - 62,
            link=2,
            reconnects=1,
            last_success=NOW - 1,
            holds=(Hold(request="send_message", until=NOW + 90),),
        ),
    }.items()
}
TROUBLES = {"News bot": NOW - 191, "Account 1": NOW - 3 * 86_400, "Account 2": NOW - 3}


def picture(
    model: Model | None = None,
    *,
    width: int = 80,
    height: int = 24,
    fleet: Mapping[str, AccountStatus] = FLEET,
    **more: Any,
) -> ScreenPicture:
    """Return the picture of a fleet."""
    model, ranking = model or Model(), Ranking.of(fleet)
    letters = more.get("letters", str)
    given: dict[str, Any] = {"info": INFO, "trouble_since": lambda name, _: TROUBLES.get(name), "now": NOW, **more}
    longest = max((width_of(letters(one_line(name))) for name in fleet), default=0)
    names = shown(ranking.ordered(), model)
    with in_utc():
        return draw(model, Scene(ranking=ranking, names=names, width=width, height=height, longest=longest, **given))


def text(*args: Any, **options: Any) -> str:
    """Return the picture as text, without spaces at the ends of lines."""
    return "\n".join(plain(line).rstrip() for line in picture(*args, **options).lines)


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
