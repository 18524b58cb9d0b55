"""``LockWatch`` finds each lock that is gone, and looks at none where no name has changed."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.session import OwnerLock, lock_watch
from adapters.session.lock_watch import COMPLETE_EVERY, LockWatch

COUNT = 5


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the sessions whose locks are looked at from now on."""
    looked: list[str] = []
    renew = OwnerLock.renew

    def counted(lock: OwnerLock) -> str | None:
        looked.append(lock.session.name)
        return renew(lock)

    monkeypatch.setattr(OwnerLock, "renew", counted)
    return looked


@pytest.fixture
def locks(tmp_path: Path) -> Iterator[list[OwnerLock]]:
    """Return held locks of sessions in one directory."""
    (tmp_path / "sessions").mkdir()
    found = [OwnerLock(tmp_path / "sessions" / f"{number}.session") for number in range(COUNT)]
    for lock in found:
        lock.session.write_bytes(b"")
        lock.acquire()
    yield found
    for lock in found:
        lock.release()


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust a directory's stamp at once: a test's changes are further apart than what a stamp can tell apart."""
    monkeypatch.setattr(lock_watch, "SETTLED_NS", 0)


def later() -> None:
    """Let the next change of a directory have another stamp."""
    time.sleep(0.02)


def mine(found: list[tuple[Path, str]], locks: list[OwnerLock]) -> list[str]:
    """Return of which of these locks something was said; other tests of this process may have some, too."""
    return [path.name for path, _ in found if path in {lock.session for lock in locks}]


def remove(session: Path) -> None:
    """Remove the lock file."""
    session.with_name(f"{session.name}.lock").unlink()


def replace(session: Path) -> None:
    """Put another file in the lock file's place."""
    other = session.with_name("other")
    other.write_text("{}")
    other.rename(session.with_name(f"{session.name}.lock"))


def restore(session: Path) -> None:
    """Put another session in the session's place, and lose the lock file with it."""
    other = session.with_name("other")
    other.write_bytes(b"")
    other.rename(session)
    remove(session)


def move(session: Path) -> None:
    """Put another directory in the directory's place, with one session and no locks."""
    session.parent.rename(session.parent.with_name("before"))
    session.parent.mkdir()
    session.write_bytes(b"")


@pytest.mark.usefixtures("settled")
def test_nothing_is_looked_at_where_no_name_has_changed(locks: list[OwnerLock], looks: list[str]) -> None:
    """However many accounts there are; what is written into the sessions changes no name."""
    watch = LockWatch()
    later()
    watch.renew_all()
    looks.clear()
    for lock in locks:
        lock.session.write_bytes(b"written")
    assert watch.renew_all() == []
    assert looks == []


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("lose", [remove, replace, restore, move])
def test_a_lock_that_is_gone_is_made_again(locks: list[OwnerLock], lose: Callable[[Path], None]) -> None:
    """At the next look, and it is said once."""
    watch = LockWatch()
    later()
    assert watch.renew_all() == watch.renew_all() == []
    later()
    lose(locks[2].session)
    assert "2.session" in mine(watch.renew_all(), locks)
    assert os.path.exists(f"{locks[2].session}.lock")
    assert mine(watch.renew_all(), locks) == []


def test_a_stamp_that_is_new_is_not_trusted(locks: list[OwnerLock], looks: list[str]) -> None:
    """What changes a moment later may leave the same stamp."""
    watch = LockWatch()
    for _ in range(2):
        looks.clear()
        watch.renew_all()
        assert len(looks) >= COUNT


@pytest.mark.usefixtures("settled")
def test_a_lock_that_is_new_is_looked_at(locks: list[OwnerLock], looks: list[str], tmp_path: Path) -> None:
    """Also where its file was there before, so that no name has changed."""
    watch = LockWatch()
    session = tmp_path / "sessions" / "new.session"
    session.write_bytes(b"")
    session.with_name("new.session.lock").write_text("{}")
    later()
    watch.renew_all()
    lock = OwnerLock(session)
    lock.acquire()
    looks.clear()
    watch.renew_all()
    lock.release()
    assert "new.session" in looks


@pytest.mark.usefixtures("settled")
def test_a_session_that_is_a_link_is_always_looked_at(looks: list[str], tmp_path: Path) -> None:
    """What it points at changes names in another directory."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.session").write_bytes(b"")
    link = tmp_path / "link.session"
    link.symlink_to(tmp_path / "elsewhere" / "a.session")
    lock = OwnerLock(link)
    lock.acquire()
    watch = LockWatch()
    later()
    watch.renew_all()
    looks.clear()
    watch.renew_all()
    lock.release()
    assert "link.session" in looks


@pytest.mark.usefixtures("settled")
def test_all_are_looked_at_now_and_then(
    locks: list[OwnerLock], looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the file system says of its directories."""
    watch, began = LockWatch(), time.monotonic()
    later()
    watch.renew_all()
    looks.clear()
    monkeypatch.setattr(time, "monotonic", lambda: began + COMPLETE_EVERY + 1)
    watch.renew_all()
    assert len(looks) >= COUNT
