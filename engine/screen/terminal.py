"""The terminal: taken for the screen, given back in every case, and never waited for by the loop.

Its signals stay on, so Ctrl+C is the process's own. A process in the background neither draws nor reads: it would be
stopped, or spoil what the shell shows.
"""

import io
import os
import select
import sys
import termios
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, TextIO

import anyio
from attrs import define, field
from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style

from engine.console.safe_text import one_line
from engine.screen.keys import Keys
from engine.screen.text import Line

ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
"""The alternate page, without a cursor, without lines that go on in the next one."""
LEAVE: Final = "\x1b[0m\x1b[999;1H\x1b[?7h\x1b[?25h\x1b[?1049l"
KEYS_ON, KEYS_OFF = "\x1b[?2004h", "\x1b[?2004l"
"""What is pasted is marked as such."""
LEAVE_TIMEOUT: Final = 0.5
"""Seconds that the terminal has to take the last bytes: one that is stopped keeps nobody."""
ESCAPE_TIMEOUT: Final = 0.1
"""Seconds after an Esc within which the rest of another key comes."""
BACKGROUND_PAUSE: Final = 0.25
"""Seconds between two looks whether the process is in the foreground again."""
PIECE: Final = 512
"""Bytes written at once where the terminal cannot be opened anew, and so a write may block."""
PRINTED: Final = 1_000
"""Lines kept of what was printed behind the screen."""
DEFAULT_SIZE: Final = (80, 24)
LEAST_SIZE: Final = (20, 6)
SYSTEMS: Final = {
    "standard": ColorSystem.STANDARD,
    "256": ColorSystem.EIGHT_BIT,
    "truecolor": ColorSystem.TRUECOLOR,
}
_taken: list["ScreenTerminal"] = []
"""The terminal that is taken now."""


def give_back() -> None:
    """Give the terminal back at once, for a process that leaves without ending its tasks."""
    while _taken:
        _taken[-1].leave()
        _taken.pop()


@define(eq=False)
class ScreenTerminal:
    """A terminal for pictures (``output``) and keys (``input``, None if there are none), which are descriptors."""

    output: int
    input: int | None
    styles: "Styles"
    encoding: str = "utf-8"
    errors: str = "replace"
    _written: list[str] = field(factory=list, init=False)
    """The lines that are on the terminal; empty if that is not known."""
    _size: tuple[int, int] = field(default=(0, 0), init=False)
    _entered: bool = field(default=False, init=False)
    _first: str = field(default="", init=False)
    """What is to be written before the next picture."""
    _modes: list[Any] | None = field(default=None, init=False)
    """How the terminal was found."""
    _gone: bool = field(default=False, init=False)
    """Whether the terminal was closed: under ``nohup`` the process goes on without it."""
    _out: int | None = field(default=None, init=False)
    _blocking: bool = field(default=False, init=False)
    printed: deque[tuple[TextIO, str]] = field(factory=lambda: deque(maxlen=PRINTED), init=False)

    @classmethod
    def of(cls, console: Console) -> "ScreenTerminal | None":
        """Return the terminal that a console writes to; None if it writes elsewhere, or to one that only takes text."""
        if not console.is_terminal or console.is_dumb_terminal or console.color_system not in SYSTEMS:
            return None
        try:
            output = console.file.fileno()
        except (AttributeError, OSError, ValueError):
            return None
        if not os.isatty(output):
            return None
        styles = Styles(SYSTEMS[console.color_system], coloured=not console.no_color)
        encoding, errors = (getattr(console.file, name, None) for name in ("encoding", "errors"))
        return cls(output, 0 if os.isatty(0) else None, styles, encoding or "utf-8", errors or "replace")

    def letters(self, text: str) -> str:
        """Return a text in letters that the terminal's encoding has."""
        try:
            text.encode(self.encoding)
        except UnicodeError:
            return text.encode(self.encoding, self.errors).decode(self.encoding)
        return text

    @property
    def keys(self) -> bool:
        """Whether there is a keyboard."""
        return self.input is not None

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        try:
            columns, lines = os.get_terminal_size(self.output)
        except OSError:
            columns, lines = 0, 0
        columns, lines = columns or DEFAULT_SIZE[0], lines or DEFAULT_SIZE[1]
        return max(columns, LEAST_SIZE[0]), max(lines, LEAST_SIZE[1])

    # --- taking it and giving it back --------------------------------------------------------------------------------

    @contextmanager
    def taken(self, tell: Callable[[int, str], None]) -> Iterator[None]:
        """Have the terminal for the block.

        What is printed meanwhile, by jobs for example, goes to ``tell`` with a level, and is kept for ``print_kept``.
        """
        self._open()
        streams = sys.stdout, sys.stderr
        out, err = (Kept(each, level, self.printed, tell) for each, level in zip(streams, (20, 30), strict=True))
        sys.stdout, sys.stderr = out, err
        _taken.append(self)
        try:
            yield
        finally:
            if self in _taken:
                _taken.remove(self)
            self.leave()
            sys.stdout, sys.stderr = streams
            out.finish()
            err.finish()
            self._close()

    def print_kept(self) -> None:
        """Print what was printed while the terminal was taken."""
        while self.printed:
            stream, line = self.printed.popleft()
            print(line, file=stream)

    def print(self, lines: Sequence[Line]) -> None:
        """Print lines as any program does."""
        print("\n".join(map(self.styles.rendered, lines)))

    def ready(self) -> bool:
        """Return whether the terminal may be drawn on, and take it if it may: again after a stop and ``fg``."""
        if self._gone or not self._in_foreground():
            self._entered = False
            return False
        if self._entered and self.input is not None and self._changed(self.input):
            self._entered = False
        if not self._entered:
            self._enter()
        return True

    def repaint(self) -> None:
        """Write the whole of the next picture: something else may have written on the terminal."""
        self._written.clear()

    def leave(self) -> None:
        """Give the terminal back as it was found; within half a second, whatever it does."""
        if not self._entered:
            return
        self._entered = False
        if self.input is not None and self._modes is not None:
            with suppress(termios.error):
                termios.tcsetattr(self.input, termios.TCSANOW, self._modes)
        self._write_bounded((KEYS_OFF if self.input is not None else "") + LEAVE)

    def _enter(self) -> None:
        self._entered = True
        self._written.clear()
        if self.input is not None:
            try:
                found = termios.tcgetattr(self.input)
                if found[3] & termios.ICANON or self._modes is None:
                    self._modes = found
                wanted = list(self._modes)
                wanted[3] &= ~(termios.ICANON | termios.ECHO)
                wanted[6] = list(wanted[6])
                wanted[6][termios.VMIN], wanted[6][termios.VTIME] = 1, 0
                termios.tcsetattr(self.input, termios.TCSANOW, wanted)
            except termios.error:
                self.input = None
        self._first = ENTER + (KEYS_ON if self.input is not None else "")  # with the picture, which waits in the loop

    def _changed(self, terminal: int) -> bool:
        """Return whether somebody else has set the terminal: a shell, while this process was stopped."""
        try:
            return bool(termios.tcgetattr(terminal)[3] & (termios.ICANON | termios.ECHO))
        except termios.error:
            return False

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self.output if self.input is None else self.input) == os.getpgrp()
        except OSError:
            return True  # it controls no jobs

    def _open(self) -> None:
        """Open the terminal anew: what is set on this opening, such as that it never blocks, is set for nobody else."""
        try:
            flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
            self._out, self._blocking = os.open(os.ttyname(self.output), flags), False
        except OSError:
            self._out, self._blocking = os.dup(self.output), True

    def _close(self) -> None:
        if self._out is not None:
            os.close(self._out)
            self._out = None

    # --- pictures ----------------------------------------------------------------------------------------------------

    async def paint(self, lines: Sequence[Line]) -> None:
        """Write the lines that have changed; return when the terminal has taken them."""
        size = self.size
        if size != self._size:
            self._size = size
            self._written.clear()
        made = [self.styles.rendered(line) for line in lines]
        before = self._written
        parts = [self._first] if before else [self._first, "\x1b[2J"]
        for place, text in enumerate(made):
            if place >= len(before) or text != before[place]:
                parts.append(f"\x1b[{place + 1};1H\x1b[2K{text}")  # first: terminals disagree on how wide ⏱️ is
        self._written = []  # until all of it is written
        if any(parts):
            try:
                await self._write("".join(parts).encode(self.encoding, self.errors))
            except OSError:
                self._gone = True
                return
            self._first = ""
        self._written = made

    async def _write(self, data: bytes) -> None:
        assert self._out is not None, "the terminal is taken"
        left = memoryview(data)
        while left:
            if self._blocking:
                await anyio.wait_writable(self._out)
            try:
                left = left[os.write(self._out, left[:PIECE] if self._blocking else left) :]
            except BlockingIOError:
                await anyio.wait_writable(self._out)

    def _write_bounded(self, text: str) -> None:
        if self._out is None:
            return
        left, until = memoryview(text.encode()), time.monotonic() + LEAVE_TIMEOUT
        with suppress(OSError):
            while left and (wait := until - time.monotonic()) > 0:
                if select.select([], [self._out], [], wait)[1]:
                    with suppress(BlockingIOError):
                        left = left[os.write(self._out, left) :]

    # --- keys --------------------------------------------------------------------------------------------------------

    async def hear(self, press: Callable[[str], None]) -> None:
        """Call ``press`` with each key, until cancelled or until the terminal is gone."""
        keys = Keys()
        while self.input is not None:
            with anyio.move_on_after(ESCAPE_TIMEOUT if keys.unsure else None) as waited:
                await anyio.wait_readable(self.input)
            if waited.cancelled_caught:
                found = keys.settle()
            elif not self._in_foreground():
                await anyio.sleep(BACKGROUND_PAUSE)
                continue
            else:
                try:
                    data = os.read(self.input, 4_096)
                except OSError:
                    return
                if not data:
                    return
                found = keys.feed(data)
            for key in found:
                press(key)


@define(eq=False)
class Styles:
    """Makes lines of spans into what a terminal understands."""

    system: ColorSystem
    coloured: bool = True
    _found: dict[str | Style, tuple[str, str]] = field(factory=dict, init=False)

    def rendered(self, line: Line) -> str:
        """Return a line with what switches its styles on and off."""
        parts = []
        for text, style in line:
            before, after = self._found.get(style) or self._around(style)
            parts.append(f"{before}{text}{after}")
        return "".join(parts)

    def _around(self, style: str | Style) -> tuple[str, str]:
        made = Style.parse(style) if isinstance(style, str) else style
        if not self.coloured:
            made = made.without_color
        before, _, after = made.render("\0", color_system=self.system).partition("\0")
        self._found[style] = before, after
        return before, after


class Kept(io.TextIOBase):
    """Takes what is printed while the screen has the terminal, line by line; all else is the real stream's."""

    def __init__(
        self, stream: TextIO, level: int, kept: deque[tuple[TextIO, str]], tell: Callable[[int, str], None]
    ) -> None:
        self._stream, self._level, self._kept, self._tell = stream, level, kept, tell
        self._begun = ""
        self._process = os.getpid()

    def write(self, text: str, /) -> int:
        """Keep the lines that are complete; those of a forked child would be lost, and are written."""
        if os.getpid() != self._process:
            return self._stream.write(text)
        *lines, self._begun = (self._begun + text).split("\n")
        if len(self._begun) > PIECE * 8:
            lines.append(self._begun)
            self._begun = ""
        for line in lines:
            self._keep(line)
        return len(text)

    def finish(self) -> None:
        """Keep the last line, which nothing has ended."""
        if self._begun:
            self._keep(self._begun)
            self._begun = ""

    def _keep(self, line: str) -> None:
        safe = one_line(line)
        self._kept.append((self._stream, safe))
        self._tell(self._level, safe)

    def flush(self) -> None:
        """Do nothing: what is kept is printed when the terminal is free."""
        if os.getpid() != self._process:
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
