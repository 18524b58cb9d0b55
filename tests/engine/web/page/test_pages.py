"""What the pages say, and what they never say: read as a browser reads them."""

import re

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.console.account_status import AccountStatus
from engine.journal.explain import Explanation
from engine.web.page import views
from engine.web.page.buckets import Bucket, Shown
from engine.web.page.drawings import percent
from engine.web.page.fleet import MAX_LANES, PER_PAGE, Filter, trend_of
from engine.web.page.history import Kind, Past, Span, Tally, day_of
from engine.web.page.moments import time_of
from engine.web.page.source import Fragments, PageName, View, Viewer, element_id
from states import ROWS, Cause, Entry, Hold, Row, Snapshot, State
from states.incident import Incident, IncidentKind, Severity
from states.job import Job, JobState
from states.snapshot import ADVICE, Action
from tests.engine.web.page.fake import NOW, OPERATOR, READER, FakeSource, at, fleet, record
from tests.engine.web.page.parsed import Element, parse

MANY = 10_000


async def pages(source: FakeSource, viewer: Viewer = OPERATOR) -> dict[str, Element]:
    """Return every page."""
    name = next(iter(source.statuses))
    return {
        "fleet": parse(await views.fleet_page(source, viewer, NOW, {"at": "10:05"})),
        "account": parse(await views.account_page(source, viewer, NOW, {"explain": "1"}, name)),
        "jobs": parse(await views.jobs_page(source, viewer, NOW, {})),
        "incidents": parse(await views.incidents_page(source, viewer, NOW, {})),
        "message": parse(views.message_page("Wrong token", "The token is not the engine's", "/")),
    }


async def shown(source: FakeSource, **query: str) -> Element:
    """Return the page of the fleet for a query."""
    return parse(await views.fleet_page(source, OPERATOR, NOW, query))


def rows(page: Element) -> list[str]:
    """Return the names of the accounts of a page, in order."""
    return [row.one("h3").text for row in page.all("li", "row")]


def explained(entry: Entry, row: Row | None, doubt: str) -> Explanation:
    """Return the explanation of a record."""
    return Explanation(entry=entry, row=row, snapshot=None, asked=(), arithmetic=None, doubt=doubt)


def parts(source: FakeSource, page: PageName = PageName.FLEET, now: float = NOW, **query: str) -> Fragments:
    """Return what changes of a page."""
    return views.fragments(source, OPERATOR, now, View(page, "News 2", tuple(sorted(query.items()))))


# --- an operator's questions -----------------------------------------------------------------------------------------


async def test_the_fleet_says_who_is_in_trouble_since_when_why_and_what_to_do() -> None:
    """The worst account is the first, and its row has all four answers."""
    page = await shown(fleet())
    row = next(page.all("li", "row"))
    assert row.one("h3").text == "News 1"
    assert "auth failed" in row.text
    assert "In trouble for 1 h 30 min , since" in row.text
    assert "SESSION_REVOKED" in row.text
    assert f"What to do: {ADVICE[Action.LOG_IN].capitalize()}" in row.text
    assert "nothing is tried before somebody acts" in row.text


async def test_what_happens_next_is_counted_down() -> None:
    """The next attempt has its time, which a script counts down to."""
    row = parse(await views.fleet_page(fleet(), OPERATOR, NOW, {})).by_id(element_id("News 2"))
    assert "next attempt in 1 min 23 s" in row.text
    assert [each.attributes["data-until"] for each in row.all("time") if "data-until" in each.attributes] == [
        f"{NOW + 83:.3f}"
    ]


async def test_the_tiles_count_by_state_and_filter() -> None:
    """Each state has its number, its word and an icon; those that need a person come first."""
    tiles = list((await shown(fleet())).by_id("summary").all("a", "tile"))
    assert tiles[0].text == "1 needs you"
    assert tiles[0].attributes["href"] == "/?state=needs"
    assert "18 healthy" in [tile.text for tile in tiles]
    assert all(len(list(tile.all("use"))) == 1 for tile in tiles)


async def test_what_to_do_is_never_cut() -> None:
    """A cause of any length leaves the advice whole, for each action."""
    source = FakeSource()
    for event, action in (("AuthRejected", Action.LOG_IN), ("SessionDuplicated", Action.STOP_OTHER_COPY)):
        source.statuses[event] = at(State.AUTH_FAILED, cause=Cause(event=event, detail="x" * 50_000))
        html = await views.fleet_page(source, OPERATOR, NOW, {})
        assert ADVICE[action][1:] in parse(html).text
        assert len(html) < 40_000


async def test_the_fleet_says_what_happened_at_a_time() -> None:
    """The records of all accounts around the time are there, and a quiet time is called quiet."""
    source = fleet()
    source.records = [record(1, "News 3", NOW - 100, (State.HEALTHY, "TimedOut", State.TIMEOUT))]
    page = await shown(source, at=f"{views_clock(NOW - 90)}")
    assert "News 3" in page.by_id("happened").text
    assert "TimedOut" in page.by_id("happened").text
    assert "no account changed" in (await shown(source, at=views_clock(NOW - 7200))).by_id("happened").text


def views_clock(when: float) -> str:
    """Return a time as the form sends it."""
    from engine.console.format import local

    found = local(when)
    assert found is not None
    return f"{found:%Y-%m-%dT%H:%M:%S}"


async def test_the_loss_of_each_account_stands_beside_its_bars() -> None:
    """An account that lost an hour in the last day says so, with its availability."""
    source = FakeSource({"A": at(State.HEALTHY)})
    span = Span(NOW - 7200, NOW - 3600, Kind.TROUBLE, "NetworkLost")
    halves = {int((NOW - 7200) // 1800): Tally(1800, 0, 1), int((NOW - 5400) // 1800): Tally(1800)}
    source.pasts = {"A": Past(NOW - 10 * 86_400, (span,), None, halves, {day_of(NOW): Tally(3600, 0, 1)})}
    row = (await shown(source)).one("li", "row")
    assert "1 h lost" in row.text
    assert re.search(r"95\.\d %", row.text)
    labels = [each.attributes["aria-label"] or "" for each in row.all("svg") if "aria-label" in each.attributes]
    assert any("1 h lost in 1 outage" in label for label in labels)


def test_whether_it_gets_worse_is_said_in_words() -> None:
    """Seven bad days after thirty quiet ones are worse; the other way round it is better."""
    quiet = {day_of(NOW) - back: Tally(10, 0, 1) for back in range(8, 37)}
    bad = {day_of(NOW) - back: Tally(10, 0, 9) for back in range(7)}
    old = NOW - 90 * 86_400
    assert trend_of({"A": Past(old, days=quiet | bad)}, NOW).said.startswith("It is getting worse: 9.0 outages a day")
    better = {day_of(NOW) - back: Tally(10, 0, 9) for back in range(7, 37)}
    assert trend_of({"A": Past(old, days=better)}, NOW).said.startswith("It is getting better")
    assert "too little is known" in trend_of({"A": Past(NOW - 86_400)}, NOW).said


async def test_an_account_says_what_it_did_and_why() -> None:
    """Its page has where it is, the machine with its counts, the journal, and an explanation in place."""
    source = fleet()
    row = next(row for row in ROWS if row.target is not None)
    entry = next(each for each in source.records if each.account == "News 2")
    source.explanations[entry.seq] = explained(entry, row, "the snapshot is not known")
    page = parse(await views.account_page(source, OPERATOR, NOW, {"explain": str(entry.seq)}, "News 2"))
    assert page.one("h1").text == "News 2"
    assert "next attempt in 1 min 23 s" in page.by_id("now").text
    assert "● now here" in page.one("g", "current").text
    assert {each.text for each in page.all("text", "count")} >= {"41", "24"}
    assert row.why in page.by_id("explained").text
    assert "open" in next(page.by_id(f"record-{entry.seq}").all("details")).attributes
    assert len(list(page.all("form", "act"))) >= 2


async def test_the_journal_can_be_walked_back() -> None:
    """Fifty records are on a page; the link to the older ones begins where they end."""
    source = FakeSource({"A": at(State.HEALTHY)})
    source.records = [
        record(seq, "A", NOW - 1000 + seq, (State.HEALTHY, "TimedOut", State.TIMEOUT)) for seq in range(1, 120)
    ]
    page = parse(await views.account_page(source, OPERATOR, NOW, {}, "A"))
    (older,) = (each for each in page.all("a") if each.attributes.get("rel") == "next")
    assert older.attributes["href"] == "/accounts/A?before=70#journal"
    page = parse(await views.account_page(source, OPERATOR, NOW, {"before": "70"}, "A"))
    assert page.by_id("record-69")


async def test_incidents_have_their_action_and_their_length() -> None:
    """An open one says what to do and can be acknowledged; one that is over says how long it was."""
    page = parse(await views.incidents_page(fleet(), OPERATOR, NOW, {}))
    first = page.by_id("incident-12")
    assert "What to do: Log in again" in first.text
    assert first.one("button").text == "Acknowledge incident 12"
    assert not list(page.by_id("incident-13").all("button"))
    assert "over after 48 min" in page.by_id("incident-9").text


async def test_jobs_have_their_progress_and_their_cause() -> None:
    """A running job has its progress, and a failed one its cause and a button to retry it."""
    page = parse(await views.jobs_page(fleet(), OPERATOR, NOW, {}))
    assert "1,200 of 3,000 (40 %)" in page.by_id("jobs-running").text
    assert "UsernameNotOccupied" in page.text
    assert [each.text for each in page.all("button")] == ["Retry job 30"]


# --- who sees what ---------------------------------------------------------------------------------------------------


async def test_a_reader_has_no_buttons_that_act() -> None:
    """Every form of an operator has the token against forgery; a reader has none of them."""
    for page in (await pages(fleet(), READER)).values():
        assert not list(page.all("form", "act"))
    acting = [form for page in (await pages(fleet())).values() for form in page.all("form", "act")]
    assert len(acting) > 5
    for form in acting:
        values = {each.attributes["name"]: each.attributes["value"] for each in form.all("input")}
        assert values["csrf"] == "a-csrf-token"
        assert set(values) == {"csrf", "verb", "target", "back"}
        assert form.attributes["method"] == "post"


async def test_nothing_on_a_page_breaks_its_policy() -> None:
    """No style, no script and no handler stand in a page, and nothing is loaded from elsewhere."""
    for page in (await pages(fleet())).values():
        for each in page.all():
            assert each.tag not in ("style", "iframe", "object", "base")
            assert not [name for name in each.attributes if name == "style" or name.startswith("on")]
            assert each.tag != "script" or (not each.text and each.attributes["src"] == "/static/page.js")
            for name in ("href", "src", "action"):
                if (value := each.attributes.get(name)) is not None:
                    assert re.match(r"/(?!/)|#|\?", value), f"{each.tag} {name}={value}"


async def test_a_page_can_be_read_by_a_program() -> None:
    """Landmarks, one heading of the first rank, no id twice, a name for each drawing, field and button."""
    for name, page in (await pages(fleet())).items():
        assert len(list(page.all("h1"))) == 1
        assert page.one("html").attributes["lang"] == "en"
        assert page.one("main")
        ids = [each.attributes["id"] for each in page.all() if "id" in each.attributes]
        assert len(ids) == len(set(ids)), name
        for each in page.all("svg"):
            assert "aria-hidden" in each.attributes or each.attributes.get("aria-label")
        for each in page.all("input"):
            labelled = any(each in label.all("input") for label in page.all("label"))
            assert each.attributes["type"] == "hidden" or labelled
        for each in page.all("button"):
            assert each.text


# --- what is shown ---------------------------------------------------------------------------------------------------


async def test_names_and_states_filter_without_a_script() -> None:
    """A form of the browser asks for names with a text in them, for a state, for those that need a person."""
    source = fleet(48)
    assert rows(await shown(source, q="news 12")) == ["News 12"]
    assert rows(await shown(source, state="needs")) == ["News 1", "News 25"]
    assert set(rows(await shown(source, state="paused"))) == {"News 5", "News 29"}
    assert "News 5" not in rows(await shown(source, state="troubled"))
    assert len(rows(await shown(source, state="nonsense", sort="nonsense", number="-1"))) == 48
    assert "No account fits" in (await shown(source, q="nobody")).text


async def test_accounts_sort_by_what_they_lost() -> None:
    """Who lost most in a day is first, if that is asked for."""
    source = FakeSource({name: at(State.HEALTHY) for name in "ABC"})
    place = int(NOW // 1800) - 1
    source.pasts = {
        name: Past(0.0, half_hours={place: Tally(lost)}) for name, lost in zip("ABC", (5, 50, 9), strict=True)
    }
    assert rows(await shown(source, sort="day")) == ["B", "C", "A"]
    assert rows(await shown(source)) == ["A", "B", "C"]


@pytest.mark.slow
async def test_ten_thousand_accounts_are_shown_two_hundred_at_a_time() -> None:
    """The worst are on the first page; the others are found by name, and by the links to the next pages."""
    source = FakeSource({f"A{number:05}": at(State.HEALTHY) for number in range(MANY)})
    source.statuses["A09999"] = at(State.BACKOFF, deadline=NOW + 5)
    html = await views.fleet_page(source, OPERATOR, NOW, {})
    page = parse(html)
    assert len(rows(page)) == PER_PAGE
    assert rows(page)[0] == "A09999"
    assert len(html) < 1_000_000
    (following,) = (each for each in page.all("a") if each.attributes.get("rel") == "next")
    assert following.attributes["href"] == "/?number=2"
    assert rows(await shown(source, number="2"))[0] == "A00199"
    assert rows(await shown(source, q="07777")) == ["A07777"]
    assert len(rows(await shown(source, number="99999"))) == PER_PAGE


async def test_outages_of_many_accounts_line_up() -> None:
    """All lanes have one axis; the fleet's incident is behind all of them, at the same place."""
    source = fleet(200)
    section = (await shown(source)).by_id("timeline")
    lanes = list(section.one("ol", "lanes").all("svg"))
    assert len(lanes) == MAX_LANES
    assert {each.attributes["viewbox"] for each in lanes} == {"0 0 1440 10"}
    places = {tuple(each.attributes["x"] for each in lane.all("rect", "shared")) for lane in lanes}
    assert len(places) == 1
    assert len(places.pop()) == 2
    assert "more accounts had trouble" in section.text


@pytest.mark.parametrize(
    ("share", "said"),
    [(None, "–"), (1.0, "100 %"), (0.9996, "99.96 %"), (0.99999999, "99.999 %"), (0.5, "50.0 %"), (0.0, "0.0 %")],
)
def test_a_loss_is_never_rounded_away(share: float | None, said: str) -> None:
    """Only an account that was never in trouble has 100 %."""
    assert percent(share) == said


async def test_what_cannot_be_read_is_said_in_its_place() -> None:
    """A busy disk costs the parts that it has, not the page."""
    source = fleet()
    source.trouble = "The engine's file is busy; try again"
    for name, page in (await pages(source)).items():
        assert name == "message" or page.one("h1").text
    account = parse(await views.account_page(source, OPERATOR, NOW, {}, "News 2"))
    assert "The engine's file is busy" in account.by_id("journal").text
    assert "next attempt" in account.by_id("now").text


async def test_an_account_that_an_earlier_engine_left_is_not_in_trouble() -> None:
    """What is not known is called unknown, and what it was last."""
    row = (await shown(fleet())).by_id(element_id("News 6"))
    assert "unknown" in row.text
    assert "was healthy until" in row.text


def test_times_are_read_as_a_person_writes_them() -> None:
    """A time of day is the last such one; nonsense is no time."""
    assert time_of(views_clock(NOW), NOW) == NOW
    found = time_of("10:05", NOW)
    assert found is not None
    assert 0 <= NOW - found < 86_400
    assert [time_of(text, NOW) for text in ("", "now", "99:99", "2026-13-01T00:00", "9" * 400)] == [None] * 5


def test_a_filter_is_written_into_addresses_as_it_was_read() -> None:
    """The links to other pages keep what was asked for."""
    chosen = Filter.of({"q": "a b&c", "state": "needs", "sort": "day"})
    assert chosen.at(3) == "/?q=a+b%26c&state=needs&sort=day&number=3"
    assert Filter().at(1) == "/"


# --- the stream ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", list(PageName))
def test_time_alone_changes_nothing(page: PageName) -> None:
    """Equal states give equal texts a second later: nothing is sent for seconds that pass."""
    source = fleet()
    assert parts(source, page) == parts(source, page, NOW + 1)


@pytest.mark.parametrize("page", list(PageName))
async def test_each_part_has_its_place_on_the_page(page: PageName) -> None:
    """What the stream sends is an element with the id that the page has, and equals the page's but for seconds."""
    source = fleet()
    if page is PageName.ACCOUNT:
        whole = parse(await views.account_page(source, OPERATOR, NOW, {}, "News 2"))
    else:
        whole = (await pages(source))[page.value]
    found = parts(source, page)
    assert found.html
    for identity, html in found.html.items():
        (element,) = (each for each in parse(html).children if isinstance(each, Element))
        assert element.attributes["id"] == identity
        assert whole.by_id(identity).form == element.form


def test_a_change_of_one_account_is_one_row() -> None:
    """Only the row and the counts are other texts, and the order says where the row is now."""
    source = fleet(200)
    before = parts(source)
    source.statuses["News 20"] = at(State.BACKOFF, NOW, deadline=NOW + 30)
    after = parts(source, now=NOW + 1)
    changed = {key for key, html in after.html.items() if before.html[key] != html}
    assert changed == {element_id("News 20"), "summary", "timeline"}
    assert after.order != before.order
    assert set(after.order) == {key for key in after.html if key.startswith("account-")}


def test_the_parts_are_those_of_the_filter() -> None:
    """A page that shows some accounts is told of these alone."""
    assert parts(fleet(48), state="needs").order == [element_id("News 1"), element_id("News 25")]


def test_a_removed_account_has_no_parts() -> None:
    """The page of an account that was removed is told nothing more."""
    assert views.fragments(FakeSource(), OPERATOR, NOW, View(PageName.ACCOUNT, "gone")).html.keys() == {"open-count"}


# --- hostile texts ---------------------------------------------------------------------------------------------------

HOSTILE = st.one_of(
    st.text(min_size=1, max_size=200),
    st.sampled_from([
        "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='x", "</title></style><svg>",
        "{{ 7 * 7 }}{% raw %}", "javascript:alert(1)", "\x00\x1b[31m\u202e\ud800", "../../x", ".", "..", "a/b?c#d",
        "&lt;b&gt;", "]]>", "<!--", "x" * 5000, "\n</li>\n", "\u2028", "data:text/html,<b>",
    ]),
).filter(lambda text: bool(text.strip()))  # fmt: skip


def hostile(text: str) -> FakeSource:
    """Return an engine in which every text that others can choose is this one."""
    source = FakeSource(config_name=text)
    cause = Cause(event=text, detail=text)
    source.statuses = {
        text: at(State.BACKOFF, deadline=NOW + 5, cause=cause, holds=(Hold(request=text, until=NOW + 9),)),
        f"{text} 2": at(State.HEALTHY, holds=(Hold(request=text, until=NOW + 9),)),
        f"{text} 3": AccountStatus(Snapshot(state=State.HEALTHY, since=NOW - 9), False),
    }
    span = Span(NOW - 500, NOW - 400, Kind.TROUBLE, text)
    source.pasts = {text: Past(NOW - 9000, (span,))}
    source.open = [Incident(id=1, kind=IncidentKind.OUTAGE, cause=text, accounts=(text,), severity=Severity.CRITICAL,
                            since=NOW - 9, opened=NOW - 8, detail=text, fleet=True)]  # fmt: skip
    source.over = [attrs.evolve(source.open[0], id=2, closed=NOW - 1)]
    job = Job(id=1, kind=text, worker=text, state=JobState.FAILED, data={"to": text}, detail=text, error=(text, text))
    source.failed, source.running = [job], [attrs.evolve(job, id=2, state=JobState.RUNNING)]
    source.counts = {text: {"failed": 1}}
    source.records = [
        record(1, text, NOW - 5, (State.HEALTHY, text, State.BACKOFF), detail=text, cause=(text,), rule=text)
    ]
    source.explanations = {1: explained(source.records[0], None, text)}
    source.moves = {(State.HEALTHY, text, State.BACKOFF): 3}
    return source


@pytest.mark.slow
@given(HOSTILE)
@settings(max_examples=25, deadline=None)
async def test_no_text_ever_becomes_an_element(text: str) -> None:
    """Whatever stands in names, errors and details: the elements of each page and their attributes are the same."""
    plain, wanted = await pages(hostile("harmless")), await pages(hostile(text))
    for name, page in wanted.items():
        assert page.form == plain[name].form, name
    for page in (PageName.FLEET, PageName.JOBS, PageName.INCIDENTS):
        forms = [
            [parse(html).form for html in views.fragments(source, OPERATOR, NOW, View(page)).html.values()]
            for source in (hostile("harmless"), hostile(text))
        ]
        assert forms[0] == forms[1]


@given(HOSTILE)
@settings(max_examples=30, deadline=None)
async def test_no_text_leads_elsewhere_or_hides_another(text: str) -> None:
    """Links stay on this server, nothing can be written that cannot be sent, and a page stays small."""
    source = hostile(text)
    for html in (
        await views.fleet_page(source, OPERATOR, NOW, {"q": text}),
        await views.account_page(source, OPERATOR, NOW, {"at": text, "before": text, "explain": text}, text),
        views.message_page(text, text, ""),
    ):
        html.encode()
        assert len(html) < 400_000
        for each in parse(html).all("a"):
            assert re.match(r"/(?!/)|#", each.attributes["href"] or ""), each.attributes["href"]
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\u202a-\u202e\u2066-\u2069]", html)


def test_shares_of_any_buckets_are_shares() -> None:
    """A bucket in which more was lost than it is long does not make an availability below nothing."""
    shown_ = Shown((Bucket(0.0, 100.0, Tally(200.0)),))
    assert shown_.availability == 0.0
    assert Shown(()).availability is None
