"""Why a store cannot be copied: one sentence each, with the place and the remedy."""

from adapters.sqlite.errors import StorageError


class CopyRefused(StorageError):
    """Nothing was copied: the stores are not as a copy needs them."""


class StoreInUse(CopyRefused):
    """A node runs on the database."""


class NotStorable(CopyRefused):
    """A row cannot be stored in the other store as it is."""


class CopyDiffers(StorageError):
    """What was read back is not what was copied."""
