"""Accounts by the dozen: an entry whose session has a wildcard stands for every file that fits it."""

import glob
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from engine import paths
from engine.config.document import Problem
from engine.config.types import Storage, is_name
from engine.console.format import may_show

OF_ONE: Final = ("name", "phone", "bot_token")
"""Keys that belong to one account, and so not beside a wildcard."""
WILDCARD: Final = re.compile(r"[*?]")


def expand(document: dict[str, Any], folder: Path) -> tuple[list[Problem], list[int]]:
    """Put an entry for each session file in the place of each wildcard.

    Each account is called as its file. The first takes the wildcard's place and the others are added at the end, so
    that the other entries keep their numbers. Returns what is wrong with the wildcards, and for each entry the number
    of the one in the file that it comes from.
    """
    problems: list[Problem] = []
    accounts = document.get("accounts")
    if not isinstance(accounts, list):
        return problems, []
    result, origin, more = list(accounts), list(range(len(accounts))), []
    backups = _backups(document, folder)
    for index, account in enumerate(accounts):
        pattern = account.get("session") if isinstance(account, dict) else None
        if not isinstance(pattern, str) or not WILDCARD.search(pattern):
            continue
        found = [file for file in _files(pattern, folder) if backups not in file.parents]
        problems += _problems(index, account, found)
        entries = [{**account, "name": _name(file, index), "session": str(file)} for file in found]
        result[index] = entries[0] if entries else {**account, "name": f"none {index}", "session": f"none {index}"}
        more += entries[1:]
        origin += [index] * len(entries[1:])
    document["accounts"] = result + more
    return problems, origin


def at_origin(problem: Problem, origin: list[int]) -> Problem:
    """Return a problem with the number of the entry that the file has, not of one that a wildcard stands for."""
    match problem.path:
        case ("accounts", int(index), *rest) if index < len(origin):
            return attrs.evolve(problem, path=("accounts", origin[index], *rest))
    return problem


def _problems(index: int, account: dict[str, Any], found: list[Path]) -> Iterator[Problem]:
    for key in OF_ONE:
        if account.get(key) is not None:
            text = "belongs to one account, and the session has a wildcard; remove it"
            yield Problem(("accounts", index, key), text)
    place = ("accounts", index, "session")
    if not found:
        text = "no session file fits this wildcard; see that it names .session files, like brought/*.session"
        yield Problem(place, text)
    first: dict[str, Path] = {}
    for file in found:
        if not is_name(file.stem):
            yield Problem(
                place,
                f"an account is called as its file, and {_shown(file)} is no name: it needs 1 to 64 printable "
                "characters, with no space at either end; rename the file",
            )
        elif (other := first.setdefault(file.stem, file)) is not file:
            text = f"{_shown(other)} and {_shown(file)} would be accounts of the same name; rename one of the files"
            yield Problem(place, text)


def _name(file: Path, index: int) -> str:
    return file.stem if is_name(file.stem) else f"none {index}"  # on record, and of use to nobody


def _shown(file: Path) -> str:
    """Return a path's end, without what may be a phone number."""
    name = f"{file.parent.name}/{file.name}"
    return repr(name) if may_show(name) else f"a file in {file.parent.name!r}"


def _files(pattern: str, folder: Path) -> list[Path]:
    """Return the files that fit. Only ``*`` and ``?`` stand for others: brackets are common in names."""
    try:
        wanted = Path(glob.escape(str(folder))) / Path(pattern.replace("[", "[[]")).expanduser()
    except RuntimeError:  # the home of a user who is not known here
        return []
    wanted = wanted if pattern.endswith(".session") else wanted.with_name(f"{wanted.name}.session")
    return sorted(Path(file) for file in glob.glob(str(wanted), recursive=True) if Path(file).is_file())


def _backups(document: dict[str, Any], folder: Path) -> Path:
    """Return where backups lie: copies of sessions, which ``**`` must not take for more accounts."""
    storage = document.get("storage")
    directory = storage.get("directory") if isinstance(storage, dict) else None
    return folder / (directory if isinstance(directory, str) else Storage().directory) / paths.BACKUPS
