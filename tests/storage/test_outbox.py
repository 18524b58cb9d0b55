"""Alerts in each store: stored with their incident, read at a start, whatever else has written there."""

import pytest
from attrs import evolve

from adapters.stores.alerts import KEPT
from states.alerts import About, ChannelAlert, MessageKind
from tests.storage.incident_stores import IncidentsUnderTest

NOW = 1_700_000_000.0
ABOUT = About(id=7, kind="outage", since=NOW - 60, opened=NOW, accounts=("Ä",), accounts_total=1, detail="off")
ALERT = ChannelAlert(channel="json-1", about=ABOUT, message=MessageKind.OPENED, due=NOW)


async def test_an_alert_is_read_as_it_was_stored(kept: IncidentsUnderTest) -> None:
    """Each of its values, in a process of its own or in the same."""
    alert = evolve(ALERT, told=NOW - 5, messages=3, tries=2, message=MessageKind.REPEATED)
    async with kept.engine() as engine:
        await engine.outbox.save([alert], NOW)
        assert (await engine.outbox.load(NOW - 10)).alerts == (alert,)
    async with kept.engine() as engine:
        stored = await engine.outbox.load(NOW - 10)
        assert (stored.alerts, stored.recent, stored.unreadable) == ((alert,), {"json-1": (NOW - 5,)}, 0)
        assert (await engine.outbox.load(NOW)).recent == {}


async def test_the_last_state_of_an_alert_is_kept(kept: IncidentsUnderTest) -> None:
    """Also where two states of one alert are in one transaction; one that is over is not read again."""
    async with kept.engine() as engine:
        await engine.outbox.save([ALERT, evolve(ALERT, tries=1)], NOW)
        assert (await engine.outbox.load(NOW)).alerts == (evolve(ALERT, tries=1),)
        await engine.outbox.save([evolve(ALERT, message=None, due=None, about=evolve(ABOUT, closed=NOW))], NOW)
        assert (await engine.outbox.load(NOW)).alerts == ()
        await engine.outbox.save([evolve(ALERT, channel="b", dropped=True)], NOW)
        assert (await engine.outbox.load(NOW)).alerts == ()


async def test_messages_of_one_digest_count_once(kept: IncidentsUnderTest) -> None:
    """They have the same time, and were one message."""
    async with kept.engine() as engine:
        await engine.outbox.save([evolve(ALERT, about=evolve(ABOUT, id=number), told=NOW) for number in range(5)], NOW)
        assert (await engine.outbox.load(NOW - 1)).recent == {"json-1": (NOW,)}


async def test_alerts_that_have_long_been_over_are_deleted(kept: IncidentsUnderTest) -> None:
    """What is open stays, however old it is."""
    over = evolve(ALERT, message=None, due=None, about=evolve(ABOUT, id=8, closed=NOW))
    async with kept.engine() as engine:
        await engine.outbox.save([ALERT, over], NOW)
        await engine.outbox.prune(NOW + KEPT)
        await engine.outbox.flush()
        assert kept.rows("SELECT count(*) FROM alerts") == [(2,)]
        await engine.outbox.prune(NOW + KEPT + 1)
        await engine.outbox.flush()
        assert kept.rows("SELECT incident FROM alerts") == [(7,)]


@pytest.mark.parametrize("cell", ["message = 'x'", "due = 1e300", "due = NULL", "told = -1e300", "about = '{}'"])
async def test_a_spoilt_row_is_counted_and_harms_no_other(kept: IncidentsUnderTest, cell: str) -> None:
    """Something else may have written anything into any column."""
    async with kept.engine() as engine:
        await engine.outbox.save([ALERT, evolve(ALERT, channel="other")], NOW)
        await engine.outbox.flush()
        kept.execute(f"UPDATE alerts SET {cell} WHERE channel = 'json-1'")
        stored = await engine.outbox.load(0)
        assert (stored.alerts, stored.unreadable) == ((evolve(ALERT, channel="other"),), 1)
