"""The process around a command: what its environment may lack, and what its exit code says."""

import atexit
import os
import re
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NoReturn

from engine.cli.plain_line import plain_call
from engine.console import shell, streams
from engine.console.safe_text import one_line, safe_lines

if TYPE_CHECKING:  # most lines are read without the library
    from cyclopts import CycloptsError

EXIT_BUG: Final = 70
"""The exit code of an error in the program itself (``EX_SOFTWARE`` of sysexits.h)."""
EXIT_BAD_ENVIRONMENT: Final = 2
EXIT_BAD_WORDS: Final = 2
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130
USER_MODULES: Final = "engine.work.modules"
"""What imports the modules of the user that a config names."""
WIDTHS: Final = {"COLUMNS": (40, 1000), "LINES": (10, 1000)}
"""The sizes of a terminal that are believed; a page for a narrower one has no words left."""


def run_process(name: str) -> NoReturn:
    """Run the command that was typed, under the program's ``name``; exit with its code, or with that of what failed."""
    _correct_sizes()
    code = _run_command(name)
    failure = streams.finish()
    if failure is not None:
        code = _report_output(failure)
    _end(code)


def _end(code: int) -> NoReturn:
    """End the process without taking the interpreter apart, which takes a sixth of a short command's time.

    Whatever was registered for the end is done first, and the streams are flushed again. Where there are other threads,
    where the output has failed, or where modules of the user's may have left files that are written as Python takes
    them apart, Python ends the process as it does.
    """
    if threading.active_count() > 1 or USER_MODULES in sys.modules or streams.output_failure() is not None:
        sys.exit(code)
    atexit._run_exitfuncs()
    if streams.finish() is not None:
        sys.exit(code)
    os._exit(code)


def _run_command(name: str) -> int:
    try:
        typed = shell.typed_program(name)
        shell.set_program(typed)
        call = plain_call(sys.argv[1:])
        if call is None:
            return _run_full_line(name, typed)
        call()
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except UnicodeEncodeError as exc:
        letter = exc.object[exc.start : exc.start + 1]
        _say(f"this environment's file names are {exc.encoding}, which has no {letter!r}; set LC_ALL=C.UTF-8")
        return EXIT_BAD_ENVIRONMENT
    except Exception as exc:
        from adapters.system.descriptors import exhaustion, is_exhaustion  # noqa: PLC0415 - for an error alone

        if streams.output_failure() is not None:
            return 0  # the output's own exit code follows
        if isinstance(exc, FileNotFoundError) and not _has_directory():
            _say("the current directory was deleted; change to another, and try again")
            return EXIT_BAD_ENVIRONMENT
        if isinstance(exc, RuntimeError) and "home directory" in str(exc):  # what pathlib raises
            _say("this user has no home directory; set HOME, or give a path without ~")
            return EXIT_BAD_ENVIRONMENT
        if is_exhaustion(exc):
            _say(exhaustion(exc, ends=True))
            return EXIT_FAILED
        if isinstance(exc, OSError):  # of a command that is not ours, such as the installing of the completion
            _say(f"{exc.filename or 'a file'}: {(exc.strerror or str(exc)).lower()}; see that it can be written")
            return EXIT_FAILED
        import traceback  # noqa: PLC0415 - for a bug alone

        from adapters.redaction import redacted  # noqa: PLC0415

        print(safe_lines(redacted(traceback.format_exc())), file=sys.stderr)
        _say("this is an error in Holdfast itself; please report it with the lines above")
        return EXIT_BUG
    return 0


def _run_full_line(name: str, typed: Sequence[str]) -> int:
    """Have the library read the command line, and run what it means."""
    from cyclopts import CycloptsError  # noqa: PLC0415 - as above

    from engine.cli.full_line import command_line, import_listed  # noqa: PLC0415

    # The completion is that of the command's own name, however it was called.
    shown = None if "--install-completion" in sys.argv else shell.command(*typed)
    try:
        line = command_line(name, shown)
        import_listed(line, sys.argv[1:])
        line(print_error=False, exit_on_error=False)
    except CycloptsError as exc:
        _say(_describe_words(exc))
        return EXIT_BAD_WORDS
    return 0


def _describe_words(exc: "CycloptsError") -> str:
    """Return the sentence about words that are no command, or do not fit it."""
    from cyclopts import UnknownOptionError  # noqa: PLC0415 - as above

    text = " ".join(str(exc).split())
    text = text if text.endswith("...") else text.removesuffix(".")
    text = re.sub(r'^Command "[^"]*" parameter (\S+) requires an argument', r"\1 needs a value", text)
    text = re.sub(r"^([A-Z])(?=[a-z])", lambda found: found[1].lower(), text)
    if isinstance(exc, UnknownOptionError):
        text += "; a name that begins with a dash goes after --, as in: pause -- '-x'"
    return f"{text}; --help shows what there is"


def _report_output(failure: OSError) -> int:
    streams.give_up_output()
    if isinstance(failure, BrokenPipeError):
        return streams.EXIT_READER_GONE
    why = (failure.strerror or str(failure)).lower()
    _say(f"the output cannot be written ({why}); see where stdout leads to")
    return streams.EXIT_OUTPUT_LOST


def _say(sentence: str) -> None:
    print(one_line(sentence), file=sys.stderr, flush=True)


def _has_directory() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _correct_sizes() -> None:
    """Keep sizes of the terminal that are no sizes from whoever reads them from the environment."""
    for name, (least, most) in WIDTHS.items():
        text = os.environ.get(name)
        if text is None:
            continue
        if text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0:
            os.environ[name] = str(min(max(int(text), least), most))
        else:
            del os.environ[name]
