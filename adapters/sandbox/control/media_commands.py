"""The commands about files, and the reader of each of their keys."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen

from adapters.sandbox.control import fields
from adapters.sandbox.control.fields import Reader


@frozen
class MediaCommand:
    """A command about files."""


@frozen
class SendFile(MediaCommand):
    """Send a file of this size to a channel (``@name``) or an account; its content is computed from ``seed``."""

    chat: str
    size: int
    name: str | None = None
    mime: str | None = None
    photo: bool = False
    dc: int | None = None
    seed: int | None = None
    caption: str | None = None
    sender: str | None = None


@frozen
class ExpireFileReferences(MediaCommand):
    """Let the references of all files expire."""


MEDIA_COMMANDS: Final[Mapping[str, tuple[Callable[..., Any], Mapping[str, Reader]]]] = {
    "file": (
        SendFile,
        {
            "chat": fields.read_text,
            "size": fields.read_int,
            "name": fields.read_optional_text,
            "mime": fields.read_optional_text,
            "photo": fields.read_flag,
            "dc": fields.read_optional_int,
            "seed": fields.read_optional_int,
            "caption": fields.read_optional_text,
            "sender": fields.read_optional_text,
        },
    ),
    "expire_references": (ExpireFileReferences, {}),
}
