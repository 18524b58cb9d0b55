"""What all commands share: how they take a config, and how they say what is wrong."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import Parameter

from adapters.session.errors import SessionHeld
from adapters.sqlite import StorageError
from adapters.system import LockHeld
from engine.config import AccountConfig, Config, ConfigError, UnknownAccount, load, parse_duration
from engine.console.format import nearest
from engine.work.kinds import BadJob
from engine.work.modules import BadModule

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_ENGINE_RUNS = 3
EXIT_ENGINE_DOWN = 3

ConfigPath = Annotated[Path, Parameter(help="The config file.")]
Where = Annotated[
    str,
    Parameter(name="[CONFIG] ACCOUNT", negative="", help="The config file (config.yaml), and an account's name."),
]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]


def fail(code: int, *sentences: str) -> NoReturn:
    """Say what is wrong, and leave."""
    for sentence in sentences:
        print(sentence, file=sys.stderr)
    raise SystemExit(code)


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Turn what a person can mend into a sentence and an exit code."""
    try:
        yield
    except ConfigError as exc:
        fail(EXIT_BAD_INPUT, str(exc))
    except (BadJob, BadModule) as exc:
        fail(EXIT_BAD_INPUT, str(exc))
    except (LockHeld, SessionHeld) as exc:
        fail(EXIT_ENGINE_RUNS, str(exc))
    except StorageError as exc:
        fail(EXIT_FAILED, str(exc))
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        fail(EXIT_FAILED, f"{where}{(exc.strerror or str(exc)).lower()}; see that the directory can be written")


def account_of(where: tuple[str, ...]) -> tuple[Config, AccountConfig]:
    """Return the config and the account of it that ``[CONFIG] ACCOUNT`` names, or leave."""
    if len(where) not in (1, 2):
        fail(EXIT_BAD_INPUT, "name one account, after the config if that is not config.yaml")
    config = load(Path(where[0] if len(where) == 2 else "config.yaml"))
    try:
        return config, config.account(where[-1])
    except UnknownAccount as exc:
        fail(EXIT_BAD_INPUT, str(exc))


def duration_of(option: str, text: str) -> float:
    """Return the seconds of an option's value."""
    try:
        return parse_duration(text)
    except ValueError as exc:
        fail(EXIT_BAD_INPUT, f"{option}: {exc}")


def known(option: str, value: str | None, names: Sequence[str]) -> None:
    """Leave with a suggestion if an option names what does not exist."""
    if value is not None and value not in names:
        fail(EXIT_BAD_INPUT, f"{option}: there is no {value!r}; {nearest(value, names)}")
