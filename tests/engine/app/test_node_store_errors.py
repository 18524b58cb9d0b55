"""The errors of a PostgreSQL store as a node hears them: it knows nothing of PostgreSQL."""

import pytest

from adapters.postgres import NodeEntry, StoreAddress, StoreTimeouts
from engine.app.node_store import DatabaseNodes
from engine.node.ports import LifeOver, NameTaken, StoreSilent
from tests.postgres.relay import relay
from tests.postgres.server import SUPERUSER, PostgresServer
from tests.postgres.support import new_life

ENTRY = NodeEntry(name="a", host="a", lease=15)


async def test_errors_of_the_store_are_those_of_the_ports(postgres: PostgresServer, store_url: str) -> None:
    """Each comes with its sentence, and with what the holder has to know."""
    line, life = await DatabaseNodes(StoreAddress.parse(store_url), ENTRY).connect(), new_life()
    await line.begin(life, ends=0)
    report = await line.beat(life)
    assert report is not None
    with pytest.raises(NameTaken, match="a node called a is alive already") as taken:
        await line.begin(new_life(), ends=0)
    assert (taken.value.life, taken.value.beat, taken.value.server) == (life, report.beat, report.server)
    await line.end(life, "a test ended it")
    with pytest.raises(LifeOver):
        await line.begin(life, ends=0)
    line.close()
    with pytest.raises(StoreSilent, match="the connection is closed"):
        await line.beat(life)
    with pytest.raises(StoreSilent, match="no such database"):
        await DatabaseNodes(StoreAddress.parse(postgres.url("nothing")), ENTRY).connect()


async def test_a_line_into_a_black_hole_is_silent(postgres: PostgresServer, store_url: str) -> None:
    """Whoever asked is told so at the deadline."""
    database = store_url.partition("?")[0].rpartition("/")[2]
    async with relay(postgres.socket) as wire:
        address = StoreAddress.parse(f"postgresql://{SUPERUSER}@{wire.address}/{database}")
        line = await DatabaseNodes(address, ENTRY, StoreTimeouts(query=0.2)).connect()
        wire.swallow()
        with pytest.raises(StoreSilent, match="the server does not answer"):
            await line.owned(1)
        line.close()
