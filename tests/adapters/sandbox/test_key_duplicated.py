"""A login that two connections use in parallel is destroyed, as in Telegram; a new connection may take over."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import anyio
import pytest
from telethon import errors
from telethon.tl import functions

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.sandbox.server import connection
from adapters.sockets import reset_on_close
from tests.adapters.sandbox.harness import ALICE, BOB, PING, STATE, connect, is_alive, new_session, record_texts


def use(dc: Sandbox, session: Any) -> Any:
    """Connect a client that asks for nothing by itself: its update loop would end it at the first 406."""
    return connect(dc, session=session, catch_up=False)


def copy_of(dc: Sandbox, session: Any) -> Any:
    """Return a second session with the same key."""
    other = new_session(dc)
    other.auth_key = session.auth_key
    return other


async def is_refused(client: Any, request: Any) -> bool:
    """Return whether a request is answered with AUTH_KEY_DUPLICATED."""
    try:
        await client(request)
    except errors.AuthKeyDuplicatedError:
        return True
    return False


async def test_two_that_send_requests_in_turn_lose_the_login() -> None:
    """The one that speaks again after the other is refused, and so are both from then on, pings excepted."""
    async with Sandbox() as dc:
        session = new_session(dc, ALICE)
        async with use(dc, session) as first, use(dc, copy_of(dc, session)) as second:
            assert await is_refused(first, STATE())
            assert await is_refused(second, STATE())
            assert await is_refused(first, functions.help.GetConfigRequest())
            assert await is_alive(first)
        assert dc.stats()["logins_destroyed"] == 1


async def test_a_destroyed_login_stays_so(tmp_path: Path) -> None:
    """A later connection is refused at its first request, also by a sandbox that was started again on its state."""
    async with Sandbox(state=tmp_path) as dc:
        session = new_session(dc, ALICE)
        async with use(dc, session) as first, use(dc, copy_of(dc, session)):
            assert await is_refused(first, STATE())
        with pytest.raises(errors.AuthKeyDuplicatedError):
            async with use(dc, copy_of(dc, session)):
                pass
    async with Sandbox(state=tmp_path) as dc:
        with pytest.raises(errors.AuthKeyDuplicatedError):
            async with use(dc, copy_of(dc, session)):
                pass


async def test_a_destroyed_login_gets_no_updates() -> None:
    """What happens to the account is pushed to neither of the two."""
    async with Sandbox() as dc:
        session = new_session(dc, ALICE)
        async with use(dc, session) as first, use(dc, copy_of(dc, session)) as second:
            assert await is_refused(first, STATE())
            heard = record_texts(first), record_texts(second)
            await dc.push(ALICE, "hello")
            assert await is_alive(first)
            assert await is_alive(second)
            assert all(texts.empty() for texts in heard)


async def test_a_new_connection_may_take_over() -> None:
    """The client lost a connection without a FIN; the datacenter still has it open, and it only pings, or nothing."""
    async with Sandbox() as dc:
        session = new_session(dc, ALICE)
        async with use(dc, session) as old, use(dc, copy_of(dc, session)) as new:
            for _ in range(3):
                await new(STATE())
                await old(PING(1))
        assert dc.stats()["logins_destroyed"] == 0


async def test_one_after_the_other_is_not_in_parallel() -> None:
    """A connection whose only rival has ended goes on."""
    async with Sandbox() as dc:
        session = new_session(dc, ALICE)
        async with use(dc, session) as first:
            async with use(dc, copy_of(dc, session)) as second:
                await second(STATE())
            await first(PING(1))
            while dc.stats()["connections"] > 1:
                await first(PING(1))
            await first(STATE())
        assert dc.stats()["logins_destroyed"] == 0


@pytest.mark.parametrize("by", ["client", "datacenter"])
async def test_what_waited_in_the_datacenter_is_not_in_parallel(monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """Requests that had arrived before their connection was reset are looked at after the next one has begun."""
    monkeypatch.setattr(connection, "MAX_REQUESTS_IN_FLIGHT", 1)
    async with Sandbox() as dc:
        session = new_session(dc, ALICE)
        async with use(dc, session) as first:
            before = dc.stats()["requests"].get("updates.getState", 0)
            await dc.inject(Fault(FaultKind.SLOW, ALICE, seconds=0.5, times=1))
            asked = asyncio.ensure_future(first([STATE()] * 4))
            while dc.stats()["requests"].get("updates.getState", 0) == before:
                await anyio.sleep(0.005)
            if by == "client":
                transport = first._sender._connection._writer.transport
                reset_on_close(transport.get_extra_info("socket"))
                transport.abort()
            else:
                await dc.inject(Fault(FaultKind.RESET, ALICE))
            async with use(dc, copy_of(dc, session)) as second:
                await second(STATE())
                while dc.stats()["connections"] > 1:
                    await second(PING(1))
                await second(STATE())
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await asked
        assert dc.stats()["logins_destroyed"] == 0


async def test_connections_for_media_are_allowed() -> None:
    """Parts of a file may come over a connection of their own, beside the one for everything else."""
    part = functions.upload.SaveFilePartRequest(1, 0, b"part")
    async with Sandbox() as dc:
        session = new_session(dc, ALICE)
        async with use(dc, session) as media, use(dc, copy_of(dc, session)) as main:
            for _ in range(2):
                await main(STATE())
                assert await media(part)
            await main(STATE())
        assert dc.stats()["logins_destroyed"] == 0


async def test_two_logins_of_one_account_do_not_meet() -> None:
    """The law is of the key: a phone and a desktop, each with its own, work side by side."""
    async with Sandbox() as dc, connect(dc, ALICE) as phone, connect(dc, ALICE) as desktop:
        for client in (phone, desktop, phone, desktop):
            await client(STATE())
        assert dc.stats()["logins_destroyed"] == 0


async def test_others_are_not_concerned() -> None:
    """Another account's login, and another login of the same account, outlive the destroyed one."""
    async with Sandbox() as dc:
        session = new_session(dc, ALICE)
        async with connect(dc, BOB) as bob, connect(dc, ALICE) as other:
            async with use(dc, session) as first, use(dc, copy_of(dc, session)):
                assert await is_refused(first, STATE())
            await bob(STATE())
            await other(STATE())


async def test_what_a_black_hole_swallowed_was_not_sent() -> None:
    """Requests of the lost connection that never arrived do not count when the client is back on a new one."""
    async with Sandbox() as dc:
        session = new_session(dc, ALICE)
        port = await dc.listen(ALICE)
        async with connect(dc, session=session, port=port, catch_up=False) as old:
            await dc.inject(Fault(FaultKind.BLACKHOLE, ALICE))
            assert not await is_alive(old, within=0.1)
            await dc.clear()
            async with use(dc, copy_of(dc, session)) as new:
                await new(STATE())
        assert dc.stats()["logins_destroyed"] == 0
