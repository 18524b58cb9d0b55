"""The files of ``deploy/``: what they ask of Prometheus is read by its own grammar, and exists."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from promql_parser import AggregateExpr, MatchOp, VectorSelector

from engine.console.status import SEVERITY
from engine.node.counts import NodeCounts
from engine.web.exposition import NodePicture
from states import State
from states.events import EVENT_BY_NAME
from states.incident import IncidentKind, Severity
from states.jobs import JobState
from tests.engine.web.support import fleet, lived, picture, samples, text

ROOT = Path(__file__).resolve().parents[2]
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text("utf-8"))
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "holdfast.json").read_text("utf-8"))
OF_PROMETHEUS = {"up": {"job", "instance"}}
"""Series that Prometheus makes itself."""
OF_SCRAPES = {"job", "instance"}
"""Labels that it adds."""
DOMAINS = {
    "holdfast_jobs": {"state": {state.value for state in JobState}},
    "holdfast_incidents": {"kind": set(IncidentKind), "severity": set(Severity)},
    "holdfast_alert_messages_total": {"outcome": {"sent", "failed"}},
    "holdfast_node_account_moves_total": {"how": {"claimed", "given_up", "dropped"}},
    "holdfast_storage_trouble": {"file": {"journal", "sessions"}},
    "holdfast_requests_total": {"outcome": {"answered", "flood_wait", "refused", "unanswered", "lost"}},
    "holdfast_transitions_total": {
        "source": {state.value for state in State},
        "target": {state.value for state in State},
        "event": set(EVENT_BY_NAME),
    },
    "holdfast_accounts": {"state": set(SEVERITY)},
    "holdfast_account_state_since_timestamp_seconds": {"state": set(SEVERITY)},
}
"""The values that labels can have, where a query names one."""
DURATION = re.compile(r"[0-9]+[smhd]")


def alerts() -> list[dict[str, Any]]:
    """Return all alert rules."""
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """Return all panels of the dashboard, without the headings."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Yield every query of these files, with what it is for."""
    for rule in alerts():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


QUERIES = list(queries())


def read(query: str) -> Any:
    """Return a query as Prometheus reads it; Grafana's own variables are given values before."""
    return promql_parser.parse(query.replace("$__rate_interval", "5m").replace("$__range", "1h"))


def nodes(query: str) -> list[Any]:
    """Return all parts of a query."""
    found: list[Any] = []
    promql_parser.walk(read(query), pre_visit=found.append)
    return found


@pytest.fixture
async def series() -> dict[str, set[str]]:
    """Return the labels of every series that an engine has."""
    written = await text(lived(), picture(fleet(), queue_age=1.0, jobs={"send": {"queued": 1}}))
    counts = NodeCounts(beats=1, lives=1, lost=1, claimed=1, given_up=1, dropped=1)
    node = NodePicture(name="eu-1", host="de", accounts=1, others=1, beat_age=1.0, lease=15.0, counts=counts)
    written += await text(at=picture(node=node))
    with_requests = lived()
    with_requests.request_done("messages", "answered", 0.1)
    written += await text(with_requests, picture(fleet()))
    found: dict[str, set[str]] = dict(OF_PROMETHEUS)
    for name, labels in samples(written):
        found.setdefault(name, set(OF_SCRAPES)).update(label for label, _ in labels)
    return found


def selectors(query: str) -> list[VectorSelector]:
    """Return the selectors of a query, each once: the walk visits one with a range twice."""
    found = (getattr(node, "vector_selector", node) for node in nodes(query))
    return list({str(each.prettify()): each for each in found if isinstance(each, VectorSelector)}.values())


@pytest.mark.parametrize(("what", "query"), QUERIES)
async def test_every_series_and_label_of_a_query_exists(what: str, query: str, series: dict[str, set[str]]) -> None:
    """A dashboard whose metric was renamed shows nothing, and an alert never fires."""
    found = selectors(query)
    assert found, f"{what} asks for no series"
    known: set[str] = set()
    for selector in found:
        assert selector.name in series, f"{what}: there is no series {selector.name}"
        known |= series[selector.name]
        for matcher in selector.matchers.matchers:
            assert matcher.name in series[selector.name], f"{what}: {selector.name} has no label {matcher.name}"
            if matcher.value.startswith("$") or matcher.value == "":
                continue
            values = matcher.value.split("|") if matcher.op in (MatchOp.Re, MatchOp.NotRe) else [matcher.value]
            if (domain := DOMAINS.get(selector.name, {}).get(matcher.name)) is not None:
                assert set(values) <= domain, f"{what}: {matcher.name} is never {values}"
    for node in nodes(query):
        if isinstance(node, AggregateExpr) and node.modifier is not None:
            assert set(node.modifier.labels) <= known, what


def test_a_query_of_a_series_that_does_not_exist_is_noticed() -> None:
    """Deep inside an expression, too."""
    assert [each.name for each in selectors("sum by (le) (rate(holdfast_gone_bucket[5m])) > 2 * up")] == [
        "holdfast_gone_bucket",
        "up",
    ]


def test_counters_are_asked_for_their_rate_and_gauges_are_not() -> None:
    """The value of a counter alone means nothing: it begins anew with each start."""
    for what, query in QUERIES:
        inside = {each.vector_selector.name for each in nodes(query) if hasattr(each, "vector_selector")}
        for selector in selectors(query):
            is_counter = selector.name.endswith(("_total", "_bucket", "_sum", "_count"))
            if is_counter:
                assert selector.name in inside, f"{what}: {selector.name} needs rate() or increase()"


def test_an_alert_has_all_that_a_person_needs() -> None:
    """How bad, what it is, and what to do; and its names are told apart."""
    names = [rule["alert"] for rule in alerts()]
    assert len(set(names)) == len(names) >= 10
    for rule in alerts():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"Holdfast[A-Z][A-Za-z]+", rule["alert"])
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert len(rule["annotations"]["description"]) > 40
        assert DURATION.fullmatch(rule.get("for", "0s"))


def test_a_template_names_labels_that_the_alert_keeps(series: dict[str, set[str]]) -> None:
    """An aggregation drops labels, and a template of one of those is empty."""
    for rule in alerts():
        kept = set().union(*(series[each.name] for each in selectors(rule["expr"])))
        outer = read(rule["expr"])
        by = [set(node.modifier.labels) for node in nodes(rule["expr"]) if isinstance(node, AggregateExpr)]
        if by and not isinstance(outer, VectorSelector):
            kept = set.union(*by) - {"le"}
        used = set(re.findall(r"\$labels\.([a-z_]+)", " ".join(rule["annotations"].values())))
        assert used <= kept, f"{rule['alert']}: {used - kept}"


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """Panels have numbers, titles, meanings and units of their own, and none covers another."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for place in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert place not in taken, f"{panel['title']} covers {taken[place]}"
            taken[place] = panel["title"]
    titles = [panel["title"] for panel in panels()]
    assert len(set(titles)) == len(titles)
    for panel in panels():
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)
    assert {each["name"] for each in DASHBOARD["templating"]["list"]} == {"datasource", "instance"}


async def test_every_series_of_the_engine_is_on_the_dashboard(series: dict[str, set[str]]) -> None:
    """What is measured is shown, except what only the alerts or a label list use."""
    shown = {selector.name for _, query in QUERIES for selector in selectors(query)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    own = {re.sub(r"_(bucket|sum|count)$", "", name) for name in series if name.startswith("holdfast_")}
    assert own - families == {
        "holdfast_account_series_omitted",
        "holdfast_build_info",
        "holdfast_ready_threshold_ratio",
    }
