"""The pages in a real browser: readable by everybody, at any width, in both colour schemes; alive with its script."""

import json
from collections.abc import Iterator
from importlib.resources import files

import pytest

from engine.console.format import whole_seconds
from engine.web.page.source import element_id
from states import State
from tests.engine.verify.browser import CHROMIUM, BrowserTab, open_browser
from tests.engine.web.page.fake import NOW, OPERATOR, READER, at, fleet
from tests.engine.web.page.site import Site, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
PAGES = ("/", "/?state=needs&q=news", "/?at=10:05", "/accounts/News%202?explain=59", "/jobs", "/incidents", "/nowhere")
LOOKS = (("light", 1280), ("dark", 360))
COMPLAINTS = """axe.run().then((found) => JSON.stringify(found.violations.map((each) =>
    [each.id, each.nodes.slice(0, 3).map((node) => [node.html, node.failureSummary])])))"""
"""What axe-core objects to: its rule, and the first elements with the reasons."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving(Site(fleet(48))) as found:
        yield found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserTab]:
    with open_browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def tab(browser: BrowserTab, site: Site) -> BrowserTab:
    """Return a tab as a new visitor has it, and an engine as at the beginning."""
    look(browser, 1280, "light")
    browser.ask("Emulation.setScriptExecutionDisabled", value=False)
    browser.complaints.clear()
    browser.requests.clear()
    made = fleet(48)
    site.source.statuses, site.source.troubles = made.statuses, made.troubles
    site.acted.clear()
    return browser


def look(tab: BrowserTab, width: int, scheme: str) -> None:
    """Give the browser a width and a colour scheme."""
    tab.ask("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
    tab.ask("Emulation.setEmulatedMedia", features=[
        {"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"},
    ])  # fmt: skip


def visit(tab: BrowserTab, site: Site, path: str) -> None:
    """Open a page; that of a message has no script, so that it is there when it is loaded."""
    tab.ask("Page.navigate", url="about:blank")
    tab.wait("location.href === 'about:blank'")
    site.opened.clear()
    tab.ask("Page.navigate", url=site.address + path)
    tab.wait("location.href !== 'about:blank' && document.readyState === 'complete'")
    tab.wait("document.documentElement.dataset.ready === 'yes' || !document.querySelector('script')")


@pytest.mark.parametrize("path", PAGES)
def test_everybody_can_read_a_page(tab: BrowserTab, site: Site, path: str) -> None:
    """axe-core finds nothing to object to, light on a desk, dark on a phone; nothing is wider than the screen."""
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
    for scheme, width in LOOKS:
        look(tab, width, scheme)
        visit(tab, site, path)
        tab.run(f"{axe};0")
        assert json.loads(tab.run(COMPLAINTS)) == [], f"{scheme}, {width} px"
        assert tab.run("document.documentElement.scrollWidth") <= width, f"{scheme}, {width} px"
    assert tab.complaints == []
    assert all(address.startswith((site.address, "about:", "data:")) for address in tab.requests)


def test_a_page_works_without_its_script(tab: BrowserTab, site: Site) -> None:
    """Links, the filter and an explanation need no script; buttons are forms."""
    tab.ask("Emulation.setScriptExecutionDisabled", value=True)
    tab.ask("Page.navigate", url=f"{site.address}/?q=news+12")
    tab.wait("document.readyState === 'complete' && document.querySelector('.row')")
    assert tab.run("document.querySelectorAll('.row').length") == 1
    tab.run("document.querySelector('.row h3 a').click()")
    tab.wait("location.pathname === '/accounts/News%2012' && document.readyState === 'complete'")
    assert tab.run("document.querySelector('form.act').method") == "post"


def test_seconds_pass_as_the_engine_writes_them(tab: BrowserTab, site: Site) -> None:
    """What the script counts reads like what the engine says, for any length."""
    lengths = [0, 1, 59, 60, 61, 200, 3599, 3600, 3660, 7325, 47 * 3600, 48 * 3600, 50 * 3600, 40 * 86_400]
    visit(tab, site, "/")
    tab.run(f"""for (const length of {lengths}) {{
        const time = document.createElement("time");
        time.className = "tried";
        time.dataset.from = Number(document.body.dataset.now) - length - 0.2;
        document.body.append(time);
    }}""")
    tab.wait("document.querySelector('.tried').textContent")
    shown = tab.run("[...document.querySelectorAll('.tried')].map((each) => each.textContent)")
    later = [[whole_seconds(length + passed) for length in lengths] for passed in range(120)]
    assert shown in later


def test_the_filter_is_instant(tab: BrowserTab, site: Site) -> None:
    """Typing hides what does not fit, says how many are left, and Escape shows all again."""
    visit(tab, site, "/")
    tab.press("/")
    assert tab.run("document.activeElement.id") == "search"
    for key in "news 4":
        tab.press(key)
    visible = "[...document.querySelectorAll('.row')].filter((row) => !row.hidden).length"
    assert tab.run(visible) == 10  # 4, and 40 to 48
    assert tab.run("document.getElementById('matching').textContent") == "10 of 48"
    tab.press("Escape")
    assert tab.run(visible) == 48


def test_the_stream_changes_what_is_shown(tab: BrowserTab, site: Site) -> None:
    """A change comes as a row in its new place, the focus stays, a removed row goes, and the change is said."""
    visit(tab, site, "/")
    site.send_all()
    tab.wait("document.getElementById('link').classList.contains('live')")
    last = element_id("News 48")
    tab.run(f"document.querySelector('#{last} h3 a').focus()")
    site.source.statuses["News 48"] = at(State.AUTH_FAILED, NOW)
    del site.source.statuses["News 47"]
    site.send("remove", {"ids": [element_id("News 47")]})
    site.send_all()
    tab.wait(f"document.querySelector('#{last}').dataset.state === 'auth_failed'")
    tab.wait("document.getElementById('live').textContent === '3 accounts need you'")
    assert tab.run(f"document.activeElement.closest('li').id === '{last}'")
    order = tab.run("[...document.querySelectorAll('#order > li')].map((each) => each.id)")
    assert order.index(last) == 2
    assert element_id("News 47") not in order
    assert len(order) == 47
    assert tab.complaints == []


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        ((401, 401), ("no access for ", "Your access has ended")),
        ((404, 404), ("not up to date for ", "This account is there no more")),
        ((503, 200), ("not up to date for ", "So many pages are open")),
    ],
)
def test_a_page_whose_stream_is_refused_says_why(
    tab: BrowserTab, site: Site, statuses: tuple[int, int], words: tuple[str, str]
) -> None:
    """Who lost the access, or came too late, is not told that the engine is away."""
    visit(tab, site, "/")
    site.send_all()
    tab.wait("document.getElementById('link-word').textContent === 'live'")
    site.refuses, site.told = statuses
    try:
        site.cut()
        tab.wait(f"document.getElementById('link-word').textContent.startsWith({json.dumps(words[0])})")
        tab.wait(f"document.getElementById('live').textContent.startsWith({json.dumps(words[1])})")
    finally:
        site.refuses, site.told = 0, 200


def test_a_clock_that_is_set_while_a_page_is_open_makes_no_wrong_lengths(tab: BrowserTab, site: Site) -> None:
    """A page that was open overnight counts by the engine's clock of now, not by the one of the evening."""
    visit(tab, site, "/")
    tab.run("""const time = document.createElement("time");
        time.id = "tried";
        time.dataset.from = Number(document.body.dataset.now) + 3600;
        document.body.append(time);""")
    site.send("seen", {"at": NOW + 7200})
    tab.wait("document.getElementById('tried').textContent === '1 h'")


def test_a_lost_connection_is_said(tab: BrowserTab, site: Site) -> None:
    """Whoever looks at an old page knows that it is one, and that it is up to date again."""
    visit(tab, site, "/")
    site.send_all()
    tab.wait("document.getElementById('link').classList.contains('live')")
    site.cut()
    tab.wait("document.getElementById('link').classList.contains('lost')")
    assert "no longer up to date" in tab.run("document.getElementById('live').textContent")
    site.send_all()
    tab.wait("document.getElementById('link').classList.contains('live')")
    assert "up to date" in tab.run("document.getElementById('live').textContent")


def test_a_record_is_explained_in_place(tab: BrowserTab, site: Site) -> None:
    """Opening a record fetches its explanation into it; the page stays."""
    visit(tab, site, "/accounts/News%202")
    tab.run("document.querySelector('.journal details summary').click()")
    tab.wait("document.querySelector('.journal details[open] .explanation')")
    assert tab.run("location.search") == ""


def test_an_action_is_done_in_place(tab: BrowserTab, site: Site) -> None:
    """A button asks the engine with the token of the page, and the answer is said."""
    visit(tab, site, "/accounts/News%202")
    tab.run("document.querySelector('#now form.act button').click()")
    tab.wait("document.getElementById('live').textContent === 'News 2: retry done'")
    assert site.acted == [{"csrf": "a-csrf-token", "verb": "retry", "target": "News 2", "back": "/accounts/News%202"}]
    site.viewer = READER
    try:
        visit(tab, site, "/accounts/News%202")
        assert not tab.run("document.querySelector('form.act')")
    finally:
        site.viewer = OPERATOR


def test_the_keyboard_reaches_everything(tab: BrowserTab, site: Site) -> None:
    """The first key leads to the content, and what has the focus is seen to have it."""
    visit(tab, site, "/")
    tab.ask("Input.dispatchKeyEvent", type="keyDown", key="Tab", windowsVirtualKeyCode=9)
    tab.ask("Input.dispatchKeyEvent", type="keyUp", key="Tab", windowsVirtualKeyCode=9)
    assert tab.run("document.activeElement.className") == "skip"
    assert tab.run("document.activeElement.getBoundingClientRect().left") >= 0
    tab.press("Enter")
    tab.wait("document.activeElement.id === 'main'")
    assert tab.run("getComputedStyle(document.querySelector('.row h3 a')).outlineStyle") == "none"
