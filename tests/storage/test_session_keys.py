"""Sessions in PostgreSQL that are encrypted with a key of the config."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.postgres import session_rekey
from adapters.postgres.address import StoreAddress
from adapters.postgres.session_keys import PLAIN, TEMPORARY_KEY, SessionKeyMissing, SessionKeys, SessionKeyUnusable
from adapters.postgres.session_moves import bring, take
from adapters.postgres.session_rekey import rekey
from adapters.telegram.classify import classify
from engine.app.database_store import prepare
from engine.cli import app
from engine.config import AccountConfig, Config, ConfigError, Telegram, load
from engine.doctor import database
from states.events import DatabaseUnavailable
from tests.adapters.session.support import KEY, telethons
from tests.storage.copied_fleets import HEAD, config
from tests.storage.session_stores import RowSessions, logged_in

OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))


@pytest.fixture
def stored(store_url: str) -> Iterator[RowSessions]:
    """An account of a store, whose sessions are encrypted with the old key."""
    rows = RowSessions(store_url)
    rows.keys = SessionKeys.read(OLD)
    yield rows
    rows.close()


def all_bytes(stored: RowSessions) -> bytes:
    """Return all that the database has of sessions, as a dump would."""
    rows = stored.execute("SELECT key, temporary_key, to_json(s)::text FROM sessions s ORDER BY account")
    return b"".join(bytes(key) + bytes(temporary) + text.encode() for key, temporary, text in rows)


def opened(stored: RowSessions, keys: SessionKeys) -> bytes:
    """Open the session as the process of a node with these keys does; return its key."""
    stored.keys = keys
    stored.move()
    session = stored.open()
    assert session.auth_key is not None
    key = bytes(session.auth_key.key)
    session.close()
    return key


# --- what is stored ---------------------------------------------------------------------------------------------------


def test_the_database_does_not_have_the_key(stored: RowSessions) -> None:
    """Neither as bytes nor as a text; the next owner, who has the session key, reads it."""
    session = logged_in(stored.open())
    assert opened(stored, stored.keys) == KEY
    session.close()
    found = all_bytes(stored)
    assert KEY[:16] not in found
    assert KEY[:16].hex().encode() not in found
    assert opened(stored, SessionKeys.read(OLD)) == KEY
    assert OLD not in repr(stored.keys)


def test_files_come_and_go(stored: RowSessions, tmp_path: Path) -> None:
    """Brought they are encrypted, and taken they are Telethon's files again."""
    address, keys = StoreAddress.parse(stored.url), SessionKeys.read(OLD)
    bring(address, "B", telethons(tmp_path / "b.session", KEY, entities=2), keys)
    assert KEY[:16].hex().encode() not in all_bytes(stored)
    with pytest.raises(SessionKeyMissing, match=r"1 session is encrypted with the session key [0-9a-f]{12}"):
        take(address, "B", tmp_path / "c.session")
    assert stored.execute("SELECT taken_to FROM sessions") == [(None,)]  # nothing was marked
    assert take(address, "B", tmp_path / "c.session", keys) == 2


# --- a key that is missing or wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [PLAIN, SessionKeys.read(NEW)], ids=["none", "another"])
def test_a_login_that_cannot_be_decrypted_is_not_dead(stored: RowSessions, keys: SessionKeys) -> None:
    """It is an unusable database for a while, in a sentence without any key, and nothing is written."""
    logged_in(stored.open()).close()
    before = all_bytes(stored)
    with pytest.raises(SessionKeyUnusable, match=r"name that key there, after the first one and a comma") as told:
        opened(stored, keys)
    assert OLD not in str(told.value)
    assert isinstance(classify(told.value), DatabaseUnavailable)
    assert all_bytes(stored) == before


async def test_no_node_starts_without_the_key(stored: RowSessions) -> None:
    """It is seen before the first connection; a node with the key starts."""
    logged_in(stored.open()).close()
    account = AccountConfig(name="A", session=Path("/a.session"))
    settings = Config(telegram=Telegram(api_id=1, api_hash="0" * 32), accounts=(account,))
    address = StoreAddress.parse(stored.url)
    for keys in (PLAIN, SessionKeys.read(NEW)):
        with pytest.raises(SessionKeyMissing, match=r"1 session is encrypted with the session key .* is left out|has"):
            await prepare(address, settings, keys)
    await prepare(address, settings, SessionKeys.read(f"{NEW},{OLD}"))


SWAPS = {
    "account": "UPDATE sessions s SET key = o.key FROM sessions o WHERE o.account <> s.account",
    "column": "UPDATE sessions SET key = temporary_key",
    "bit": "UPDATE sessions SET key = set_byte(key, 40, get_byte(key, 40) # 1)",
}


@pytest.mark.parametrize("swap", SWAPS)
def test_a_row_is_of_its_account_and_column(stored: RowSessions, tmp_path: Path, swap: str) -> None:
    """What was copied from elsewhere, or changed, is refused, and is no dead login either."""
    keys = SessionKeys.read(OLD)
    logged_in(stored.open()).close()
    bring(StoreAddress.parse(stored.url), "B", telethons(tmp_path / "b.session", b"2" * 256), keys)
    account = stored.execute("SELECT id FROM accounts WHERE name = %s", stored.name)[0][0]
    stored.execute("UPDATE sessions SET temporary_key = %s", keys.sealed(account, TEMPORARY_KEY, KEY))
    stored.execute(SWAPS[swap])
    with pytest.raises(SessionKeyUnusable, match="cannot be decrypted as this account's"):
        opened(stored, keys)


# --- another key ------------------------------------------------------------------------------------------------------


def test_keys_are_changed_one_after_the_other(
    stored: RowSessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one first and the old one behind it; ``rekey``, also when it was interrupted; then the new one alone."""
    address, both = StoreAddress.parse(stored.url), SessionKeys.read(f"{NEW}, {OLD}")
    stored.keys = PLAIN
    logged_in(stored.open()).close()
    for number in range(1, 4):
        file = telethons(tmp_path / f"{number}.session", bytes([number]) * 256)
        bring(address, str(number), file, SessionKeys.read(OLD))
    with pytest.raises(SessionKeyMissing):
        rekey(address, SessionKeys.read(NEW))
    assert len(set(ids(stored))) == 2  # nothing was written
    assert opened(stored, both) == KEY
    monkeypatch.setattr(session_rekey, "_GROUP", 2)
    write = session_rekey._WRITE
    monkeypatch.setattr(session_rekey, "_WRITE", f"{write} AND 1 / (account - {last(stored)}) IS NOT NULL")
    with pytest.raises(Exception, match="division by zero"):
        rekey(address, both)
    assert ids(stored).count(both.first) == 2
    monkeypatch.setattr(session_rekey, "_WRITE", write)
    assert rekey(address, both) == 2
    assert rekey(address, both) == 0
    assert ids(stored) == [both.first] * 4
    assert opened(stored, SessionKeys.read(NEW)) == KEY
    assert take(address, "3", tmp_path / "out.session", SessionKeys.read(NEW)) == 0


def ids(stored: RowSessions) -> list[str]:
    """Return which session key each row is encrypted with."""
    return [key_id for (key_id,) in stored.execute("SELECT key_id FROM sessions ORDER BY account")]


def last(stored: RowSessions) -> int:
    """Return the number of the last account."""
    return int(stored.execute("SELECT max(account) FROM sessions")[0][0])


def test_the_command_and_doctor(
    stored: RowSessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``session rekey`` says by which key, ``doctor`` how many rows each key has; neither shows one."""
    stored.keys = PLAIN
    logged_in(stored.open()).close()
    given = config(tmp_path / "a.yaml", database=stored.url, more='  session_key: "${HOLDFAST_SESSION_KEY}"\n')
    bare = config(tmp_path / "b.yaml", database=stored.url)
    monkeypatch.setenv("HOLDFAST_SESSION_KEY", OLD)
    key_id = SessionKeys.read(OLD).first
    assert judged(bare) == (True, "sessions in the database: 1 not encrypted", "")
    assert judged(given)[::2] == (None, "encrypt all with the first key: session rekey")
    with pytest.raises(SystemExit) as ended:
        app(["session", "rekey", str(bare)])
    assert ended.value.code == 2
    app(["session", "rekey", str(given)], result_action="return_value")
    said = capsys.readouterr()
    assert f"✅ All sessions are encrypted with the session key {key_id}; 1 session was encrypted anew" in said.out
    assert judged(given) == (True, f"sessions in the database: 1 encrypted with {key_id}", "")
    assert judged(bare)[::2] == (False, f"name the session key {key_id} in storage.session_key, too")
    assert OLD not in said.out + said.err


def judged(path: Path) -> tuple[bool | None, str, str]:
    """Return what ``doctor`` finds of the sessions."""
    [found] = [each for each in database.check(load(path)) if each.text.startswith("sessions")]
    return found.ok, found.text, found.remedy


# --- the config -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("secret", "storage.session_key: must be 32 bytes as Base64, as 'openssl rand -base64 32' prints them"),
        (base64.b64encode(b"s" * 31).decode(), "storage.session_key: must be 32 bytes as Base64"),
        (f"{OLD},secret", "several are separated by commas"),
        (f"{OLD},{OLD}", "has the same key twice"),
        ("[1]", "must be 32 bytes as Base64"),
    ],
)
def test_a_key_that_can_be_none_is_refused(tmp_path: Path, value: str, sentence: str) -> None:
    """In a sentence that does not quote it."""
    path = config(tmp_path / "a.yaml", database="postgresql://u@h/d", more=f"  session_key: {value}\n")
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert sentence in str(refused.value)
    assert value not in str(refused.value)


def test_files_are_not_encrypted(tmp_path: Path) -> None:
    """A key without a database would do less than it says."""
    path = tmp_path / "a.yaml"
    path.write_text(f"{HEAD}storage: {{session_key: '{OLD}'}}\naccounts: [{{name: A, session: a}}]\n")
    with pytest.raises(ConfigError, match="only sessions in a database are encrypted"):
        load(path)
    whole = config(tmp_path / "b.yaml", database="postgresql://u@h/d", more=f"  session_key: {OLD}\n")
    assert OLD not in repr(load(whole))
