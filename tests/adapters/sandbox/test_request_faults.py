"""The faults that hit requests, as the unmodified client sees them."""

import asyncio
import time
from typing import Any

import pytest
from telethon import errors
from telethon.tl import functions, types

from adapters.sandbox import Fault, FaultKind, Sandbox
from tests.adapters.sandbox.harness import (
    ALICE,
    BOB,
    PING,
    QUIET,
    STATE,
    Connect,
    NewClient,
    NewSession,
    connection_end,
    faults_end,
    is_alive,
    is_answered,
    record_texts,
)
from tests.timeouts import TIMEOUT

CONFIG = functions.help.GetConfigRequest


def rpc_error(code: int, text: str, **changes: Any) -> Fault:
    return Fault(FaultKind.RPC_ERROR, code=code, text=text, **changes)


async def failed_connect(dc: Sandbox, new_session: NewSession, new_client: NewClient) -> tuple[Any, Any]:
    """Return a client whose connect() failed, and what it raised."""
    client = new_client(new_session(dc, ALICE))
    with pytest.raises(errors.RPCError) as caught:
        async with asyncio.timeout(TIMEOUT):
            await client.connect()
    return client, caught.value


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [
        (401, "SESSION_REVOKED", errors.SessionRevokedError),
        (401, "AUTH_KEY_UNREGISTERED", errors.AuthKeyUnregisteredError),
        (401, "USER_DEACTIVATED_BAN", errors.UserDeactivatedBanError),
        (406, "AUTH_KEY_DUPLICATED", errors.AuthKeyDuplicatedError),
        (400, "PEER_FLOOD", errors.PeerFloodError),
        (400, "API_ID_INVALID", errors.ApiIdInvalidError),
    ],
)
async def test_an_rpc_error_is_the_specific_error(
    connected: Connect, code: int, text: str, error: type[Exception]
) -> None:
    """A request that is hit raises the class of its text; the link stays up, and the next one is answered."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await dc.inject(rpc_error(code, text, request="updates.getState"))
        with pytest.raises(error):
            await client(STATE())
        assert await is_alive(client)
        assert (await client(STATE())).pts == 1


async def test_a_flood_wait_carries_its_seconds(connected: Connect) -> None:
    """FLOOD_WAIT_30 is a FloodWaitError at once, and Telethon refuses the next call by itself."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await dc.inject(rpc_error(420, "FLOOD_WAIT_30"))
        for _ in range(2):
            with pytest.raises(errors.FloodWaitError) as caught:
                await client(STATE())
            assert 29 <= caught.value.seconds <= 30
        assert dc.stats()["acted"] == {"rpc_error": 1}


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [(500, "INTERNAL", errors.ServerError), (-503, "Timeout", errors.TimedOutError)],
)
async def test_a_server_error_at_get_config_is_raised_from_connect(
    new_session: NewSession, new_client: NewClient, code: int, text: str, error: type[Exception]
) -> None:
    """The query inside initConnection can be hit: connect() raises, and is_connected() is True all the same."""
    async with Sandbox() as dc:
        await dc.inject(rpc_error(code, text, request="help.getConfig"))
        client, raised = await failed_connect(dc, new_session, new_client)
        assert isinstance(raised, error)
        assert client.is_connected()
        await client.disconnect()


async def test_a_401_at_get_users_is_not_raised_from_connect(connected: Connect) -> None:
    """Telethon swallows the error: connect() returns normally, and the first request raises."""
    async with Sandbox() as dc:
        await dc.inject(rpc_error(401, "SESSION_REVOKED", request="users.getUsers", times=9))
        async with connected(dc, ALICE) as client:
            assert client.is_connected()
            assert dc.stats()["acted"] == {"rpc_error": 1}


@pytest.mark.parametrize(("code", "text"), [(401, "SESSION_REVOKED"), (406, "AUTH_KEY_DUPLICATED")])
async def test_a_dead_login_at_get_difference_is_raised_from_connect(
    new_session: NewSession, new_client: NewClient, code: int, text: str
) -> None:
    """A session without a state of updates asks for the difference inside connect(), where even a 401 is raised."""
    async with Sandbox() as dc:
        await dc.inject(rpc_error(code, text, request="updates.getDifference"))
        client, raised = await failed_connect(dc, new_session, new_client)
        assert raised.code == code
        await client.disconnect()


@pytest.mark.parametrize("kind", [FaultKind.REVOKE, FaultKind.DUPLICATE])
async def test_a_dead_login_in_the_update_loop_ends_the_client(connected: Connect, kind: FaultKind) -> None:
    """The client disconnects itself as if it had been asked to; the error is only in _updates_error."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await client(STATE())
        await asyncio.sleep(0.05)
        await dc.inject(Fault(kind, ALICE))
        await client.catch_up()
        assert await connection_end(client) is None
        assert client._updates_error.code in (401, 406)


async def test_a_migration_leads_to_a_missing_datacenter(connected: Connect) -> None:
    """USER_MIGRATE_4 makes Telethon ask for the address of datacenter 4, and the sandbox is the only one."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await dc.inject(rpc_error(303, "USER_MIGRATE_4"))
        with pytest.raises(ValueError, match="DC 4"):
            await client(STATE())


async def test_an_rpc_error_acts_as_often_as_its_times(connected: Connect) -> None:
    """A fault of two times hits two requests, and the third is answered."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await dc.inject(rpc_error(400, "PEER_FLOOD", request="UPDATES.get?tate", times=2))
        assert (await client(CONFIG())).this_dc == 2
        for _ in range(2):
            with pytest.raises(errors.PeerFloodError):
                await client(STATE())
        assert (await client(STATE())).pts == 1


async def test_an_rpc_error_with_a_time_lasts_until_then(connected: Connect) -> None:
    """With a duration every request is hit until it is over."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await dc.inject(rpc_error(400, "PEER_FLOOD", duration=0.5))
        for _ in range(2):
            with pytest.raises(errors.PeerFloodError):
                await client(STATE())
        await faults_end(dc)
        assert (await client(STATE())).pts == 1


async def test_slow_answers_do_not_hold_up_pings(connected: Connect) -> None:
    """The request is performed and its answer comes late; pings are answered meanwhile."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await dc.inject(Fault(FaultKind.SLOW, seconds=0.5))
        began = time.monotonic()
        asking = asyncio.ensure_future(client(STATE()))
        assert await is_alive(client)
        assert not asking.done()
        await asking
        assert 0.5 <= time.monotonic() - began < 3


async def test_slow_pings_are_asked_for_by_name(connected: Connect) -> None:
    """A pattern that matches pings slows them, and nothing else."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await dc.inject(Fault(FaultKind.SLOW, seconds=0.6, request="ping*"))
        assert not await is_alive(client, within=QUIET)
        assert await is_answered(client, STATE())
        assert (await client(PING(3))).ping_id == 3


@pytest.mark.parametrize(("kind", "stored"), [(FaultKind.RESET_BEFORE, 0), (FaultKind.RESET_AFTER, 1)])
async def test_a_reset_before_or_after_a_request(connected: Connect, kind: FaultKind, stored: int) -> None:
    """The call raises ConnectionResetError either way; only ``reset_after`` has delivered the message."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await dc.inject(Fault(kind, ALICE, request="messages.sendMessage"))
        await client(STATE())
        with pytest.raises(ConnectionResetError):
            await client(functions.messages.SendMessageRequest(types.InputPeerSelf(), "hi", random_id=5))
        assert len(dc.messages(ALICE)) == stored
        with pytest.raises(ConnectionResetError):
            await connection_end(client)
        async with connected(dc, ALICE) as again:
            assert await again(functions.messages.SendMessageRequest(types.InputPeerSelf(), "hi", random_id=6))


@pytest.mark.parametrize(
    ("text", "error"),
    [(None, errors.AuthKeyUnregisteredError), ("SESSION_REVOKED", errors.SessionRevokedError)],
)
async def test_a_revoked_login(connected: Connect, text: str | None, error: type[Exception]) -> None:
    """Every request that needs the login raises, the link stays up, no update comes, and connect() sees nothing."""
    async with Sandbox() as dc, connected(dc, ALICE) as client, connected(dc, BOB) as bob:
        texts = record_texts(client)
        await client(STATE())
        await dc.inject(Fault(FaultKind.REVOKE, ALICE, text=text))
        await dc.push(ALICE, "secret")
        for _ in range(2):
            with pytest.raises(error):
                await client(STATE())
        assert (await client(CONFIG())).this_dc == 2
        assert await is_alive(client)
        assert texts.empty()
        assert await is_answered(bob, STATE())
        async with connected(dc, ALICE) as again:
            assert await again.get_me() is None
        await dc.clear(ALICE)
        assert await is_answered(client, STATE())


async def test_a_duplicated_key_is_raised_from_connect(new_session: NewSession, new_client: NewClient) -> None:
    """406 to every request: connect() raises AuthKeyDuplicatedError, and is_connected() is True all the same."""
    async with Sandbox() as dc:
        await dc.inject(Fault(FaultKind.DUPLICATE, ALICE))
        client, raised = await failed_connect(dc, new_session, new_client)
        assert isinstance(raised, errors.AuthKeyDuplicatedError)
        assert client.is_connected()
        with pytest.raises(errors.AuthKeyDuplicatedError):
            await client(STATE())
        await client.disconnect()


@pytest.mark.parametrize("code", [18, 19, 20, 34, 35, 48, 64])
async def test_a_bad_message_is_raised(connected: Connect, code: int) -> None:
    """These codes raise BadMessageError from the call, and the link goes on."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await dc.inject(Fault(FaultKind.BAD_MSG, code=code, request="updates.getState"))
        with pytest.raises(errors.BadMessageError):
            await client(STATE())
        assert await is_answered(client, STATE())
        assert dc.stats()["protocol_errors"] == {}


@pytest.mark.parametrize("code", [16, 17, 32, 33])
async def test_a_bad_message_is_sent_again(connected: Connect, code: int) -> None:
    """Telethon mends these codes by itself: the call is answered as usual."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await dc.inject(Fault(FaultKind.BAD_MSG, code=code))
        assert await is_answered(client, STATE())
        assert dc.stats()["acted"] == {"bad_msg": 1}


async def test_a_difference_that_is_too_long_loses_messages(connected: Connect) -> None:
    """Telethon takes the new state and never asks for what was between."""
    async with Sandbox() as dc, connected(dc, ALICE, catch_up=False) as client:
        texts = record_texts(client)
        await client(STATE())
        await dc.inject(Fault(FaultKind.TOO_LONG, ALICE))
        await dc.inject(Fault(FaultKind.LOST_UPDATE, ALICE, times=1))
        await dc.push(ALICE, "lost")
        await dc.push(ALICE, "the gap is seen")
        async with asyncio.timeout(TIMEOUT):
            while not dc.stats()["acted"].get("too_long"):
                await asyncio.sleep(0.02)
        assert await is_alive(client)
        await dc.push(ALICE, "heard")
        async with asyncio.timeout(TIMEOUT):
            assert await texts.get() == "heard"
