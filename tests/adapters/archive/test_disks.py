"""Disks and owners that a backup or a restore may meet: full ones, and directories of other users."""

import errno
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from adapters.archive import pack, restore
from adapters.archive.errors import ArchiveError, ForeignOwner
from tests.adapters.archive.support import Home
from tests.engine.app.test_full_disk import small_disk


def full(*_: object) -> NoReturn:
    """Do as the system does where a disk is full."""
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("size", ["16k", "64k", "128k"])
def test_a_disk_without_room_for_the_copies(home: Home, tmp_path: Path, size: str) -> None:
    """Whichever copy it is: the sentence names the archive's disk, which is the full one, and nothing is left there."""
    before = home.content()
    with small_disk(tmp_path / "small", size):
        target = tmp_path / "small" / "backup.tar.gz"
        with pytest.raises(ArchiveError, match="there is no room for the copies") as caught:
            home.pack(target)
        assert str(caught.value).startswith(f"{target}: ")
        assert str(home.path) not in str(caught.value)
        assert list(target.parent.iterdir()) == []
    assert home.content() == before


def test_a_disk_that_is_full_when_the_archive_is_written(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copies fitted, and the archive does not: there is none, and no rest of it."""
    monkeypatch.setattr(pack, "_add", full)
    target = tmp_path / "archives" / "backup.tar.gz"
    target.parent.mkdir()
    with pytest.raises(ArchiveError, match="there is no room for the copies"):
        home.pack(target)
    assert list(target.parent.iterdir()) == []


def test_a_disk_that_fills_up_during_a_restore(
    home: Home, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There was room when it began: nothing is replaced, and what was written beside the files is gone."""
    with small_disk(tmp_path / "small", "200k") as filler:
        other = Home(filler.parent / "home")
        other.path.mkdir()
        other.config.write_text("mine")
        usage = shutil.disk_usage(other.path)
        monkeypatch.setattr(restore.shutil, "disk_usage", lambda path: usage._replace(free=1 << 40))
        with pytest.raises(ArchiveError, match="nothing was replaced"):
            other.restore(archive)
        assert other.config.read_text() == "mine"
        assert other.left() == []
        assert not other.database.exists()


@pytest.mark.parametrize("begun", [False, True])
def test_root_restores_nothing_into_the_directory_of_a_user(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    """A service could not read what root owns; the sentence says whose directory it is, and nothing is made there."""
    home = Home(tmp_path / "theirs")
    home.path.mkdir()
    if begun:
        (home.path / "data").mkdir()
    if os.geteuid() == 0:
        os.chown(home.path, 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ForeignOwner, match="give 'restore' as that user"):
        home.restore(archive)
    assert [path.name for path in home.path.iterdir()] == (["data"] if begun else [])
