"""Decodes the snapshots of thousands of accounts, each in a quarter of the time of ``codec``.

What is in the least unusual is left to ``codec``, which knows what earlier versions wrote and what cannot be read.
"""

from collections.abc import Callable
from contextlib import suppress
from operator import attrgetter
from typing import Any, Final

import attrs

from adapters.sqlite.codec import MAX_NUMBER, decode_snapshot
from states.snapshot import Snapshot

MANY: Final = 500
"""So many snapshots take longer by themselves than the import of what decodes them fast."""
_NAMES: Final = tuple(field.name for field in attrs.fields(Snapshot))
_numbers: Final = attrgetter(
    *("since", "deadline", "wait", "last_success", "proved_at"),
    *("generation", "life", "link", "links", "attempt", "failures", "streak", "silences", "reconnects"),
)


def snapshot_decoder(count: int) -> Callable[[str], Snapshot]:
    """Return the function that decodes so many snapshots: ``decode_snapshot``, or one that does the same."""
    if count < MANY:
        return decode_snapshot
    from msgspec import MsgspecError, defstruct  # noqa: PLC0415 - few accounts do not need it
    from msgspec.json import Decoder  # noqa: PLC0415
    from msgspec.structs import asdict  # noqa: PLC0415

    fields = [(field.name, field.type) for field in attrs.fields(Snapshot)]
    stored = Decoder(defstruct("Stored", fields, forbid_unknown_fields=True)).decode

    def decode(text: str) -> Snapshot:
        with suppress(MsgspecError, TypeError, ValueError, RecursionError):
            found = stored(text)
            if _is_usual(found, text):
                return Snapshot(**asdict(found))
        return decode_snapshot(text)

    return decode


def _is_usual(found: Any, text: str) -> bool:
    """Return whether the parts of a stored snapshot have all fields, and numbers can be times and counts."""
    if found.holds or found.database is not None or found.stall is not None or found.restricted is not None:
        return False
    for number in _numbers(found):
        if number is not None and not -MAX_NUMBER < number < MAX_NUMBER:
            return False
    if found.offline is not None and not all(-MAX_NUMBER < at < MAX_NUMBER for at in found.offline):
        return False
    causes = (found.cause is not None) + (found.limited is not None)
    if not causes:
        return True
    names = text.count('":')  # a quote in a text has a backslash before it
    return text.count('"event":') == text.count('"detail":') == causes and names == len(_NAMES) + 2 * causes
