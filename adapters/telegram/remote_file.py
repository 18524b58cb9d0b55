"""Files in messages: where one is, and reading parts of it, whatever happens to its reference and its datacenter."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
from attrs import define, field, frozen
from telethon import errors, utils
from telethon.tl import functions, types

from adapters.harmless_names import harmless_name
from adapters.telegram.classify import DatacenterLost, Unanswered, describe
from adapters.telegram.transfer_errors import FileUnavailable, TransferFailed

MAX_FILE: Final = 8000 * 512 * 1024
"""Bytes of the largest file, with premium: 8,000 parts. Source: https://core.telegram.org/api/config
(upload_max_fileparts_premium)"""
EXPIRED: Final = (
    errors.FileReferenceExpiredError,
    errors.FileReferenceEmptyError,
    errors.FileReferenceInvalidError,
    errors.FilerefUpgradeNeededError,
)
"""A message that is fetched anew has a good reference."""
GONE: Final = (errors.LocationInvalidError, errors.FileIdInvalidError)
RETURN_SECONDS: Final = 2.0
"""How long giving a connection back may take: another transfer may be connecting it."""
MAX_REPEATS: Final = 3
"""How often in a row one part is asked for again at once."""


@frozen(kw_only=True)
class RemoteFile:
    """A file of a message, as one account may read it now."""

    id: int
    dc_id: int
    size: int
    name: str
    """A harmless one."""
    location: Any = field(repr=False)


def file_of(message: Any) -> RemoteFile | None:
    """Return the file of a message; None if it has none. Raises ``TransferFailed`` for a size that no file has."""
    media = getattr(message, "media", None)
    found: RemoteFile | None = None
    match media:
        case types.MessageMediaDocument(document=types.Document() as document):
            names = [each.file_name for each in document.attributes if hasattr(each, "file_name")]
            found = _located(media, document, document.size, names[0] if names else "", document.mime_type)
        case types.MessageMediaPhoto(photo=types.Photo() as photo):
            size = max((_bytes_of(each) for each in photo.sizes), default=0)
            found = _located(media, photo, size, "photo.jpg", "image/jpeg") if size else None
    if found is not None and not 0 <= found.size <= MAX_FILE:
        raise FileUnavailable(f"message {message.id} says that its file has {found.size} bytes, and no file can")
    return found


def _bytes_of(size: Any) -> int:
    return int(max(getattr(size, "sizes", None) or [getattr(size, "size", 0)]))


def _located(media: Any, item: Any, size: int, name: str, mime: str) -> RemoteFile:
    location = utils.get_input_location(media)[1]
    if isinstance(item, types.Photo):
        location.thumb_size = max(item.sizes, key=_bytes_of).type
    if not name:
        name = f"file{utils.mimetypes.guess_extension(mime or '') or ''}"
    return RemoteFile(id=item.id, dc_id=item.dc_id, size=int(size), name=harmless_name(name), location=location)


@define(eq=False)
class RemoteReader:
    """Reads one file of a message. Each part goes to the datacenter where the file is.

    A reference that has expired, and a connection to another datacenter that was lost, are mended in place, a few times
    for each part. All else is raised: a flood wait and a lost connection of the account end the run of the job.
    """

    client: Any
    file: RemoteFile
    fetch_again: Callable[[], Awaitable[RemoteFile]]
    """Fetches the message anew."""
    _fetching: anyio.Lock = field(factory=anyio.Lock, init=False)
    _dc_id: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._dc_id = self.file.dc_id

    async def read(self, offset: int, limit: int) -> bytes:
        """Return the bytes from ``offset`` on: ``limit`` of them, or all up to the end. Raises ``TransferFailed``."""
        expected, repeats = min(limit, self.file.size - offset), 0
        while True:
            file = self.file
            try:
                part = await self._ask(file, offset, limit)
            except (errors.FileMigrateError, *EXPIRED, DatacenterLost, Unanswered) as exc:
                repeats += 1
                if repeats > MAX_REPEATS or (isinstance(exc, Unanswered) and self._is_home):
                    raise
                if isinstance(exc, errors.FileMigrateError):
                    self._dc_id = int(exc.new_dc)
                elif isinstance(exc, EXPIRED):
                    await self._renew(file)
                continue
            except GONE as exc:
                raise FileUnavailable(f"the datacenter does not have {file.name} any more ({describe(exc)})") from exc
            if len(part) != expected:
                raise FileUnavailable(
                    f"the datacenter gave {len(part)} bytes of {file.name} from {offset} on, and not {expected}"
                )
            return part

    @property
    def _is_home(self) -> bool:
        return bool(self._dc_id == self.client.session.dc_id)

    async def _ask(self, file: RemoteFile, offset: int, limit: int) -> bytes:
        request = functions.upload.GetFileRequest(file.location, offset, limit)
        if self._is_home:
            answer = await self.client(request)
        else:
            sender = await self.client._borrow_exported_sender(self._dc_id)
            try:
                answer = await self.client._call(sender, request)
            except Unanswered:
                await self.client._close(sender)  # it may be half-open, and the next request connects it again
                raise
            finally:
                with anyio.move_on_after(RETURN_SECONDS, shield=True):
                    await self.client._return_exported_sender(sender)
        if not isinstance(answer, types.upload.File):
            raise FileUnavailable(
                f"{file.name} is kept by a datacenter for public files, which the engine does not read; fetch it with "
                "an official app"
            )
        return bytes(answer.bytes)

    async def _renew(self, seen: RemoteFile) -> None:
        """Fetch the message anew, once for all parts that were refused because of the same reference."""
        async with self._fetching:
            if self.file is not seen:
                return
            found = await self.fetch_again()
            if (found.id, found.size) != (seen.id, seen.size):
                raise TransferFailed(
                    f"the message has another file than {seen.name} by now; the next attempt begins anew"
                )
            self.file = found
