"""One lock file under many names: a descriptor for all, and for every other program a lock for each."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.session.errors import SessionHeld
from adapters.session.login_claim import MAX_OLD_LINES, LoginClaim, runtime_directory, user_of_login
from adapters.session.owner import OwnerLock, lock_path, owner_of
from tests.adapters.session.support import program, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each lock is a file of its own")

MANY = 20
TAKES = """
import sys
from pathlib import Path
from adapters.session import OwnerLock
locks = [OwnerLock(Path(name)) for name in sys.argv[1:]]
for lock in locks:
    lock.acquire()
print("taken", flush=True)
sys.stdin.read()
"""
"""A program that owns sessions until it is killed."""
ALONE = """
import sys
from pathlib import Path
from adapters.session import OwnerLock, SessionHeld, owner_of
for name in sys.argv[1:]:
    try:
        OwnerLock(Path(name)).acquire(0)
        print("free")
    except SessionHeld:
        print(owner_of(Path(name)).pid)
"""
"""A program that says of each session whose it is."""


@pytest.fixture
def sessions(tmp_path: Path) -> list[Path]:
    """Return session files in one directory."""
    paths = [tmp_path / f"account{number}.session" for number in range(MANY)]
    for path in paths:
        path.write_bytes(b"")
    return paths


@contextmanager
def owning(sessions: list[Path]) -> Iterator[list[OwnerLock]]:
    """Own sessions for the block."""
    locks = [OwnerLock(path) for path in sessions]
    for lock in locks:
        lock.acquire()
    try:
        yield locks
    finally:
        for lock in locks:
            lock.release()


def held() -> int:
    """Return how many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


def seen(sessions: list[Path]) -> list[str]:
    """Return what another program says of each session."""
    command = [sys.executable, "-c", ALONE, *map(str, sessions)]
    root = str(Path(__file__).parents[3])
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}
    ).stdout.split()


def lock_files(directory: Path) -> int:
    """Return how many different files the locks in a directory are."""
    return len({path.stat().st_ino for path in directory.glob("*.lock")})


def test_a_session_more_takes_one_descriptor(sessions: list[Path]) -> None:
    """That of the lock on the session itself; the lock files of a directory are one."""
    with owning(sessions[:1]):
        one = held()
        with owning(sessions[1:]):
            assert held() == one + MANY - 1
            assert lock_files(sessions[0].parent) == 1
    assert not list(sessions[0].parent.glob("*.lock"))


def test_each_session_is_seen_in_use_and_only_what_was_released_is_free(sessions: list[Path]) -> None:
    """Also when the first one, whose lock file the others' are, is released before them."""
    with owning(sessions) as locks:
        assert seen(sessions) == [str(os.getpid())] * MANY
        locks[0].release()
        locks[7].release()
        assert seen(sessions) == [("free" if at in (0, 7) else str(os.getpid())) for at in range(MANY)]
        with pytest.raises(SessionHeld, match="open in this very program already"):
            OwnerLock(sessions[3]).acquire(0)
    assert seen(sessions) == ["free"] * MANY


def test_what_a_killed_program_left_can_be_taken_by_two(sessions: list[Path]) -> None:
    """Its names were one file; those who come after it must not hold each other's sessions by that."""
    with program(TAKES, *sessions) as dead:
        assert dead.say() == "taken"
    until(lambda: owner_of(sessions[0]) is None)
    assert lock_files(sessions[0].parent) == 1
    with owning(sessions[:10]), program(TAKES, *sessions[10:]) as other:
        assert other.say() == "taken"
        assert lock_files(sessions[0].parent) == 2
        mine, its = str(os.getpid()), str(other.process.pid)
        assert seen(sessions) == [mine] * 10 + [its] * 10


def test_lock_files_that_were_removed_are_made_again_as_one(sessions: list[Path]) -> None:
    """No descriptor more is held for it."""
    with owning(sessions) as locks:
        before = held()
        for path in sessions:
            lock_path(path).unlink()
        assert [lock.renew() for lock in locks] == ["was removed or replaced; it is held again"] * MANY
        assert [lock.renew() for lock in locks] == [None] * MANY
        assert (held(), lock_files(sessions[0].parent)) == (before, 1)
        assert seen(sessions) == [str(os.getpid())] * MANY


def test_a_name_that_was_removed_is_not_taken_twice_in_one_program(sessions: list[Path]) -> None:
    """And the attempt takes nothing away from who has it."""
    with owning(sessions[:1]) as (lock,):
        lock_path(sessions[0]).unlink()
        with pytest.raises(SessionHeld):
            OwnerLock(sessions[0]).acquire(0)
        assert lock.renew() is not None
        assert seen(sessions[:1]) == [str(os.getpid())]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EMLINK])
def test_without_another_link_a_session_has_a_lock_file_of_its_own(
    sessions: list[Path], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """There are file systems without them, and a file may have only so many."""

    def none(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", none)
    with owning(sessions[:3]):
        assert lock_files(sessions[0].parent) == 3
        assert seen(sessions[:4]) == [str(os.getpid())] * 3 + ["free"]
    assert not list(sessions[0].parent.glob("*.lock"))


def test_claims_are_one_file_that_says_whose_each_is(tmp_path: Path) -> None:
    """Another program reads its line; what was given up is free, and the rest is not."""
    claims = [LoginClaim(f"Account {number}", tmp_path / f"{number}.session") for number in range(MANY)]
    for number, claim in enumerate(claims):
        claim.take(f"login {number}")
    names = list(runtime_directory().iterdir())
    assert (len(names), len({path.stat().st_ino for path in names})) == (MANY, 1)
    claims[0].release()
    found = [user_of_login(f"login {number}") for number in range(MANY)]
    assert found[0] is None
    assert [user.account for user in found[1:] if user] == [claim.account for claim in claims[1:]]
    for claim in claims:
        claim.release()
    assert not list(runtime_directory().iterdir())


def test_a_login_that_is_claimed_again_and_again_does_not_fill_the_disk(tmp_path: Path) -> None:
    """The lines of claims that are over are dropped."""
    stays, comes = (LoginClaim(name, tmp_path / f"{name}.session") for name in ("stays", "comes"))
    stays.take("a login")
    for _ in range(2 * MAX_OLD_LINES + 10):
        comes.take("another login")
        comes.release()
    (lock,) = runtime_directory().iterdir()
    assert len(lock.read_bytes().splitlines()) <= MAX_OLD_LINES + 6
    user = user_of_login("a login")
    assert user is not None
    assert user.account == "stays"
    stays.release()
