"""The engine's own files, under whatever name, and what is known by its content."""

import gzip
import io
import os
import tarfile
from pathlib import Path

from adapters.own_places import HEAD_BYTES, OwnPlaces, is_session_name, secret_content


def test_a_place_is_known_through_links(tmp_path: Path) -> None:
    """A directory that leads into one of the engine's own, and a path around it, are the engine's own, too."""
    (tmp_path / "data").mkdir()
    (tmp_path / "also").symlink_to(tmp_path / "data")
    places = OwnPlaces.of([tmp_path / "config.yaml"], [tmp_path / "data"])
    for own in ("data", "data/x/y", "also/engine.db", "data/../data/z", "config.yaml"):
        assert places.covers(tmp_path / own), own
    for other in ("data2", "config.yaml.bak", "media/data"):
        assert not places.covers(tmp_path / other), other


def test_a_file_is_known_by_its_number(tmp_path: Path) -> None:
    """A hard link is the same file; a copy is not, and a file that does not exist yet is no other."""
    own, other = tmp_path / "config.yaml", tmp_path / "copy.yaml"
    own.write_text("x")
    other.write_text("x")
    os.link(own, tmp_path / "linked")
    places = OwnPlaces.of([own, tmp_path / "absent"], [])
    assert places.has_inode((tmp_path / "linked").stat())
    assert not places.has_inode(other.stat())


def test_a_backup_is_known_by_its_beginning() -> None:
    """An archive of ``backup`` begins with its manifest; other archives, and broken ones, are anybody's."""
    for name, known in (("manifest.json", True), ("notes.txt", False)):
        packed = io.BytesIO()
        with gzip.open(packed, "wb") as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        assert (secret_content(packed.getvalue()[:HEAD_BYTES], len(packed.getvalue())) is not None) is known
    assert secret_content(b"\x1f\x8bbroken", 8) is None
    assert secret_content(b"", 0) is None


def test_session_files_are_known_by_their_names() -> None:
    """With what SQLite puts beside them, however the letters are written."""
    assert all(map(is_session_name, ("a.session", "A.SESSION", "a.session-wal", "a.session-journal", "a.session-shm")))
    assert not any(map(is_session_name, ("session", "a.session.txt", "a.sessions", "asession")))
