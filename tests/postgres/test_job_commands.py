"""The commands of jobs on a PostgreSQL database: from any host, with what the nodes have stored."""

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from adapters.sqlite.messages import Message
from engine.cli.export import export
from engine.cli.jobs import add_jobs, list_jobs, show
from engine.cli.jobs_change import cancel, retry
from engine.cli.status import _read_jobs
from engine.config import load_outline
from states.jobs import JobState
from tests.storage.job_stores import NOW, new, stored
from tests.storage.postgres_jobs import PostgresJobsDatabase

CONFIG = """
telegram: {{api_id: 1, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}}
storage: {{directory: data, database: "{url}"}}
accounts: [{{name: A, session: a.session}}, {{name: B, session: b.session}}]
"""


@pytest.fixture
def fleet(store_url: str) -> PostgresJobsDatabase:
    """Return an empty store for several nodes."""
    return PostgresJobsDatabase(store_url)


@pytest.fixture
def config(fleet: PostgresJobsDatabase, tmp_path: Path) -> str:
    """Return a config of this store."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(url=fleet.url), "utf-8")
    return str(path)


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the lines of JSON that were printed."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_jobs_are_added_and_listed(
    config: str, fleet: PostgresJobsDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the database of the config and in no file; nobody says that an engine has to be started here."""
    add_jobs(config, "send", "to=@news", "text=hello", account="A", as_json=True)
    add_jobs(config, "send", "to=@news", "text=hello", after="10m", as_json=True)
    assert printed(capsys) == [{"id": 1}, {"id": 2}]
    list_jobs(Path(config), as_json=True)
    assert [(line["id"], line["account"], line["state"]) for line in printed(capsys)] == [
        *((1, "A", "queued"), (2, None, "queued"))
    ]
    list_jobs(Path(config), account="A")
    assert capsys.readouterr().err == "1 of these jobs\n"
    assert stored(fleet, 2).wait == 600
    assert not (Path(config).parent / "data" / "engine.db").exists()


async def test_a_job_is_shown_and_changed(
    config: str, fleet: PostgresJobsDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its results and its traceback; a wish for all of a state finds them."""
    async with fleet.engine("one", ["A"]) as engine:
        await engine.add([new("send"), new("send")])
        failed = attrs.evolve(stored(fleet), state=JobState.FAILED, error=("ValueError: no",), results=1, ended=NOW)
        await engine.keep(failed, (), ["a result"])
        await engine.keep_trace(1, "in line 7")
        await engine.flush()
    show(config, "1", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["stored"], told["traceback"]) == (["a result"], "in line 7")
    assert _read_jobs(load_outline(Path(config))).counts == {"queued": 1, "failed": 1}
    retry(config, state="failed")
    assert "job 1 is queued" in capsys.readouterr().out
    cancel(config, kind="send", as_json=True)
    assert [(line["id"], line["state"]) for line in printed(capsys)] == [(1, "cancelled"), (2, "cancelled")]
    with pytest.raises(SystemExit):
        cancel(config, "1", "9")
    assert "there is no job 9" in capsys.readouterr().err


async def test_messages_are_exported(
    config: str, fleet: PostgresJobsDatabase, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """By what a job calls the chat, on the output and into a file."""
    async with fleet.engine("one", ["A"]) as engine:
        await engine.add([new("collect", data={"chat": "@news"})])
        found = [Message(chat=-5, id=number, at=NOW, text=f"m{number}") for number in (1, 2)]
        await engine.keep(attrs.evolve(stored(fleet), checkpoint={"chat": -5}), found)
        await engine.flush()
    export(Path(config), chat="@news")
    assert [line["text"] for line in printed(capsys)] == ["m1", "m2"]
    export(Path(config), chat="-5", form="csv", out=tmp_path / "x.csv")
    assert len((tmp_path / "x.csv").read_text("utf-8").splitlines()) == 3


def test_without_a_schema_a_command_says_what_to_do(
    empty_store_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command makes no tables: the first node that starts does."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(url=empty_store_url), "utf-8")
    for command in (lambda: list_jobs(path), lambda: add_jobs(str(path), "send", "to=@news", "text=x")):
        with pytest.raises(SystemExit):
            command()
        assert "no engine has used this database yet; start a node on it" in capsys.readouterr().err
