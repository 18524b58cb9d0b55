"""The login of a client that the engine lends: code reads no key for a second client, and breaks none of its own."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from telethon.crypto import AuthKey
from telethon.sessions import StringSession

from adapters.telegram.lent import LentClientError
from states.events import Connected, Unexpected
from tests.adapters.telegram.harness import DatacenterHarness
from tests.adapters.telegram.test_requests import DIALOGS, opened, told
from tests.timeouts import TIMEOUT


@pytest.mark.parametrize(
    "reads",
    [
        StringSession.save,
        lambda session: session.auth_key.key,
        lambda session: setattr(session.auth_key, "key", None),
        lambda session: setattr(session, "auth_key", AuthKey(bytes(255) + b"x")),
    ],
    ids=["as a string", "read", "erased", "replaced"],
)
async def test_the_key_is_not_given_away(harness: DatacenterHarness, reads: Callable[[Any], Any]) -> None:
    """A second client with the key would destroy the login, so the key is neither read nor changed."""
    async with harness, opened(harness) as link:
        with pytest.raises(LentClientError):
            reads(link.client.session)
        assert link.client.session.auth_key
        assert await link.client(DIALOGS)


async def test_fields_of_the_session_change_nothing(harness: DatacenterHarness) -> None:
    """Code that overwrites Telethon's own fields of the session does not take the next link's login or address."""
    async with harness:
        connector = harness.connector()
        before = await connector.credentials()
        for number in (1, 2):
            link = connector.link(number)
            try:
                assert isinstance((await link.open(timeout=TIMEOUT))[-1], Connected)
                session = link.client.session
                session._auth_key, session._server_address, session._port, session._dc_id = None, "127.0.0.9", 1, 4
            finally:
                await link.close(timeout=TIMEOUT)
        assert await connector.credentials() == before


async def test_a_link_whose_updates_were_cancelled_ends(harness: DatacenterHarness) -> None:
    """A link that would hear of no update any more is not kept, and the network is not blamed."""
    async with harness, opened(harness) as link:
        for _ in range(4):  # until the first difference was asked for: before that, ``asyncio.wait_for`` drops it
            await asyncio.sleep(0)
        link.client._updates_handle.cancel()
        event = await told(link)
        assert isinstance(event, Unexpected)
        assert event.detail.startswith("code in this process")


async def test_handlers_of_the_engine_are_not_listed(harness: DatacenterHarness) -> None:
    """Code that removes all handlers of a client removes its own."""

    async def own(_: Any) -> None: ...

    async with harness, opened(harness) as link:
        registered = len(link.client._event_builders)
        link.client.add_event_handler(own)
        for handler, builder in link.client.list_event_handlers():
            link.client.remove_event_handler(handler, type(builder))
        assert len(link.client._event_builders) == registered
