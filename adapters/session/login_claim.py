"""One user for each login: two connections with one key make Telegram destroy it.

The lock beside a session file does not see a copy of that file. So whoever is about to connect claims the login itself,
by a fingerprint of its key: in this process, and among all processes on this machine by a lock file in a private
directory and, on Linux, by a name in the network's namespace. The fingerprint says nothing of the key.

That name is what is left where two programs have two /tmp, where something has tidied up in it, or where it is
read-only. It is a lock, see ``namespace_locks``; where there is none, and in earlier versions, it is a socket's.
"""

import errno
import fcntl
import hashlib
import json
import os
import socket
import stat
import sys
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from adapters.session.errors import LoginInUse, SessionHeld
from adapters.system import forks
from adapters.system.kernel_locks import may_lock_database
from adapters.system.locked_files import LockedFile, LockedFiles
from adapters.system.namespace_locks import HeldName, NamespaceLocks, Process, holder_of, process_of

_DIRECTORY: Final = "holdfast"
_SHARED: Final = Path("/tmp")
_BACKLOG: Final = 128
"""Connections to a socket that holds a name, which nobody accepts: each is a look at whose it is."""
LOCK_TIMEOUT: Final = 0.05
"""Seconds to wait for a lock: who looks whether it is held, or removes a dead one, holds it for a moment."""
_POLL_SECONDS: Final = 0.01
MAX_OLD_LINES: Final = 1000
"""Lines of claims that are over which a lock may have beside as many as there are claims."""
_FILES = LockedFiles()
_NAMES = NamespaceLocks()
_guard = threading.Lock()
_claims: "weakref.WeakValueDictionary[str, LoginClaim]" = weakref.WeakValueDictionary()
"""Who uses which login in this process."""


@frozen
class LoginUser:
    """Who uses a login now."""

    pid: int
    account: str
    session: str
    """The path of the session file; empty, as ``account`` is, where nothing but the process is known."""

    def __str__(self) -> str:
        who = f"process {self.pid}" if self.pid else "another program"
        return f"{who} ({self.account}, {self.session})" if self.session else who


@define(eq=False, slots=False)
class LoginClaim:
    """What one account claims: the login of its session, while it may connect."""

    account: str
    session: Path | str
    """The session file, or what names its rows in a database."""
    _login: str = field(default="", init=False)
    _path: Path = field(default=Path(), init=False)
    """Where the lock of the login is."""
    _file: LockedFile | None = field(default=None, init=False)
    _name: "socket.socket | HeldName | None" = field(default=None, init=False)

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
            file, user = _lock(login)
            named, user = _take_name(login) if user is None else (None, user)
            if user is not None:
                if file is not None:
                    _FILES.release(_path(login), file)
                raise SessionHeld(
                    f"{self.session}: {user} uses the same login, and Telegram destroys a key that two connections "
                    "use; end that program, or log this account in by itself"
                )
            self._login, self._path, self._file, self._name = login, _path(login), file, named
            _claims[login] = self
            if file is not None:
                with suppress(OSError):  # a full disk: the lock works without a name in it
                    _say(file, self)

    def renew(self) -> str | None:
        """Make the lock of the login again if its file was removed or replaced.

        Returns what is to be said, for a sentence that goes on after "the lock ...". Raises ``OSError`` if it cannot
        be made.
        """
        with _guard:
            if self._file is None or _FILES.is_at(self._path, self._file):
                return None
            directory = self._path.parent
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_ours(directory):
                return None
            file = _FILES.retake(self._path, self._file, share=may_lock_database(directory))
            if file is None:
                return "for its login was removed, and another program holds it now: stop one of the two"
            self._file = file
            with suppress(OSError):
                _say(file, self)
        return None  # things in /tmp are tidied up; nothing is lost by it

    def release(self) -> None:
        """Let others use the login; do nothing without a claim."""
        with _guard:
            if self._login and _claims.get(self._login) is self:
                del _claims[self._login]
            self._login = ""
            self._close()

    @property
    def line(self) -> bytes:
        """What the lock says of this claim."""
        where = os.path.abspath(self.session) if isinstance(self.session, Path) else self.session
        said = {"lock": self._path.name, "pid": os.getpid(), "account": self.account, "session": where}
        return json.dumps(said).encode() + b"\n"

    def _close(self) -> None:
        if self._file is not None:
            _FILES.release(self._path, self._file)
        if self._name is not None:
            self._name.close()
        self._file = self._name = None

    def _forget(self) -> None:
        """Give up nothing but a socket, in a child: the locks are its parent's."""
        self._file = None
        self._close()

    def __del__(self) -> None:
        if _FILES is not None:  # Python takes this module apart, and the kernel drops the locks
            self._close()


def _say(file: LockedFile, claim: LoginClaim) -> None:
    """Write into the lock whose the claim is; the lines of claims that are over go when they are the most."""
    lines = file.said
    if lines is None or lines > 2 * len(_claims) + MAX_OLD_LINES:
        os.ftruncate(file.descriptor, 0)
        kept = [each.line for each in list(_claims.values()) if each._file is file]
        lines = 0
    else:
        kept = [claim.line]
    os.lseek(file.descriptor, 0, os.SEEK_END)
    os.write(file.descriptor, b"".join(kept))
    file.said = lines + len(kept)


def renew_claims() -> list[tuple[Path | str, str]]:
    """Make the locks of all claims again that are gone; return the sessions of which something is to be said. Blocks.

    What stands in /tmp for days is tidied up, and where there are no names a removed lock would be none.
    """
    found: list[tuple[Path | str, str]] = []
    for claim in list(_claims.values()):
        try:
            said = claim.renew()
        except OSError as exc:
            said = f"for its login cannot be made again ({exc.strerror or type(exc).__name__})"
        if said is not None:
            found.append((claim.session, said))
    return found


def user_of_login(login: str) -> LoginUser | None:
    """Return who uses the login with this fingerprint now, in whatever process of this user; None if nobody does."""
    path = _path(login)
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(path)
        finally:
            os.close(descriptor)
    return _owner_of_name(_name(login)) if sys.platform == "linux" else None


def runtime_directory() -> Path:
    """Return the directory for this user's lock files on this machine.

    It is the same for a service and for a shell: neither ``XDG_RUNTIME_DIR`` nor ``TMPDIR`` counts, which one of two
    programs has and the other has not. Programs in containers name a common directory in ``HOLDFAST_LOGINS``.
    """
    given = _given()
    return Path(given) if given else _SHARED / f"{_DIRECTORY}-{os.geteuid()}"


def _given() -> str:
    given = os.environ.get("HOLDFAST_LOGINS", "")
    return given if os.path.isabs(given) else ""


def _path(login: str) -> Path:
    return runtime_directory() / f"{hashlib.sha256(login.encode()).hexdigest()[:32]}.login"


def _is_ours(directory: Path) -> bool:
    found = directory.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _lock(login: str) -> tuple[LockedFile | None, LoginUser | None]:
    """Return the file that holds the lock, or who has it; neither where this machine has no place for locks."""
    path = _path(login)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_ours(path.parent):
            return None, None  # somebody else's: what stands there proves nothing
        share, give_up = may_lock_database(path.parent), time.monotonic() + LOCK_TIMEOUT
        while (file := _FILES.take(path, share=share)) is None:
            if time.monotonic() >= give_up:
                return None, _read(path)
            time.sleep(_POLL_SECONDS)
        return file, None
    except OSError:
        return None, None


def _take_name(login: str) -> "tuple[socket.socket | HeldName | None, LoginUser | None]":
    """Return what holds the login's name, or who has it; neither where there are no such names.

    Such a name is in no directory, and is free when its process has ended, however it did. Who has it is believed if it
    is a process of this user or of root, or if this is root: anybody can see names, and take them.
    """
    if sys.platform != "linux":
        return None, None
    name = _name(login)
    try:
        taken = _NAMES.take(name)
    except OSError:
        return _bind(name)
    if not isinstance(taken, HeldName):
        return None, _believed(taken)
    with suppress(OSError):
        if (user := _believed(process_of(name))) is not None:  # of an earlier version
            taken.close()
            return None, user
    return taken, None


def _bind(name: str) -> tuple[socket.socket | None, LoginUser | None]:
    """Return a socket that has a name, or who has it; neither where there are no such names."""
    try:
        mine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    except OSError:
        return None, None
    try:
        mine.bind(name)
        mine.listen(_BACKLOG)
    except OSError as exc:
        taken = exc.errno == errno.EADDRINUSE
        mine.close()
        return None, _owner_of_name(name) if taken else None
    return mine, None


def _name(login: str) -> str:
    name = f"\0holdfast-{_path(login).stem}"
    return name + (hashlib.sha256(given.encode()).hexdigest()[:16] if (given := _given()) else "")


def _owner_of_name(name: str) -> LoginUser | None:
    """Return whose a name is; None if nobody has it, or somebody who is not believed. It is not taken for this."""
    for look in (holder_of, process_of):
        with suppress(OSError):
            if (user := _believed(look(name))) is not None:
                return user
    return None


def _believed(process: Process | None) -> LoginUser | None:
    """Return the user of a name, if it is a process that is believed."""
    if process is None or not (process.uid in (os.geteuid(), 0) or os.geteuid() == 0):
        return None
    return LoginUser(process.pid, "", "")


def _read(path: Path) -> LoginUser:
    """Return what the lock of a login says of its owner; the last line that is about this login counts."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        for line in reversed(path.read_bytes().splitlines()):
            said: dict[str, Any] = json.loads(line)
            if said.get("lock", path.name) == path.name:  # an earlier version has one line, without the name
                return LoginUser(int(said["pid"]), str(said["account"]), str(said["session"]))
    return LoginUser(0, "", "")


def _forget_in_child() -> None:
    """Close the locks in a child that goes on without ``exec``: it would hold them after this process has ended."""
    for claim in list(_claims.values()):
        claim._forget()
    _claims.clear()
    _FILES.forget()
    _NAMES.forget()


forks.do_in_child(_forget_in_child)
