"""The series of several workers as one text."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from engine.web.worker_text import OfWorker, merged


def text(worker: int, healthy: int, *, more: bool = False) -> str:
    """Return what a worker says."""
    registry = CollectorRegistry()
    Gauge("holdfast_accounts", 'Accounts "by" state\nand more', ("state",), registry=registry).labels('a"\n').set(
        healthy
    )
    if more:
        Counter("holdfast_probes", "Probes", registry=registry).inc(3)
    return generate_latest(OfWorker(registry, worker)).decode()


def test_each_family_stands_once_and_each_sample_says_whose_it_is() -> None:
    """The text is one that Prometheus reads, whatever stands in it."""
    found = {
        family.name: [(each.labels, each.value) for each in family.samples if not each.name.endswith("_created")]
        for family in text_string_to_metric_families(merged({2: text(2, 5, more=True), 1: text(1, 7)}).decode())
    }
    assert found["holdfast_accounts"] == [
        ({"state": 'a"\n', "worker": "1"}, 7.0),
        ({"state": 'a"\n', "worker": "2"}, 5.0),
    ]
    assert found["holdfast_probes"] == [({"worker": "2"}, 3.0)]


def test_no_text_of_a_worker_makes_no_series() -> None:
    """It may be just starting."""
    assert merged({}) == merged({1: ""}) == merged({1: "garbage\n"}) == b""
