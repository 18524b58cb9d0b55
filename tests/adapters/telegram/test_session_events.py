"""What a session's file says, as the account hears of it."""

import threading

import anyio
import pytest

from adapters.telegram.session_events import SessionEvents
from states.events import DatabaseCorrupt, DatabaseLocked, DatabaseRecovered, DatabaseUnavailable, Event, Failure


async def heard(link: int | None, event: Failure | DatabaseRecovered) -> list[Event]:
    """Put an event from another thread while this link is proven; return what is heard on the loop."""
    session_events, found = SessionEvents(), list[Event]()
    session_events.listen(found.append)
    session_events.link = link
    thread = threading.Thread(target=session_events.put, args=(event,))
    thread.start()
    thread.join()
    await anyio.sleep(0.01)
    return found


@pytest.mark.parametrize("kind", [DatabaseLocked, DatabaseUnavailable])
async def test_a_file_that_waits_belongs_to_the_proven_link(kind: type[DatabaseLocked | DatabaseUnavailable]) -> None:
    """It is told with the link's number; to an attempt, which it must not fail, it is not told at all."""
    assert await heard(7, kind(detail="locked", waited=2.0)) == [kind(detail="locked", waited=2.0, link=7)]
    assert await heard(None, kind(detail="locked", waited=2.0)) == []


@pytest.mark.parametrize("link", [None, 7])
async def test_damage_and_recovery_are_told_whatever_the_link(link: int | None) -> None:
    """A damaged file ends an attempt as well as a wait, and a recovery must never be lost."""
    for event in (DatabaseCorrupt(detail="damaged"), DatabaseRecovered(waited=1.0)):
        assert await heard(link, event) == [event]
