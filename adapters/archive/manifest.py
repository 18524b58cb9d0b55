"""What an archive says of itself: which files are in it, where each belongs, and how it is recognised.

Everything here may have been written by somebody else, so all of it is checked before any of it is used.
"""

import json
import re
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, Final

from attrs import asdict, frozen

from adapters.archive.errors import ArchiveTooNew, BadArchive

FORMAT: Final = 1
"""The form of archives that this version writes, and the newest that it reads."""
NAME: Final = "manifest.json"
"""The first file of an archive."""
MAX_BYTES: Final = 16 * 1024 * 1024
"""The most that a manifest may have: that of 10,000 accounts has 3 MB."""
MAX_CONFIG: Final = 16 * 1024 * 1024
MAX_PEM: Final = 65_536
MAX_SESSION: Final = 1 << 32
MAX_DATABASE: Final = 1 << 42
PEM: Final = re.compile(rb"-----BEGIN ([A-Z ]{1,40})-----\s[A-Za-z0-9+/=\s]*-----END \1-----\s?\s?")
"""A key, with nothing before or after it that another program could take for something else."""
_MAX_PLACE: Final = 4096
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class Role(StrEnum):
    """What a file of an archive is."""

    CONFIG = "config"
    SESSION = "session"
    DATABASE = "database"
    PUBLIC_KEY = "public_key"
    SANDBOX = "sandbox"


_NAMES: Final = {
    Role.CONFIG: re.compile(r"config\.yaml"),
    Role.SESSION: re.compile(r"sessions/[0-9]{4,7}\.session"),
    Role.DATABASE: re.compile(r"engine\.db"),
    Role.PUBLIC_KEY: re.compile(r"datacenter\.pem"),
    Role.SANDBOX: re.compile(r"sandbox/(?:sandbox\.db|dc\.pem|dc\.pub\.pem)"),
}
"""The names that files of each role have in an archive. They lead nowhere; where a file belongs is its ``place``."""


@frozen(kw_only=True)
class ArchiveMember:
    """One file of an archive."""

    name: str
    """Its name in the archive."""
    role: Role
    place: str
    """Where it belongs: from the config's directory, or an absolute path. Empty for the config itself."""
    size: int
    """In bytes."""
    sha256: str
    """In hex digits."""
    account: str = ""
    """Whose session it is."""

    @property
    def is_database(self) -> bool:
        """Whether it is a file of SQLite."""
        return self.role in (Role.SESSION, Role.DATABASE) or self.name.endswith(".db")

    @property
    def limit(self) -> int:
        """The most bytes that such a file may have."""
        if self.role is Role.CONFIG:
            return MAX_CONFIG
        if self.role is Role.SESSION:
            return MAX_SESSION
        return MAX_DATABASE if self.is_database else MAX_PEM


@frozen(kw_only=True)
class LeftOut:
    """An account whose session is not in the archive, and why."""

    account: str
    why: str
    expected: bool
    """Whether that is as it should be: nobody has logged in there yet."""


@frozen(kw_only=True)
class Manifest:
    """What is in an archive."""

    format: int = FORMAT
    program: str
    """Name and version of the program that wrote it."""
    made: float
    """When the copies were made (Unix seconds)."""
    schema: int | None
    """The schema of the ``engine.db`` in it; None if there is none."""
    members: tuple[ArchiveMember, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def size(self) -> int:
        """All files together, in bytes."""
        return sum(member.size for member in self.members)


def encode(manifest: Manifest) -> bytes:
    """Return a manifest as it stands in an archive."""
    return json.dumps(asdict(manifest), ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass")


def decode(content: bytes) -> Manifest:
    """Return the manifest that an archive has; every value of it is checked.

    Raises ``BadArchive`` and ``ArchiveTooNew``, whose texts go on after the archive's path.
    """
    try:
        said = json.loads(content.decode("utf-8", "surrogatepass"))
        form = _value(said, "format", int)
        if form > FORMAT:
            raise ArchiveTooNew(
                f"a newer Holdfast wrote this archive (form {form}, known here is {FORMAT}); restore it with that "
                "version, or a newer one"
            )
        members = tuple(map(_member, _value(said, "members", list)))
        schema = said["schema"]
        manifest = Manifest(
            format=form,
            program=_text(said, "program", 200),
            made=float(_value(said, "made", int, float)),
            schema=None if schema is None else _value(said, "schema", int),
            members=members,
            left_out=tuple(map(_left_out, _value(said, "left_out", list))),
        )
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as exc:
        raise BadArchive("its manifest is not one of Holdfast's; choose another file") from exc
    _check_whole(manifest)
    return manifest


def _member(said: Any) -> ArchiveMember:
    role = Role(_text(said, "role", 20))
    member = ArchiveMember(
        name=_text(said, "name", 40),
        role=role,
        place=_text(said, "place", _MAX_PLACE),
        size=_value(said, "size", int),
        sha256=_text(said, "sha256", 64),
        account=_text(said, "account", 500),
    )
    if not _NAMES[role].fullmatch(member.name) or not _SHA256.fullmatch(member.sha256):
        raise ValueError("a name or a hash that no archive has")
    if not 0 <= member.size <= member.limit:
        raise BadArchive(f"it has a file of {member.size:,} bytes for a {role.value}, which is no such file")
    if (why := place_problem(member)) is not None:
        raise BadArchive(f"it has a file for {member.place!r}, {why}; nothing of it is restored")
    return member


def place_problem(member: ArchiveMember) -> str | None:
    """Return why a file cannot belong where it says; None if it can."""
    if member.role is Role.CONFIG:
        return None if member.place == "" else "which is no place for a config"
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in member.place):
        return "which has control characters in it"
    parts = member.place.split("/")
    if ".." in parts or "." in parts or "" in parts[1:] or member.place in ("", "/"):
        return "which leads out of its directory"
    name = PurePosixPath(member.place).name
    fits = {
        Role.SESSION: name.endswith(".session"),
        Role.DATABASE: name == "engine.db",
        Role.PUBLIC_KEY: True,
        Role.SANDBOX: parts[-2:] == member.name.split("/"),
    }[member.role]
    return None if fits else f"which is no place for a {member.role.value}"


def _check_whole(manifest: Manifest) -> None:
    """Raise ``BadArchive`` unless the files fit together."""
    names = [member.name for member in manifest.members]
    places = [member.place for member in manifest.members]
    if len(set(names)) != len(names) or len(set(places)) != len(places):
        raise BadArchive("it has two files of one name, or for one place; nothing of it is restored")
    if names[:1] != ["config.yaml"]:
        raise BadArchive("it has no config; choose another file")
    if (manifest.schema is None) == ("engine.db" in names):
        raise BadArchive("its manifest is not one of Holdfast's; choose another file")


def _left_out(said: Any) -> LeftOut:
    return LeftOut(account=_text(said, "account", 500), why=_text(said, "why", 4096), expected=said["expected"] is True)


def _value(said: Any, key: str, *kinds: type) -> Any:
    found = said[key]
    if isinstance(found, bool) or not isinstance(found, kinds):
        raise TypeError(key)
    return found


def _text(said: Any, key: str, most: int) -> str:
    found: str = _value(said, key, str)
    if len(found) > most:
        raise ValueError(key)
    return found
