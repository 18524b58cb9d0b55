"""What the commands share: their common parameters, and how they report errors."""

import errno
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

from adapters.system import Holder, holder_of
from engine import paths
from engine.cli.declared import Parameter
from engine.config import ConfigError, load, load_outline, parse_duration
from engine.console.format import nearest
from engine.console.names import as_typed, matching
from engine.console.safe_text import one_line

if TYPE_CHECKING:  # what only reads needs the outline alone
    from engine.config import AccountConfig, Config

LOOK_TIMEOUT = 2.0
"""Seconds that the engine has to read the jobs again and to look at its database."""
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_ENGINE_RUNS = 3
EXIT_ENGINE_DOWN = 3

DEFAULT_CONFIG = Path("config.yaml")
ConfigPath = Annotated[Path, Parameter(help="The config file.")]
ConfigAndAccount = Annotated[
    str,
    Parameter(name="[CONFIG] ACCOUNT", negative="", help="The config file (config.yaml), and an account's name."),
]
"""One word or two, because the config can be left out: ``load_account`` tells them apart."""
ConfigAndPattern = Annotated[
    str,
    Parameter(
        name="[CONFIG] [ACCOUNT]",
        negative="",
        help="The config file (config.yaml), and an account's name or a pattern of names; left out, all.",
    ),
]
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
    except Exception as exc:
        from engine.cli.failures import report  # noqa: PLC0415 - it knows all errors, and so imports much

        report(exc)
        raise


@contextmanager
def standing(sentence: str) -> Iterator[None]:
    """Say, if Ctrl+C ends the block, that what was asked for is done all the same: nobody waits for it any more."""
    try:
        yield
    except KeyboardInterrupt:
        print(one_line(sentence), file=sys.stderr)
        raise


def say(*sentences: str) -> None:
    """Print sentences to stdout, each as one line."""
    print("\n".join(map(one_line, sentences)))


def check_output(path: Path) -> None:
    """Raise the ``OSError`` that writing a file there would raise, before much work is done for it."""
    number = 0
    if path.is_dir():
        number = errno.EISDIR
    elif not path.exists() and not path.parent.is_dir():
        number = errno.ENOENT
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        number = errno.EACCES
    if number:
        raise OSError(number, os.strerror(number), str(path))


def write_output(path: Path, content: bytes) -> None:
    """Write a file that the operator named. Raises ``OSError`` with its name, also where the disk is full."""
    try:
        path.write_bytes(content)
    except OSError as exc:
        exc.filename = exc.filename or str(path)
        raise


def is_config(word: str) -> bool:
    """Return whether a word that stands alone is the path of a config, and not a name."""
    return word.endswith((".yaml", ".yml"))


def config_and_account(words: Sequence[str]) -> tuple[Path, str]:
    """Return what ``[CONFIG] ACCOUNT`` says: the config's path, and a name or a pattern of names."""
    if not words:
        fail(EXIT_BAD_INPUT, "name an account, after the config if that is not config.yaml")
    if len(words) > 2:
        fail(EXIT_BAD_INPUT, f"{len(words)} words are too many; put a name with spaces in quotes: 'Account 1'")
    if len(words) == 1 and is_config(words[0]) and Path(words[0]).is_file():
        fail(EXIT_BAD_INPUT, f"name an account, after {words[0]}")
    return Path(words[0]) if len(words) == 2 else DEFAULT_CONFIG, as_typed(words[-1])


def config_and_pattern(words: Sequence[str]) -> tuple[Path, str | None]:
    """Return what ``[CONFIG] [ACCOUNT]`` says: the config's path, and the accounts, or None for all.

    A word alone is the config if it ends in ``.yaml``, or is a file and no account's name.
    """
    if len(words) == 1 and (is_config(words[0]) or (os.path.isfile(words[0]) and not _is_account(words[0]))):
        return Path(words[0]), None
    return config_and_account(words) if words else (DEFAULT_CONFIG, None)


def _is_account(word: str) -> bool:
    try:
        return word in load_outline(DEFAULT_CONFIG).names
    except ConfigError:
        return False


def config_and_numbers(words: Sequence[str]) -> tuple[Path, tuple[int, ...]]:
    """Return what ``[CONFIG] NUMBER…`` says: the first word is the config if it is no number."""
    rest = list(words)
    config = DEFAULT_CONFIG
    if rest and parse_number(rest[0]) is None:
        if len(rest) == 1 and not is_config(rest[0]) and not os.path.isfile(rest[0]):
            fail(EXIT_BAD_INPUT, f"{rest[0]!r} is neither a number nor a config file")
        config = Path(rest.pop(0))
    return config, tuple(map(_number, rest))


def _number(word: str) -> int:
    number = parse_number(word)
    if number is None:
        fail(EXIT_BAD_INPUT, f"{word!r} is not a number")
    return number


def parse_number(word: str) -> int | None:
    """Return the whole number that a word is; None if it is none, or one that no row can have."""
    if not re.fullmatch(r"[+-]?[0-9]{1,30}", word):
        return None
    return int(word)


def is_older() -> bool:
    """Return whether the engine has said that what is in the database is older than what it knows."""
    return bool(_tell_once.cache_info().currsize)


def have_engine_look(directory: Path) -> Holder | None:
    """Return the engine that runs on this data; it has read the jobs again, and seen whether its database was lost.

    A command does this before it reads or writes the database: what it wrote into a file that took the place of the
    engine's own would never be done. None if no engine runs.
    """
    holder = holder_of(directory / paths.LOCK)
    if holder is not None:
        from engine.control.client import CommandRefused, EngineSilent, ask_to_look  # noqa: PLC0415 - only if one runs

        with suppress(EngineSilent, CommandRefused):
            if (unwritten := ask_to_look(directory, timeout=LOOK_TIMEOUT)) is not None:
                _tell_once(
                    f"the engine cannot write its database ({unwritten.why}); {unwritten.rows:,} rows wait in its "
                    "memory, and what is in the database is older"
                )
    return holder


@cache
def _tell_once(sentence: str) -> None:
    """Print a remark on stderr, once for a process."""
    print(one_line(sentence), file=sys.stderr)


def load_account(words: tuple[str, ...]) -> "tuple[Config, AccountConfig]":
    """Return the config and the account that ``[CONFIG] ACCOUNT`` names; exit if there is none."""
    from engine.config import UnknownAccount  # noqa: PLC0415 - as above

    path, name = config_and_account(words)
    config = load(path)
    try:
        return config, config.account(name)
    except UnknownAccount as exc:
        fail(EXIT_BAD_INPUT, str(exc))


def refuse_rows(config: "Config", account: "AccountConfig", *, option: Sequence[str] = ()) -> None:
    """Exit for a session that is in the config's database and not in its file."""
    if config.storage.database is not None and not os.path.lexists(account.session):
        from engine.console.shell import engine_command  # noqa: PLC0415 - for this mistake alone

        take = engine_command("session take", config.path, account.name, options=option)
        fail(
            EXIT_FAILED,
            f"{account.name}: its session is in the database, and not in a file; to write it into one: {take}",
        )


def match_accounts(names: Sequence[str], pattern: str, *, option: str = "") -> list[str]:
    """Return the account named ``pattern``, or all whose names match it as a glob; exit if there are none.

    ``option`` is the option that has the pattern, for the sentence.
    """
    from engine.control.protocol import MAX_PATTERN  # noqa: PLC0415 - few commands are about one account

    found = matching(names, pattern) if len(pattern) <= MAX_PATTERN else []
    if not found:
        prefix = f"{option}: " if option else ""
        fail(EXIT_BAD_INPUT, f"{prefix}no account is named like {pattern!r}; {nearest(pattern, names)}")
    return found


def one_account(names: Sequence[str], pattern: str) -> str:
    """Return the one account that ``--account`` means; exit if it is none, or several."""
    return single(match_accounts(names, pattern, option="--account"), pattern)


def single(found: Sequence[str], pattern: str) -> str:
    """Return the one account that was found for ``--account``; exit if it is several."""
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
