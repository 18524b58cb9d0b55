"""The commands of incidents on a PostgreSQL database: from any host, with what the nodes have stored."""

import json
from pathlib import Path

import pytest

from engine.cli.incidents import ack, acknowledge, show
from engine.cli.incidents_show import show as show_one
from engine.cli.status import status
from engine.config import load_outline
from tests.postgres.test_job_commands import CONFIG
from tests.states.incident_support import Told, needs
from tests.storage.postgres_incidents import PostgresIncidentDatabase


@pytest.fixture
def fleet(store_url: str) -> PostgresIncidentDatabase:
    """Return an empty store for several nodes."""
    return PostgresIncidentDatabase(store_url)


@pytest.fixture
def config(fleet: PostgresIncidentDatabase, tmp_path: Path) -> Path:
    """Return a config of this store."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(url=fleet.url), "utf-8")
    return path


async def stored(fleet: PostgresIncidentDatabase) -> None:
    """Store two incidents of a node."""
    law = Told()
    law.tell(needs("A"), needs("B"))
    async with fleet.engine() as node:
        await node.keep(law)


async def test_incidents_are_listed_and_acknowledged(
    config: Path, fleet: PostgresIncidentDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the database of the config; no file of an engine is looked for or made."""
    await stored(fleet)
    with pytest.raises(SystemExit) as ended:
        ack(str(config), "2", "9", as_json=True)
    assert ended.value.code == 1
    captured = capsys.readouterr()
    assert "there is no incident 9" in captured.err
    assert json.loads(captured.out)["id"] == 2
    with pytest.raises(SystemExit) as ended:
        show(config, as_json=True)
    assert ended.value.code == 1
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["id"], each["accounts"], each["acked"] is not None) for each in listed] == [
        *((1, ["A"], False), (2, ["B"], True))
    ]
    with pytest.raises(SystemExit):
        show(config)
    assert "log in" in capsys.readouterr().out
    assert not (config.parent / "data" / "engine.db").exists()


async def test_an_incident_is_shown_at_length(
    config: Path, fleet: PostgresIncidentDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what journal and jobs of the database say of its accounts."""
    await stored(fleet)
    show_one(str(config), "1", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["id"], told["records"]) == (1, [])
    show_one(str(config), "1")
    assert "A cannot go on" in capsys.readouterr().out


async def test_status_says_which_are_open(
    config: Path, fleet: PostgresIncidentDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of all nodes, with no engine running here."""
    await stored(fleet)
    with pytest.raises(SystemExit):
        status(str(config), as_json=True)
    assert [each["id"] for each in json.loads(capsys.readouterr().out)["incidents"]] == [1, 2]


async def test_the_screen_acknowledges_in_the_database(config: Path, fleet: PostgresIncidentDatabase) -> None:
    """What its key does is what ``incidents ack`` does."""
    await stored(fleet)
    found = acknowledge(load_outline(config), 1)
    assert found is not None
    assert fleet.rows("SELECT id FROM incidents WHERE acked IS NOT NULL") == [(1,)]
