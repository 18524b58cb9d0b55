"""What the commands share: their common parameters, and how they report errors."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import Parameter

from adapters.session.errors import SessionHeld
from adapters.sqlite import StorageError
from adapters.system import LockHeld
from adapters.system.descriptors import exhaustion, is_exhaustion
from engine.config import AccountConfig, Config, ConfigError, UnknownAccount, load, parse_duration
from engine.console.format import nearest
from engine.console.names import matching
from engine.console.safe_text import one_line
from engine.console.streams import output_failure
from engine.control.protocol import MAX_PATTERN
from engine.work.kinds import BadJob
from engine.work.modules import BadModule

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_ENGINE_RUNS = 3
EXIT_ENGINE_DOWN = 3

ConfigPath = Annotated[Path, Parameter(help="The config file.")]
ConfigAndAccount = Annotated[
    str,
    Parameter(name="[CONFIG] ACCOUNT", negative="", help="The config file (config.yaml), and an account's name."),
]
"""One word or two, because the config can be left out: ``load_account`` tells them apart."""
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]


def fail(code: int, *sentences: str) -> NoReturn:
    """Print sentences to stderr, and exit."""
    for sentence in sentences:
        print(one_line(sentence), file=sys.stderr)
    raise SystemExit(code)


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Turn errors that the operator can correct into a sentence and an exit code."""
    try:
        yield
    except ConfigError as exc:
        fail(EXIT_BAD_INPUT, *exc.sentences)
    except (BadJob, BadModule) as exc:
        fail(EXIT_BAD_INPUT, str(exc))
    except (LockHeld, SessionHeld) as exc:
        fail(EXIT_ENGINE_RUNS, str(exc))
    except StorageError as exc:
        fail(EXIT_FAILED, str(exc))
    except OSError as exc:
        if output_failure() is not None or (isinstance(exc, FileNotFoundError) and not exc.filename):
            raise  # the process itself says this, see ``process.py``
        if is_exhaustion(exc):
            fail(EXIT_FAILED, exhaustion())
        file = f"{exc.filename}: " if exc.filename else ""
        fail(EXIT_FAILED, f"{file}{(exc.strerror or str(exc)).lower()}; see that the directory can be written")


def say(*sentences: str) -> None:
    """Print sentences to stdout, each as one line."""
    print("\n".join(map(one_line, sentences)))


def load_account(words: tuple[str, ...]) -> tuple[Config, AccountConfig]:
    """Return the config and the account that ``[CONFIG] ACCOUNT`` names; exit if there is none."""
    if len(words) not in (1, 2):
        fail(EXIT_BAD_INPUT, "name one account, after the config if that is not config.yaml")
    config = load(Path(words[0] if len(words) == 2 else "config.yaml"))
    try:
        return config, config.account(words[-1])
    except UnknownAccount as exc:
        fail(EXIT_BAD_INPUT, str(exc))


def match_accounts(names: Sequence[str], pattern: str, *, option: str = "") -> list[str]:
    """Return the account named ``pattern``, or all whose names match it as a glob; exit if there are none.

    ``option`` is the option that has the pattern, for the sentence.
    """
    found = matching(names, pattern) if len(pattern) <= MAX_PATTERN else []
    if not found:
        prefix = f"{option}: " if option else ""
        fail(EXIT_BAD_INPUT, f"{prefix}no account is named like {pattern!r}; {nearest(pattern, names)}")
    return found


def one_account(names: Sequence[str], pattern: str) -> str:
    """Return the one account that ``--account`` means; exit if it is none, or several."""
    found = match_accounts(names, pattern, option="--account")
    if len(found) > 1:
        fail(EXIT_BAD_INPUT, f"--account: {pattern!r} means {len(found)} accounts, such as {found[0]!r}; name one")
    return found[0]


def parse_duration_option(option: str, text: str) -> float:
    """Return the seconds of an option's value; exit if it is not a duration."""
    try:
        return parse_duration(text)
    except ValueError as exc:
        fail(EXIT_BAD_INPUT, f"{option}: {exc}")


def check_choice(option: str, value: str | None, names: Sequence[str]) -> None:
    """Exit with a suggestion if an option's value is not one of ``names``; None passes."""
    if value is not None and value not in names:
        fail(EXIT_BAD_INPUT, f"{option}: there is no {value!r}; {nearest(value, names)}")
