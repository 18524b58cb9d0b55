"""What a killed backup leaves under a backup's name displaces no good one."""

import os
from pathlib import Path

import pytest

from adapters.session.backup import KEEP, back_up, backups_of
from tests.adapters.session.support import change, telethons
from tests.adapters.session.test_killed_midway import killed_at
from tests.adapters.session.test_trouble import damage


def fill(path: Path, directory: Path, count: int) -> list[Path]:
    """Make so many backups, each of another content; return them, newest first."""
    made = []
    for number in range(count):
        change(path, f"update sessions set port = {1000 + number}")
        made.append(back_up(path, directory))
    return made[::-1]


@pytest.mark.slow
@pytest.mark.parametrize("links", [True, False])
def test_a_backup_that_is_killed_at_any_step_displaces_no_good_one(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven good ones are kept, however often a backup is killed; with hard links, no bad one has a backup's name."""
    path, directory = telethons(tmp_path / "account1.session", entities=3), tmp_path / "backups"
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    fill(path, directory, KEEP)
    number = 1
    while killed_at(number, lambda: back_up(path, directory)):
        change(path, f"update sessions set port = {2000 + number}")
        found = backups_of(directory, "account1")
        assert sum(copy.good for copy in found) >= KEEP - 1  # one was deleted for the new one, which is good
        assert not links or all(copy.good for copy in found)
        number += 1
    assert number > 10
    good = [copy for copy in backups_of(directory, "account1") if copy.good]
    assert len(good) == KEEP


def refuse(*_: object) -> None:
    raise PermissionError(1, "no hard links here")


@pytest.mark.parametrize("flaw", ["empty", "half", "damaged"])
def test_a_file_that_cannot_be_used_is_not_counted(tmp_path: Path, flaw: str) -> None:
    """Three such files among the newest cost none of the seven; they go when seven good ones are newer."""
    path, directory = telethons(tmp_path / "account1.session", entities=300), tmp_path / "backups"
    made = fill(path, directory, KEEP)
    bad = [directory / f"account1-2{number}990101T000000Z.session" for number in range(3)]
    for file in bad:
        file.write_bytes({"empty": b"", "half": made[0].read_bytes()[:5000]}.get(flaw, made[0].read_bytes()))
        if flaw == "damaged":
            damage(file)
    newer = fill(path, directory, 2)
    assert [copy.path for copy in backups_of(directory, "account1") if copy.good] == [*newer, *made[: KEEP - 2]]
    fill(path, directory, KEEP)
    assert not [file for file in bad if file.exists()]
    assert len(backups_of(directory, "account1")) == KEEP
