"""A file that is overwritten in its place while several processes have it open is noticed."""

import sqlite3
from contextlib import closing
from pathlib import Path

from adapters.sqlite.header_watch import HeaderWatch
from adapters.sqlite.node_file import NodeFile, take_over


def write(file: NodeFile, name: str) -> None:
    """Write something, as a worker does."""
    file.run(lambda db: db.execute("INSERT INTO node_accounts (name, hosts) VALUES (?, '*')", (name,)))


def test_a_file_that_is_overwritten_in_place_is_noticed_once(tmp_path: Path) -> None:
    """Not what is written there, moved into it, or put back in its place."""
    path, other = tmp_path / "engine.db", tmp_path / "other.db"
    for each in (path, other):
        take_over(each)
    watch = HeaderWatch(path)
    file = NodeFile.open(path)
    try:
        assert not watch.look()
        write(file, "A")
        assert not watch.look()
        file.move_log()
        assert not watch.look()
        path.unlink()
        write(file, "B")  # it is put back
        assert not watch.look()
        with path.open("r+b") as opened:
            opened.write(other.read_bytes())
        assert [watch.look(), watch.look()] == [True, False]
    finally:
        file.close()
        watch.close()


def test_a_mark_that_is_in_the_log_still_is_known(tmp_path: Path) -> None:
    """A reader has kept it from being moved: it comes into the file later."""
    path = tmp_path / "engine.db"
    take_over(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM nodes").fetchall()
        take_over(path)
        watch = HeaderWatch(path)
        assert not watch.look()
        reader.execute("COMMIT")
        file = NodeFile.open(path)
        file.move_log()
        assert not watch.look()
        file.close()
        watch.close()
