"""``doctor`` and the config's PostgreSQL database: it is not written to, and its password is not shown."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres.migrate import migrations
from engine.config import load
from engine.doctor import database
from engine.doctor.findings import Finding
from tests.engine.config.texts import HEAD, ONE
from tests.postgres.server import PostgresServer


def findings(folder: Path, address: str) -> list[Finding]:
    path = folder / "config.yaml"
    path.write_text(f"{HEAD}{ONE}storage: {{database: {json.dumps(address)}}}\n", "utf-8")
    return list(database.check(load(path)))


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
