"""What can be wrong with a session file, each as one sentence for a person."""

from adapters.sqlite.errors import StorageError


class SessionError(StorageError):
    """A session file cannot be used; the message says which, why, and what to do."""


class SessionHeld(SessionError):
    """Another program uses the session now; the message names it."""


class NotASession(SessionError):
    """The file is something else: empty, no database, another program's database or session. It was not touched."""


class SessionTooNew(SessionError):
    """A newer Telethon wrote the file, in a schema that is not known here. It was not touched."""


class SessionDamaged(SessionError):
    """The file is damaged; it was set aside, and the message says what could take its place."""


class SessionReplaced(SessionError):
    """The file holds another login than the one that is in use."""


class SessionNotSaved(SessionError):
    """What had to be durable before it is used could not be written in time."""
