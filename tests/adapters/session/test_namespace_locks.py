"""Names in the network's namespace: one descriptor for all, seen whatever directories a program sees."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.session import login_claim
from adapters.session.errors import SessionHeld
from adapters.session.login_claim import LoginClaim, LoginUser, runtime_directory, user_of_login
from adapters.system import namespace_locks
from adapters.system.namespace_locks import NamespaceLocks, Process, holder_of
from tests.adapters.session.support import program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has namespaces")

MANY = 20
TAKES = """
import sys
from pathlib import Path
from adapters.session.login_claim import LoginClaim
claims = [LoginClaim("A", Path(f"/srv/{name}.session")) for name in sys.argv[1:]]
for claim, name in zip(claims, sys.argv[1:]):
    claim.take(name)
print("taken", flush=True)
for line in sys.stdin:
    claims[int(line)].release()
    print("released", flush=True)
"""
"""A program that uses logins, and gives up those that it is told to."""


def names(count: int = MANY) -> list[str]:
    """Return names that no other test has."""
    return [f"{os.getpid()} {number} {os.urandom(8).hex()}" for number in range(count)]


def held() -> int:
    """Return how many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


def test_names_take_no_descriptor_each(tmp_path: Path) -> None:
    """Nor do their lock files: a claim more is only a file name and a lock in the kernel."""
    claims = [(LoginClaim("A", tmp_path / "a.session"), name) for name in names()]
    claims[0][0].take(claims[0][1])
    before = held()
    for claim, name in claims[1:]:
        claim.take(name)
    assert held() == before
    for claim, _ in claims:
        claim.release()


def test_a_program_with_another_tmp_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all its logins, as long as it lives and has not given them up."""
    logins = names(3)
    monkeypatch.setattr(login_claim, "_SHARED", tmp_path / "another")
    monkeypatch.delenv("HOLDFAST_LOGINS")
    monkeypatch.setattr(login_claim, "runtime_directory", lambda: tmp_path / "another")
    with program(TAKES, *logins) as other:
        assert other.say() == "taken"
        pid = other.process.pid
        claim = LoginClaim("B", tmp_path / "b.session")
        for login in logins:
            assert user_of_login(login) == LoginUser(pid, "", "")
            with pytest.raises(SessionHeld, match=f"process {pid} uses the same login"):
                claim.take(login)
        assert other.process.stdin is not None
        other.process.stdin.write("1\n")
        other.process.stdin.flush()
        assert other.say() == "released"
        claim.take(logins[1])
        assert user_of_login(logins[2]) == LoginUser(pid, "", "")
    for login in (logins[0], logins[2]):
        claim.take(login)
    claim.release()
    assert user_of_login(logins[2]) is None


def test_a_socket_s_name_is_seen_too(tmp_path: Path) -> None:
    """Earlier versions have one for each login."""
    (login,) = names(1)
    code = (
        "import socket, sys; mine = socket.socket(socket.AF_UNIX); mine.bind('\\0' + sys.argv[1]); mine.listen()\n"
        "print('bound', flush=True); sys.stdin.read()"
    )
    with program(code, login_claim._name(login)[1:]) as other:
        assert other.say() == "bound"
        assert user_of_login(login) == LoginUser(other.process.pid, "", "")
        with pytest.raises(SessionHeld, match=f"process {other.process.pid} uses"):
            LoginClaim("B", tmp_path / "b.session").take(login)


def test_without_such_locks_a_socket_has_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no /proc, say; others see it all the same."""
    (login,) = names(1)
    monkeypatch.setattr(namespace_locks, "_NAMESPACE", str(tmp_path / "none"))
    monkeypatch.setattr(login_claim, "_NAMES", NamespaceLocks())
    claim = LoginClaim("A", tmp_path / "a.session")
    claim.take(login)
    for path in runtime_directory().iterdir():
        path.unlink()
    assert user_of_login(login) == LoginUser(os.getpid(), "", "")
    claim.release()
    assert user_of_login(login) is None


def test_another_user_s_process_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody can take a name; only this user's processes and root's keep an account from connecting."""
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert login_claim._believed(Process(1, 12345)) is None
    assert login_claim._believed(Process(1, 54321)) == LoginUser(1, "", "")
    assert login_claim._believed(Process(1, 0)) == LoginUser(1, "", "")
    assert login_claim._believed(None) is None


def test_a_lock_whose_number_nobody_has_is_nobody_s() -> None:
    """A process that has announced a name and is gone, or never was one of ours, keeps nobody out."""
    (name,) = names(1)
    stranger, mine = NamespaceLocks(), NamespaceLocks()
    taken = stranger.take(name)
    assert isinstance(taken, namespace_locks.HeldName)
    assert holder_of(name) == Process(os.getpid(), os.geteuid())
    assert mine.take(name) == Process(os.getpid(), os.geteuid())
    assert stranger._socket is not None
    stranger._socket.close()
    assert holder_of(name) is None
    taken.close()
    assert mine._socket is not None
    mine._socket.close()


def test_a_child_gives_up_nothing_of_its_parent_s(tmp_path: Path) -> None:
    """It has the descriptor's number only, and no claim."""
    (login,) = names(1)
    claim = LoginClaim("A", tmp_path / "a.session")
    claim.take(login)
    child = os.fork()
    if not child:
        claim.release()
        os._exit(0)
    os.waitpid(child, 0)
    look = f"from adapters.session.login_claim import user_of_login; print(user_of_login({login!r}).pid)"
    said = subprocess.run(
        [sys.executable, "-c", look],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    ).stdout
    assert said.split() == [str(os.getpid())]
    assert holder_of(login_claim._name(login)) is not None
    claim.release()


def test_what_is_forgotten_gives_no_warning() -> None:
    """A socket that is dropped does: in a child, whose stderr may be another thread's for ever."""
    mine = NamespaceLocks()
    mine.take(names(1)[0])
    assert mine._socket is not None
    dropped, number = mine._socket, mine._socket.fileno()
    mine.forget()
    assert dropped.fileno() == -1
    os.close(number)
