"""Checks of the accounts' session files."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from attrs import define, field

from adapters.session.backup import last_good, moved_away
from adapters.session.inspect import Inspection, enable_wal, inspect
from adapters.session.login_claim import user_of_login
from adapters.session.owner import Owner
from adapters.session.schema import VERSION
from adapters.sqlite import StorageError
from adapters.system import holder_of
from engine import paths
from engine.app.locks import ENGINE
from engine.config import AccountConfig, Config, SandboxConfig
from engine.console.format import seconds
from engine.console.shell import engine_command
from engine.doctor import directories
from engine.doctor.findings import Finding


@define(eq=False)
class SessionCheck:
    """The check of one account's session; ``inspection`` is None until the file was read."""

    config: Config
    account: AccountConfig
    fix: bool
    inspection: Inspection | None = field(default=None, init=False)

    def run(self) -> Iterator[Finding]:
        """Check the file and its content."""
        name, path = self.account.name, self.account.session
        backup = last_good(self.config.storage.directory / paths.BACKUPS, name)
        log_in = engine_command("login", self.config.path, name)
        restore = engine_command("session restore", self.config.path, name) if backup else log_in
        if (moved := moved_away(path)) is not None:
            yield Finding(name, False, f"{path}: {moved}")
            return
        if not path.exists():
            test_number = isinstance(self.config.telegram.datacenter, SandboxConfig) and self.account.phone is not None
            text = f"{path} does not exist yet" + ("; the sandbox logs its test number in" if test_number else "")
            yield Finding(name, test_number, text, "" if test_number else restore)
            return
        if not path.is_file():
            yield Finding(name, False, f"{path} is not a file; name a session file in the config")
            return
        yield from directories.check_writable(name, path)
        yield from directories.check_private(name, path, fix=self.fix)
        found = self.inspection = inspect(path)
        if found.owner:
            yield self._check_owner(found.owner)
        if found.problem:
            lost = found.damaged or found.key is False  # a file that is locked is whole, a foreign one is somebody's
            yield Finding(name, False, f"{path}: {found.problem}", restore if lost else "")
            return
        if self.config.storage.database is None:  # otherwise it is to be brought, and no program opens it then
            yield self._check_journal_mode(found)
        if found.intact is None:
            yield Finding(name, None, "is too large to be checked in time; no fault so far")
        else:
            yield Finding(name, found.intact, *(("is intact",) if found.intact else ("is damaged", restore)))
        if found.interrupted:
            text = "the last program that wrote it was killed; the next one that opens it undoes the unfinished write"
            yield Finding(name, None, text)
        if found.outdated:
            text = f"schema {found.version}; the next run completes it to {VERSION}, after a backup"
            yield Finding(name, None, text)
        yield Finding(name, bool(found.key), *(("has a login",) if found.key else ("has no login", restore)))
        yield from self._check_login(found)
        if found.locked:
            text = "another program holds its write lock"
            yield Finding(name, False, text, "end that program; to find it: " + _find_holder(path))
        if backup:
            age = datetime.now(UTC) - backup.confirmed_at
            yield Finding(name, True, f"last good backup is {seconds(max(0.0, age.total_seconds()))} old")
        elif found.key and self.config.storage.database is None:
            yield Finding(name, None, "has no backup", engine_command("session backup", self.config.path, name))

    def _check_login(self, found: Inspection) -> Iterator[Finding]:
        """Check that no other file's account uses this login now, in whatever program."""
        user = user_of_login(found.login) if found.login else None
        if user is None or (not user.session and found.owner is not None and found.owner.pid == user.pid):
            return  # a name says which process has the login, and that one has this file
        if Path(user.session) != self.account.session:
            text = f"its login is in use by {user}"
            yield Finding(self.account.name, False, text, "end that program, or log this account in by itself")

    def _check_owner(self, owner: Owner) -> Finding:
        engine = holder_of(self.config.storage.directory / paths.LOCK)
        if owner.program != ENGINE or (engine is not None and engine.pid == owner.pid):
            return Finding(self.account.name, True, f"is used by {owner}")
        text = f"is used by {owner}: another engine, and run does not start beside it"
        return Finding(self.account.name, False, text, "stop that engine, or give the account to one of the two")

    def _check_journal_mode(self, found: Inspection) -> Finding:
        name, mode = self.account.name, found.journal
        if mode == "wal":
            return Finding(name, True, "journal mode is wal")
        remedy = engine_command("doctor", self.config.path, options=["--fix"])
        if found.owner and found.owner.program == ENGINE:
            return Finding(name, None, f"journal mode is {mode}", "the engine turns WAL on when it next writes")
        if found.owner:
            return Finding(name, False, f"journal mode is {mode}", f"end the program that uses it, then {remedy}")
        if not self.fix:
            return Finding(name, False, f"journal mode is {mode}", remedy)
        try:
            if enable_wal(self.account.session):
                return Finding(name, True, "journal mode is wal now", fixed=True)
        except (StorageError, OSError) as exc:
            return Finding(name, False, f"journal mode is {mode}, and cannot be changed: {exc}", remedy)
        return Finding(
            name, False, f"journal mode is {mode}, and its disk supports no other", "move it to a local disk"
        )


def check_directories(config: Config, fix: bool) -> Iterator[Finding]:
    """Check each directory that holds session files, once."""
    for directory in dict.fromkeys(account.session.parent for account in config.accounts):
        if directory != config.storage.directory:
            yield from directories.check_directory("sessions", directory, fix=fix)


def find_shared_logins(checks: Sequence[SessionCheck]) -> Iterator[Finding]:
    """Yield the files that are copies of one login: the datacenter ends two connections that use the same key."""
    first: dict[str, SessionCheck] = {}
    for check in checks:
        login = check.inspection.login if check.inspection else ""
        other = first.setdefault(login, check) if login else check
        if other is not check:
            text = f"has the same login as {other.account.name} ({other.account.session})"
            remedy = f"remove one of the two from {check.config.path}, and log it in by itself"
            yield Finding(check.account.name, False, text, remedy)


def _find_holder(path: Path) -> str:
    """Return the command that names the processes with an open ``path``."""
    return f"fuser -v {path}" if " " not in str(path) else f"fuser -v '{path}'"
