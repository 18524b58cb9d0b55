"""The lock of a login that is tidied away with what is in /tmp is made again while its account runs."""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.session.lock_watch import LockWatch
from adapters.session.login_claim import LoginClaim, LoginUser, runtime_directory, user_of_login
from adapters.system.namespace_locks import HeldName, NamespaceLocks, Process, holder_of

LOGINS = ("a login", "another login", "a third login")


@pytest.fixture
def claims(tmp_path: Path) -> Iterator[list[LoginClaim]]:
    """Return claims of three accounts."""
    found = [LoginClaim(f"Account {number}", tmp_path / f"{number}.session") for number in range(len(LOGINS))]
    for claim, login in zip(found, LOGINS, strict=True):
        claim.take(login)
    yield found
    for claim in found:
        claim.release()


def owned(claims: list[LoginClaim]) -> bool:
    """Return whether each login has its lock, which says whose it is."""
    wanted = [LoginUser(os.getpid(), claim.account, str(claim.session)) for claim in claims]
    return [user_of_login(login) for login in LOGINS] == wanted


@pytest.mark.parametrize("whole", [True, False])
def test_locks_that_were_tidied_away_are_made_again(claims: list[LoginClaim], whole: bool) -> None:
    """All of them, the directory too, or one; they go when the logins are given up."""
    if whole:
        shutil.rmtree(runtime_directory())
    else:
        next(runtime_directory().iterdir()).unlink()
    assert not owned(claims)
    assert not [said for path, said in LockWatch().renew_all() if path in {claim.session for claim in claims}]
    assert owned(claims)
    for claim in claims:
        claim.release()
    assert not list(runtime_directory().iterdir())


def test_a_login_that_another_one_holds_by_now_is_named(claims: list[LoginClaim]) -> None:
    """The claim stays what it was."""
    claims[0]._path.unlink()
    with claims[0]._path.open("x") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        said = [said for path, said in LockWatch().renew_all() if path == claims[0].session]
        assert said == ["for its login was removed, and another program holds it now: stop one of the two"]
    assert LockWatch().renew_all() is not None
    assert owned(claims)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has namespaces")
def test_a_name_is_taken_beside_that_of_a_process_that_has_just_ended() -> None:
    """It was taken by nobody then: whoever came later did not see who had it."""
    name = os.urandom(8).hex()
    ended, mine = NamespaceLocks(), NamespaceLocks()
    left = ended.take(name)
    assert isinstance(left, HeldName)
    assert ended._socket is not None
    ended._socket.close()
    taken = mine.take(name)
    assert isinstance(taken, HeldName)
    left.close()
    assert holder_of(name) == Process(os.getpid(), os.geteuid())
    taken.close()
    assert mine._socket is not None
    mine._socket.close()
