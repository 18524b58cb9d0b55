"""What survives a restart of the sandbox."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from telethon import errors
from telethon.errors import AuthKeyNotFound
from telethon.tl import functions, types

from adapters.sandbox import Sandbox, SandboxError
from adapters.sandbox.server.sandbox import DATABASE, KEY_FILE
from tests.adapters.sandbox.harness import Connect, NewSession

PHONE = "+9996620001"
ONCE = functions.messages.SendMessageRequest(types.InputPeerSelf(), "kept", random_id=42)


async def test_with_a_state_everything_is_kept(connected: Connect, new_session: NewSession, tmp_path: Path) -> None:
    """Keys, logins, messages, pts and random ids survive a restart, and the trusted key is the same."""
    async with Sandbox(state=tmp_path) as dc:
        session = new_session(dc, PHONE)
        public_key = dc.public_key
        async with connected(dc, session=session) as client:
            await client(ONCE)
    async with Sandbox(state=tmp_path) as dc:
        session.set_dc(dc.dc_id, "127.0.0.1", dc.port)
        assert dc.public_key == public_key
        async with connected(dc, session=session) as client:
            assert (await client(functions.updates.GetStateRequest())).pts == 2
            # Past the client, which sleeps for 2 s after every ServerError.
            with pytest.raises(errors.RandomIdDuplicateError):
                await client._sender.send(ONCE)
            assert [m.text for m in dc.messages(PHONE)] == ["kept"]


async def test_without_a_state_a_restart_forgets_the_keys(connected: Connect, new_session: NewSession) -> None:
    """A sandbox in memory answers the key of its former life with -404."""
    async with Sandbox() as dc:
        session = new_session(dc, PHONE)
    async with Sandbox() as dc:
        session.set_dc(dc.dc_id, "127.0.0.1", dc.port)
        with pytest.raises(AuthKeyNotFound):
            async with connected(dc, session=session):
                pass


async def test_the_private_key_is_for_its_owner_only(tmp_path: Path) -> None:
    """Only its owner can read the key file."""
    async with Sandbox(state=tmp_path):
        assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600


async def test_a_state_of_before_there_were_passwords_and_bots_is_read(
    connected: Connect, new_session: NewSession, tmp_path: Path
) -> None:
    """A database without the tables of logins gets them, and its keys are known in the datacenter where they were."""
    async with Sandbox(state=tmp_path) as dc:
        session = new_session(dc, PHONE)
    with sqlite3.connect(tmp_path / DATABASE) as db:
        for table in ("numbers", "passwords", "bots", "keys_elsewhere"):
            db.execute(f"DROP TABLE {table}")
    db.close()
    async with Sandbox(state=tmp_path) as dc:
        session.set_dc(dc.dc_id, "127.0.0.1", dc.port)
        await dc.set_password(PHONE, "correct horse")
        async with connected(dc, session=session) as client:
            assert (await client.get_me()).phone == PHONE.lstrip("+")


@pytest.mark.parametrize("name", [KEY_FILE, DATABASE])
async def test_a_spoilt_file_is_named(tmp_path: Path, name: str) -> None:
    """A broken key or database is refused with a sentence that names its path."""
    (tmp_path / name).write_bytes(b"nonsense " * 200)
    with pytest.raises(SandboxError, match=name):
        await Sandbox(state=tmp_path).__aenter__()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"host": "0.0.0.0"}, "loopback"),
        ({"host": "example.org"}, "loopback"),
        ({"port": 70000}, "65535"),
        ({"dc_id": 0}, "1 to"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], word: str) -> None:
    """Only loopback, valid ports and valid numbers of datacenters are accepted."""
    with pytest.raises(SandboxError, match=word):
        Sandbox(**options)


async def test_a_port_that_is_taken_is_named() -> None:
    """Two sandboxes on one port: the second says what to do."""
    async with Sandbox() as dc:
        with pytest.raises(SandboxError, match="--port"):
            await Sandbox(port=dc.port).__aenter__()
