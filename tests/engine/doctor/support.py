"""What the tests of ``doctor`` and of backups share."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.cli import app
from tests.engine.harness import EngineHarness


def wal(path: Path) -> None:
    """Turn WAL on."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma journal_mode = wal")


def doctor(harness: EngineHarness, capsys: Any, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """Run it; return the exit code and what it found."""
    with pytest.raises(SystemExit) as left:
        app(["doctor", str(harness.config), "--json", *options])
    code = left.value.code
    return int(code or 0) if not isinstance(code, str) else 1, json.loads(capsys.readouterr().out)


def wrong(findings: list[dict[str, Any]], about: str) -> list[str]:
    """Return what is wrong with something, apart from the datacenter that does not run."""
    return [one["text"] for one in findings if one["well"] is False and one["about"] == about]


def command(capsys: Any, *words: str) -> tuple[Any, str]:
    """Run a command in this process; return exit code and output."""
    code: Any = 0
    try:
        app(list(words))
    except SystemExit as left:
        code = left.code or 0
    said = capsys.readouterr()
    return code, said.out + said.err
