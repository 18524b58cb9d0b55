"""What the pages of a node say of the others: as a browser reads them."""

from attrs import evolve

from engine.console.account_status import AccountStatus
from engine.console.node_lines import SeenNode
from engine.web.page import views
from engine.web.page.nodes import MAX_NODES, AccountWhere, FleetNodes
from engine.web.page.source import Fragments, PageName, View, element_id
from states import Snapshot, State
from states.nodes import NodeRecord, NodeState
from tests.engine.web.page.fake import NOW, OPERATOR, FakeSource, at, fleet
from tests.engine.web.page.parsed import Element, parse

HOSTILE = "<script>\x1b[31m\u202e" + "x" * 500


def node(
    name: str, life: int = 1, state: NodeState = NodeState.ALIVE, age: float | None = 1.0, **more: object
) -> SeenNode:
    """Return a node of which a beat was seen so long ago; None: none was for 40 s."""
    values = {"host": f"host-{name}", "epoch": 1, "beat": 7, "lease": 15.0, "accounts_at_most": None, "accounts": 2,
              "jobs": 0, "started_at": NOW - 500, **more}  # fmt: skip
    return SeenNode(NodeRecord(life=life, name=name, state=state, **values), age, 40.0 if age is None else age)  # type: ignore[arg-type]


def shared(*nodes: SeenNode, trouble: str = "") -> FakeSource:
    """Return an engine that is node ``eu-1``, with an account here and one at ``eu-2``."""
    source = FakeSource(statuses={"Here": at(State.HEALTHY), "There": at(State.BACKOFF)})
    source.places = {
        "Here": AccountWhere("eu-1", here=True),
        "There": AccountWhere("eu-2", here=False, stored=NOW - 30, note="it is to go to node eu-3"),
    }
    source.shared = FleetNodes("eu-1", nodes or (node("eu-1"), node("eu-2", 2)), NOW - 2, trouble)
    return source


async def page_of(source: FakeSource, **query: str) -> Element:
    """Return the page of the fleet."""
    return parse(await views.fleet_page(source, OPERATOR, NOW, query))


def lines(page: Element) -> list[str]:
    """Return the nodes, each as the text of its row."""
    return [row.text for row in page.by_id("nodes").all("tr")][1:]


def parts(source: FakeSource, now: float = NOW, **query: str) -> Fragments:
    """Return what changes of the page of the fleet."""
    return views.fragments(source, OPERATOR, now, View(PageName.FLEET, None, tuple(query.items())))


async def test_one_engine_has_no_nodes() -> None:
    """Neither a section nor a word of where an account is."""
    page = await page_of(fleet())
    assert not [each for each in page.all() if each.attributes.get("id") == "nodes"]
    assert not list(page.all("p", "place"))
    assert "nodes" not in parts(fleet()).html


async def test_nodes_are_listed_those_first_that_somebody_should_look_at() -> None:
    """Silent, draining, alive, stopped; each with its host, its accounts, and its last beat."""
    page = await page_of(
        shared(
            node("eu-1", accounts_at_most=9),
            node("eu-2", 2, age=None, jobs=3),
            node("eu-3", 3, NodeState.DRAINING),
            node("eu-4", 4, NodeState.DEAD, ended_at=NOW - 60, ended_why="the node was stopped"),
        )
    )
    silent, draining, alive, stopped = lines(page)
    assert silent.startswith("eu-2 host-eu-2 silent 2 3 none for 42 s 15 s")
    assert draining.startswith("eu-3 host-eu-3 draining 2 – in time")
    assert alive.startswith("eu-1 (this one) host-eu-1 alive 2 of 9 at most – in time")
    assert stopped.startswith("eu-4 host-eu-4 stopped 2 – ended")
    assert "the node was stopped" in stopped
    assert "This page is of node eu-1 , and its accounts are seen live." in page.by_id("nodes").text


async def test_a_database_that_is_away_is_told_with_the_time_of_what_is_shown() -> None:
    """The nodes stay as they were seen, but for their beats; before the first look nothing is known."""
    said = "postgresql://db: no server listens there; start PostgreSQL"
    page = await page_of(shared(node("eu-1"), node("eu-2", 2), trouble=said))
    text = page.by_id("nodes").text
    assert said in text
    assert "as of" in text
    assert [("in time" in line, "not known" in line) for line in lines(page)] == [(True, False), (False, True)]
    source = shared()
    source.shared = FleetNodes("eu-1", trouble=said)
    assert "What other nodes do is not known yet." in (await page_of(source)).by_id("nodes").text


async def test_a_page_of_workers_sees_no_account_live() -> None:
    """It is of no node, and all that it says is stored."""
    source = shared()
    assert source.shared is not None
    source.shared = evolve(source.shared, own="")
    text = (await page_of(source)).by_id("nodes").text
    assert "Accounts are shown as their nodes have stored them." in text
    assert "seen live" not in text
    assert "this one" not in text


async def test_a_row_and_a_page_say_where_an_account_is_and_how_that_is_known() -> None:
    """Live here; as stored, and when, elsewhere; with what is to become of it."""
    source = shared()
    page = await page_of(source)
    here, there = (page.by_id(element_id(name)).one("p", "place").text for name in ("Here", "There"))
    assert here == "at node eu-1 (this one)"
    assert there.startswith("at node eu-2 , as stored")
    assert there.endswith("; it is to go to node eu-3")
    account = parse(await views.account_page(source, OPERATOR, NOW, {}, "There"))
    assert "Where at node eu-2 , as stored" in account.by_id("now").text
    source.statuses["Lost"] = AccountStatus(Snapshot(state=State.HEALTHY, since=NOW - 50), present=False)
    source.places["Lost"] = AccountWhere("", here=False, stored=NOW - 50, note="a node takes it within moments")
    row = (await page_of(source)).by_id(element_id("Lost"))
    assert row.one("p", "place").text.startswith("at no node, as stored")
    assert "unknown" in row.text


async def test_a_link_of_a_node_shows_its_accounts() -> None:
    """By its name, which the form and the stream keep; another name has none."""
    source = shared()
    page = await page_of(source, node="eu-2")
    assert [row.one("h3").text for row in page.all("li", "row")] == ["There"]
    assert "node=eu-2" in (page.one("body").attributes["data-stream"] or "")
    assert parts(source, node="eu-2").order == [element_id("There")]
    assert not list((await page_of(source, node="eu-9")).all("li", "row"))
    links = [each.attributes["href"] for each in page.by_id("nodes").all("a")]
    assert links == ["/?node=eu-1", "/?node=eu-2"]


async def test_every_page_looks_at_the_nodes_before_it_is_written() -> None:
    """So that what is stored is not older than a few seconds."""
    source = shared()
    await page_of(source)
    await views.account_page(source, OPERATOR, NOW, {}, "There")
    await views.jobs_page(source, OPERATOR, NOW, {})
    await views.incidents_page(source, OPERATOR, NOW, {})
    assert source.looks == 4


def test_a_beat_changes_nothing_that_a_browser_is_sent() -> None:
    """Only a node that falls silent, or comes back, does."""
    source = shared()
    before = parts(source).html["nodes"]
    source.shared = evolve(source.shared, nodes=(node("eu-1", age=2.0), node("eu-2", 2, age=0.1, beat=8)), read=NOW)
    assert parts(source, NOW + 2).html["nodes"] == before
    source.shared = evolve(source.shared, nodes=(node("eu-1"), node("eu-2", 2, age=None)))
    assert parts(source, NOW + 3).html["nodes"] != before


def test_an_account_that_goes_to_another_node_is_drawn_again() -> None:
    """Also if nothing else of it has changed."""
    source = shared()
    before = parts(source).html[element_id("There")]
    assert parts(source).html[element_id("There")] == before
    source.places["There"] = AccountWhere("eu-3", here=False, stored=NOW - 30)
    assert "eu-3" in parts(source).html[element_id("There")]


async def test_names_of_other_programs_are_harmless_and_many_nodes_are_bounded() -> None:
    """A hostile name is one short line, and of hundreds of nodes those are shown that come first."""
    plain = await page_of(shared(node("a"), node("b", 2, ended_why="x")))
    foreign = await page_of(shared(node(HOSTILE, host=HOSTILE), node("b", 2)))
    assert foreign.by_id("nodes").form == plain.by_id("nodes").form
    assert "\x1b" not in foreign.text
    assert len(foreign.by_id("nodes").text) < 1000
    source = shared(*(node(f"eu-{number:03}", number) for number in range(400)))
    page = await page_of(source)
    assert len(lines(page)) == MAX_NODES
    assert "350 more are not shown." in page.by_id("nodes").text
