"""What the screen shows, and what a key changes in it: pure, without a terminal, a clock or an engine.

A selection is an account, a record or an incident, never a line: whatever moves while a key is on its way, the key acts
on what was highlighted when it was pressed.
"""

import fnmatch
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from attrs import evolve, field, frozen

from states import State

MAX_TYPED: Final = 60
"""Characters of a filter by name."""
PASTE: Final = "paste:"
"""What a key is called that is a text from the clipboard; the text follows."""
CHOOSE_FIRST: Final = "Choose an account with ↓ first"
CHOOSE_INCIDENT: Final = "Choose an incident with ↓ first"


class ScreenView(StrEnum):
    """What fills the screen."""

    FLEET = "fleet"
    ACCOUNT = "account"
    """One account, with its journal."""
    RECORD = "record"
    """One record of the account's journal, explained."""
    INCIDENTS = "incidents"
    """The open incidents."""
    HELP = "help"


class Do(StrEnum):
    """What a key can ask for, beyond another picture."""

    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    ACKNOWLEDGE = "acknowledge"
    QUIT = "quit"


@frozen
class KeyRequest:
    """What is to be done, and to which account or incident."""

    do: Do
    account: str = ""
    incident: int = 0


@frozen(kw_only=True)
class Model:
    """What the operator has chosen to see."""

    view: ScreenView = ScreenView.FLEET
    beneath: ScreenView = ScreenView.FLEET
    """The view to which the help returns."""
    back: ScreenView = ScreenView.FLEET
    """The view to which an account's page returns."""
    state: str | None = None
    """Only accounts in this state are shown; None: in any."""
    name: str = ""
    """Only accounts with this in their name are shown."""
    hides_healthy: bool = False
    typing: bool = False
    """Whether keys are letters of ``name``."""
    selected: str | None = None
    """The highlighted account, which is also the one that is open."""
    top: int = 0
    """Place of the first account in sight."""
    record: int | None = None
    """Number of the highlighted record; None: the newest."""
    incident: int | None = None
    """Number of the highlighted incident."""
    offset: int = 0
    """Lines above those in sight, of an explanation or of the help."""
    said: str = ""
    """A sentence for the operator, until the next key."""

    @property
    def filtered(self) -> bool:
        """Whether accounts are left out."""
        return self.state is not None or bool(self.name) or self.hides_healthy


@frozen(kw_only=True)
class Seen:
    """What was in sight when a key was pressed."""

    names: Sequence[str] = ()
    """The accounts that are shown, in order."""
    states: Sequence[str] = ()
    """The states in which there are accounts, worst first."""
    records: Sequence[int] = ()
    """The numbers of the open account's records, oldest first."""
    incidents: Mapping[int, Sequence[str]] = field(factory=dict)
    """The open incidents by number, in the order in which they are shown, with the accounts in each."""
    fits: int = 1
    """How many accounts, records or lines fit."""
    lines: int = 0
    """How many lines an explanation or the help has."""
    quits: bool = False
    """Whether leaving the screen ends nothing else."""


# --- which accounts are shown ----------------------------------------------------------------------------------------


def shown(accounts: Iterable[tuple[str, str]], model: Model) -> list[str]:
    """Return the names of the accounts, given with their states, that pass the filters, in the order given."""
    fits = _name_filter(model.name)
    healthy = State.HEALTHY.value
    return [
        name
        for name, state in accounts
        if (model.state is None or state == model.state)
        and not (model.hides_healthy and state == healthy)
        and (fits is None or fits(name))
    ]


def _name_filter(wanted: str) -> Callable[[str], object] | None:
    """Return what says whether a name passes: capital letters do not matter, ``*`` and ``?`` are as in a pattern."""
    if not wanted:
        return None
    folded = _folded(wanted)
    if "*" in folded or "?" in folded:
        match = re.compile(fnmatch.translate(f"*{folded}*".replace("[", "[[]"))).match
        return lambda name: match(_folded(name))
    return lambda name: folded in _folded(name)


def _folded(text: str) -> str:
    return text.casefold() if text.isascii() else unicodedata.normalize("NFC", text).casefold()


def settle(model: Model, names: Sequence[str]) -> Model:
    """Return the model after the accounts have changed: an account that is shown no more is not highlighted.

    The one that is open stays open, whatever becomes of it.
    """
    gone = model.view is ScreenView.FLEET and model.selected is not None and model.selected not in names
    return evolve(model, selected=None) if gone else model


def window(height: Callable[[int], int], count: int, top: int, selected: int | None, room: int) -> tuple[int, int]:
    """Return the first item in sight and the one after the last: of ``count`` items, each ``height`` lines high.

    It begins at ``top`` if it can; the selected item is in it, and no line stays empty that an item could have. At
    least one item is in sight, even one that is higher than the ``room``.
    """
    if not count:
        return 0, 0
    top = min(max(top, 0), count - 1)
    if selected is not None:
        top = min(top, selected)
    left, end = room, top
    while end < count and (end == top or height(end) <= left):
        left -= height(end)
        end += 1
    if selected is not None and selected >= end:
        left, top, end = room - height(selected), selected, selected + 1
    while top > 0 and height(top - 1) <= left:
        top -= 1
        left -= height(top)
    return top, end


# --- keys ------------------------------------------------------------------------------------------------------------


def press(model: Model, key: str, seen: Seen) -> tuple[Model, KeyRequest | None]:
    """Return the model after a key, and what the key asks for."""
    model = evolve(model, said="") if model.said else model
    if model.typing:
        return _typed(model, key), None
    if key.startswith(PASTE):
        return model, None  # a text that was pasted by mistake must not pause anything
    if key == "?" and model.view is not ScreenView.HELP:
        return evolve(model, view=ScreenView.HELP, beneath=model.view, offset=0), None
    match model.view:
        case ScreenView.FLEET:
            return _in_fleet(model, key, seen)
        case ScreenView.ACCOUNT:
            return _in_account(model, key, seen)
        case ScreenView.RECORD:
            return _in_record(model, key, seen), None
        case ScreenView.INCIDENTS:
            return _in_incidents(model, key, seen)
        case ScreenView.HELP:
            if key in ("?", *BACK, "enter"):
                return evolve(model, view=model.beneath, beneath=ScreenView.FLEET, offset=0), None
            return _scrolled(model, key, seen), None


BACK: Final = ("escape", "left", "backspace", "q")
OPEN: Final = ("enter", "right")


def _typed(model: Model, key: str) -> Model:
    match key:
        case "enter" | "down" | "up":
            return evolve(model, typing=False)
        case "escape":
            return evolve(model, typing=False, name="", top=0)
        case "backspace":
            name = model.name[:-1]
        case "ctrl+u":
            name = ""
        case _:
            text = key.removeprefix(PASTE) if key.startswith(PASTE) else key if len(key) == 1 else ""
            name = model.name + "".join(letter for letter in text if letter.isprintable())
    return evolve(model, name=name[:MAX_TYPED], top=0)


def _in_fleet(model: Model, key: str, seen: Seen) -> tuple[Model, KeyRequest | None]:
    if (place := _moved(_place(seen.names, model.selected), key, len(seen.names), model.top, seen.fits)) is not None:
        return evolve(model, selected=seen.names[place]), None
    match key:
        case "/":
            return evolve(model, typing=True, selected=None), None
        case "s" | "S":
            return evolve(model, state=_next_state(model.state, seen.states, key), selected=None, top=0), None
        case "i":
            return _to_incidents(model, seen), None
        case "h":
            return evolve(model, hides_healthy=not model.hides_healthy, top=0), None
        case "escape":
            if model.selected is not None:
                return evolve(model, selected=None, top=0), None
            return evolve(model, state=None, name="", hides_healthy=False, top=0), None
        case "q":
            if seen.quits:
                return model, KeyRequest(Do.QUIT)
            return evolve(model, said="Ctrl+C stops the engine, and all accounts with it"), None
    if model.selected is None and (key in OPEN or key in ACTIONS):
        return evolve(model, said=CHOOSE_FIRST), None
    if key in OPEN:
        return evolve(model, view=ScreenView.ACCOUNT, back=ScreenView.FLEET, record=None, offset=0), None
    return model, _action(model, key)


ACTIONS: Final = {"p": Do.PAUSE, "u": Do.RESUME, "r": Do.RETRY}


def _action(model: Model, key: str) -> KeyRequest | None:
    return KeyRequest(ACTIONS[key], model.selected) if key in ACTIONS and model.selected is not None else None


def _in_account(model: Model, key: str, seen: Seen) -> tuple[Model, KeyRequest | None]:
    if key in BACK:
        return evolve(model, view=model.back, back=ScreenView.FLEET, record=None), None
    if key == "i":
        return _to_incidents(model, seen), None
    records = seen.records
    if key in OPEN and records:
        record = model.record if model.record in records else records[-1]
        return evolve(model, view=ScreenView.RECORD, record=record, offset=0), None
    at = _place(records, model.record)
    place = _moved(len(records) - 1 if at is None else at, key, len(records), 0, seen.fits)
    if place is not None:
        newest = place == len(records) - 1  # which stays the newest, whatever comes
        return evolve(model, record=None if newest else records[place]), None
    return model, _action(model, key)


def _in_record(model: Model, key: str, seen: Seen) -> Model:
    if key in BACK:
        return evolve(model, view=ScreenView.ACCOUNT, offset=0)
    at = _place(seen.records, model.record)
    if key in ("n", "b") and at is not None:
        place = min(max(at + (1 if key == "n" else -1), 0), len(seen.records) - 1)
        return evolve(model, record=seen.records[place], offset=0)
    return _scrolled(model, key, seen)


def _to_incidents(model: Model, seen: Seen) -> Model:
    chosen = model.incident if model.incident in seen.incidents else next(iter(seen.incidents), None)
    return evolve(model, view=ScreenView.INCIDENTS, back=ScreenView.FLEET, incident=chosen, record=None)


def _in_incidents(model: Model, key: str, seen: Seen) -> tuple[Model, KeyRequest | None]:
    numbers = list(seen.incidents)
    if key in BACK or key == "i":
        return evolve(model, view=ScreenView.FLEET), None
    if (place := _moved(_place(numbers, model.incident), key, len(numbers), 0, seen.fits)) is not None:
        return evolve(model, incident=numbers[place]), None
    if key != "a" and key not in OPEN:
        return model, None
    if (incident := model.incident) is None or incident not in seen.incidents:
        return evolve(model, said=CHOOSE_INCIDENT if numbers else "No incident is open"), None
    if key == "a":
        return model, KeyRequest(Do.ACKNOWLEDGE, incident=incident)
    match seen.incidents[incident]:
        case [account]:
            opened = evolve(
                model, view=ScreenView.ACCOUNT, back=ScreenView.INCIDENTS, selected=account, record=None, offset=0
            )
            return opened, None
        case []:
            return evolve(model, said="It is about no account"), None
        case accounts:
            return evolve(model, said=f"It is about {len(accounts):,} accounts; find one by / among all of them"), None


def _scrolled(model: Model, key: str, seen: Seen) -> Model:
    most = max(0, seen.lines - seen.fits)
    offset = {
        "up": model.offset - 1, "k": model.offset - 1, "down": model.offset + 1, "j": model.offset + 1,
        "pageup": model.offset - seen.fits, "pagedown": model.offset + seen.fits, " ": model.offset + seen.fits,
        "home": 0, "g": 0, "end": most, "G": most,
    }.get(key, model.offset)  # fmt: skip
    return evolve(model, offset=min(max(offset, 0), most))


def _place(items: Sequence[Any], wanted: Any) -> int | None:
    return items.index(wanted) if wanted is not None and wanted in items else None


def _moved(at: int | None, key: str, count: int, top: int, fits: int) -> int | None:
    """Return the place that a key moves the highlight to; None if it is no such key, or if there is nothing."""
    last, page = count - 1, max(1, fits - 1)
    steps = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -page, "pagedown": page, " ": page}
    if count == 0 or key not in (*steps, "home", "g", "end", "G"):
        return None
    if key in ("home", "g", "end", "G"):
        return 0 if key in ("home", "g") else last
    if at is None:  # the first one in sight, or the first beyond it
        return min(max(top + (steps[key] if abs(steps[key]) > 1 else 0), 0), last)
    return min(max(at + steps[key], 0), last)


def _next_state(state: str | None, states: Sequence[str], key: str) -> str | None:
    """Return the state after this one, or before it; None, for all states, stands before the first."""
    turn = [None, *states]
    at = turn.index(state) if state in turn else 0
    return turn[(at + (1 if key == "s" else -1)) % len(turn)]


# --- what the keys are -----------------------------------------------------------------------------------------------

HINTS: Final[dict[ScreenView, tuple[tuple[str, str], ...]]] = {
    ScreenView.FLEET: (
        ("?", "help"), ("↑↓", "choose"), ("Enter", "open"), ("i", "incidents"), ("/", "name"), ("s", "state"),
        ("h", "hide healthy"), ("r", "retry"), ("p", "pause"), ("u", "resume"), ("Esc", "all"),
    ),
    ScreenView.ACCOUNT: (
        ("?", "help"), ("Esc", "back"), ("↑↓", "choose"), ("Enter", "explain"), ("r", "retry"), ("p", "pause"),
        ("u", "resume"),
    ),
    ScreenView.RECORD: (
        ("?", "help"), ("Esc", "back"), ("↑↓", "scroll"), ("n", "next record"), ("b", "the one before"),
    ),
    ScreenView.INCIDENTS: (
        ("?", "help"), ("Esc", "back"), ("a", "acknowledge"), ("↑↓", "choose"), ("Enter", "open the account"),
    ),
    ScreenView.HELP: (("Esc", "back"), ("↑↓", "scroll")),
}  # fmt: skip
"""The keys of each view, the most important first, for the line at the bottom."""
