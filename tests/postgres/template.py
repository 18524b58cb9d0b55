"""A database with the schema of this version, of which each test gets a copy: that takes a tenth of a second."""

import asyncio
import threading
import weakref
from typing import Final, Protocol

from adapters.postgres.address import StoreAddress
from adapters.postgres.connect import StoreConnection
from adapters.postgres.migrate import migrate


class Databases(Protocol):
    """A server, or a cluster of several, with databases."""

    def clone(self, template: str) -> str: ...
    def url(self, database: str = ...) -> str: ...
    def execute(self, statement: str) -> object: ...


_templates: Final = weakref.WeakKeyDictionary[Databases, str]()


def template_of(server: Databases) -> str:
    """Return the name of the server's database with this schema; it is made when first asked for."""
    if server not in _templates:
        name = server.clone("template0")
        thread = threading.Thread(target=lambda: asyncio.run(_migrate(server.url(name))))  # a test's loop may run here
        thread.start()
        thread.join()
        server.execute(
            f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false"
        )  # a copy needs an original that nobody uses
        _templates[server] = name
    return _templates[server]


async def _migrate(url: str) -> None:
    connection = await StoreConnection.open(StoreAddress.parse(url), application="template")
    try:
        await migrate(connection)
    finally:
        connection.close()
