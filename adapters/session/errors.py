"""What can be wrong with a session file; each message is one sentence for the operator."""

from pathlib import Path

from adapters.sqlite.errors import StorageError


class SessionError(StorageError):
    """A session file cannot be used; the message says which, why, and what to do."""


class SessionHeld(SessionError):
    """Another program uses the session now; the message names that program."""


class LoginInUse(SessionError):
    """Another account of this program uses the same login, from ``other``, a file or rows; the message names both."""

    def __init__(self, sentence: str, other: Path | str) -> None:
        super().__init__(sentence)
        self.other = other


class NotASession(SessionError):
    """The file is something else: empty, not a database, another program's database or session. It is left as it is."""


class NotADatabase(NotASession):
    """The file is no SQLite database: a text, an encrypted file, or what is left of a session."""


class SessionEmpty(NotASession):
    """There is nothing in the file: it is no session yet, or not any more."""


class LoginMissing(FileNotFoundError):
    """The database has no session of the account; ``strerror`` says what to do."""


class SessionWithoutKey(NotASession):
    """The file is a session, and what stands where the key belongs is none."""


class SessionFixed(SessionError):
    """Somebody wanted to give the session of a running engine another datacenter or key."""


class SessionTaken(SessionError):
    """The session is elsewhere, where others may use it; the message says where.

    It was taken out of the store into a file, or brought from the file into a store.
    """


class SessionTooNew(SessionError):
    """A newer Telethon wrote the file, in a schema that is not known here. The file is left as it is."""


class SessionDamaged(SessionError):
    """The file is damaged and was set aside; the message says what could take its place."""


class SessionReplaced(SessionError):
    """The file holds another login than the one in use."""


class SessionNotSaved(SessionError):
    """Something that had to be durable before its use could not be written in time."""
