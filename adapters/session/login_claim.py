"""One user for each login: two connections with one key make Telegram destroy it.

The lock beside a session file does not see a copy of that file. So whoever is about to connect claims the login itself,
by a fingerprint of its key: in this process, and among all of this user's processes on this machine by a lock file in a
private directory. The fingerprint says nothing of the key.
"""

import fcntl
import hashlib
import json
import os
import stat
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from adapters.session.errors import LoginInUse, SessionHeld

_DIRECTORY: Final = "holdfast"
_SHARED: Final = Path("/tmp")
_guard = threading.Lock()
_claims: "weakref.WeakValueDictionary[str, LoginClaim]" = weakref.WeakValueDictionary()
"""Who uses which login in this process."""


@frozen
class LoginUser:
    """Who uses a login now."""

    pid: int
    account: str
    session: str
    """The path of the session file."""


@define(eq=False, slots=False)
class LoginClaim:
    """What one account claims: the login of its session, while it may connect."""

    account: str
    session: Path
    _login: str = field(default="", init=False)
    _descriptor: int | None = field(default=None, init=False)

    def take(self, login: str) -> None:
        """Claim a login by the fingerprint of its key; a claim of another login ends.

        Raises ``LoginInUse`` if another account of this process has it, and ``SessionHeld`` if another process has.
        """
        if login == self._login:
            return
        self.release()
        with _guard:
            other = _claims.get(login)
            if other is not None and other is not self:
                raise LoginInUse(
                    f"{self.session}: {other.account} ({other.session}) uses the same login, and Telegram destroys a "
                    "key that two connections use; remove one of the two from the config, or log this one in by itself",
                    other.session,
                )
            descriptor, user = _lock(login)
            if descriptor is None and user is not None:
                raise SessionHeld(
                    f"{self.session}: process {user.pid} uses the same login, as {user.account} ({user.session}), and "
                    "Telegram destroys a key that two connections use; end that program, or log this account in by "
                    "itself"
                )
            self._login, self._descriptor = login, descriptor
            _claims[login] = self
        if descriptor is not None:
            with suppress(OSError):  # a full disk: the lock works without a name in it
                os.ftruncate(descriptor, 0)
                said = {"pid": os.getpid(), "account": self.account, "session": os.path.abspath(self.session)}
                os.pwrite(descriptor, json.dumps(said).encode(), 0)

    def release(self) -> None:
        """Let others use the login; do nothing without a claim."""
        with _guard:
            if self._login and _claims.get(self._login) is self:
                del _claims[self._login]
            if self._descriptor is not None:
                with suppress(OSError):
                    os.unlink(_path(self._login))
                os.close(self._descriptor)
            self._login, self._descriptor = "", None

    def __del__(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None


def user_of_login(login: str) -> LoginUser | None:
    """Return who uses the login with this fingerprint now, in whatever process of this user; None if nobody does."""
    path = _path(login)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(path)
    except OSError:
        return None
    else:
        return None
    finally:
        os.close(descriptor)


def runtime_directory() -> Path:
    """Return the directory for this user's lock files on this machine.

    It is the same for a service and for a shell: neither ``XDG_RUNTIME_DIR`` nor ``TMPDIR`` counts, which one of two
    programs has and the other has not. Whoever has another ``/tmp`` names a common directory in ``HOLDFAST_LOGINS``.
    """
    given = os.environ.get("HOLDFAST_LOGINS")
    return Path(given) if given and os.path.isabs(given) else _SHARED / f"{_DIRECTORY}-{os.geteuid()}"


def _path(login: str) -> Path:
    return runtime_directory() / f"{hashlib.sha256(login.encode()).hexdigest()[:32]}.login"


def _lock(login: str) -> tuple[int | None, LoginUser | None]:
    """Return a descriptor that holds the lock, or who has it; neither where this machine has no place for locks."""
    path = _path(login)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.parent.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return None, None  # somebody else's: what stands there proves nothing
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor, None
            except BlockingIOError:
                os.close(descriptor)
                return None, _read(path)
            except FileNotFoundError:  # its owner has just removed it
                pass
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
    except OSError:
        return None, None


def _read(path: Path) -> LoginUser:
    """Return what the lock of a login says of its owner."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        said: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return LoginUser(int(said["pid"]), str(said["account"]), str(said["session"]))
    return LoginUser(0, "an account", "unknown file")


def _forget_in_child() -> None:
    """Close the locks in a child that goes on without ``exec``: it would hold them after this process has ended."""
    for claim in list(_claims.values()):
        if claim._descriptor is not None:
            with suppress(OSError):
                os.close(claim._descriptor)
            claim._descriptor = None
    _claims.clear()


os.register_at_fork(after_in_child=_forget_in_child)
