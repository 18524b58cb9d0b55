"""Plain command lines mean the same to the reader of plain lines and to the library."""

import inspect
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from cyclopts import App, CycloptsError
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cli.commands import COMMANDS, find
from engine.cli.declared import CommandGroup
from engine.cli.full_line import command_line
from engine.cli.plain_line import plain_call

LINE = command_line("python -m engine")
VALUES = (
    "config.yaml", "a", "Account 1", "Новости 📰", "20", "0", "007", "1_0", "1e3", "0x1f", "²", "9" * 20, "",
    " ", "true", "no", "@news", "to=@x", "~/c.yml", "./a", "10m", "-", "--", "-x", "-1", "a,b", "[1]", "{}", '{"a": 1}',
    "None", "explain", "list", "status", "/dev/null", "a\nb", "name=", "$X", "*",
)  # fmt: skip
"""Values of options and words, most of which are unusual in one way or another."""
PLAIN = (
    "status", "status CONFIG", "status CONFIG --json", "status --json CONFIG", "status A --watch --json", "log",
    "log CONFIG -n 20", "log -n 20 --json CONFIG --account A --failed", "log -f", "log CONFIG --since 10m --until 5m",
    "log explain 3 CONFIG", "log replay CONFIG --json", "log stats --since 1d", "jobs list", "jobs list CONFIG -n 20",
    "jobs list CONFIG --state failed --json", "jobs show CONFIG 1 --json", "jobs cancel 1 2 3", "run CONFIG --for 5m",
    "jobs add CONFIG send to=@x --priority 3 --after 10m", "pause CONFIG A", "resume A", "retry CONFIG A --json",
    "session backup CONFIG --json", "session restore CONFIG A --list", "doctor CONFIG --fix", "verify --json",
    "backup CONFIG b.tar.gz", "backup b.tar.gz --json", "restore CONFIG b.tar.gz", "restore b.tar.gz --list --json",
    "simulate CONFIG --accounts 1000 --for 10m --seed 7 --json",
    "diagram CONFIG --format svg -o a.svg", "login CONFIG A --qr --yes", "logout A",
)  # fmt: skip
"""What people type."""


def _commands(group: CommandGroup | None = None, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name in COMMANDS if group is None else group.commands:
        words = (*above, name)
        yield words
        if isinstance(found := find(words), CommandGroup):
            yield from _commands(found, words)


ALL = list(_commands())
LEFT_TO_THE_LIBRARY = ("--config", "--help", "-h", "--version", "--log-format", "--to", "--set")
"""Its own options, those that are a word's other name, those with a choice of words, and one that may come again."""


def _option_names(words: tuple[str, ...]) -> list[str]:
    app: App = LINE
    for word in words:
        app = app[word]
    if app.default_command is None:
        return []
    return [name for each in app.assemble_argument_collection() for name in each.names if name.startswith("-")]


OPTIONS = {words: _option_names(words) for words in ALL}


def _meaning(function: Any, values: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    bound = inspect.signature(function).bind(*values, **options)
    bound.apply_defaults()
    return function, {name: (type(value), value) for name, value in bound.arguments.items()}


def _by_library(words: list[str]) -> tuple[Any, dict[str, Any]] | None:
    try:
        command, bound, _ = LINE.parse_args(words, print_error=False, exit_on_error=False)
    except CycloptsError:
        return None
    return _meaning(inspect.unwrap(command), bound.args, bound.kwargs)


def _plainly(words: list[str]) -> tuple[Any, dict[str, Any]] | None:
    call = plain_call(words)
    if call is None:
        return None
    assert isinstance(call, partial)
    return _meaning(call.func, call.args, call.keywords)


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """Return a command with options and values, right or wrong, in any order."""
    command = draw(st.sampled_from(ALL))
    names = [*OPTIONS[command], "--json", "--nonsense", "--no-json", "--help", "-h", "--version"]
    values = st.sampled_from(VALUES)
    option = st.sampled_from(names)
    pieces = st.one_of(
        values.map(lambda value: [value]),
        option.map(lambda name: [name]),
        st.tuples(option, values).map(list),
        st.builds(lambda name, value: [f"{name}={value}"], option, values),
        st.builds(lambda name, value: [f"{name}{value}"], option, values),
    )
    return [*command, *(word for piece in draw(st.lists(pieces, max_size=4)) for word in piece)]


REQUIRED = {("account", "add"): ("--session",), ("prove",): ("--chat",), ("export",): ("--chat",)}
"""Options without which a command is none."""


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(lines())
def test_what_is_read_plainly_means_the_same_to_the_library(words: list[str]) -> None:
    """A line that the reader of plain lines takes is the same call with the same values; mistakes it leaves alone."""
    found = _plainly(words)
    assert found is None or found == _by_library(words)


@pytest.mark.parametrize("line", PLAIN)
def test_what_people_type_is_plain(line: str) -> None:
    """Usual lines are read without the library, and mean the same to it."""
    found = _plainly(line.split())
    assert found is not None
    assert found == _by_library(line.split())


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_option_is_known_to_both(words: tuple[str, ...]) -> None:
    """Each option that the library knows, but those with a choice of words, is read plainly under the same name."""
    for name in OPTIONS[words]:
        if name in LEFT_TO_THE_LIBRARY or name.startswith("--no-") or (words, name) == (("export",), "--format"):
            continue  # the last has a choice of words, as others have under a name that only they have
        needed = [word for option in REQUIRED.get(words, ()) if option != name for word in (option, "x")]
        begins = [*words, *needed]
        for line in ([*begins, name], [*begins, name, "7"], [*begins, "1", name, "7"]):
            if (found := _plainly(line)) is not None and found == _by_library(line):
                break
        else:
            pytest.fail(f"{name} is never read plainly")
