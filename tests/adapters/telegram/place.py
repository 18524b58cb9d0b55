"""A data centre in the test's own loop, and session files as Telethon writes them."""

from pathlib import Path
from types import TracebackType

from attrs import define, field
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession

from adapters.sandbox import Sandbox
from adapters.telegram import Connector, Datacenter

PHONE = "+9996620001"


@define
class Place:
    """A sandbox for the length of an ``async with``, and connectors to it.

    No fixture could keep it open: its task group must end in the task that began it.
    """

    directory: Path
    dc: Sandbox = field(factory=Sandbox)

    async def __aenter__(self) -> Sandbox:
        await self.dc.__aenter__()
        self.datacenter().trust()
        return self.dc

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.dc.__aexit__(kind, exc, trace)

    def datacenter(self, port: int | None = None) -> Datacenter:
        """Return where the sandbox is, or where the test says."""
        return Datacenter(self.dc.dc_id, "127.0.0.1", port or self.dc.port, self.dc.public_key)

    def connector(self, *, key: bytes | None = b"", port: int | None = None) -> Connector:
        """Make a session file that Telethon wrote, logged in unless ``key`` is None, and a connector for it."""
        path = self.directory / "account.session"
        session = SQLiteSession(str(path))
        session.set_dc(self.dc.dc_id, "127.0.0.9", 443)  # nobody is there: no mistake of ours leads outside
        if key is not None:
            session.auth_key = AuthKey(key or self.dc.authorize(PHONE))
        session.save()
        session.close()
        return Connector(session=path, api_id=1, api_hash="0" * 32, datacenter=self.datacenter(port))
