"""Names of files that strangers have chosen become names that harm nobody.

Plain functions without imports of this project.
"""

import re
import unicodedata
from typing import Final

MAX_NAME_BYTES: Final = 150
"""Bytes of a name in UTF-8. File systems have 255; a number before it and a mark behind it must fit, too."""
MAX_EXTENSION_BYTES: Final = 16
MAX_CHARACTERS: Final = 4096
"""What is looked at of a name: its end."""
NAMELESS: Final = "file"
_FORBIDDEN: Final = re.compile(r'[<>:"|?*/\\]')
"""What some file system refuses or takes for a path."""
_RESERVED: Final = re.compile(r"(?:CON|PRN|AUX|NUL|COM[0-9¹²³]|LPT[0-9¹²³]|CONIN\$|CONOUT\$)(?:\.|$)", re.IGNORECASE)
"""Names of devices on Windows, also with an extension."""
_SESSION: Final = re.compile(r"\.session(?:-wal|-shm|-journal)?$", re.IGNORECASE)
"""What a config with a wildcard would take for an account."""


def harmless_name(text: str) -> str:
    """Return a name of one file that resembles ``text``, never an empty one.

    It is no path, has nothing invisible and nothing that a shell or Windows takes for something else, and is neither
    hidden nor too long.
    """
    last = re.split(r"[/\\]", text[-MAX_CHARACTERS:])[-1]
    shown = "".join(each for each in unicodedata.normalize("NFC", last) if not _is_invisible(each))
    name = _FORBIDDEN.sub("_", " ".join(shown.split())).lstrip(". ").rstrip(". ")
    if name[:1] in ("-", "~"):
        name = f"_{name[1:]}"
    if _RESERVED.match(name):
        name = f"_{name}"
    name = _shortened(name) or NAMELESS
    if (session := _SESSION.search(name)) is not None:
        name = f"{name[: session.start()]}_{name[session.start() + 1 :]}"
    return name


def numbered(name: str, number: int) -> str:
    """Return the name of another file that would have had the same one: ``a (2).pdf``."""
    if number < 2:
        return name
    stem, dot, extension = name.rpartition(".")
    return f"{stem} ({number}).{extension}" if dot and stem else f"{name} ({number})"


def _is_invisible(character: str) -> bool:
    """Return whether a character is a control, a mark of direction, half a character, or not a character at all."""
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _shortened(name: str) -> str:
    """Return a name that is short enough, with its extension."""
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    if not (dot and stem) or len(extension.encode()) > MAX_EXTENSION_BYTES:
        stem, extension = name, ""
    kept = stem.encode()[: MAX_NAME_BYTES - len(extension.encode()) - 1].decode(errors="ignore").rstrip(". ")
    return f"{kept}.{extension}" if extension else kept
