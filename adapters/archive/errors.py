"""What can be wrong with an archive, or with the place that it is to be restored to; each is one sentence."""

from adapters.sqlite.errors import StorageError


class ArchiveError(StorageError):
    """Base of the errors of archives. Nothing was changed, unless the sentence says so."""


class BadArchive(ArchiveError):
    """The file is no archive of this program, is damaged, or asks for what no archive of it asks for."""


class ArchiveTooNew(ArchiveError):
    """A newer version wrote the archive, or the database in it."""


class DataInUse(ArchiveError):
    """Another program uses a file that is to be replaced."""


class RestoreUnfinished(ArchiveError):
    """A restore was interrupted: the data is of two moments until it is repeated."""


class Unsettled(ArchiveError):
    """Logins changed again and again while they were copied."""
