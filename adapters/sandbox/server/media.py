"""Files, as the owner of the sandbox puts them in. ``Sandbox`` inherits these methods."""

from functools import partial
from typing import Final

from attrs import frozen

from adapters.sandbox.errors import SandboxError
from adapters.sandbox.server.hub import Hub
from adapters.sandbox.services.files import MAX_CAPTION
from adapters.sandbox.store.database import SERVICE_ID
from adapters.sandbox.store.files import StoredFile

MAX_FILE: Final = 4 * 1024 * 1024 * 1024
MAX_FILE_NAME: Final = 4096
ANY_MIME: Final = "application/octet-stream"


@frozen(kw_only=True)
class SandboxFile:
    """A file to put into a message."""

    size: int = 0
    """Its bytes, which are computed from ``seed``."""
    name: str = ""
    mime: str = ANY_MIME
    photo: bool = False
    dc: int | None = None
    """The datacenter that it is in; None is the main one."""
    seed: int = 0
    content: bytes | None = None
    """The content itself, instead of ``size`` and ``seed``."""

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.size <= MAX_FILE or len(self.name) > MAX_FILE_NAME:
            raise SandboxError(
                f"A file has 0 to {MAX_FILE} bytes, not {self.size}, and a name of at most {MAX_FILE_NAME} characters."
            )


class SandboxMedia:
    """The part of ``Sandbox`` about files."""

    dc_id: int
    _hub: Hub

    def put_file(self, data: bytes, dc_id: int | None = None) -> int:
        """Put a file into a datacenter, the main one by default; return the number of its document.

        It belongs to no message, and no reference is needed to read it.
        """
        make = partial(StoredFile, dc_id=dc_id or self.dc_id, size=len(data), guarded=False)
        return self._hub.store.files.put(lambda number: make(id=number), data).id

    async def send_file(self, chat: str, file: SandboxFile, caption: str = "", sender: str | None = None) -> int:
        """Send a file: into a channel (``@name``), as the channel itself or a member, or to an account by its number.

        Returns the id of the message there. Raises SandboxError for a channel or a datacenter that does not exist.
        """
        dc_id = file.dc or self.dc_id
        if dc_id not in self._hub.shared.addresses():
            raise SandboxError(f"Datacenter {dc_id} is not open; open it first.")
        if len(caption) > MAX_CAPTION:
            raise SandboxError(f"A caption has at most {MAX_CAPTION} characters, not {len(caption)}.")
        store = self._hub.store
        make = partial(StoredFile, dc_id=dc_id, name=file.name, mime=file.mime, photo=file.photo)
        size = file.size if file.content is None else len(file.content)
        seed = file.seed if file.content is None else None
        author = None if sender is None else store.account(sender).id
        if not chat.startswith("@"):
            sent = store.send(SERVICE_ID if author is None else author, store.account(chat).id, caption, None)
            stored = store.files.put(lambda number: make(id=number, size=size, seed=seed), file.content)
            for copy in sent.copies:
                store.files.attach(copy.account, copy.id, stored)
            self._hub.deliver(sent.copies)
            return (sent.theirs or sent.mine).id
        channel = store.channels.named(chat)
        posted = store.channels.send(channel, author, caption, None)
        stored = store.files.put(lambda number: make(id=number, size=size, seed=seed), file.content)
        store.files.attach(channel.id, posted.id, stored)
        self._hub.deliver([posted])
        return posted.id

    def file_of(self, chat: str, message: int) -> StoredFile | None:
        """Return the file of a message, in a channel (``@name``) or as an account has it; None if there is none."""
        store = self._hub.store
        owner = store.channels.named(chat).id if chat.startswith("@") else store.account(chat).id
        return store.files.of_message(owner, message)

    def content_of(self, file: StoredFile) -> bytes:
        """Return the whole content of a file."""
        return self._hub.store.files.whole(file)

    def expire_file_references(self) -> None:
        """Let the reference of every file expire, for everybody; messages that are fetched anew have the next one."""
        self._hub.store.files.epoch += 1
