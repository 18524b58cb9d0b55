"""The standard streams of a command, made fit for any environment.

They can be closed, end early, lie on a full disk, or have an encoding without the letters that are written. Data goes
to stdout, and whoever reads an exit code must learn that it did not arrive; remarks go to stderr, and a command never
fails for them.
"""

import codecs
import io
import os
import select
import sys
from typing import Any, Final, TextIO

EXIT_OUTPUT_LOST: Final = 74
"""The exit code if stdout cannot be written (``EX_IOERR`` of sysexits.h)."""
EXIT_READER_GONE: Final = 141
"""The exit code if the reader of stdout has gone: what a shell says of a program that SIGPIPE ends."""
ERRORS: Final = "holdfast"
"""The name of the handler of letters that an encoding does not have."""
PLAIN: Final = {
    "✅": "[ok]", "❌": "[failed]", "⚠": "[!]", "🔍": "[i]", "🔄": "[~]", "🔌": "[-]", "🔑": "[key]", "⏱": "[?]",
    "⏸": "[paused]", "⏳": "[wait]", "🚫": "[no]", "🔥": "[!]", "🛑": "[stop]", "❔": "[?]", "📨": "[sent]",
    "💾": "[disk]", "🧭": "[i]", "➖": "[-]", "∞": "no end", "\ufe0f": "", "→": "->", "←": "<-",
    "─": "-", "│": "|", "…": "...", "–": "-", "—": "-", "−": "-", "×": "x", "±": "+-", "≤": "<=", "≥": ">=", "·": ".",
    "↑": "^", "↓": "v", "█": "#", "▓": "=", "▒": "-", "░": ".", "▄": "#", "▀": "#",
    "┏": "+", "┓": "+", "┗": "+", "┛": "+", "━": "-", "┃": "|", "╭": "+", "╮": "+", "╰": "+", "╯": "+",
    "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+", "┬": "+", "┴": "+", "┼": "+",
}  # fmt: skip
"""What stands for the engine's own icons and lines where an encoding lacks them. Other letters become ``\\u0416``."""


class _Output(io.FileIO):
    """Stdout: remembers the error that it raised, so that it can be told from errors of other files."""

    failure: OSError | None = None
    forgiving = False
    """Whether writing goes on as if nothing were wrong."""

    def write(self, data: Any, /) -> int:
        view = memoryview(data)
        if self.forgiving and isinstance(self.failure, BrokenPipeError):
            return len(view)  # the reader does not come back, as room on a disk does
        try:
            while (written := super().write(view)) is None:  # non-blocking, and full
                select.select([], [self], [])
        except OSError as exc:
            self.failure = exc
            if not self.forgiving:
                raise
            return len(view)
        return written


def _written_plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(PLAIN.get(each) or ("" if each in PLAIN else _escaped(each)) for each in lost), error.end


def _escaped(letter: str) -> str:
    """Return a letter as JSON escapes it, which is valid in JSON and legible elsewhere."""
    units = letter.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def prepare() -> None:
    """Replace the standard streams; to be called once, before anything is opened or printed."""
    # A stream that is closed would become the first file that is opened, and remarks would be written into it.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    codecs.register_error(ERRORS, _written_plainly)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the whole process
    sys.stdout = _stream(1, sys.stdout, _Output(1, "w", closefd=False))
    remarks = _Output(2, "w", closefd=False)
    remarks.forgiving = True
    sys.stderr = _stream(2, sys.stderr, remarks)


def _stream(descriptor: int, old: TextIO | None, raw: _Output) -> TextIO:
    """Return the stream in the place of ``old``, which is None if it was closed."""
    encoding = old.encoding if old is not None else "utf-8"
    at_once = bool(getattr(old, "write_through", False))
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=encoding,
        errors=ERRORS,
        line_buffering=descriptor == 2 or raw.isatty(),
        write_through=at_once,
    )


def legible(text: str) -> str:
    """Return a text as stdout will show it, for whoever has to know how wide it is."""
    encoding, errors = sys.stdout.encoding or "utf-8", sys.stdout.errors or "replace"
    try:
        text.encode(encoding)
    except UnicodeError:
        return text.encode(encoding, errors).decode(encoding)
    return text


def _raw(stream: TextIO) -> _Output | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, _Output) else None


def output_failure() -> OSError | None:
    """Return the error of stdout, if it has had one and the command's data is lost by it."""
    raw = _raw(sys.stdout)
    return None if raw is None or raw.forgiving else raw.failure


def are_prepared() -> bool:
    """Return whether ``prepare`` was called: only then the process is a command's own."""
    return _raw(sys.stdout) is not None


def forgive_output() -> None:
    """Let what is printed from now on be lost if it cannot be written: for ``run``, whose output is a remark."""
    if (raw := _raw(sys.stdout)) is not None:
        raw.forgiving = True


def finish() -> OSError | None:
    """Flush both streams; return the error of stdout, if what was printed did not arrive."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError as exc:
        return output_failure() or exc
    return output_failure()


def give_up_output() -> None:
    """Let the rest that waits to be written go nowhere: Python would fail once more when it flushes it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
