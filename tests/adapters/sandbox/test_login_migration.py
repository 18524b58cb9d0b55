"""Two datacenters in one sandbox: each account lives in one of them, and a login in the other is redirected."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from telethon import errors
from telethon.errors import AuthKeyNotFound
from telethon.tl import functions, types

from adapters.sandbox import Fault, FaultKind, Sandbox, SandboxError
from tests.adapters.sandbox.harness import Connect, NewSession

HERE, THERE = "+9996620001", "+9996640001"
CODE_HERE, CODE_THERE = "22222", "44444"
TOKEN = "7000000001:a-token_of_a_bot-in-tests"
PASSWORD = "correct horse"
NEAREST = functions.help.GetNearestDcRequest


async def migrate_by_qr(dc: Sandbox, client: Any) -> Any:
    """Show a code that an account of the other datacenter scans; return what wait() returned."""
    login = await client.qr_login()
    task = asyncio.create_task(login.wait(5))
    await asyncio.sleep(0)
    dc.accept_token(THERE, login.url)
    return await task


async def test_both_are_in_the_config(connected: Connect) -> None:
    """help.getConfig names the datacenter that answers, and lists both with their ports, at either of them."""
    async with Sandbox() as dc:
        port = await dc.open_dc(4)
        assert await dc.open_dc(4) == port
        for id_, where in ((2, dc.port), (4, port)):
            async with connected(dc, port=where) as client:
                config = await client(functions.help.GetConfigRequest())
                assert config.this_dc == (await client(NEAREST())).this_dc == id_
                assert {o.id: (o.ip_address, o.port) for o in config.dc_options} == {
                    2: ("127.0.0.1", dc.port),
                    4: ("127.0.0.1", port),
                }


async def test_a_client_follows_its_number(connected: Connect) -> None:
    """sendCode in the wrong datacenter is answered PHONE_MIGRATE_4; Telethon goes there and logs in."""
    async with Sandbox() as dc, connected(dc, request_retries=1) as client:
        port = await dc.open_dc(4)
        await client.send_code_request(THERE)
        assert (client.session.dc_id, client.session.port) == (4, port)
        assert (await client.sign_in(THERE, CODE_THERE)).phone == THERE.lstrip("+")
        assert dc.stats()["keys_made"] == 2


async def test_without_a_retry_the_error_is_raised(connected: Connect) -> None:
    """A client that repeats no request raises PhoneMigrateError, and is in the right datacenter afterwards."""
    async with Sandbox() as dc, connected(dc) as client:
        await dc.open_dc(4)
        with pytest.raises(errors.PhoneMigrateError) as caught:
            await client.send_code_request(THERE)
        assert (caught.value.new_dc, client.session.dc_id) == (4, 4)
        await client.send_code_request(THERE)
        assert await client.sign_in(THERE, CODE_THERE)


async def test_a_client_that_is_logged_in_stays(connected: Connect) -> None:
    """Telethon does not leave an account for the number of another one."""
    async with Sandbox() as dc, connected(dc, HERE, request_retries=1) as client:
        await dc.open_dc(4)
        with pytest.raises(errors.PhoneMigrateError):
            await client.send_code_request(THERE)
        assert (await client.get_me()).phone == HERE.lstrip("+")


async def test_without_the_other_datacenter_every_account_lives_here(connected: Connect) -> None:
    """A number whose datacenter is not open logs in at the main one."""
    async with Sandbox() as dc, connected(dc) as client:
        await client.send_code_request(THERE)
        assert await client.sign_in(THERE, CODE_THERE)


async def test_a_bot_is_followed_home(connected: Connect) -> None:
    """importBotAuthorization in the wrong datacenter is answered USER_MIGRATE_4, and Telethon logs in there."""
    async with Sandbox() as dc, connected(dc, request_retries=1) as client:
        await dc.open_dc(4)
        dc.make_bot(TOKEN, 4)
        assert (await client.sign_in(bot_token=TOKEN)).bot
        assert client.session.dc_id == 4


async def test_a_wrong_token_does_not_reveal_where_its_bot_lives(connected: Connect) -> None:
    """Only the right token is answered with a migration."""
    async with Sandbox() as dc, connected(dc) as client:
        await dc.open_dc(4)
        dc.make_bot(TOKEN, 4)
        with pytest.raises(errors.AccessTokenInvalidError):
            await client.sign_in(bot_token=TOKEN + "x")


async def test_a_qr_code_is_followed_home(connected: Connect) -> None:
    """exportLoginToken says LoginTokenMigrateTo, and Telethon imports the token in the right datacenter."""
    async with Sandbox() as dc, connected(dc) as client:
        await dc.open_dc(4)
        assert (await migrate_by_qr(dc, client)).phone == THERE.lstrip("+")
        assert client.session.dc_id == 4
        assert dc.stats()["requests"]["auth.importLoginToken"] == 1


async def test_a_password_is_asked_for_at_the_right_place(connected: Connect) -> None:
    """An imported token of an account with a password is its first step."""
    async with Sandbox() as dc, connected(dc) as client:
        await dc.open_dc(4)
        await dc.set_password(THERE, PASSWORD)
        with pytest.raises(errors.SessionPasswordNeededError):
            await migrate_by_qr(dc, client)
        assert (await client.sign_in(password=PASSWORD)).phone == THERE.lstrip("+")


async def test_a_token_that_was_not_scanned_is_returned_as_it_is(connected: Connect) -> None:
    """importLoginToken before the code was scanned answers with the token, in either datacenter."""
    async with Sandbox() as dc, connected(dc) as client:
        login = await client.qr_login()
        answer = await client(functions.auth.ImportLoginTokenRequest(login.token))
        assert isinstance(answer, types.auth.LoginToken)
        assert (answer.token, answer.expires) == (login.token, login.expires)


async def test_a_key_is_known_where_it_was_made(connected: Connect, new_session: NewSession) -> None:
    """A key that is logged in at its account's home is unknown (-404) at the other datacenter."""
    async with Sandbox() as dc:
        port = await dc.open_dc(4)
        session = new_session(dc, THERE, port, 4)
        async with connected(dc, session=session) as client:
            assert (await client.get_me()).phone == THERE.lstrip("+")
        session.set_dc(2, "127.0.0.1", dc.port)
        with pytest.raises(AuthKeyNotFound):
            async with connected(dc, session=session):
                pass


async def test_a_port_of_an_account_is_one_of_its_home(connected: Connect) -> None:
    """A port that ``listen`` opens belongs to the datacenter where the account lives, however early it was opened."""
    async with Sandbox() as dc:
        port = await dc.listen(THERE)
        await dc.open_dc(4)
        async with connected(dc, port=port) as client:
            assert (await client(NEAREST())).this_dc == 4


async def test_faults_of_connecting_hit_both(connected: Connect) -> None:
    """Connecting to either datacenter is refused while a fault for all accounts is active, and both open again."""
    async with Sandbox() as dc:
        ports = (dc.port, await dc.open_dc(4))
        await dc.inject(Fault(FaultKind.REFUSE))
        for port in ports:
            with pytest.raises(ConnectionError):
                await asyncio.open_connection("127.0.0.1", port)
        await dc.clear()
        for port in ports:
            async with connected(dc, port=port) as client:
                assert client.is_connected()


async def test_homes_survive_a_restart(connected: Connect, new_session: NewSession, tmp_path: Path) -> None:
    """Logins at the other datacenter and the home of a bot are kept; it has to be opened again."""
    async with Sandbox(state=tmp_path) as dc:
        port = await dc.open_dc(4)
        session = new_session(dc, THERE, port, 4)
        dc.make_bot(TOKEN, 4)
    async with Sandbox(state=tmp_path) as dc:
        port = await dc.open_dc(4)
        session.set_dc(4, "127.0.0.1", port)
        async with connected(dc, session=session) as client:
            assert (await client.get_me()).phone == THERE.lstrip("+")
        async with connected(dc, request_retries=1) as client:
            await client.sign_in(bot_token=TOKEN)
            assert client.session.dc_id == 4


async def test_a_taken_port_opens_nothing() -> None:
    """A datacenter whose port another program has is not open, and can be opened at another port."""
    async with Sandbox() as dc:
        with pytest.raises(SandboxError, match="cannot listen"):
            await dc.open_dc(4, dc.port)
        assert await dc.open_dc(4) != dc.port


async def test_there_are_only_so_many() -> None:
    """The number of open datacenters is bounded."""
    async with Sandbox() as dc:
        for id_ in range(3, 12):
            await dc.open_dc(id_)
        with pytest.raises(SandboxError, match="10 datacenters are open"):
            await dc.open_dc(12)
