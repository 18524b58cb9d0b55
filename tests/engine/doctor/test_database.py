"""``doctor`` and the config's PostgreSQL database: it is not written to, and its password is not shown."""

import json
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from adapters.postgres import checks
from adapters.postgres.address import StoreAddress
from adapters.postgres.checks import ClockReading, rate_error
from adapters.postgres.migrate import migrations
from adapters.postgres.session_moves import bring, take
from engine.app.node_details import details_of, digests_of
from engine.config import load
from engine.doctor import database, nodes, session_rows
from engine.doctor.findings import Finding
from engine.doctor.session_files import SessionCheck
from tests.adapters.session.support import telethons
from tests.engine.config.texts import HEAD, ONE
from tests.postgres.server import PostgresServer
from tests.postgres.support import node


def findings(folder: Path, address: str) -> list[Finding]:
    path = folder / "config.yaml"
    path.write_text(f"{HEAD}{ONE}storage: {{database: {json.dumps(address)}}}\n", "utf-8")
    return [each for each in database.check(load(path)) if each.about != "clock rate"]


def test_a_database_that_is_new_and_one_that_is_in_use(
    tmp_path: Path, postgres: PostgresServer, empty_store_url: str, store_url: str
) -> None:
    """The new one may be the wrong one, so it is said; no table is made in it."""
    answers, new, lasts = findings(tmp_path, empty_store_url)
    assert (answers.ok, new.ok, lasts.ok) == (True, None, False)
    assert "answers (PostgreSQL 18) and can be written to" in answers.text
    assert "no engine has used this database yet" in new.text
    assert lasts == Finding(
        "database",
        False,
        "fsync is off, so a crash of its host destroys the database",
        "set fsync = on in postgresql.conf",
    )
    name = empty_store_url.partition("?")[0].rpartition("/")[2]
    assert postgres.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database=name) == [(0,)]
    assert [each.ok for each in findings(tmp_path, store_url)] == [True, False]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("INSERT INTO schema_versions (version, name) VALUES (9000, 'later')", "update holdfast on this host"),
        ("DELETE FROM schema_versions WHERE version = {newest}", "start a node of this version"),
    ],
)
def test_a_schema_of_another_version(
    tmp_path: Path, postgres: PostgresServer, store_url: str, change: str, words: str
) -> None:
    """A newer one cannot be used, an older one will be upgraded."""
    name = store_url.partition("?")[0].rpartition("/")[2]
    postgres.execute(change.format(newest=migrations()[-1].version), database=name)
    found = findings(tmp_path, store_url)
    assert [each.ok for each in found if words in each.text] == [False if "9000" in change else None]


def test_a_database_that_cannot_be_used_is_one_finding(tmp_path: Path, postgres: PostgresServer) -> None:
    """In the words of the store, without the password."""
    [found] = findings(tmp_path, f"postgresql://me:verysecret@/x?host={postgres.directory}")
    assert (found.ok, "the server refuses this user or password" in found.text) == (False, True)
    assert "verysecret" not in str(found)


def test_a_config_without_a_database_needs_no_client(tmp_path: Path, monkeypatch: Any) -> None:
    """Nor does it load any part of the store."""
    path = tmp_path / "config.yaml"
    path.write_text(HEAD + ONE, "utf-8")
    monkeypatch.setitem(sys.modules, "adapters.postgres", None)
    assert list(database.check(load(path))) == []


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CLOCK_SECONDS", 0.05)


def test_the_rates_of_two_clocks() -> None:
    """What the way to the server may explain is no difference; one that sleeps or runs away is."""
    begin = ClockReading(100.0, 10.0, 10.0)
    assert rate_error(begin, ClockReading(101.5, 11.5, 11.5)) == 0.0
    assert rate_error(begin, ClockReading(101.8, 11.5, 11.5)) == pytest.approx(0.2)
    assert rate_error(begin, ClockReading(100.75, 11.5, 11.5)) == pytest.approx(0.5)
    assert rate_error(begin, ClockReading(101.6, 11.4, 11.6)) == 0.0
    assert rate_error(begin, begin) == 0.0
    found = {part: database._of_clocks(part).ok for part in (0.01, 0.05, 0.2)}
    assert found == {0.01: True, 0.05: None, 0.2: False}


def test_each_of_several_servers_is_looked_at(tmp_path: Path, postgres: PostgresServer, store_url: str) -> None:
    """One that is gone is named, because a failover would not find it; the password is not."""
    name = store_url.partition("?")[0].rpartition("/")[2]
    address = f"postgresql://holdfast:verysecret@/{name}?host={postgres.directory},/nowhere"
    here, gone, advice, *_ = findings(tmp_path, address)
    assert (here.ok, "answers, and is a primary" in here.text) == (True, True)
    assert (gone.ok, "/nowhere" in gone.text, "no server listens there" in gone.text) == (None, True, True)
    assert (advice.ok, "target_session_attrs=read-write" in advice.remedy) == (None, True)
    assert "verysecret" not in "".join(map(str, (here, gone, advice)))
    assert not [each for each in findings(tmp_path, address + "&target_session_attrs=read-write") if each == advice]


def test_an_encoding_that_lacks_letters(tmp_path: Path, postgres: PostgresServer) -> None:
    """Names and messages have all letters that there are."""
    postgres.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
    try:
        found = findings(tmp_path, postgres.url("ascii"))
    finally:
        postgres.drop("ascii")
    assert [each.ok for each in found if "its encoding is SQL_ASCII" in each.text] == [False]


async def test_nodes_their_configs_and_their_accounts(tmp_path: Path, store_url: str) -> None:
    """A silent node, a drained one, and one whose settings or accounts are not those of this config."""
    path = tmp_path / "config.yaml"
    path.write_text(f"{HEAD}{ONE}storage: {{database: {json.dumps(store_url)}}}\n", "utf-8")
    config = load(path)

    def found() -> list[Finding]:
        return list(nodes.check(config))

    assert [each.text for each in await anyio.to_thread.run_sync(found)] == ["none runs on this database"]
    other = {**details_of(config), "config": {**digests_of(config), "states": "another"}}
    async with node(store_url, "a", lease=3.0, details=other) as a, node(store_url, "b", lease=3.0) as b:
        await a.accounts.set_accounts({"Account 9": "*"})
        await b.nodes.drain("b")

        async def beat() -> None:
            while True:
                await a.beat()
                await anyio.sleep(0.05)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(beat)
            said = await anyio.to_thread.run_sync(found)
            tasks.cancel_scope.cancel()
    texts = [(each.ok, each.text) for each in said]
    assert texts[0][0] is True
    assert texts[0][1].startswith("a on host a-host beats, version")
    assert texts[1] == (None, "a runs with another config than this one: states")
    assert (texts[2][0], texts[2][1].startswith("b on host b-host has not reached the database for")) == (False, True)
    assert texts[3] == (
        False,
        f"the accounts of this config are not those of the database: see {config.accounts[0].name!r}",
    )


def test_a_new_database_is_told_to_have_its_sessions_brought(tmp_path: Path, postgres: PostgresServer) -> None:
    """That comes first, for no node starts without; a backup or another journal mode of the file is of no use then."""
    path = tmp_path / "config.yaml"
    path.write_text(f"{HEAD}{ONE}storage: {{database: {json.dumps(postgres.url())}}}\n", "utf-8")
    config = load(path)
    [account] = config.accounts
    telethons(account.session)
    some, in_file = session_rows.check(config)
    assert some.text == "0 of 1 accounts have a login in the database"
    assert (in_file.ok, "session bring" in in_file.remedy) == (False, True)
    texts = [each.text for each in SessionCheck(config, account, fix=False).run()]
    assert "has a login" in texts
    assert not any("backup" in each or "journal mode" in each for each in texts)


def test_logins_that_are_rows(tmp_path: Path, store_url: str) -> None:
    """An account whose session is a file here has it where no node reads it; one without any has to log in."""
    path = tmp_path / "config.yaml"
    path.write_text(f"{HEAD}{ONE}storage: {{database: {json.dumps(store_url)}}}\n", "utf-8")
    config = load(path)
    [account] = config.accounts
    some, nowhere = session_rows.check(config)
    assert some.text == "0 of 1 accounts have a login in the database"
    assert (nowhere.ok, "there is no login, neither in the database nor" in nowhere.text) == (False, True)
    account.session.parent.mkdir(parents=True, exist_ok=True)
    telethons(account.session)
    _, in_file = session_rows.check(config)
    assert (in_file.ok, "session bring" in in_file.remedy) == (False, True)
    bring(StoreAddress.parse(store_url), account.name, account.session)
    assert [each.text for each in session_rows.check(config)] == ["1 of 1 accounts have a login in the database"]
    assert not session_rows.is_in_file(config, account)
    take(StoreAddress.parse(store_url), account.name, tmp_path / "away.session")
    _, away = session_rows.check(config)
    assert (away.ok, "the session was taken out of the database" in away.text) == (None, True)
