"""The page in a real browser: opened from a file, clicked through, shared as a link, and given links nobody should."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from engine.diagram.words import STATE_ROLES
from engine.verify import POLICIES, Explorer
from engine.verify.explore import LOW, is_current
from engine.verify.forms import NEW_LIFE, form_of
from engine.verify.page import Recorder, make_page
from engine.verify.page.data import law_digest
from engine.verify.page.told import tell_configuration, telling_fields
from engine.verify.world import NOW, Bounds, Configuration, apply_decision, enumerate_events, time_of
from states import Policy, begin, step
from states.effects import Effect
from states.guards import Moment
from states.machine import ROWS, by_pair
from tests.engine.harness import ROOT
from tests.engine.verify.browser import CHROMIUM, BrowserTab, open_browser
from tests.timeouts import TIMEOUT
from tools.page_picture import WALK as WALK_OF_PICTURE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
]

LAW: Final = law_digest()
CLICKS: Final = 1000
PAIRS = by_pair(ROWS)
ROW_OF = {row.name: row for row in ROWS}
WALK = f"#{LAW}/keep_trying/Started.one/TurnGranted/Connected"
READ = """(() => {
  const text = (element) => element.textContent;
  const field = (element) => [element.dataset.field, text(element.querySelector("b"))];
  const told = document.querySelector("#last .told");
  const entries = {};
  let name = null;
  for (const child of told ? told.children : []) {
    if (child.tagName === "DT") name = text(child);
    else entries[name] = child.children.length ? [...child.children].map(text) : [text(child)];
  }
  return {
    state: document.querySelector("#state").dataset.state,
    fields: Object.fromEntries([...document.querySelectorAll("#fields .field, #silent .field")].map(field)),
    events: [...document.querySelectorAll("#events li")].map((item) => [item.dataset.form, item.dataset.rule,
      item.dataset.to, text(item.querySelector(".why")), text(item.querySelector("summary"))]),
    late: Number.parseInt(text(document.querySelector("#late summary"))) || 0,
    current: [...document.querySelectorAll("#picture .current")].map((box) => box.dataset.state),
    told: entries,
  };
})()"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a file with the page; the first worker that asks makes it for all of them."""
    place = tmp_path_factory.getbasetemp()
    place = place.parent if "PYTEST_XDIST_WORKER" in os.environ else place
    file, deadline = place / "page-of-verify.html", time.monotonic() + 4 * TIMEOUT
    try:
        (place / "page-of-verify.made").touch(exist_ok=False)
    except FileExistsError:
        while not file.exists():
            assert time.monotonic() < deadline, "another worker does not make the page"
            time.sleep(0.1)
    else:
        recorder = Recorder()
        for policy in POLICIES:
            Explorer(policy, properties=(), observe=recorder.observe).run()
        (place / "page-of-verify.part").write_bytes(make_page(recorder.as_data()))
        (place / "page-of-verify.part").rename(file)
    return file.as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserTab]:
    """Start a browser."""
    with open_browser(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture
def tab(browser: BrowserTab, url: str) -> Iterator[BrowserTab]:
    """Open the page; afterwards nothing may have failed in it, and nothing may have been loaded."""
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(url)
    yield browser
    assert browser.complaints == []
    assert {request.partition("#")[0] for request in browser.requests} <= {url, "about:blank"}


def click(tab: BrowserTab, selector: str) -> None:
    """Click on the first element that a selector finds."""
    tab.run(f"document.querySelector({json.dumps(selector)}).dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")


def take(tab: BrowserTab, *forms: str) -> None:
    """Let events happen."""
    for form in forms:
        click(tab, f'#events [data-form="{form}"] .take')


def state(tab: BrowserTab) -> Any:
    """Return the state that is shown."""
    return tab.run("document.querySelector('#state').dataset.state")


def message(tab: BrowserTab) -> Any:
    """Return the sentence that is shown."""
    return tab.run("document.querySelector('#message').textContent")


def crumbs(tab: BrowserTab) -> Any:
    """Return the path that is shown."""
    return tab.run("[...document.querySelectorAll('#path li')].map((item) => item.textContent)")


# --- what is shown is what step decides ------------------------------------------------------------------------------


def moves_here(config: Configuration, policy: Policy) -> Iterator[tuple[Any, ...]]:
    """Yield each event that can happen with the decision about it and the configuration after, by ``step`` itself."""
    for event, possible in enumerate_events(config):
        if possible and is_current(event, config):
            decision = step(config.snapshot, event, now=time_of(event), rng=LOW, policy=policy)
            yield event, decision, apply_decision(config, event, decision, Bounds.of(policy))


def rows_here(config: Configuration, policy: Policy) -> list[list[str]]:
    """Return the list of events that the page has to show."""
    rows = []
    for event, decision, reached in moves_here(config, policy):
        rule, does = ROW_OF[decision.record.rule], ", ".join(decision.record.effects)
        rows.append([form_of(event).key, rule.name, reached.snapshot.state.value, rule.why.replace("``", ""),
                     rule.name + (f" does {does}" if does else "")])  # fmt: skip
    if config.started:
        after = begin(config.snapshot, now=NOW).state.value
        rows.append([NEW_LIFE, "", after, "the stored snapshot goes on", "no rule: the process was killed, or resumed"])
    return rows


def asked_here(moment: Moment) -> list[tuple[str, bool]]:
    """Return the guards that a decision asks, with their answers."""
    asked = []
    for row in PAIRS[moment.snapshot.state, type(moment.event)]:
        if row.when is None:
            break
        asked.append((row.when.__name__, row.when(moment)))
        if asked[-1][1]:
            break
    return asked


def assert_told(told: dict[str, list[str]], config: Configuration, event: Any, decision: Any, policy: Policy) -> None:
    """What the page says of the last step is what was asked, answered and done."""
    row = ROW_OF[decision.record.rule]
    assert told["rule"][0].startswith(row.name)
    assert told["why"] == [row.why.replace("``", "")]
    answers = [line.split(":")[0] for line in told["guards"] if not line.startswith("then this rule")]
    asked = asked_here(Moment(config.snapshot, event, time_of(event), policy))
    assert answers == [f"{'yes' if holds else 'no'} {guard}" for guard, holds in asked]
    assert (told["guards"][-1] == "then this rule, which has no guard") == (row.when is None)
    kinds = {kind.__name__: " ".join((kind.__doc__ or "").split()) for kind in _effects()}
    for line, name in zip(told["effects"], decision.record.effects or ("none",), strict=True):
        assert line.startswith(name)
        assert name == "none" or line.endswith(kinds[name].replace("``", ""))


def _effects() -> set[type[Effect]]:
    return {effect for row in ROWS for effect in row.does}


@pytest.mark.parametrize("number", range(len(POLICIES)))
def test_a_thousand_clicks_show_what_step_gives(tab: BrowserTab, number: int) -> None:
    """After each the page shows the state, the fields and the events that the machine itself has there, and why."""
    policy, rng, bounds = POLICIES[number], random.Random(number), Bounds.of(POLICIES[number])
    tab.run(f"(() => {{ const choice = document.querySelector('#policy'); choice.value = {number}; "
            "choice.dispatchEvent(new Event('change')); })()")  # fmt: skip
    names = [field.name for field in telling_fields()]
    config = first = Configuration(bounds.normalise(begin(None, now=NOW)))
    for _ in range(CLICKS // len(POLICIES)):
        shown = tab.run(READ)
        assert shown["state"] == config.snapshot.state.value
        assert shown["current"] == [shown["state"]]
        assert shown["fields"] == dict(zip(names, tell_configuration(config, bounds), strict=True))
        assert shown["events"] == rows_here(config, policy)
        late = [event for event, possible in enumerate_events(config) if possible and not is_current(event, config)]
        assert shown["late"] == len(late)
        if config.finished:  # the end of a life is left by a new one
            take(tab, NEW_LIFE)
            config = Configuration(bounds.normalise(begin(config.snapshot, now=NOW)))
            continue
        if rng.random() < 0.02:
            click(tab, "#anew")
            config = first
            continue
        event, decision, reached = rng.choice(list(moves_here(config, policy)))
        take(tab, form_of(event).key)
        assert_told(tab.run(READ)["told"], config, event, decision, policy)
        config = reached


# --- walking ---------------------------------------------------------------------------------------------------------


def test_three_clicks_and_back(tab: BrowserTab) -> None:
    """A new account gets healthy in three steps, and a click on the path goes back to each of them."""
    assert (state(tab), crumbs(tab)) == ("connecting", ["connecting"])
    take(tab, "Started.one", "TurnGranted", "Connected")
    assert state(tab) == "healthy"
    assert crumbs(tab)[1:] == ["Started → connecting", "TurnGranted → connecting", "Connected → healthy"]
    taken = "[...document.querySelectorAll('#picture .taken')].map((arrow) => arrow.dataset.from + arrow.dataset.to)"
    assert tab.run(taken) == ["connectinghealthy"]
    click(tab, '#path [data-step="2"]')
    assert (state(tab), len(crumbs(tab))) == ("connecting", 3)
    click(tab, "#back")
    assert len(crumbs(tab)) == 2
    click(tab, "#anew")
    assert crumbs(tab) == ["connecting"]


def test_a_state_a_rule_and_a_property_can_be_jumped_to(tab: BrowserTab) -> None:
    """By a shortest path, from the beginning or from here."""
    click(tab, '#picture [data-state="timeout"]')
    assert state(tab) == "timeout"
    assert message(tab) == "A shortest path to timeout: 4 steps."
    tab.run("document.querySelector('#to-rule').value = 'backoff.NetworkRestored[waits_for_network]'")
    click(tab, "#go-rule")
    assert tab.run(READ)["told"]["rule"] == ["backoff.NetworkRestored[waits_for_network]"]
    click(tab, '[data-property="floods_are_floors"]')
    assert "floods_are_floors" in tab.run(READ)["told"]["checked"][0]
    click(tab, "input[value=here]")
    tab.run("document.querySelector('input[value=here]').checked = true")
    before = len(tab.run("location.hash").split("/")), len(crumbs(tab))
    click(tab, '#picture [data-state="shutting_down"]')
    assert message(tab) == "A shortest path to shutting_down: 1 step."
    assert len(crumbs(tab)) == before[1] + 1
    tab.run("document.querySelector('#to-rule').value = '<img src=x onerror=alert(1)>'")
    click(tab, "#go-rule")
    assert message(tab) == "There is no such rule; choose one from the list."


def test_every_property_can_be_shown(tab: BrowserTab) -> None:
    """Each button goes to a decision that the property is about, under both policies."""
    for number in range(len(POLICIES)):
        tab.run(f"(() => {{ const choice = document.querySelector('#policy'); choice.value = {number}; "
                "choice.dispatchEvent(new Event('change')); })()")  # fmt: skip
        for name in tab.run("[...document.querySelectorAll('[data-property]')].map((one) => one.dataset.property)"):
            click(tab, f'[data-property="{name}"]')
            assert name in tab.run(READ)["told"]["checked"][0], name
            assert message(tab).startswith(f"A shortest path to a decision that {name} is about (1 of ")


def test_a_benign_world_leads_to_rest(tab: BrowserTab) -> None:
    """From the beginning it makes the account healthy, and then has nothing more to do."""
    click(tab, "#rest")
    assert state(tab) == "healthy"
    click(tab, "#benign")
    assert message(tab) == "A benign world does nothing more here: the account is at rest."


def test_a_search_and_the_keys(tab: BrowserTab) -> None:
    """A person finds an event by its words, and walks without a mouse."""
    tab.press("/")
    tab.ask("Input.insertText", text="grant turn asking")
    assert tab.run("document.querySelectorAll('#events li').length") == 0
    tab.run("document.querySelector('#search').value = ''")
    tab.ask("Input.insertText", text="ASKTURN another")
    assert tab.run("[...document.querySelectorAll('#events li')].map((one) => one.dataset.form)") == ["Started.two"]
    tab.press("Escape")
    tab.press("j")
    tab.press("ArrowDown")
    tab.press("k")
    tab.press("ArrowUp")
    tab.press("Enter")
    assert crumbs(tab) == ["connecting", "Started → connecting"]
    tab.press("b")
    tab.press("b")
    assert state(tab) == "healthy"
    tab.press("u")
    assert state(tab) == "connecting"
    tab.press("h")
    assert crumbs(tab) == ["connecting"]
    click(tab, "#moving")
    leads = tab.run(READ)["events"]
    assert leads
    assert {row[2] for row in leads} == {"backoff", "auth_failed"}


def test_a_path_can_be_written_out(tab: BrowserTab, tmp_path: Path) -> None:
    """As a test in Python that passes, and as a sequence in mermaid, for walks that do a bit of everything."""
    rng = random.Random(3)
    for _ in range(40):
        forms = [row[0] for row in tab.run(READ)["events"] if not row[0].startswith("StopRequested")]
        take(tab, rng.choice(forms))
    click(tab, "#as-python")
    program = tab.run("document.querySelector('#text').value")
    (tmp_path / "walk.py").write_text(f"{program}\n\ntest_walk()\n", "utf-8")
    done = subprocess.run(
        [sys.executable, tmp_path / "walk.py"], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + program
    assert program.count("assert made.record.rule") + program.count("at = begin(") == 41
    tab.run("document.querySelector('#written').close()")
    click(tab, "#as-mermaid")
    diagram = tab.run("document.querySelector('#text').value").splitlines()
    assert diagram[0] == "sequenceDiagram"
    assert all(
        line.startswith(("    participant ", "    Note over ", "    W->>M: ", "    M->>R: ")) for line in diagram[1:]
    )
    assert not any(";" in line or "#" in line or line.count(":") > 1 for line in diagram)
    tab.run("document.querySelector('#written').close()")


# --- links -----------------------------------------------------------------------------------------------------------


def test_a_link_survives_a_reload(tab: BrowserTab, url: str) -> None:
    """The address has the path, and whoever opens it is where its sender was."""
    take(tab, "Started.one", "TurnGranted", "Connected")
    tab.wait(f"location.hash === {json.dumps(WALK)}")
    tab.ask("Page.reload")
    tab.wait("document.documentElement?.dataset.ready === 'yes' && document.querySelectorAll('#path li').length === 4")
    assert (state(tab), message(tab)) == ("healthy", "")
    tab.open(url + WALK.replace("keep_trying", "park"))
    assert (state(tab), tab.run("document.querySelector('#policy').value")) == ("healthy", "1")


def test_the_walk_of_the_picture_can_be_walked(tab: BrowserTab, url: str) -> None:
    """What the documents show has happened as they say."""
    tab.open(f"{url}#{LAW}/keep_trying/{WALK_OF_PICTURE}")
    assert (state(tab), message(tab)) == ("backoff", "")


def test_the_browsers_own_back_goes_back(tab: BrowserTab) -> None:
    """Each step that stays a moment is an entry in the browser's history."""
    for form, length in (("Started.one", 4), ("TurnGranted", 5)):
        take(tab, form)
        tab.wait(f"location.hash.split('/').length === {length - 1}")
    tab.run("history.back()")
    tab.wait("document.querySelectorAll('#path li').length === 2")


def test_another_policy_has_its_own_counts(tab: BrowserTab, url: str) -> None:
    """The link and the browser's way back that change the policy show how much there is under that one."""
    counts = "document.querySelector('#size').textContent + document.querySelector('#properties').textContent"
    shown = {}
    for policy in ("keep_trying", "park"):
        tab.open(f"{url}#{LAW}/{policy}/Started.one")
        shown[policy] = tab.run(counts)
    assert shown["keep_trying"] != shown["park"]
    tab.run(f"location.hash = '#{LAW}/keep_trying/Started.one'")
    tab.wait("document.querySelector('#policy').value === '0'")
    assert tab.run(counts) == shown["keep_trying"]


ANEW = ", so the walk begins anew."


@pytest.mark.parametrize(
    ("link", "at", "said"),
    [
        (WALK.replace(LAW, "00000000"), "healthy",
         "The link was made from other rules; its path is followed by these."),
        (f"{WALK}/Elapsed", "healthy", "The link is followed for 3 steps: then “Elapsed” cannot happen."),
        (f"{WALK}/constructor", "healthy", "The link is followed for 3 steps: then “constructor” cannot happen."),
        (f"#{LAW}/keep_trying/__proto__", "connecting",
         "The link is followed for 0 steps: then “__proto__” cannot happen."),
        (f"#{LAW}/keep_trying/<img src=x onerror=alert(1)>", "connecting",
         "The link is followed for 0 steps: then “<img src=x onerror=alert(1)>” cannot happen."),
        (f"#{LAW}/keep_trying/" + "x" * 500, "connecting",
         f"The link is followed for 0 steps: then “{'x' * 60}…” cannot happen."),
        (f"#{LAW}/keep_trying/%E0%A4%A", "connecting", f"The link cannot be read{ANEW}"),
        (f"#{LAW}/%22%3E%3Cscript%3E", "connecting", f"The link names no path of this page{ANEW}"),
        ("#javascript:alert(1)", "connecting", f"The link names no path of this page{ANEW}"),
        ("#" + "/" * 3000, "connecting", f"The link names no path of this page{ANEW}"),
        (f"#{LAW}/keep_trying" + "/Started.one" * 2001, "connecting",
         f"The link has more than 2000 steps{ANEW}"),
        ("#" + "a" * 300_000, "connecting", f"The link is longer than a path can be{ANEW}"),
        ("#", "connecting", ""),
    ],
    ids=range(13),
)  # fmt: skip
def test_a_link_that_nobody_should_make(tab: BrowserTab, url: str, link: str, at: str, said: str) -> None:
    """It gives one sentence, and the page goes on."""
    tab.open(url + link)
    assert (state(tab), message(tab)) == (at, said)
    assert tab.run("document.querySelectorAll('img, #message *').length") == 0
    click(tab, "#anew")
    take(tab, "Started.one")
    assert crumbs(tab) == ["connecting", "Started → connecting"]


# --- how it looks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [320, 700, 1000, 1600])
def test_nothing_is_wider_than_the_screen(tab: BrowserTab, url: str, width: int) -> None:
    """On a phone as on a desk, only the path scrolls sideways."""
    tab.ask("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
    try:
        tab.open(url + WALK)
        tab.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert tab.run("document.documentElement.scrollWidth") <= width
    finally:
        tab.ask("Emulation.clearDeviceMetricsOverride")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(tab: BrowserTab, url: str, scheme: str) -> None:
    """Every text has at least the contrast that WCAG asks for (4.5 to 1), in both colour schemes."""
    tab.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    tab.open(url + WALK)
    tab.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = tab.run(CONTRAST)
    assert len({pair for pair, _ in found}) >= 3
    assert [pair for pair, ratio in found if ratio < 4.5] == []
    assert all(role.value in tab.run("document.body.textContent") for role in STATE_ROLES.values())


CONTRAST = """(() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [red, green, blue] = channels(colour).map((value) => value / 255)
      .map((value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (channels(colour)[3] !== 0) return colour;
    }
  };
  const found = new Map();
  for (const element of document.querySelectorAll("body *:not(svg, svg *, script, noscript, :disabled)")) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    if (!element.checkVisibility()) continue;
    const [text, behind] = [getComputedStyle(element).color, ground(element)];
    const [bright, dark] = [light(text), light(behind)].sort((one, other) => other - one);
    found.set(`${text} on ${behind}`, (bright + 0.05) / (dark + 0.05));
  }
  return [...found];
})()"""
