"""``TelegramClient(HoldfastSession(...))``: the session alone, in a program of Telethon's."""

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
from telethon import TelegramClient, events

from adapters.sandbox import Sandbox
from adapters.session import HoldfastSession
from adapters.telegram import Datacenter
from tests.adapters.session.support import locked, rows
from tests.timeouts import TIMEOUT

PHONE, OTHER = "+9996620001", "+9996620002"
API = (12345, "0123456789abcdef0123456789abcdef")


def client(dc: Sandbox, path: Path) -> TelegramClient:
    """Return a client as a script makes it, but for where the datacenter is."""
    Datacenter(dc.dc_id, "127.0.0.1", dc.port, dc.public_key).trust()
    session = HoldfastSession(path)
    if not session.auth_key:
        session.set_dc(dc.dc_id, "127.0.0.1", dc.port)
    return TelegramClient(session, *API, catch_up=True)


async def test_a_script_logs_in_ends_and_goes_on(tmp_path: Path) -> None:
    """The key that the login made is used by the next run, with entities and update state; Telethon reads the file."""
    path = tmp_path / "account1.session"
    async with Sandbox() as dc:
        first = client(dc, path)
        await first.connect()
        sent = await first.send_code_request(PHONE)
        await first.sign_in(PHONE, "22222", phone_code_hash=sent.phone_code_hash)
        me = await first.get_me()
        await first.disconnect()
        assert len(rows(path, "select auth_key from sessions")[0]) == 256
        await dc.push(PHONE, "missed", sender=OTHER)
        heard: list[str] = []
        second = client(dc, path)
        second.add_event_handler(lambda event: _note(heard, event), events.NewMessage())
        await second.connect()
        assert (await second.get_me()).id == me.id
        with anyio.fail_after(TIMEOUT):
            while heard != ["missed"]:
                await anyio.sleep(0.01)
        await second.disconnect()
        assert second.session._live is not None
        assert not second.session._live.owned
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("select pts from update_state where id = 0").fetchone() == (2,)
        assert database.execute("select count(*) from entities").fetchone()[0] >= 2


async def _note(heard: list[str], event: events.NewMessage.Event) -> None:
    heard.append(event.raw_text)


async def test_a_request_is_answered_while_the_file_is_locked(tmp_path: Path) -> None:
    """With Telethon's own session the answer would raise OperationalError after five seconds without a loop."""
    path = tmp_path / "account1.session"
    async with Sandbox() as dc:
        first = client(dc, path)
        await first.connect()
        sent = await first.send_code_request(PHONE)
        await first.sign_in(PHONE, "22222", phone_code_hash=sent.phone_code_hash)
        await first.session.flush()
        with locked(path):
            await dc.push(PHONE, "hello", sender=OTHER)
            with anyio.fail_after(TIMEOUT):
                assert [message.message for message in await first.get_messages(OTHER, limit=1)] == ["hello"]
                assert first.session._live.contents.dirty.entities
        await first.disconnect()
    assert len(rows(path)) >= 2


async def test_a_log_out_deletes_the_file_as_telethon_does(tmp_path: Path) -> None:
    """After ``log_out`` the key is worth nothing, and nothing is left of the session."""
    path = tmp_path / "account1.session"
    async with Sandbox() as dc:
        first = client(dc, path)
        await first.connect()
        sent = await first.send_code_request(PHONE)
        await first.sign_in(PHONE, "22222", phone_code_hash=sent.phone_code_hash)
        assert await first.log_out()
    assert list(tmp_path.iterdir()) == []
