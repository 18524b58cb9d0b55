"""The kind of jobs ``download``: files of messages into a directory, from the offset at which the last run ended.

What a checkpoint says was written is on the disk before the checkpoint is. A file has its own name only when it is
whole; until then it has a hidden one beside it.
"""

import string
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from datetime import UTC
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import anyio
import anyio.to_thread
from attrs import asdict, define, evolve, field, frozen
from telethon import utils
from telethon.tl import types

from adapters.harmless_names import harmless_name
from adapters.own_places import OwnPlaces
from adapters.telegram import transfer_files
from adapters.telegram.builtin_jobs import JobContext
from adapters.telegram.chat_history import fetch_after, is_chat, peer_of
from adapters.telegram.part_window import PartWindow, in_order
from adapters.telegram.remote_file import RemoteFile, RemoteReader, file_of
from adapters.telegram.transfer_errors import FileUnavailable, TransferFailed, TransferRefused
from adapters.telegram.transfer_files import PartFile

T = TypeVar("T")

CHECKPOINT_SECONDS: Final = 1.0
CHECKPOINT_BYTES: Final = 8 * 1024 * 1024
"""A checkpoint waits for the disk twice, so it is made each second, or after so many bytes."""
MAX_MESSAGES: Final = 10_000
"""Messages that one job may name."""
AT_ONCE: Final = 100
"""Messages that the datacenter returns for one request."""
MAX_TEMPLATE: Final = 1024
DEFAULT_NAME: Final = "{message}-{name}"
FIELDS: Final = ("chat", "date", "message", "name")
"""What may stand in a template."""


class TransferContext(JobContext, Protocol):
    """What a transfer needs of its job."""

    def progress(self, done: float, total: float | None = None) -> None:
        """Report the bytes so far."""


def is_absolute(_: Any, attribute: Any, value: str) -> None:
    """Raise ``ValueError`` for a path that depends on the directory in which the engine runs."""
    if not value.startswith("/") or len(value) > MAX_TEMPLATE:
        raise ValueError(
            f"{attribute.name} must be an absolute path of at most {MAX_TEMPLATE} characters, like /data/media"
        )


def _is_template(_: Any, attribute: Any, value: str) -> None:
    is_absolute(_, attribute, value)
    try:
        parts = list(string.Formatter().parse(value))
    except ValueError as exc:
        raise ValueError(f"{attribute.name} is no template: {exc}") from None
    if any(name is not None and (name not in FIELDS or form or change) for _, name, form, change in parts):
        raise ValueError(
            f"{attribute.name} may have {', '.join(f'{{{each}}}' for each in FIELDS)} in it, and no others"
        )


@frozen(kw_only=True)
class Download:
    """The files of a ``message``, of ``messages``, or of all from ``since`` until ``until`` (ids), in a chat.

    ``into`` is a directory, or a template for a path such as ``/data/{chat}/{date}-{message}-{name}``.
    """

    chat: str | int = field(validator=is_chat)
    into: str = field(validator=_is_template)
    message: int | None = None
    messages: list[int] | None = None
    since: int | None = None
    until: int | None = None

    def __attrs_post_init__(self) -> None:
        ends = [each for each in (self.since, self.until) if each is not None]
        if [self.message is not None, self.messages is not None, bool(ends)].count(True) != 1:
            raise ValueError("name one message, or messages, or a range with since or until (ids of messages)")
        if not all(0 < number < 2**31 for number in [*self.numbers, *ends]):
            raise ValueError("the id of a message is a number from 1 to 2,147,483,647")
        if not ends and not 0 < len(self.numbers) <= MAX_MESSAGES:  # none of them is not all of them
            raise ValueError(f"messages has 1 to {MAX_MESSAGES:,} ids, not {len(self.numbers):,}")
        if ends != sorted(ends):
            raise ValueError(f"since ({self.since}) must not be after until ({self.until})")

    @property
    def numbers(self) -> list[int]:
        """The messages that are named one by one."""
        return [self.message] if self.message is not None else self.messages or []


@frozen(kw_only=True)
class _Part:
    """The file that is being written, as a checkpoint has it."""

    message: int
    file: int
    size: int
    place: str
    part: str
    offset: int = 0
    digest: str = ""


@define
class _Saved:
    """How far the job is."""

    chat: int
    last: int = 0
    """The last message that is dealt with."""
    files: int = 0
    bytes: int = 0
    there: int = 0
    """Files that were there already."""
    without: int = 0
    """Messages without a file."""
    failed: int = 0
    """Files that cannot be had, of several."""
    part: _Part | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as it is stored."""
        return asdict(self)


async def in_thread(limiter: anyio.CapacityLimiter, work: Callable[..., T], *values: Any) -> T:
    """Do what waits for the disk in a thread. A transfer has one at most, so that a disk that hangs holds no others."""
    return await anyio.to_thread.run_sync(work, *values, limiter=limiter)


@frozen
class DownloadKind:
    """The function of the kind; it puts nothing among the engine's own files."""

    places: OwnPlaces = field(factory=OwnPlaces, eq=False)

    async def __call__(self, job: TransferContext, client: Any) -> dict[str, Any]:
        """Fetch the files; return how many there were. Each is a result of the job, with its path and SHA-256."""
        peer = await client.get_input_entity(job.data.chat)
        chat = utils.get_peer_id(await peer_of(client, peer))
        alone = not isinstance(peer, types.InputPeerChannel)  # elsewhere each account has its own numbers
        saved = _read_saved(job.saved) or _Saved(chat, last=max(0, (job.data.since or 1) - 1))
        return await _Downloads(job, client, peer, saved, alone, self.places).run()


def _read_saved(saved: dict[str, Any]) -> _Saved | None:
    if not saved:
        return None
    part = saved.pop("part", None)
    return _Saved(**saved, part=_Part(**part) if part else None)


@define(eq=False)
class _Downloads:
    """One run of a download job."""

    job: TransferContext
    client: Any
    peer: Any
    saved: _Saved
    alone: bool
    places: OwnPlaces
    window: PartWindow = field(factory=PartWindow)
    disk: anyio.CapacityLimiter = field(factory=lambda: anyio.CapacityLimiter(1))
    stored_at: float = field(factory=time.monotonic)
    stored_offset: int = 0

    async def run(self) -> dict[str, Any]:
        async with aclosing(self._messages()) as messages:
            async for number, message in messages:
                await self._deal_with(number, message)
        await self._drop_part()  # its message is gone: there is none left
        if self.job.data.numbers and not self.saved.files + self.saved.there:
            raise TransferFailed(f"none of the messages of {self.job.data.chat} has a file, or they are not there")
        self.job.progress(self.saved.bytes, self.saved.bytes)
        result = self.saved.as_json()
        return {name: result[name] for name in ("chat", "files", "bytes", "there", "without", "failed")}

    async def _messages(self) -> AsyncGenerator[tuple[int, Any], None]:
        """Yield the messages that are left, each with its number; one that is not there is None."""
        if self.job.data.numbers:
            left = sorted(each for each in set(self.job.data.numbers) if each > self.saved.last)
            for start in range(0, len(left), AT_ONCE):
                numbers = left[start : start + AT_ONCE]
                for number, message in zip(
                    numbers, await self.client.get_messages(self.peer, ids=numbers), strict=True
                ):
                    yield number, message
            return
        until = self.job.data.until or 2**31
        while page := (await fetch_after(self.client, self.peer, self.saved.last)).messages:
            for message in page:
                if message.id > until:
                    return
                yield message.id, message
            await self.job.checkpoint(self.saved.as_json(), stay=self.alone)  # also where no message has a file

    async def _deal_with(self, number: int, message: Any) -> None:
        """Fetch the file of a message; of several messages, go on with the next one if this file cannot be had."""
        try:
            file = None if message is None else file_of(message)
            if file is None:
                self.saved.without += 1
                self.saved.last = number
            else:
                await self._fetch(message, file)
        except FileUnavailable as exc:
            if self.job.data.message is not None:
                raise
            await self._drop_part()
            self.saved.failed += 1
            await self._dealt_with(number, {"why": str(exc)})

    async def _drop_part(self) -> None:
        """Delete what was written of a file that is not fetched any more."""
        if self.saved.part is not None:
            await self._blocking(transfer_files.remove_part, Path(self.saved.part.part))
            self.saved.part = None

    async def _fetch(self, message: Any, file: RemoteFile) -> None:
        """Fetch the file of a message, unless it is there already."""
        saved, part = self.saved, self.saved.part
        if part is None or (part.message, part.file, part.size) != (message.id, file.id, file.size):
            await self._drop_part()  # the message has another file by now
            part = None
            wanted = await self._blocking(self._wanted, message, file)
            await self._blocking(transfer_files.make_directory, wanted.parent)
        else:
            wanted = Path(part.place)
        place, there = await self._blocking(transfer_files.find_place, wanted, file.size)
        if there and (part is None or not await self._blocking(Path(part.part).exists)):
            # Without a part it was there before; with one, the run before this one has given it its name.
            mine = part is not None and part.offset == part.size
            return await self._finished(message.id, place, file.size, part.digest if part and mine else None)
        if part is None:
            hidden = place.with_name(transfer_files.part_name())
            part = _Part(message=message.id, file=file.id, size=file.size, place=str(place), part=str(hidden))
        await self._blocking(transfer_files.check_room, place.parent, file.size - part.offset, file.name)
        if saved.part is not part:
            await self._store(part)  # before the file is made: whatever is left of it has a known name
        local, part = await self._opened(part)
        try:
            await self._transfer(message, file, local, part)
            digest = local.digest
            await self._blocking(local.sync)
            await self._store(evolve(part, offset=part.size, digest=digest))
            place = await self._blocking(local.publish, Path(part.place))
        finally:
            local.close()
        await self._finished(message.id, place, file.size, digest)

    async def _finished(self, number: int, place: Path, size: int, digest: str | None) -> None:
        """Store that a file is where it belongs; without a digest it was there before."""
        if digest is None:
            self.saved.there += 1
        else:
            self.saved.files += 1
            self.saved.bytes += size
        fetched = digest is not None
        await self._dealt_with(number, {"path": str(place), "bytes": size, "sha256": digest, "fetched": fetched})

    async def _dealt_with(self, number: int, row: dict[str, Any]) -> None:
        """Store what became of a message, as a result of the job, whose failures count from zero with the next one."""
        self.saved.part, self.saved.last = None, number
        row, done = {"message": number, **row}, self.saved.bytes
        await self.job.checkpoint(self.saved.as_json(), results=[row], done=done, stay=self.alone, settled=True)

    async def _opened(self, part: _Part) -> tuple[PartFile, _Part]:
        """Return the file to write into, and from where on: what an earlier run has written counts if it is intact."""
        if part.offset:
            local = await self._blocking(PartFile.reopen, Path(part.part))
            if local is not None:
                same: bool | None = None
                pieces = local.verify(part.offset, part.digest)
                while same is None:
                    same = await self._blocking(next, pieces)
                    self.job.progress(self.saved.bytes + part.offset, self._total(part))
                if same:
                    return local, part
                local.close()
        return await self._blocking(PartFile.create, Path(part.part)), evolve(part, offset=0, digest="")

    async def _transfer(self, message: Any, file: RemoteFile, local: PartFile, part: _Part) -> None:
        """Read from the datacenter and write, with checkpoints."""

        async def fetch_again() -> RemoteFile:
            found = await self.client.get_messages(self.peer, ids=message.id)
            renewed = None if found is None else file_of(found)
            if renewed is None:
                raise FileUnavailable(f"message {message.id}, or its file, is not there any more")
            return renewed

        reader = RemoteReader(self.client, file, fetch_again)

        def parts() -> Iterator[tuple[int, int]]:
            offset = part.offset
            while offset < file.size:
                limit = self.window.size_at(offset)
                yield offset, limit
                offset += limit

        async def take(place: tuple[int, int], data: bytes) -> None:
            await self._blocking(local.write, place[0], data)
            await self._moved_on(local, evolve(part, offset=place[0] + len(data)))

        self.stored_at, self.stored_offset = time.monotonic(), part.offset
        await in_order(parts(), lambda place: reader.read(*place), take, self.window)

    async def _moved_on(self, local: PartFile, part: _Part) -> None:
        """Report the bytes so far; make a checkpoint when it is time for one."""
        done = self.saved.bytes + part.offset
        self.job.progress(done, self._total(part))
        late = time.monotonic() - self.stored_at >= CHECKPOINT_SECONDS
        if part.offset < part.size and (late or part.offset - self.stored_offset >= CHECKPOINT_BYTES):
            digest = local.digest
            await self._blocking(local.sync)
            await self._store(evolve(part, digest=digest))
            rest = part.size - part.offset
            await self._blocking(transfer_files.check_room, local.path.parent, rest, Path(part.place).name)

    async def _store(self, part: _Part) -> None:
        self.saved.part = part
        done, total = self.saved.bytes + part.offset, self._total(part)
        await self.job.checkpoint(self.saved.as_json(), done=done, total=total, stay=self.alone)
        self.stored_at, self.stored_offset = time.monotonic(), part.offset

    def _total(self, part: _Part) -> float | None:
        """Return what there is to fetch; None of several messages, whose files are seen one after the other."""
        return self.saved.bytes + part.size if self.job.data.message is not None else None

    def _wanted(self, message: Any, file: RemoteFile) -> Path:
        """Return where the file of a message should be. Raises ``TransferRefused`` for a place of the engine's own."""
        template = self.job.data.into
        if "{" not in template:
            template = f"{template.rstrip('/')}/{DEFAULT_NAME}"
        directory, _, name = template.rpartition("/")
        values = {
            "chat": str(self.saved.chat),
            "message": str(message.id),
            "date": message.date.astimezone(UTC).strftime("%Y-%m-%d"),
            "name": file.name,
        }
        place = Path(directory.format(**values) or "/") / harmless_name(name.format(**values))
        if self.places.covers(place):
            raise TransferRefused(f"{place.parent} is among the engine's own files; give another directory")
        return place

    async def _blocking(self, work: Callable[..., T], *values: Any) -> T:
        return await in_thread(self.disk, work, *values)
