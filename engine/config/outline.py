"""The outline of a config: all that commands need of it that only read, at a fraction of what the whole takes.

Only a config without any mistake has one. One that is the least bit unusual (more sections than the first three, a
wildcard, a link in the place of a session file) is read as a whole, and so is every mistake.
"""

import os
import re
import stat
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from adapters.file_names import EXTENSION, is_harmless, makes_no_login, misplaced_secret, name_problem, pasted_secret
from engine.config.values import SessionPaths, is_name, to_path, to_phone

DEFAULT_DIRECTORY: Final = "data"
"""The value of ``storage.directory`` where it is left out."""
MAX_INT: Final = 2**31 - 1  # Telegram's protocol has 32 bits for an api_id
API_HASH: Final = re.compile(r"[0-9a-fA-F]{32}")
_SECTIONS: Final = frozenset(("telegram", "accounts", "storage"))
_KEYS: Final = frozenset(("name", "session", "phone"))
_FILE: Final = re.compile(r"/?(?:[A-Za-z0-9_. +-]+/)*[A-Za-z0-9_+-][A-Za-z0-9_. +-]*")
"""A path whose own letters cannot be wrong; its directory can be a link."""


@frozen
class Outline:
    """Where a config's files are, and what its accounts are called; ``path`` is the file from which it was read."""

    path: Path
    directory: Path
    """``storage.directory``."""
    names: tuple[str, ...]
    database: str | None = field(default=None, repr=False)
    """``storage.database``, with its password; None: a file in the directory."""


class NoOutline(Exception):
    """The config is to be read as a whole."""


def read_outline(plain: dict[str, Any], path: Path, sessions: SessionPaths) -> Outline:
    """Return the outline of a document. Raises ``NoOutline``."""
    accounts, storage = plain.get("accounts"), plain.get("storage", {})
    if not plain.keys() <= _SECTIONS or not _is_plain_application(plain.get("telegram")):
        raise NoOutline
    if not isinstance(accounts, list) or not accounts:
        raise NoOutline
    if not isinstance(storage, dict) or storage.keys() - {"directory"}:
        raise NoOutline
    names = [_name(account) for account in accounts]
    files = _Files(sessions)
    if len(set(names)) < len(names) or not all(files.add(account["session"]) for account in accounts):
        raise NoOutline
    try:
        directory = to_path(storage.get("directory", DEFAULT_DIRECTORY), sessions.folder)
    except ValueError:
        raise NoOutline from None
    return Outline(path, directory, tuple(names))


def _is_plain_application(value: Any) -> bool:
    if not isinstance(value, dict) or not value.keys() <= {"api_id", "api_hash", "datacenter"}:
        return False
    number, secret = value.get("api_id"), value.get("api_hash")
    if type(number) is not int or not 1 <= number <= MAX_INT:
        return False
    return isinstance(secret, str) and bool(API_HASH.fullmatch(secret)) and value.get("datacenter") in (None, "sandbox")


def _name(account: Any) -> str:
    """Return the name of a plain entry. Raises ``NoOutline``."""
    if not isinstance(account, dict) or not account.keys() <= _KEYS:
        raise NoOutline
    name, phone = account.get("name"), account.get("phone")
    if type(name) is not str or type(account.get("session")) is not str or not is_name(name):
        raise NoOutline
    if not is_harmless(name) and (misplaced_secret(name) or pasted_secret(name)):
        raise NoOutline
    if phone is not None:
        try:
            to_phone(phone)
        except ValueError:
            raise NoOutline from None
    return name


class _Files:
    """The session files so far."""

    def __init__(self, sessions: SessionPaths) -> None:
        self._sessions = sessions
        self._known: set[Hashable] = set()
        self._directories: dict[str, str | None] = {}

    def add(self, session: str) -> bool:
        """Return whether a file can be a session's, and no other account's, so far as can be told without doubt."""
        if "*" in session or "?" in session:
            return False
        path = self._find(session) or self._find_carefully(session)
        if path is None or path in self._known:
            return False
        self._known.add(path)
        try:
            found = os.lstat(path)
        except OSError:  # it does not exist yet
            return True
        identity = found.st_dev, found.st_ino
        if stat.S_ISLNK(found.st_mode) or identity in self._known:
            return False
        self._known.add(identity)
        return True

    def _find(self, session: str) -> str | None:
        """Return the path of a file whose name is short and plain; None for any other."""
        if not is_harmless(session) or not _FILE.fullmatch(session):
            return None
        before, slash, name = session.rpartition("/")
        directory = before + slash
        if directory not in self._directories:
            self._directories[directory] = self._real_directory(directory)
        real = self._directories[directory]
        if real is None:
            return None
        return f"{real}/{name}" if name.endswith(EXTENSION) else f"{real}/{name}{EXTENSION}"

    def _real_directory(self, directory: str) -> str | None:
        """Return the path of a directory without links; None if names in it have to be looked at one by one."""
        try:
            real = os.path.realpath(os.path.join(self._sessions.folder, directory))
        except (OSError, ValueError):
            return None
        return real if real != "/" and makes_no_login(real) else None

    def _find_carefully(self, session: str) -> str | None:
        try:
            path = self._sessions(session)
        except ValueError:
            return None
        return str(path) if name_problem(path) is None else None
