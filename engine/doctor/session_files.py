"""The session file of an account."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from attrs import define, field

from adapters.session.backup import last_good
from adapters.session.file import VERSION
from adapters.session.inspect import Inspection, enable_wal, inspect
from adapters.sqlite import StorageError
from engine import paths
from engine.config import AccountConfig, Config, SandboxConfig
from engine.console.format import seconds
from engine.console.shell import engine_command
from engine.doctor import places
from engine.doctor.findings import Finding


@define(eq=False)
class SessionCheck:
    """The look at one account's session; ``inspection`` is there when it was looked into."""

    config: Config
    account: AccountConfig
    fix: bool
    inspection: Inspection | None = field(default=None, init=False)

    def look(self) -> Iterator[Finding]:
        """Look at the file, and into it."""
        name, path = self.account.name, self.account.session
        backup = last_good(self.config.storage.directory / paths.BACKUPS, name)
        log_in = engine_command("login", self.config.path, name)
        restore = engine_command("session", "restore", self.config.path, name) if backup else log_in
        if not path.exists():
            test_number = isinstance(self.config.telegram.datacenter, SandboxConfig) and self.account.phone is not None
            text = f"{path} does not exist yet" + ("; the sandbox logs its test number in" if test_number else "")
            yield Finding(name, test_number, text, "" if test_number else restore)
            return
        if not path.is_file():
            yield Finding(name, False, f"{path} is no file; name a session file in the config")
            return
        yield from places.writable(name, path)
        yield from places.private(name, path, fix=self.fix)
        found = self.inspection = inspect(path)
        if found.owner:
            yield Finding(name, True, f"is used by {found.owner}")
        if found.problem:
            yield Finding(name, False, f"{path}: {found.problem}", restore if found.damaged else "")
            return
        yield self._journal_mode(found)
        if found.intact is None:
            yield Finding(name, None, "is too large to be checked in time; no fault so far")
        else:
            yield Finding(name, found.intact, *(("is sound",) if found.intact else ("is damaged", restore)))
        if found.interrupted:
            text = "who wrote it last was killed; the next who opens it undoes what was half written"
            yield Finding(name, None, text)
        if found.version != VERSION:
            text = f"schema {found.version}; the next run makes it {VERSION}, after a backup"
            yield Finding(name, None, text)
        yield Finding(name, bool(found.key), *(("has a login",) if found.key else ("has no login", restore)))
        if found.locked:
            text = "another program holds its write lock"
            yield Finding(name, False, text, "end that program; to find it: " + _who_has(path))
        if backup:
            age = datetime.now(UTC) - backup.confirmed_at
            yield Finding(name, True, f"last good backup is {seconds(max(0.0, age.total_seconds()))} old")
        elif found.key:
            yield Finding(name, None, "has no backup", engine_command("session", "backup", self.config.path, name))

    def _journal_mode(self, found: Inspection) -> Finding:
        name, mode = self.account.name, found.journal
        if mode == "wal":
            return Finding(name, True, "journal mode is wal")
        mend = engine_command("doctor", self.config.path, "--fix")
        if not self.fix or found.owner:
            return Finding(name, False, f"journal mode is {mode}", mend)
        try:
            if enable_wal(self.account.session):
                return Finding(name, True, "journal mode is wal now", fixed=True)
        except (StorageError, OSError) as exc:
            return Finding(name, False, f"journal mode is {mode}, and cannot be changed: {exc}", mend)
        return Finding(
            name, False, f"journal mode is {mode}, and its disk can have no other", "move it to a local disk"
        )


def directories(config: Config, fix: bool) -> Iterator[Finding]:
    """Look at each directory in which session files lie, once."""
    for directory in dict.fromkeys(account.session.parent for account in config.accounts):
        if directory != config.storage.directory:
            yield from places.directory("sessions", directory, fix=fix)


def doubles(checks: Sequence[SessionCheck]) -> Iterator[Finding]:
    """Say which files are copies of one login: two connections with one key, and the datacenter ends both."""
    first: dict[str, SessionCheck] = {}
    for check in checks:
        login = check.inspection.login if check.inspection else ""
        other = first.setdefault(login, check) if login else check
        if other is not check:
            text = f"has the same login as {other.account.name} ({other.account.session})"
            mend = f"remove one of the two from {check.config.path}, and log it in by itself"
            yield Finding(check.account.name, False, text, mend)


def _who_has(path: Path) -> str:
    return f"fuser -v {path}" if " " not in str(path) else f"fuser -v '{path}'"
