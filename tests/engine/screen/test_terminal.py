"""The terminal of the screen: a real pseudo-terminal is taken, written on, and given back."""

import io
import os
import pty
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress

import anyio
import pytest
from attrs import define, field
from rich.color import ColorSystem
from rich.console import Console

from engine.screen import terminal as terminals
from engine.screen.terminal import ENTER, LEAVE, ScreenTerminal, Styles
from engine.screen.text import Line
from tests.timeouts import TIMEOUT

pytestmark = pytest.mark.anyio


@define
class Pair:
    """A terminal, and what is at its other end."""

    there: int
    line: int
    terminal: ScreenTerminal
    told: list[tuple[int, str]] = field(factory=list)

    def tell(self, level: int, line: str) -> None:
        self.told.append((level, line))

    def shown(self) -> str:
        """Return what has arrived at the other end since the last call."""
        os.set_blocking(self.there, False)
        found = b""
        with suppress(OSError):
            while chunk := os.read(self.there, 65_536):
                found += chunk
        return found.decode()

    @property
    def modes(self) -> int:
        return int(termios.tcgetattr(self.line)[3])


@pytest.fixture
def pair() -> Iterator[Pair]:
    there, line = pty.openpty()
    termios.tcsetwinsize(line, (24, 80))
    yield Pair(there, line, ScreenTerminal(line, line, Styles(ColorSystem.STANDARD)))
    for descriptor in (there, line):
        with suppress(OSError):
            os.close(descriptor)


def lines(*texts: str) -> list[Line]:
    return [((text, ""),) for text in texts]


async def test_it_is_given_back_as_it_was_found(pair: Pair) -> None:
    """Echo and lines are back, and the usual page; Ctrl+C was a signal all the while."""
    before = pair.modes
    with pytest.raises(KeyError), pair.terminal.taken(pair.tell):  # noqa: PT012 - the block fails at its end
        assert pair.terminal.ready()
        assert not pair.modes & (termios.ICANON | termios.ECHO)
        assert pair.modes & termios.ISIG
        await pair.terminal.paint(lines("one"))
        assert ENTER in pair.shown()
        raise KeyError
    assert pair.modes == before
    assert pair.shown().endswith(LEAVE)


async def test_a_process_that_leaves_at_once_gives_it_back(pair: Pair) -> None:
    """``give_back`` is for a second Ctrl+C, which waits for nothing."""
    before = pair.modes
    with pair.terminal.taken(pair.tell):
        pair.terminal.ready()
        terminals.give_back()
        assert pair.modes == before
        assert pair.shown().endswith(LEAVE)


async def test_only_what_changed_is_written(pair: Pair) -> None:
    """A line of a picture costs a line's bytes; a terminal of another size gets all of them."""
    with pair.terminal.taken(pair.tell):
        pair.terminal.ready()
        await pair.terminal.paint(lines("one", "two", "three"))
        assert "two" in pair.shown()
        await pair.terminal.paint(lines("one", "2", "three"))
        assert pair.shown() == "\x1b[2;1H\x1b[2K2"
        await pair.terminal.paint(lines("one", "2", "three"))
        assert pair.shown() == ""
        termios.tcsetwinsize(pair.line, (30, 90))
        await pair.terminal.paint(lines("one", "2", "three"))
        assert "one" in pair.shown()


async def test_a_terminal_that_takes_nothing_holds_nobody(pair: Pair) -> None:
    """The loop turns while a picture waits; the end takes half a second, not for ever."""
    with anyio.fail_after(TIMEOUT), pair.terminal.taken(pair.tell):
        pair.terminal.ready()
        with anyio.move_on_after(0.05) as waited:
            await pair.terminal.paint(lines(*["x" * 4_000] * 1_000))
        assert waited.cancelled_caught


async def test_a_terminal_that_is_gone_is_left_alone(pair: Pair) -> None:
    """Under nohup the engine goes on; nothing is drawn, and nothing fails."""
    with pair.terminal.taken(pair.tell):
        pair.terminal.ready()
        os.close(pair.there)
        await pair.terminal.paint(lines("one"))
        assert not pair.terminal.ready()
        with anyio.fail_after(TIMEOUT):
            await pair.terminal.hear(lambda key: None)


async def test_keys_are_heard(pair: Pair) -> None:
    """Each as it is pressed, without Enter; a lone Esc after a moment."""
    heard: list[str] = []
    with pair.terminal.taken(pair.tell):
        pair.terminal.ready()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pair.terminal.hear, heard.append)
            os.write(pair.there, b"p\x1b[A\x1b")
            with anyio.fail_after(TIMEOUT):
                while len(heard) < 3:
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
    assert heard == ["p", "up", "escape"]


async def test_what_somebody_else_has_set_is_set_again(pair: Pair) -> None:
    """After a stop and ``fg`` the shell has changed the terminal: the whole picture comes again."""
    with pair.terminal.taken(pair.tell):
        before = termios.tcgetattr(pair.line)
        pair.terminal.ready()
        await pair.terminal.paint(lines("one"))
        termios.tcsetattr(pair.line, termios.TCSANOW, before)
        pair.shown()
        assert pair.terminal.ready()
        await pair.terminal.paint(lines("one"))
        assert not pair.modes & termios.ICANON
        assert "one" in pair.shown()


async def test_what_is_printed_behind_the_screen_is_kept(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    """A job's print is shown among the log lines, harmless, and printed when the terminal is free."""
    with pair.terminal.taken(pair.tell):
        print("one\x1b[2J")
        print("tw", end="")
        print("o", file=sys.stderr)
        print("o")
        assert capsys.readouterr().out == ""
    assert pair.told == [(20, "one\\x1b[2J"), (30, "o"), (20, "two")]
    pair.terminal.print_kept()
    said = capsys.readouterr()
    assert (said.out, said.err) == ("one\\x1b[2J\ntwo\n", "o\n")


def test_only_a_terminal_gets_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a file that is said to be one, and not a terminal that takes only text."""
    assert ScreenTerminal.of(Console(file=io.StringIO(), force_terminal=True)) is None
    there, line = pty.openpty()
    try:
        with open(line, "w", encoding="utf-8", closefd=False) as file:
            monkeypatch.setenv("TERM", "dumb")
            assert ScreenTerminal.of(Console(file=file)) is None
            monkeypatch.setenv("TERM", "xterm")
            monkeypatch.delenv("NO_COLOR", raising=False)
            found = ScreenTerminal.of(Console(file=file))
        assert found is not None
        assert found.output == line
    finally:
        os.close(there)
        os.close(line)


def test_styles_without_colours_still_tell_apart() -> None:
    """Under NO_COLOR the highlight is seen, and red is not."""
    styles = Styles(ColorSystem.STANDARD, coloured=False)
    assert styles.rendered((("a", "bold red"), ("b", "reverse"))) == "\x1b[1ma\x1b[0m\x1b[7mb\x1b[0m"
