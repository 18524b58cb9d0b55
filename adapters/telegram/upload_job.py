"""The kind of jobs ``upload``: one local file into a chat, as a message that is sent exactly once.

The number of the file and that of the message are stored before the first part is sent. Parts that are sent again take
the place of the earlier ones; the message is known again by its ``random_id``.
"""

import mimetypes
import secrets
import time
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import md5
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
from attrs import asdict, define, evolve, field, frozen
from telethon import errors, utils
from telethon.tl import functions, types

from adapters.own_places import OwnPlaces
from adapters.telegram.builtin_jobs import find_sent, number_in
from adapters.telegram.chat_history import is_chat, peer_of
from adapters.telegram.download_job import TransferContext, in_thread, is_absolute
from adapters.telegram.part_window import PartWindow, in_order
from adapters.telegram.transfer_errors import TransferFailed
from adapters.telegram.transfer_files import SourceFile

T = TypeVar("T")

MAX_PART: Final = 512 * 1024
MAX_PARTS: Final = 4000
MAX_PARTS_PREMIUM: Final = 8000
"""Source: https://core.telegram.org/api/config (upload_max_fileparts_default, upload_max_fileparts_premium)"""
MAX_SMALL: Final = 10 * 1024 * 1024
"""Bytes above which parts are sent with ``saveBigFilePart``. Source: https://core.telegram.org/api/files"""
MAX_CAPTION: Final = 4096
"""Characters, with premium."""
CHECKPOINT_SECONDS: Final = 1.0
PARTS_GONE: Final = (
    errors.FilePartsInvalidError,
    errors.FilePartMissingError,
    errors.FilePart0MissingError,
    errors.FilePartInvalidError,
    errors.Md5ChecksumInvalidError,
)
"""The datacenter does not keep parts for long without a message."""


def _is_caption(_: Any, attribute: Any, value: str) -> None:
    if len(value) > MAX_CAPTION:
        raise ValueError(f"{attribute.name} must have at most {MAX_CAPTION} characters, not {len(value)}")


@frozen(kw_only=True)
class Upload:
    """A local file (``path``, absolute) for a chat, with a ``caption``; a document, unless it is to be a ``photo``."""

    chat: str | int = field(validator=is_chat)
    path: str = field(validator=is_absolute)
    caption: str = field(default="", validator=_is_caption)
    photo: bool = False


@frozen(kw_only=True)
class _Sent:
    """How far the job is."""

    random_id: int
    """The message's."""
    file_id: int = 0
    identity: list[int] = field(factory=list)
    """Of the file of which parts were sent."""
    part_size: int = 0
    size: int = 0
    parts: int = 0
    """So many of them, from the first on, have arrived."""
    md5: str = ""
    sending: bool = False
    """Whether the message may have been sent."""


@frozen
class UploadKind:
    """The function of the kind; it sends none of the engine's own files."""

    places: OwnPlaces = field(factory=OwnPlaces, eq=False)

    async def __call__(self, job: TransferContext, client: Any) -> dict[str, Any]:
        """Send the file once; return ``{"chat", "message", "bytes"}``. Parts belong to an account, so the job stays."""
        peer = await client.get_input_entity(job.data.chat)
        chat = utils.get_peer_id(await peer_of(client, peer))
        sent = _Sent(**job.saved) if job.saved else _Sent(random_id=secrets.randbits(63) or 1)
        run = _UploadRun(job, client, peer, self.places, sent)
        if sent.sending and (found := await run.send_again()) is not None:
            return {"chat": chat, "message": found[0], "bytes": sent.size}
        number = await run.send()
        return {"chat": chat, "message": number, "bytes": run.sent.size}


def part_size_of(size: int) -> int:
    """Return the size of the parts of a file: small ones leave room for other requests. Telethon chooses the same."""
    if size <= 100 * 1024 * 1024:
        return 128 * 1024
    return 256 * 1024 if size <= 750 * 1024 * 1024 else MAX_PART


@define(eq=False)
class _UploadRun:
    """One run of an upload job."""

    job: TransferContext
    client: Any
    peer: Any
    places: OwnPlaces
    sent: _Sent
    disk: anyio.CapacityLimiter = field(factory=lambda: anyio.CapacityLimiter(1))
    stored_at: float = field(factory=time.monotonic)

    async def send(self) -> int | None:
        """Send all parts that are left, then the message; return its number if it is known."""
        source = await self._blocking(
            SourceFile.open, Path(self.job.data.path), self.places, MAX_PARTS_PREMIUM * MAX_PART
        )
        try:
            await self._check_size(source)
            if self.sent.identity != source.identity or self.sent.sending:
                self.sent = _Sent(
                    random_id=self.sent.random_id,
                    file_id=secrets.randbits(63) or 1,
                    identity=source.identity,
                    part_size=part_size_of(source.size),
                    size=source.size,
                )
            await self._store()  # before the first part: parts of another number would be left over there
            await self._send_parts(source)
            md5_hex = await self._blocking(_md5_of, source) if source.size <= MAX_SMALL else ""
            await self._blocking(source.check_unchanged)
        finally:
            source.close()
        self.sent = evolve(self.sent, md5=md5_hex, sending=True)
        await self._store()
        try:
            return await self._send_message()
        except PARTS_GONE as exc:
            raise TransferFailed(
                f"Telegram does not have all parts of {source.path.name} any more; the next attempt sends them again"
            ) from exc

    async def send_again(self) -> tuple[int | None] | None:
        """Send the message that may have been sent already; None if Telegram does not have its parts (any more)."""
        try:
            return (await self._send_message(),)
        except PARTS_GONE:
            return None

    async def _check_size(self, source: SourceFile) -> None:
        """Raise ``TransferFailed`` for a file that only accounts with premium may send, if this one is none."""
        most = MAX_PARTS * MAX_PART
        if source.size > most and not getattr(await self.client.get_me(), "premium", False):
            raise TransferFailed(
                f"{source.path} has {source.size / 1e6:,.0f} MB, and an account without Telegram Premium sends at most "
                f"{most / 1e6:,.0f} MB; split it, or name another account"
            )

    async def _send_parts(self, source: SourceFile) -> None:
        size, total = self.sent.part_size, self._total
        save = functions.upload.SaveFilePartRequest
        if source.size > MAX_SMALL:
            save = partial(_save_big, total=total)

        async def perform(number: int) -> None:
            data = await self._blocking(source.read, number * size, size)
            if not await self.client(save(self.sent.file_id, number, data)):
                raise TransferFailed(f"Telegram did not take part {number + 1} of {total} of {source.path.name}")

        async def take(number: int, _: None) -> None:
            self.sent = evolve(self.sent, parts=number + 1)
            self.job.progress(min(source.size, (number + 1) * size), source.size)
            if time.monotonic() - self.stored_at >= CHECKPOINT_SECONDS:
                await self._store()

        left: Iterator[int] = iter(range(self.sent.parts, total))
        await in_order(left, perform, take, PartWindow())

    @property
    def _total(self) -> int:
        return -(-self.sent.size // self.sent.part_size)

    async def _send_message(self) -> int | None:
        data, name = self.job.data, Path(self.job.data.path).name
        file = (
            types.InputFileBig(self.sent.file_id, self._total, name)
            if self.sent.size > MAX_SMALL
            else types.InputFile(self.sent.file_id, self._total, name, self.sent.md5)
        )
        media: Any = types.InputMediaUploadedPhoto(file)
        if not data.photo:
            mime = mimetypes.guess_type(name)[0] or "application/octet-stream"
            media = types.InputMediaUploadedDocument(
                file, mime, [types.DocumentAttributeFilename(name)], force_file=True
            )
        request = functions.messages.SendMediaRequest(self.peer, media, data.caption, random_id=self.sent.random_id)
        try:
            return number_in(await self.client(request), self.sent.random_id)
        except errors.RandomIdDuplicateError:
            return await self._find_sent()

    async def _find_sent(self) -> int | None:
        """Return the number of the account's message with this file; see ``find_sent``."""

        def is_it(message: Any) -> bool:
            same = message.file is not None and (self.job.data.photo or message.file.size == self.sent.size)
            return same and message.message == self.job.data.caption

        return await find_sent(self.client, self.peer, is_it, self.job.began)

    async def _store(self) -> None:
        done = min(self.sent.size, self.sent.parts * self.sent.part_size)
        await self.job.checkpoint(asdict(self.sent), done=done, total=self.sent.size, stay=True)
        self.stored_at = time.monotonic()

    async def _blocking(self, work: Callable[..., T], *values: Any) -> T:
        return await in_thread(self.disk, work, *values)


def _save_big(file_id: int, number: int, data: bytes, *, total: int) -> Any:
    return functions.upload.SaveBigFilePartRequest(file_id, number, total, data)


def _md5_of(source: SourceFile) -> str:
    """Return the checksum that Telegram compares with what has arrived of a small file."""
    return md5(source.read(0, source.size), usedforsecurity=False).hexdigest()
