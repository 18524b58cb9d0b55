"""Sessions move from files into a database and back, and at no time two programs can use one login."""

import asyncio
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from telethon.sessions import SQLiteSession
from telethon.tl.types import InputDocument, User

from adapters.postgres import session_moves
from adapters.postgres.address import StoreAddress
from adapters.postgres.session_moves import Brought, bring, place_of, prepare_store, take, unfinished
from adapters.session import HoldfastSession, SessionHeld
from adapters.session.contents import key_fingerprint
from adapters.session.errors import NotASession, SessionError, SessionNotSaved, SessionTaken
from adapters.session.login_claim import LoginClaim
from tests.adapters.session.support import KEY, change, telethons, user
from tests.adapters.session.test_oracle import answers
from tests.storage.session_stores import RowSessions
from tests.timeouts import TIMEOUT

OTHER = b"o" * 256


@pytest.fixture
def account(store_url: str) -> Iterator[RowSessions]:
    """An account that nobody owns, of a database."""
    rows = RowSessions(store_url)
    rows.execute("UPDATE accounts SET owner = NULL")
    yield rows
    rows.close()


@pytest.fixture
def address(store_url: str) -> StoreAddress:
    return StoreAddress.parse(store_url)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A session file that knows much."""
    session = HoldfastSession(telethons(tmp_path / "a.session", entities=12))
    session.process_entities(
        [User(id=50, access_hash=-5, username="Alice_One", phone="9996620001", first_name="nul\0")]
    )
    session._contents.put_state(0, (5, 6, 7.0, 8))
    session._contents.put_state(77, (9, 0, 7.0, 0))
    session.cache_file(b"1" * 16, 3, InputDocument(1, 2, b""))
    session.takeout_id = 4
    session.close()
    return tmp_path / "a.session"


def owned(account: RowSessions) -> Any:
    """Open the account's session as a node that claims it."""
    account.move()
    return account.open()


def test_all_of_a_file_is_in_the_database_and_the_file_under_another_name(
    account: RowSessions, address: StoreAddress, path: Path
) -> None:
    """A session of rows answers as the file did; the file keeps its content, and no script finds it."""
    with closing(SQLiteSession(str(path))) as before:
        wanted = answers(before)
    content = path.read_bytes()
    brought = bring(address, account.name, path)
    assert brought == Brought("A", brought.aside, 13, known=False)
    assert brought.aside.name.startswith("a.session.brought-")
    assert not brought.aside.name.endswith(".session")
    assert brought.aside.read_bytes() == content
    assert [each.name for each in path.parent.iterdir()] == [brought.aside.name]
    session = owned(account)
    assert answers(session) == wanted
    session.close()


def test_a_session_that_was_taken_is_a_file_of_telethons(
    account: RowSessions, address: StoreAddress, path: Path, tmp_path: Path
) -> None:
    """It has all that the file had that was brought and is private; nobody uses the rows, which are still there."""
    with closing(SQLiteSession(str(path))) as before:
        wanted = answers(before)
    bring(address, account.name, path)
    target = tmp_path / "out" / "b.session"
    assert take(address, account.name, target) == 13
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with closing(SQLiteSession(str(target))) as taken:
        assert answers(taken) == wanted
    assert account.key() == KEY
    with pytest.raises(SessionTaken, match=r"b\.session on .*bring that file back"):
        owned(account)


def test_a_taken_session_comes_back_with_what_happened_meanwhile(
    account: RowSessions, address: StoreAddress, path: Path, tmp_path: Path
) -> None:
    """The file is the newer one then."""
    bring(address, account.name, path)
    target = tmp_path / "b.session"
    take(address, account.name, target)
    script = HoldfastSession(target)
    script._contents.put_state(0, (500, 6, 7.0, 8))
    script.process_entities([user(99)])
    script.close()
    assert not bring(address, account.name, target).known
    session = owned(account)
    assert session.get_update_state(0).pts == 500
    assert session.get_entity_rows_by_id(99) == (99, 693)
    session.close()


# --- killed on the way -----------------------------------------------------------------------------------------------


def test_a_bring_that_was_killed_before_the_rename_is_finished(
    account: RowSessions, address: StoreAddress, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is given again nodes leave the login alone, which the file has under a name that scripts know."""
    monkeypatch.setattr(session_moves, "set_aside", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        bring(address, account.name, path)
    monkeypatch.undo()
    assert path.exists()
    assert account.execute("SELECT withheld_until = 'infinity' FROM accounts") == [(True,)]
    with pytest.raises(SessionTaken, match=r"a\.session on .*'session bring' is not finished; give it again"):
        owned(account)
    account.execute("UPDATE nodes SET state = 'dead'")
    assert not unfinished(address, {account.name: path})
    bring(address, account.name, path)
    assert not path.exists()
    assert account.execute("SELECT withheld_until FROM accounts") == [(None,)]
    owned(account).close()


def test_a_bring_that_was_killed_after_the_rename_is_finished(
    account: RowSessions, address: StoreAddress, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given again, it lets nodes use the login, and names the file; a file that was never brought is no such thing."""
    monkeypatch.setattr(session_moves, "_finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        bring(address, account.name, path)
    monkeypatch.undo()
    [aside] = path.parent.iterdir()
    assert unfinished(address, {account.name: path, "B": path}) == [account.name]
    assert bring(address, account.name, path) == Brought("A", aside, 0, known=True)
    owned(account).close()
    with pytest.raises(NotASession, match="no such session file"):
        bring(address, account.name, path)


def test_a_take_that_was_killed_before_the_file_is_finished(
    account: RowSessions, address: StoreAddress, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session is marked first, so that nobody uses it; the same file can then still be written, and no other."""
    bring(address, account.name, path)
    target = tmp_path / "b.session"
    monkeypatch.setattr(session_moves, "write_session_file", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        take(address, account.name, target)
    monkeypatch.undo()
    with pytest.raises(SessionTaken):
        owned(account)
    account.execute("UPDATE nodes SET state = 'dead'")
    with pytest.raises(SessionError, match=r"taken away to .*b\.session on .*name that same path there"):
        take(address, account.name, tmp_path / "c.session")
    take(address, account.name, target)
    with closing(SQLiteSession(str(target))) as taken:
        assert taken.auth_key.key == KEY


# --- what is refused -------------------------------------------------------------------------------------------------


def refused(address: StoreAddress, account: str, path: Path, kind: type[Exception], match: str) -> None:
    """Bring a file that is refused: it stays where it is, as it is."""
    content = path.read_bytes() if path.is_file() else None
    with pytest.raises(kind, match=match) as error:
        bring(address, account, path)
    assert "kkkk" not in str(error.value)
    assert (path.read_bytes() if path.is_file() else None) == content


def test_a_file_in_use_is_refused(account: RowSessions, address: StoreAddress, path: Path) -> None:
    """By its own lock, and by the claim of its login where it is a copy that is used."""
    with closing(HoldfastSession(path)):
        refused(address, account.name, path, SessionHeld, "in this very program already")
    claim = LoginClaim("another account", Path("copy.session"))
    claim.take(key_fingerprint(KEY))
    refused(address, account.name, path, SessionError, "another account .*uses the same login")
    claim.release()
    assert account.execute("SELECT count(*) FROM sessions") == [(0,)]


def test_what_is_no_session_with_a_login_is_refused(
    account: RowSessions, address: StoreAddress, tmp_path: Path
) -> None:
    """A missing file, another program's, one without a login, one whose key is none."""
    refused(address, account.name, tmp_path / "missing.session", NotASession, "no such session file")
    text = tmp_path / "text.session"
    text.write_text("nothing of the kind")
    refused(address, account.name, text, NotASession, "is a text")
    refused(address, account.name, telethons(tmp_path / "empty.session", None), NotASession, "holds no login")
    short = telethons(tmp_path / "short.session", b"k" * 255)
    refused(address, account.name, short, NotASession, "has not 256 bytes")


def test_another_login_is_not_overwritten(account: RowSessions, address: StoreAddress, path: Path) -> None:
    """Neither this account's, nor does one come under two accounts."""
    bring(address, account.name, path)
    other = telethons(path, OTHER)
    refused(address, account.name, other, SessionError, "A has another login in the database.*session take")
    assert account.key() == KEY
    double = telethons(path.with_name("double.session"), KEY)
    refused(address, "B", double, SessionError, "another account of the database has the same login")
    assert account.execute("SELECT name FROM accounts") == [("A",)]


def test_a_database_that_gives_something_else_back_keeps_the_file(
    account: RowSessions, address: StoreAddress, path: Path
) -> None:
    """What is read back is compared before the file loses its name, and no node uses the login as long as it has it."""
    account.execute(
        """CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER spoil BEFORE INSERT ON session_states FOR EACH ROW EXECUTE FUNCTION spoil()"""
    )
    refused(address, account.name, path, SessionNotSaved, "does not give back what was written")
    with pytest.raises(SessionTaken):
        owned(account)


def test_who_is_owned_by_a_living_node_is_neither_taken_nor_brought(
    account: RowSessions, address: StoreAddress, path: Path, tmp_path: Path
) -> None:
    """Its node may be connected, and does not give it away; a dead one's is taken, and its late writes are refused."""
    bring(address, account.name, path)
    session = owned(account)
    with pytest.raises(SessionHeld, match=r"node node 2 of A on host has not given the account A away within 0\.1 s"):
        take(address, account.name, tmp_path / "b.session", patience=0.1)
    with pytest.raises(SessionHeld, match="node node 2 of A on host has not given the account A away"):
        bring(address, account.name, telethons(tmp_path / "c.session", OTHER), patience=0.1)
    assert not (tmp_path / "b.session").exists()
    assert account.execute("SELECT withheld_until, owner IS NULL FROM accounts") == [(None, False)]
    account.execute("UPDATE nodes SET state = 'dead'")
    take(address, account.name, tmp_path / "b.session")
    session.process_entities([user(500)])
    with pytest.raises(SessionHeld):
        session.flush().wait()
    assert 500 not in account.ids()


def test_a_node_gives_an_account_up_for_a_take_and_nobody_claims_it(
    account: RowSessions, address: StoreAddress, path: Path, tmp_path: Path
) -> None:
    """It is withheld from all nodes until the file is brought back and has its other name."""
    bring(address, account.name, path)
    owned(account).close()
    found = list[Any]()

    def give_up() -> None:
        while not account.execute("SELECT 1 FROM accounts WHERE withheld_until < 'infinity'"):
            time.sleep(0.01)
        account.execute("UPDATE accounts SET owner = NULL")

    node = threading.Thread(target=give_up)
    node.start()
    take(address, account.name, tmp_path / "b.session", patience=TIMEOUT)
    node.join()
    assert account.execute("SELECT withheld_until = 'infinity', owner FROM accounts") == [(True, None)]
    bring(address, account.name, tmp_path / "b.session")
    found = account.execute("SELECT withheld_until, taken_to FROM accounts JOIN sessions ON account = id")
    assert found == [(None, None)]


def test_another_login_takes_the_place_of_one_that_was_taken(
    account: RowSessions, address: StoreAddress, path: Path, tmp_path: Path
) -> None:
    """As after a new login: it begins with what its own file knows, and the old login is kept besides."""
    bring(address, account.name, path)
    take(address, account.name, tmp_path / "old.session")
    bring(address, account.name, telethons(tmp_path / "new.session", OTHER, entities=2))
    assert account.key() == OTHER
    assert 50 not in account.ids()
    assert account.execute("SELECT key, taken_to LIKE '%%old.session%%' FROM replaced_logins") == [(KEY, True)]


def test_a_login_that_was_taken_out_goes_on_under_another_name(
    account: RowSessions, address: StoreAddress, path: Path, tmp_path: Path
) -> None:
    """From the very file, not from a copy of it; under the former name there is none then, and it is kept besides."""
    bring(address, account.name, path)
    taken = tmp_path / "taken.session"
    take(address, account.name, taken)
    copy = tmp_path / "copy.session"
    copy.write_bytes(taken.read_bytes())
    refused(address, "B", copy, SessionError, "another account of the database has the same login")
    assert not bring(address, "B", taken).known
    assert account.execute("SELECT name, taken_to FROM sessions JOIN accounts ON id = account") == [("B", None)]
    assert account.execute("SELECT key, taken_to LIKE '%%taken.session%%' FROM replaced_logins") == [(KEY, True)]
    with pytest.raises(SessionError, match="the account A has no login in the database"):
        take(address, account.name, tmp_path / "again.session")


def test_no_file_is_overwritten_and_no_account_made_up(
    account: RowSessions, address: StoreAddress, path: Path, tmp_path: Path
) -> None:
    """A file of the name stays; an account without a login has nothing to take."""
    with pytest.raises(FileExistsError):
        take(address, account.name, path)
    for name in (account.name, "nobody"):
        with pytest.raises(SessionError, match=f"the account {name} has no login in the database"):
            take(address, name, tmp_path / "b.session")
    assert not (tmp_path / "b.session").exists()


def test_hostile_files_are_brought_as_far_as_they_can_be(
    account: RowSessions, address: StoreAddress, path: Path
) -> None:
    """Rows that no column takes are left out, and the others are there."""
    change(
        path,
        "insert into entities (id, hash, name) values (200, 'text', 'a')",
        "insert into entities values (201, 5, x'ff00', 'no number', 7, 'never')",
        "insert into update_state values (300, 1.5, 2, 3, 4)",
        "insert into sent_files values (x'aa', 'size', 0, 1, 2)",
    )
    bring(address, account.name, path)
    assert 201 in account.ids()
    assert 200 not in account.ids()
    session = owned(account)
    assert session.get_update_state(0).pts == 5
    assert session.get_entity_rows_by_id(201) == (201, 5)
    session.close()


def test_a_new_database_gets_its_tables(empty_store_url: str, path: Path) -> None:
    """Sessions can be brought before the first node starts."""
    address = StoreAddress.parse(empty_store_url)
    asyncio.run(prepare_store(address))
    assert bring(address, "A", path).entities == 13


def test_an_account_that_leaves_the_config_keeps_its_login(
    account: RowSessions, address: StoreAddress, path: Path
) -> None:
    """Its row stays, for a host that nobody has, until it is in a config again; one without a login goes."""
    from adapters.postgres.accounts import AccountRows
    from adapters.postgres.connect import StoreConnection

    bring(address, account.name, path)
    account.execute("INSERT INTO accounts (name) VALUES ('B')")

    async def remove() -> None:
        connection = await StoreConnection.open(address, application="test")
        rows = AccountRows(connection)
        assert await rows.remove_accounts(["A", "B"]) == {"A", "B"}
        assert await rows.groups() == ()
        await rows.set_accounts({"A": "*"})
        assert [each.free for each in await rows.groups()] == [1]
        connection.close()

    asyncio.run(remove())
    assert account.key() == KEY
    assert account.execute("SELECT name FROM accounts") == [("A",)]


def test_a_path_that_is_no_text_can_be_stored() -> None:
    """A name of a file is bytes, and what a database has is text."""
    assert place_of(Path("/a/\udcff.session")).encode().startswith(rb"/a/\udcff.session on ")
