"""What the parent of workers makes of a config, before there is any process."""

from pathlib import Path

import pytest
from attrs import evolve

from adapters.system import usable_cores
from engine.app.worker import WorkerSection, config_of
from engine.app.workers import count_workers
from engine.config import Config, ConfigError, load
from engine.config.node import NodeSection
from tests.engine.harness import EngineHarness

HEAD = "telegram: {api_id: 1, api_hash: 0123456789abcdef0123456789abcdef}\n"
DATABASE = "storage: {database: 'postgresql://u:secret@127.0.0.1:1/holdfast', directory: data}\n"


def config(tmp_path: Path, node: str, accounts: int = 9) -> Config:
    """Load a config with this section ``node``."""
    names = ", ".join(f"{{name: A{number}, session: a{number}}}" for number in range(accounts))
    (tmp_path / "config.yaml").write_text(
        f"{HEAD}accounts: [{names}]\n{DATABASE}node: {node}\nheartbeat: {{url: 'http://h/x'}}\n"
    )
    return load(tmp_path / "config.yaml")


def test_workers_share_what_the_node_may_have(tmp_path: Path) -> None:
    """Each has a name and a directory of its own, the host of the node, and a share of its accounts."""
    whole = config(tmp_path, "{name: eu, host: eu-1, workers: 3, accounts_at_most: 7}")
    parts = [config_of(whole, number, 3) for number in (1, 2, 3)]
    assert [each.node.known_as for each in parts] == ["eu#1", "eu#2", "eu#3"]
    assert {each.node.place for each in parts} == {"eu-1"}
    assert [each.node.accounts_at_most for each in parts] == [3, 2, 2]
    assert [each.storage.directory for each in parts] == [tmp_path / "data" / "workers" / n for n in "123"]
    assert {each.heartbeat for each in parts} == {None}
    assert isinstance(parts[0].node, WorkerSection)
    assert parts[0].node.fleet_directory == tmp_path / "data"


@pytest.mark.parametrize(
    ("node", "accounts", "count"),
    [("{workers: 4}", 9, 4), ("{workers: 4}", 2, 2), ("{workers: 4, accounts_at_most: 3}", 9, 3), ("{}", 9, 1)],
)
def test_there_are_no_more_workers_than_accounts(tmp_path: Path, node: str, accounts: int, count: int) -> None:
    """A worker that may have none would be a process for nothing."""
    assert count_workers(config(tmp_path, node, accounts)) == count


def test_auto_is_a_worker_for_each_processor_that_may_be_used(tmp_path: Path) -> None:
    """As many as the machine lets this process have, and 64 at most."""
    assert count_workers(config(tmp_path, "{workers: auto}", 200)) == min(64, usable_cores())


def test_a_quota_of_a_container_counts(tmp_path: Path) -> None:
    """That of the group, or of one above it, rounded up."""
    own, group = tmp_path / "cgroup", tmp_path / "fs" / "a" / "b"
    group.mkdir(parents=True)
    own.write_text("1:cpu:/old\n0::/a/b\n")
    (group / "cpu.max").write_text("max 100000\n")
    whole = usable_cores(tmp_path / "fs", own)
    (group.parent / "cpu.max").write_text("50000 100000\n")
    assert usable_cores(tmp_path / "fs", own) == 1
    (group.parent / "cpu.max").write_text("1000000 100000\n")
    assert usable_cores(tmp_path / "fs", own) == whole == usable_cores(tmp_path / "none", tmp_path / "none")


@pytest.mark.parametrize("node", ["{workers: 0}", "{workers: 65}", "{workers: many}", "{name: 'eu#1'}"])
def test_a_number_of_workers_or_a_name_that_cannot_be_is_refused(tmp_path: Path, node: str) -> None:
    """With a sentence that says where."""
    with pytest.raises(ConfigError, match=r"node\.(workers|name)"):
        config(tmp_path, node)


def test_a_name_of_a_worker_is_none_that_a_person_can_give(tmp_path: Path) -> None:
    """So it is no other node's."""
    part = config_of(config(tmp_path, "{name: eu, workers: 2}"), 2, 2)
    with pytest.raises(ValueError, match="'#'"):
        evolve(NodeSection(), name=part.node.known_as)


@pytest.mark.slow
async def test_a_database_that_does_not_answer_ends_the_start_of_workers(harness: EngineHarness) -> None:
    """Before any process is started, in the sentence of one engine, without the password."""
    names = "{name: A, session: a}, {name: B, session: b}"
    harness.config.write_text(f"{HEAD}accounts: [{names}]\n{DATABASE}node: {{workers: 2}}\n")
    code, said = await harness.command("run", "config.yaml")
    assert code == 1, said
    assert "no server listens there" in said
    assert "secret" not in said
    assert "is process" not in said
