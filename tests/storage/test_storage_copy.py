"""``storage copy``: the real command between real files and a real database."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from adapters.sqlite.schema import TABLES as SQLITE_TABLES
from adapters.storage_copy.tables import LEFT_OUT_OF_POSTGRES, LEFT_OUT_OF_SQLITE, TABLES
from engine.cli import app
from tests.adapters.session.support import telethons
from tests.storage.copied_fleets import RandomFleet, config, contents


def copy(*words: object) -> int:
    """Run the command; return its exit code."""
    try:
        app(["storage", "copy", *map(str, words)])
    except SystemExit as left:
        return int(left.code or 0) if not isinstance(left.code, str) else 1
    return 0


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A config of files."""
    return config(tmp_path / "old" / "old.yaml", "A", "Account 1")


@pytest.fixture
def new(tmp_path: Path, store_url: str) -> Path:
    """A config of a database."""
    return config(tmp_path / "new" / "new.yaml", "A", "Account 1", database=store_url)


@pytest.fixture
def back(tmp_path: Path) -> Iterator[Path]:
    """A config of other files."""
    return config(tmp_path / "back" / "back.yaml", "A", "Account 1")


@pytest.mark.parametrize("seed", range(6))
def test_all_rows_are_the_same_after_the_way_there_and_back(old: Path, new: Path, back: Path, seed: int) -> None:
    """Every table, with whatever its columns can have; also the numbers that were given last."""
    RandomFleet(seed, rows=(3, 30)[seed % 2], first=(1, 5000)[seed % 3 == 0]).fill(old.parent / "data/engine.db")
    before = contents(old.parent / "data/engine.db")
    assert copy(old, new) == 0
    assert contents(old.parent / "data/engine.db") == before
    assert copy(new, back) == 0
    assert contents(back.parent / "data/engine.db") == before


def test_every_table_is_copied_or_left_out_for_a_reason(store_url: str) -> None:
    """A table that somebody adds to one of the stores is in the list, or is named with the reason why not."""
    with psycopg.connect(store_url) as connection:
        query = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        postgres = {name for (name,) in connection.execute(query)}
    copied = {table.name for table in TABLES}
    assert copied | LEFT_OUT_OF_SQLITE.keys() == SQLITE_TABLES
    assert copied | LEFT_OUT_OF_POSTGRES.keys() == postgres
    assert not copied & (LEFT_OUT_OF_SQLITE.keys() | LEFT_OUT_OF_POSTGRES.keys())


def test_each_login_changes_sides(old: Path, new: Path, back: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that was copied has a name that no program opens, and rows that were copied are marked."""
    RandomFleet(1).fill(old.parent / "data/engine.db")
    telethons(old.parent / "A.session", b"1" * 256, entities=3)
    assert copy(old, new, "--json") == 0
    assert json.loads(capsys.readouterr().out)["sessions"] == ["A"]
    assert [path.name[:17] for path in old.parent.glob("*.session*")] == ["A.session.brought"]
    assert copy(new, back) == 0
    assert [path.name for path in back.parent.glob("*.session")] == ["A.session"]
