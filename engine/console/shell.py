"""Commands as they are typed in a shell, for advice to the operator: they work as printed, where they are printed."""

import os
import re
import shlex
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

_UNPRINTABLE: Final = r"[^\x20-\x7e\u00a1-\u00ac\u00ae-\ud7ff\uf900-\ufaff\U00010000-\U0003ffff]"
"""What a terminal obeys, does not show, or cannot send back."""
_LETTERS: Final = r"[\u200b-\u200f\u2028-\u202e\u2060-\u206f]"
_program: list[str] = ["python", "-m", "engine"]


@cache
def _form(pattern: str) -> re.Pattern[str]:
    """Return one of the forms above, which take some milliseconds to compile; ASCII needs none of them."""
    return re.compile(pattern)


def quoted(word: object) -> str:
    r"""Return a word as a shell reads it back; what cannot be typed is written as ``$'\n'`` and ``$'\xe9'``."""
    text = str(word)
    if text.isascii() and text.isprintable():
        return shlex.quote(text)
    if not _form(_UNPRINTABLE).search(text) and not _form(_LETTERS).search(text):
        return shlex.quote(text)
    return "$'" + "".join(map(_escaped, text)) + "'"


def _escaped(letter: str) -> str:
    code = ord(letter)
    if letter in "\\'":
        return f"\\{letter}"
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is no letter
        return f"\\x{code - 0xDC00:02x}"
    if not _form(_UNPRINTABLE).match(letter) and not _form(_LETTERS).match(letter):
        return letter
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(letter) or (
        f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def command(*words: object) -> str:
    """Return a command line, with quotes where the shell needs them."""
    return " ".join(map(quoted, words))


def engine_command(verb: str, *arguments: object, options: Sequence[str] = ()) -> str:
    """Return the command line of one of the engine's own commands, such as ``session restore``.

    ``arguments`` are paths and names, which may begin with a dash; ``options`` are options and their values.
    """
    if any(str(each).startswith("-") for each in arguments):
        return command(*_program, *verb.split(), *options, "--", *arguments)
    return command(*_program, *verb.split(), *arguments, *options)


def set_program(words: Sequence[str]) -> None:
    """Set the words that start the program in the shell where it was started; see ``typed_program``."""
    _program[:] = words


def program_words() -> list[str]:
    """Return the words that start the program."""
    return list(_program)


def typed_program(name: str) -> list[str]:
    """Return the words that started this process as ``name``: ``holdfast`` or ``python -m engine``.

    They work when they are typed again in the same directory, whichever environment is active there.
    """
    try:
        return _find_program(name)
    except OSError:  # the file, or the directory, is no longer there
        return name.split()


def _find_program(name: str) -> list[str]:
    script = name.isidentifier()
    started = sys.argv[0] if script else sys.orig_argv[0]
    if os.environ.get("UV_RUN_RECURSION_DEPTH") and os.path.isabs(started):
        # ``uv run`` put its environment before the others; the shell that called it does not have it.
        if _is_project_here():
            return ["uv", "run", *name.split()]
        return [started] if script else [started, "-m", "engine"]
    if script:
        import shutil  # noqa: PLC0415 - only an installed command is looked for

        found = shutil.which(name)
        return [name] if found is not None and os.path.samefile(found, started) else [started]
    words = list(sys.orig_argv)
    return [*words[: words.index("-m")], "-m", "engine"] if "-m" in words else name.split()


def _is_project_here() -> bool:
    """Return whether ``uv run`` in this directory uses the environment of this process."""
    if os.environ.get("UV_PROJECT_ENVIRONMENT"):
        return True
    here = Path.cwd()
    project = next((each for each in (here, *here.parents) if (each / "pyproject.toml").exists()), None)
    return project is not None and os.path.realpath(project / ".venv") == os.path.realpath(sys.prefix)
