"""A fleet to be shown, and what a scrape says of it."""

from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families as parse

from engine.console.account_status import AccountStatus
from engine.web.exposition import EnginePicture, Exposition, count_accounts
from engine.web.metrics import FleetMetrics
from states import Cause, Hold, Snapshot, State
from states.events import FloodWait, NetworkLost, ProbeAnswered, TimedOut
from states.snapshot import Trouble
from tests.states.harness import AccountDriver

NOW = 1_000_000.0
OPEN = "application/openmetrics-text; version=1.0.0"


def picture(statuses: Mapping[str, AccountStatus | Snapshot] | None = None, **more: Any) -> EnginePicture:
    """Return a picture of a fleet."""
    every = more.pop("every", False)
    return EnginePicture(
        **count_accounts(statuses or {}, NOW, every=every),
        **{
            "turns_waiting": 2,
            "probes": 7,
            "outage": False,
            "incidents": {("needs_person", "critical"): 2, ("outage", "warning"): 1},
            "jobs": {},
            "queue_age": None,
            "rows_waiting": 3,
            "journal_lag": 0.5,
            "journal_trouble": False,
            "storage_failures": 1,
            "usernames": {"memory": 3, "lookup": 1},
            "signs_overdue": 0,
            "live": True,
            "ready": True,
            "ready_when": 0.9,
            "version": "1.2.3",
            **more,
        },
    )


async def text(metrics: FleetMetrics | None = None, at: EnginePicture | None = None, accept: str = "") -> str:
    """Return the text of a scrape."""

    async def take() -> EnginePicture:
        return at or picture()

    written, _ = await Exposition((metrics or FleetMetrics()).registry, take).text(accept)
    return written.decode()


def samples(written: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return each series with its value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(written)
        for sample in family.samples
    }


def value(written: str, name: str, **labels: str) -> float | None:
    """Return the value of a series, None if it is not there."""
    return samples(written).get((name, tuple(sorted(labels.items()))))


def lived() -> FleetMetrics:
    """Return the metrics of an account that connects, is lost twice and comes back, and hears of a flood wait."""
    metrics, driver = FleetMetrics(), AccountDriver()

    def see(step: Any) -> None:
        metrics.observe("A", step)

    take = driver.take
    driver.take = lambda event: (take(event), see(driver.last))[0]  # type: ignore[method-assign]
    driver.connect().settle()
    driver.take(ProbeAnswered())
    driver.take(FloodWait(seconds=30.0, request="SendMessage in -100123"))
    driver.take(NetworkLost(detail="reset"))
    driver.fail(TimedOut(detail="no answer"))
    driver.connect()
    return metrics


def fleet() -> dict[str, AccountStatus | Snapshot]:
    """Return one account of each sort."""
    lost = Cause(event="NetworkLost", detail="reset")
    return {
        "Fine": Snapshot(
            state=State.HEALTHY, since=10.0, life=1, cause=lost, holds=(Hold(request="X", until=NOW - 1),)
        ),
        "Held": Snapshot(
            state=State.HEALTHY,
            life=1,
            holds=(Hold(request="SendMessage in -5", until=NOW + 9), Hold(request="SendMessage in -6", until=NOW + 9)),
            database=Trouble(event="DatabaseLocked", since=5.0),
        ),
        'Away "1"\\': Snapshot(state=State.BACKOFF, since=20.0, life=1, cause=lost, deadline=NOW),
        "Dead": Snapshot(state=State.AUTH_FAILED, since=30.0, life=1, cause=Cause(event="AuthRejected")),
        "Resting": Snapshot(state=State.SHUTTING_DOWN, since=40.0, life=1, paused=True),
        "Before": AccountStatus(None, present=False),
    }
