"""Tracebacks of failed jobs, as they are kept: where it happened, and nothing that was in the values."""

import re
import traceback
from pathlib import Path
from typing import Final

MAX_FRAMES: Final = 12
"""Of a longer traceback the innermost frames are kept: where it happened, not how the engine came there."""
MAX_CHARACTERS: Final = 4000
MAX_CAUSES: Final = 5
"""Exceptions of a chain that are shown."""
_ENGINE: Final = str(Path(__file__).parents[1])
_SECRET: Final = re.compile(r"\+?[0-9]{7,}|(?=[A-Za-z0-9+/=_:-]*[0-9])[A-Za-z0-9+/=_:-]{24,}")
"""Literals in a line of source that may be a phone number, a token, a key or a hash."""


def trace_of(exc: BaseException) -> str:
    """Return the traceback of a job's exception, outermost first, without the engine's own frames and any message.

    A message may hold anything, and has its own place, where phone numbers are hidden; of the source, what looks like a
    secret is left out. It never raises.
    """
    try:
        parts: list[str] = []
        found: BaseException | None = exc
        while found is not None and len(parts) < MAX_CAUSES:
            parts.append(_part(found))
            found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
        text = "\nwhile that was handled, or because of it:\n".join(parts)
    except Exception as broken:  # an exception whose parts raise: the job has failed all the same
        text = f"the traceback cannot be shown ({type(broken).__name__})"
    return text if len(text) <= MAX_CHARACTERS else f"…{text[-MAX_CHARACTERS:]}"


def _part(exc: BaseException) -> str:
    frames = [each for each in traceback.extract_tb(exc.__traceback__) if not each.filename.startswith(_ENGINE)]
    lines = []
    for frame in frames[-MAX_FRAMES:]:
        lines.append(f"{frame.filename}:{frame.lineno} in {frame.name}")
        if frame.line:
            lines.append(f"    {_SECRET.sub('…', frame.line)[:200]}")
    return "\n".join([*lines, type(exc).__qualname__])
