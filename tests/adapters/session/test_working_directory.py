"""A program that goes to another directory has other files there, under the same names."""

import os
from pathlib import Path

import pytest

from adapters.session.owner import OwnerLock, owner_of


@pytest.mark.parametrize("beside", [(), ("b.session",)])
def test_the_same_name_in_another_directory_is_another_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: tuple[str, ...]
) -> None:
    """Each has a lock of its own, which is removed where it was made."""
    locks = []
    for directory in (tmp_path / "one", tmp_path / "two"):
        directory.mkdir()
        monkeypatch.chdir(directory)
        for name in ("a.session", *beside):
            Path(name).write_bytes(b"")
            locks.append(OwnerLock(Path(name)))
            locks[-1].acquire(0)
    for directory in (tmp_path / "one", tmp_path / "two"):
        owner = owner_of(directory / "a.session")
        assert owner is not None
        assert owner.pid == os.getpid()
    for lock in locks:
        lock.release()
    assert not list(tmp_path.rglob("*.lock"))
    assert owner_of(tmp_path / "one" / "a.session") is None
