"""``kill -9`` of a program that writes. ``python -m tests.soak.crash`` does the same two hundred times."""

import shutil
import time
from hashlib import sha256
from pathlib import Path

import pytest

from tests.soak import storage
from tests.soak.storage import Durable, Lost

SEED = 11


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_what_was_durable_is_there_after_kill_9(tmp_path: Path, kills: int) -> None:
    """Records, keys and entities that were called durable survive, in the files and in copies of a stopped moment."""
    durable = storage.kill_again_and_again(tmp_path, kills, SEED)
    assert len(durable.records) > kills
    assert min(map(len, durable.keys.values())) > 0


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Durable]:
    """Return what a program has written, and what of it was durable."""
    directory, durable = tmp_path_factory.mktemp("written"), Durable()
    with storage.victim(directory, durable):
        while len(durable.records) < 100:
            time.sleep(0.01)
    return directory, durable


def test_the_check_finds_what_is_missing(written: tuple[Path, Durable]) -> None:
    """A record, an entity or a key that is not there is named; so the check can fail."""
    directory, durable = written
    storage.check(directory, durable)
    for missing in (Durable(records={("account 0", "1")}), Durable(entities={("account0.session", "1")}, keys={
        "account0.session": ["x"]}), ):  # fmt: skip
        with pytest.raises(Lost, match="are not there, such as"):
            storage.check(directory, missing)
    ((stored,),) = storage.ask(directory / "account0.session", "select auth_key from sessions")
    assert isinstance(stored, bytes)
    with pytest.raises(Lost, match="an older key"):
        storage.check(directory, Durable(keys={"account0.session": [sha256(stored).hexdigest(), "newer"]}))


def test_the_check_finds_damage(written: tuple[Path, Durable], tmp_path: Path) -> None:
    """A file with a page of something else is not taken for a good one."""
    directory = Path(shutil.copytree(written[0], tmp_path / "damaged"))
    storage.ask(directory / "account0.session", "pragma wal_checkpoint(truncate)")
    with (directory / "account0.session").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)
    with pytest.raises((Lost, storage.sqlite3.DatabaseError)):
        storage.check(directory, Durable())
