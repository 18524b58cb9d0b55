"""What a key changes on the screen: the model, without a terminal."""

from collections import deque
from itertools import product
from typing import Any

import pytest
from attrs import evolve

from engine.screen.model import (
    ACTIONS,
    BACK,
    CHOOSE_FIRST,
    CHOOSE_INCIDENT,
    HINTS,
    PASTE,
    Do,
    KeyRequest,
    Model,
    ScreenView,
    Seen,
    press,
    settle,
    shown,
    window,
)

NAMES = ("News", "Old bot", "Third")
STATES = ("auth_failed", "backoff", "healthy")
INCIDENTS = {3: ("News", "Third"), 1: ("Old bot",), 8: ()}
SEEN = Seen(names=NAMES, states=STATES, records=(4, 7, 9), incidents=INCIDENTS, fits=2, lines=5)
KEYS = (
    "up", "down", "left", "right", "pageup", "pagedown", "home", "end", "enter", "escape", "backspace", "tab", "delete",
    "ctrl+u", "ctrl+l", " ", "?", "/", "s", "S", "h", "p", "u", "r", "q", "n", "b", "j", "k", "g", "G", "x", "é", "",
    "i", "a", f"{PASTE}pur\n",
)  # fmt: skip


def after(*keys: str, model: Model | None = None, seen: Seen = SEEN) -> Model:
    """Return the model after these keys; none of them asks for anything."""
    model = model or Model()
    for key in keys:
        model, request = press(model, key, seen)
        assert request is None
    return model


# --- the window ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(5))
def test_the_window_holds_what_it_can(count: int) -> None:
    """For all small lists: the selected item is in sight, nothing is too much, and no line is wasted."""
    selections = [None, *range(count)]
    for heights, top, selected, room in product(
        product((1, 2, 3), repeat=count), range(-1, 6), selections, range(1, 8)
    ):
        first, end = window(heights.__getitem__, count, top, selected, room)
        if not count:
            assert (first, end) == (0, 0)
            continue
        used = sum(heights[first:end])
        assert 0 <= first < end <= count
        assert used <= room or end == first + 1
        assert selected is None or first <= selected < end
        assert first == 0 or used + heights[first - 1] > room
        full = end == count or used + heights[end] > room
        assert full or first != min(max(top, 0), count - 1)


def test_the_window_stays_where_it_is() -> None:
    """A list that scrolled down stays there while the selected item is in sight."""
    assert window(lambda _: 1, 100, 40, 45, 10) == (40, 50)
    assert window(lambda _: 1, 100, 40, 50, 10) == (41, 51)
    assert window(lambda _: 1, 100, 40, 12, 10) == (12, 22)


def test_only_what_is_in_sight_is_measured() -> None:
    """A picture takes as long with ten thousand accounts as with ten."""
    asked: list[int] = []

    def height(place: int) -> int:
        asked.append(place)
        return 2

    assert window(height, 10_000, 0, None, 40) == (0, 20)
    assert len(set(asked)) <= 21


# --- filters ---------------------------------------------------------------------------------------------------------

FLEET = [("News", "auth_failed"), ("Old [bot]", "backoff"), ("news 2", "healthy"), ("Stra\u00dfe", "healthy")]


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (Model(), ["News", "Old [bot]", "news 2", "Stra\u00dfe"]),
        (Model(state="healthy"), ["news 2", "Stra\u00dfe"]),
        (Model(hides_healthy=True), ["News", "Old [bot]"]),
        (Model(name="NEWS"), ["News", "news 2"]),
        (Model(name="news*2"), ["news 2"]),
        (Model(name="n?ws"), ["News", "news 2"]),
        (Model(name="[bot]"), ["Old [bot]"]),
        (Model(name="*[bot]"), ["Old [bot]"]),
        (Model(name="STRASSE"), ["Stra\u00dfe"]),
        (Model(name="news", hides_healthy=True), ["News"]),
        (Model(state="healthy", hides_healthy=True), []),
        (Model(name="("), []),
    ],
)
def test_filters_leave_accounts_out(model: Model, names: list[str]) -> None:
    """By state, by a part of the name, and the healthy ones; the order stays."""
    assert shown(FLEET, model) == names


def test_an_accent_is_one_letter() -> None:
    """However a name and what is typed are encoded."""
    assert shown([("Caf\u00e9", "healthy")], Model(name="cafe\u0301")) == ["Caf\u00e9"]


# --- keys, all of them in all views ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_key_is_harmless_in_every_place() -> None:
    """From wherever keys can lead, every key leads to a place that the screen can show, and acts on what is chosen."""
    empty = Seen(names=(), states=(), records=(), fits=1)
    few = evolve(SEEN, states=STATES[:1], records=(4, 7), incidents={1: ("Old bot",), 3: NAMES}, lines=4)
    for seen in (few, evolve(few, quits=True, names=NAMES[:1]), empty):
        met: set[Model] = {Model()}
        open_ = deque(met)
        while open_:
            model = open_.popleft()
            for key in KEYS:
                then, request = press(model, key, seen)
                assert then.selected is None or then.selected in NAMES
                assert (
                    then.view in (ScreenView.FLEET, ScreenView.HELP, ScreenView.INCIDENTS) or then.selected is not None
                )
                assert then.incident is None or then.incident in seen.incidents
                assert then.record is None or then.record in seen.records
                assert 0 <= then.offset <= max(0, seen.lines - seen.fits)
                if request is not None:
                    assert request == wanted_by(key, model)
                    assert not model.typing
                # Texts and places in the list do not matter here, and there would be no end of them.
                short = evolve(then, name="x" if then.name else "", said="", top=0)
                if short not in met:
                    met.add(short)
                    open_.append(short)
        alone = {ScreenView.FLEET, ScreenView.HELP, ScreenView.INCIDENTS}
        assert {model.view for model in met} == (alone if seen is empty else set(ScreenView))


def wanted_by(key: str, model: Model) -> KeyRequest:
    """Return what a key asks for, if it asks for anything."""
    if key == "q":
        return KeyRequest(Do.QUIT)
    if key == "a":
        return KeyRequest(Do.ACKNOWLEDGE, incident=model.incident or 0)
    return KeyRequest(ACTIONS[key], str(model.selected))


def test_esc_leads_back_from_everywhere() -> None:
    """At most five times Esc, and all accounts are shown again, the worst at the top."""
    deep = after("h", "s", "/", "e", "enter", "down", "enter", "enter", "?")
    assert deep.view is ScreenView.HELP
    assert after(*["escape"] * 5, model=deep) == Model()


def test_an_action_is_for_the_highlighted_account() -> None:
    """Wherever it stands now: the names have changed their order since the last picture."""
    model = after("down", "down")
    turned = evolve(SEEN, names=NAMES[::-1])
    for key, do in ACTIONS.items():
        assert press(model, key, turned)[1] == KeyRequest(do, "Old bot")
        assert press(after("enter", model=model), key, turned)[1] == KeyRequest(do, "Old bot")


def test_nothing_is_done_to_an_account_that_nobody_chose() -> None:
    """Without a highlight an action says what to do first."""
    for key in (*ACTIONS, "enter"):
        assert press(Model(), key, SEEN) == (Model(said=CHOOSE_FIRST), None)


def test_what_is_pasted_presses_no_keys() -> None:
    """A text that lands on the screen by mistake pauses nothing; in the filter it is text."""
    chosen = after("down")
    assert press(chosen, f"{PASTE}pur", SEEN) == (chosen, None)
    assert after("/", f"{PASTE}pur\n").name == "pur"


def test_the_highlight_moves_through_the_list() -> None:
    """By one, by a page, to the ends, and not beyond them."""
    many = evolve(SEEN, names=[f"{number}" for number in range(50)], fits=10)

    def chosen(*keys: str) -> str | None:
        return after(*keys, seen=many).selected

    assert [chosen("down"), chosen("j", "j"), chosen("down", "up", "k")] == ["0", "1", "0"]
    assert [chosen("end"), chosen("G", "down"), chosen("end", "g")] == ["49", "49", "0"]
    assert [chosen("down", "pagedown"), chosen("down", " ", "pageup")] == ["9", "0"]
    assert press(Model(top=20), "down", many)[0].selected == "20"


def test_states_are_filtered_in_turn() -> None:
    """s goes to the next state that has accounts, S to the one before; after the last come all."""
    assert [after(*["s"] * count).state for count in range(5)] == [None, *STATES, None]
    assert [after(*["S"] * count).state for count in range(3)] == [None, "healthy", "backoff"]
    assert after("s", model=Model(state="gone")).state == "auth_failed"


def test_a_name_is_typed() -> None:
    """Letters are text while a name is typed, even those that are keys elsewhere; Enter keeps it, Esc does not."""
    typing = after("/", "p", "q", "u", "x", "backspace")
    assert (typing.name, typing.typing) == ("pqu", True)
    assert after("enter", model=typing) == evolve(typing, typing=False)
    assert after("escape", model=typing) == Model()
    assert after("ctrl+u", model=typing).name == ""
    assert len(after("/", *["a"] * 100).name) == 60


def test_an_account_that_is_shown_no_more_is_not_highlighted() -> None:
    """It has healed, and healthy ones are hidden: no key acts on it. One that is open stays open."""
    chosen = Model(selected="News", hides_healthy=True)
    assert settle(chosen, ["Third"]).selected is None
    assert settle(chosen, ["News"]) == chosen
    opened = evolve(chosen, view=ScreenView.ACCOUNT)
    assert settle(opened, []) == opened


def test_records_are_chosen_and_explained() -> None:
    """The newest is highlighted until another one is; n and b go on and back between explanations."""
    opened = after("down", "enter")
    assert (opened.view, opened.record) == (ScreenView.ACCOUNT, None)
    older = after("up", model=opened)
    assert older.record == 7
    assert after("down", model=older).record is None
    explained = after("enter", model=opened)
    assert (explained.view, explained.record) == (ScreenView.RECORD, 9)
    assert [after("b", model=explained).record, after("b", "b", "b", model=explained).record] == [7, 4]
    assert after("b", "n", "n", model=explained).record == 9
    assert after("escape", model=after("enter", model=older)).record == 7


def test_an_incident_is_acknowledged_by_number() -> None:
    """The worst one is highlighted at first; a key acts on what is highlighted, wherever it has moved meanwhile."""
    listed = after("i")
    assert (listed.view, listed.incident) == (ScreenView.INCIDENTS, 3)
    chosen = after("down", model=listed)
    moved = evolve(SEEN, incidents={8: (), 1: ("Old bot",), 3: NAMES})
    assert press(chosen, "a", moved) == (chosen, KeyRequest(Do.ACKNOWLEDGE, incident=1))
    gone = evolve(SEEN, incidents={8: ()})
    assert after("a", model=chosen, seen=gone).said == CHOOSE_INCIDENT
    assert after("i", "a", seen=evolve(SEEN, incidents={})).said == "No incident is open"


def test_an_incident_leads_to_its_account() -> None:
    """If it is about one; going back leads to the incidents, and from there to all accounts."""
    opened = after("i", "down", "enter")
    assert (opened.view, opened.selected) == (ScreenView.ACCOUNT, "Old bot")
    assert after("escape", model=opened).view is ScreenView.INCIDENTS
    assert after("escape", "escape", model=opened).view is ScreenView.FLEET
    assert "2 accounts" in after("i", "enter").said
    assert "no account" in after("i", "end", "enter").said


def test_long_pages_scroll() -> None:
    """No further than to their last line."""
    page = after("?")
    assert [after(*["down"] * count, model=page).offset for count in (0, 1, 5)] == [0, 1, 3]
    assert after("end", "pageup", model=page).offset == 1


def test_q_leaves_only_a_screen_that_is_alone() -> None:
    """In ``run`` it would stop the accounts, so it says what does."""
    assert press(Model(), "q", evolve(SEEN, quits=True)) == (Model(), KeyRequest(Do.QUIT))
    model, request = press(Model(), "q", SEEN)
    assert (request, "Ctrl+C" in model.said) == (None, True)


def test_an_answer_stands_until_the_next_key() -> None:
    """What came of a command is read, and then gone."""
    assert after("down", model=Model(said="News is paused")).said == ""


@pytest.mark.parametrize("view", ScreenView)
def test_the_line_of_keys_names_the_way_back(view: ScreenView) -> None:
    """Each view says how it is left, or that it is the first."""
    keys: Any = dict(HINTS[view])
    assert "Esc" in keys
    assert "escape" in BACK
