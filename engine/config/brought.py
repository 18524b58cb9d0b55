"""Accounts by the dozen: an entry whose session has a wildcard stands for every file that fits it."""

import glob
from pathlib import Path
from typing import Any, Final

from engine.config.document import Problem

OF_ONE: Final = ("name", "phone", "bot_token")
"""Keys that belong to one account, and so not beside a wildcard."""


def expand(document: dict[str, Any], folder: Path) -> list[Problem]:
    """Put an entry for each session file in the place of each wildcard; return what is wrong with those.

    Each account is called as its file. The first takes the pattern's place and the others are added at the end, so
    that the other entries keep their numbers.
    """
    problems: list[Problem] = []
    accounts = document.get("accounts")
    if not isinstance(accounts, list):
        return problems
    result, more = list(accounts), []
    for index, account in enumerate(accounts):
        pattern = account.get("session") if isinstance(account, dict) else None
        if not isinstance(pattern, str) or not glob.has_magic(pattern):
            continue
        problems += [
            Problem(("accounts", index, key), "belongs to one account, and the session has a wildcard; remove it")
            for key in OF_ONE
            if account.get(key) is not None
        ]
        found = _files(pattern, folder)
        if not found:
            text = "no session file fits this wildcard; see that it names .session files, like brought/*.session"
            problems.append(Problem(("accounts", index, "session"), text))
        entries = [{**account, "name": Path(file).stem, "session": file} for file in found]
        result[index] = entries[0] if entries else {**account, "name": "none", "session": "none"}
        more += entries[1:]
    document["accounts"] = result + more
    return problems


def _files(pattern: str, folder: Path) -> list[str]:
    wanted = str(folder / Path(pattern).expanduser())
    wanted = wanted if wanted.endswith(".session") else f"{wanted}.session"
    return sorted(file for file in glob.glob(wanted, recursive=True) if Path(file).is_file())
