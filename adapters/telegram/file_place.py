"""An account's session as a file, which is the default."""

from pathlib import Path

from attrs import frozen

from adapters.session.address import Address
from adapters.session.failures import SessionObserver
from adapters.session.file import StatStamp, session_path, stat_stamp
from adapters.session.live import LiveFile
from adapters.telegram.engine_session import cached_fingerprint, read_fingerprint, stored_address, stored_user


@frozen
class FilePlace:
    """One session file; see ``SessionPlace``. ``backups`` is the directory of its copies."""

    where: Path
    backups: Path
    name: str

    def make(self, report: SessionObserver) -> LiveFile:
        """Return the file, which is not open yet."""
        return LiveFile(session_path(self.where), self.backups, self.name, report)

    def known_login(self) -> str:
        """Return what ``read_login`` found if the file has not changed since; otherwise nothing. Two stat calls."""
        return cached_fingerprint(self.where)

    def read_login(self) -> tuple[str, int | None]:
        """Return the fingerprint of the file's key and its user. Read-only."""
        login = cached_fingerprint(self.where) or read_fingerprint(self.where)
        return login, stored_user(self.where) if login else None

    def read_address(self) -> Address | None:
        """Return number, host and port of the datacenter that the file names. Read-only."""
        return stored_address(self.where)

    def stamp(self) -> StatStamp:
        """Return what the file system says of the file."""
        return stat_stamp(self.where)
