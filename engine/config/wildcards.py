"""Wildcards: an entry whose session has one stands for all files that match it, each an account."""

import glob
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from engine import paths
from engine.config.document import Problem
from engine.config.outline import DEFAULT_DIRECTORY
from engine.config.values import is_name
from engine.console.format import may_show

SINGLE_ACCOUNT_KEYS: Final = ("name", "phone", "bot_token")
"""Keys that belong to one account, and are therefore not allowed beside a wildcard."""
WILDCARD: Final = re.compile(r"[*?]")


def expand(document: dict[str, Any], folder: Path) -> tuple[list[Problem], list[int]]:
    """Replace each entry with a wildcard by an entry for each session file that matches it.

    Each account is named after its file. The first takes the place of the wildcard and the others are added at the end,
    so that the other entries keep their numbers. Returns the problems of the wildcards, and for each entry the number
    of the entry in the file from which it comes.
    """
    problems: list[Problem] = []
    accounts = document.get("accounts")
    if not isinstance(accounts, list):
        return problems, []
    result, origin, more = list(accounts), list(range(len(accounts))), []
    backups = _backup_directory(document, folder)
    for index, account in enumerate(accounts):
        pattern = account.get("session") if isinstance(account, dict) else None
        if not isinstance(pattern, str) or not WILDCARD.search(pattern):
            continue
        found = [file for file in _find_files(pattern, folder) if backups not in file.parents]
        problems += _find_problems(index, account, found)
        entries = [{**account, "name": _account_name(file, index), "session": str(file)} for file in found]
        result[index] = entries[0] if entries else {**account, "name": f"none {index}", "session": f"none {index}"}
        more += entries[1:]
        origin += [index] * len(entries[1:])
    document["accounts"] = result + more
    return problems, origin


def restore_origin(problem: Problem, origin: list[int]) -> Problem:
    """Return a problem with the number of the entry in the file, instead of one that came from a wildcard."""
    match problem.path:
        case ("accounts", int(index), *rest) if index < len(origin):
            return attrs.evolve(problem, path=("accounts", origin[index], *rest))
    return problem


def _find_problems(index: int, account: dict[str, Any], found: list[Path]) -> Iterator[Problem]:
    for key in SINGLE_ACCOUNT_KEYS:
        if account.get(key) is not None:
            text = "belongs to one account, and the session has a wildcard; remove it"
            yield Problem(("accounts", index, key), text)
    path = ("accounts", index, "session")
    if not found:
        text = "no session file matches this wildcard; see that it names .session files, like mine/*.session"
        yield Problem(path, text)
    first: dict[str, Path] = {}
    for file in found:
        if not is_name(file.stem):
            yield Problem(
                path,
                f"an account is named after its file, and {_show_file(file)} cannot be a name: it needs 1 to 64 "
                "printable characters, with no space at either end; rename the file",
            )
        elif (other := first.setdefault(file.stem, file)) is not file:
            both = f"{_show_file(other)} and {_show_file(file)}"
            yield Problem(path, f"{both} would be accounts of the same name; rename one of the files")


def _account_name(file: Path, index: int) -> str:
    return file.stem if is_name(file.stem) else f"none {index}"  # never used, because the problem is reported


def _show_file(file: Path) -> str:
    """Return the end of a path, unless it may hold a phone number."""
    name = f"{file.parent.name}/{file.name}"
    return repr(name) if may_show(name) else f"a file in {file.parent.name!r}"


def _find_files(pattern: str, folder: Path) -> list[Path]:
    """Return the files that match. Only ``*`` and ``?`` are wildcards, because brackets are common in names."""
    try:
        wanted = Path(glob.escape(str(folder))) / Path(pattern.replace("[", "[[]")).expanduser()
    except RuntimeError:  # the home of a user that does not exist
        return []
    wanted = wanted if pattern.endswith(".session") else wanted.with_name(f"{wanted.name}.session")
    return sorted(Path(file) for file in glob.glob(str(wanted), recursive=True) if Path(file).is_file())


def _backup_directory(document: dict[str, Any], folder: Path) -> Path:
    """Return the directory of the backups: copies of sessions, which ``**`` must not take for more accounts."""
    storage = document.get("storage")
    directory = storage.get("directory") if isinstance(storage, dict) else None
    return folder / (directory if isinstance(directory, str) else DEFAULT_DIRECTORY) / paths.BACKUPS
