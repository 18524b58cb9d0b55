"""What is counted of decisions, and the text that Prometheus reads."""

import re
import time

import pytest
from attrs import evolve
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse

from engine.node.counts import NodeCounts
from engine.web.exposition import MAX_SERIES, EnginePicture, Exposition, NodePicture
from engine.web.metrics import MAX_KINDS, OTHER, FleetMetrics, bounded
from states import Cause, Snapshot, State
from states.events import AuthRejected, CaughtUp, FloodWait, NetworkLost
from tests.engine.web.support import OPEN, fleet, lived, picture, samples, text, value
from tests.states.harness import AccountDriver


async def test_decisions_become_transitions_attempts_and_times() -> None:
    """As the journal has them."""
    written = await text(lived())
    assert (
        value(written, "holdfast_transitions_total", source="healthy", event="NetworkLost", target="reconnecting") == 1
    )
    assert value(written, "holdfast_transitions_total", source="reconnecting", event="TimedOut", target="backoff") == 1
    assert value(written, "holdfast_connection_attempts_total") == 3
    assert value(written, "holdfast_state_duration_seconds_count", state="healthy") == 1
    assert value(written, "holdfast_state_duration_seconds_count", state="timeout") == 0
    assert value(written, "holdfast_reconnect_duration_seconds_count") == 1
    assert value(written, "holdfast_reconnect_duration_seconds_sum") == 5  # the driver's seconds
    assert value(written, "holdfast_flood_wait_seconds_total", request="SendMessage") == 30


async def test_a_node_has_series_of_itself_alone() -> None:
    """However many others and accounts there are; an engine that shares nothing has none."""
    counts = NodeCounts(beats=40, lives=2, lost=1, claimed=9, given_up=3, dropped=2)
    node = NodePicture(name="eu-1", host="de", accounts=4, others=399, beat_age=1.5, lease=15.0, counts=counts)
    written = await text(at=picture(node=node))
    assert value(written, "holdfast_node_info", node="eu-1", host="de") == 1
    for name, expected in (
        ("accounts", 4), ("others", 399), ("holds_lease", 1), ("beat_age_seconds", 1.5), ("lease_seconds", 15),
        ("beats_total", 40), ("lives_total", 2), ("leases_lost_total", 1),
    ):  # fmt: skip
        assert value(written, f"holdfast_node_{name}") == expected
    for how, expected in (("claimed", 9), ("given_up", 3), ("dropped", 2)):
        assert value(written, "holdfast_node_account_moves_total", how=how) == expected
    assert len([name for name, _ in samples(written) if name.startswith("holdfast_node_")]) == 12
    silent = await text(at=picture(node=evolve(node, beat_age=None)))
    assert value(silent, "holdfast_node_holds_lease") == 0
    assert "holdfast_node_beat_age_seconds" not in silent
    assert "holdfast_node" not in await text()


async def test_what_was_missed_is_counted() -> None:
    """Updates that were fetched are not gaps; those that cannot be had are."""
    metrics, driver = FleetMetrics(), AccountDriver()
    driver.connect().settle()
    for event in (
        CaughtUp(recovered=3),
        CaughtUp(recovered=2, too_long=True),
        CaughtUp(missing=("updates of chat 7",)),
    ):
        metrics.observe("A", driver.take(event))
    written = await text(metrics)
    assert value(written, "holdfast_updates_recovered_total") == 5
    assert value(written, "holdfast_update_gaps_total", reason="too_long") == 1
    assert value(written, "holdfast_update_gaps_total", reason="refused") == 1


async def test_an_account_that_a_person_must_help_is_not_reconnecting() -> None:
    """The time until somebody logs in is nobody's reconnect."""
    metrics, driver = FleetMetrics(), AccountDriver()
    driver.connect().settle()
    for event in (NetworkLost(), AuthRejected()):
        metrics.observe("A", driver.take(event) if isinstance(event, NetworkLost) else driver.fail(event))
    assert driver.snapshot.state is State.AUTH_FAILED
    assert metrics._lost_at == {}


async def test_requests_batches_and_beats_are_counted() -> None:
    """A request without an answer has no duration."""
    metrics = FleetMetrics()
    metrics.request_done("messages", "answered", 0.2)
    metrics.request_done("messages", "lost", None)
    metrics.batch_stored(12, 0.003)
    metrics.loop_beat(0.02)
    metrics.alert_message(True)
    metrics.message_begins(7.0)
    written = await text(metrics)
    assert value(written, "holdfast_alert_messages_total", outcome="sent") == 1
    assert value(written, "holdfast_alert_messages_total", outcome="failed") == 0  # there from the start, for a rate
    assert value(written, "holdfast_requests_total", method="messages", outcome="lost") == 1
    assert value(written, "holdfast_request_duration_seconds_count", method="messages") == 1
    assert value(written, "holdfast_journal_batch_rows_sum") == 12
    assert value(written, "holdfast_journal_commit_seconds_count") == 1
    assert value(written, "holdfast_loop_lag_seconds_bucket", le="0.025") == 1
    assert value(written, "holdfast_update_lag_seconds_bucket", le="10.0") == 1


async def test_accounts_are_counted_by_state_and_cause() -> None:
    """A healthy account has no cause, whatever it was before."""
    written = await text(at=picture(fleet()))
    found = {labels: count for (name, labels), count in samples(written).items() if name == "holdfast_accounts"}
    assert {tuple(value for _, value in labels): count for labels, count in found.items()} == {
        ("", "healthy"): 2,
        ("NetworkLost", "backoff"): 1,
        ("AuthRejected", "auth_failed"): 1,
        ("", "paused"): 1,
        ("", "unknown"): 1,
    }
    assert value(written, "holdfast_requests_held", request="SendMessage") == 2
    assert value(written, "holdfast_requests_held", request="X") is None
    assert value(written, "holdfast_storage_trouble", file="sessions") == 1


async def test_usernames_are_counted_by_how_they_were_answered() -> None:
    """One that grows by look-ups alone will use its accounts' budgets up."""
    found = await text()
    assert 'holdfast_usernames_total{how="memory"} 3.0' in found
    assert 'holdfast_usernames_total{how="lookup"} 1.0' in found


async def test_open_incidents_are_counted_by_kind_and_severity() -> None:
    """Those that are over have no series any more."""
    written = await text(at=picture(incidents={("outage", "critical"): 3, ("flapping", "warning"): 1}))
    assert value(written, "holdfast_incidents", kind="outage", severity="critical") == 3
    assert value(written, "holdfast_incidents", kind="flapping", severity="warning") == 1
    assert "holdfast_incidents{" not in await text(at=picture(incidents={}))


async def test_accounts_that_are_well_or_paused_have_no_series_of_their_own() -> None:
    """Unless all are wanted; a name may have any letters."""
    name = "holdfast_account_state_since_timestamp_seconds"
    written = await text(at=picture(fleet()))
    own = {dict(labels)["account"]: count for (each, labels), count in samples(written).items() if each == name}
    assert own == {'Away "1"\\': 20.0, "Dead": 30.0, "Before": 0.0}
    written = await text(at=picture(fleet(), every=True))
    assert len([each for each, _ in samples(written) if each == name]) == len(fleet())


async def test_ten_thousand_accounts_in_trouble_have_a_bounded_number_of_series() -> None:
    """The worst of them are named, and how many are not."""
    statuses = {
        f"Account {number}": Snapshot(
            state=State.AUTH_FAILED if number % 100 == 0 else State.BACKOFF,
            life=1,
            since=1.0,
            cause=Cause(event="NetworkLost"),
            deadline=1_000_000.0,
        )
        for number in range(10_000)
    }
    began = time.process_time()
    at = picture(statuses)
    assert time.process_time() - began < 5.0  # a bound against a mistake in its order
    written = await text(at=at)
    found = samples(written)
    assert len([name for name, _ in found if name == "holdfast_account_state_since_timestamp_seconds"]) == MAX_SERIES
    assert value(written, "holdfast_account_series_omitted") == 10_000 - MAX_SERIES
    assert written.count('state="auth_failed"') >= 100
    assert len(found) < MAX_SERIES + 600


async def test_kinds_that_others_choose_are_bounded() -> None:
    """Kinds of jobs are the user's words, and those of requests the server's."""
    metrics, known = FleetMetrics(), set[str]()
    assert [bounded(f"kind {number}", known) for number in range(MAX_KINDS + 5)][-5:] == [OTHER] * 5
    driver = AccountDriver()
    driver.connect()
    for number in range(MAX_KINDS + 50):
        metrics.observe("A", driver.take(FloodWait(seconds=1.0, request=f"Kind{number}")))
    jobs = {f"kind {number}": {"queued": 1000 - number} for number in range(MAX_KINDS + 50)}
    written = await text(metrics, picture(jobs=jobs))
    floods = [name for name, _ in samples(written) if name == "holdfast_flood_wait_seconds_total"]
    assert len(floods) == MAX_KINDS + 1
    assert len([name for name, _ in samples(written) if name == "holdfast_jobs"]) == MAX_KINDS + 1
    assert value(written, "holdfast_jobs", kind="kind 0", state="queued") == 1000
    assert value(written, "holdfast_jobs", kind=OTHER, state="queued") == sum(1000 - n for n in range(100, 150))


async def test_names_and_units_are_as_prometheus_wants_them() -> None:
    """Counters end in ``_total``, units are base units, and nothing has a colon or a time of creation."""
    written = await text(lived(), picture(fleet(), queue_age=4.0, jobs={"send": {"queued": 1}}))
    families = [family for family in parse(written) if family.name.startswith("holdfast_")]
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert re.fullmatch(r"holdfast_[a-z]+(_[a-z]+)*", family.name)
        assert family.documentation
        assert not family.name.endswith(("_created", "_count", "_sum", "_ms", "_milliseconds", "_kb"))
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        else:
            assert not family.name.endswith("_total")
    assert "_created" not in written
    assert {"process_resident_memory_bytes", "process_start_time_seconds"} <= {name for name, _ in samples(written)}
    assert (value(written, "holdfast_memory_per_account_bytes") or 0) > 1000


async def test_the_text_is_openmetrics_for_those_who_ask() -> None:
    """It has the same series."""
    written = await text(lived(), picture(fleet()), accept=OPEN)
    assert written.endswith("# EOF\n")
    assert any(family.name == "holdfast_transitions" for family in parse_open(written))


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain; version=x", f"{OPEN}x; escaping=\u00e9", "," * 5000])
async def test_whatever_is_accepted_there_is_an_answer(accept: str) -> None:
    """The header is a stranger's."""
    assert "holdfast_live 1.0" in await text(accept=accept)


async def test_a_text_is_kept_for_a_moment_however_many_ask() -> None:
    """A crowd of scrapers costs as much as one."""
    taken = 0

    async def take() -> EnginePicture:
        nonlocal taken
        taken += 1
        return picture()

    exposition = Exposition(FleetMetrics().registry, take)
    for accept in ("", OPEN) * 20:
        await exposition.text(accept)
    assert taken <= 4  # two forms, and a machine that may need a second for them
