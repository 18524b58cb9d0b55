"""What ``status`` says of nodes that the database takes for alive and that nobody hears of."""

import json
from collections import Counter
from pathlib import Path

import pytest

from engine.app import stored_fleet
from engine.cli.status import status
from engine.cli.stored_status import account_statuses, with_nodes
from engine.config import load_outline
from engine.console.status import EngineInfo, ExitCode, exit_code, heading_text, node_lines
from states import Policy
from states.events import Connected, Started, TurnGranted
from states.nodes import BeatWatch
from tests.postgres.support import Node, node
from tests.postgres.test_log import CONFIG
from tests.states.harness import AccountDriver
from tests.storage.postgres_store import PostgresStore
from tests.storage.story import live


async def fleet(store: PostgresStore, a: Node) -> None:
    """Have node a own account a, which is connected."""
    await a.accounts.set_accounts({"a": "*"})
    assert await a.claim() == {"a": 1}
    async with store.journal_of(a.life, engine=str(a.life)) as journal:
        await live(journal, "a", AccountDriver(Policy()), (Started(), TurnGranted(generation=0), Connected(link=1)))
        await journal.flush()


async def test_a_silent_node_s_accounts_are_not_healthy(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its connections may be closed, whatever it stored last: their state is unknown, and the exit code is not 0."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(url=store_url).replace(", {name: b, session: b.session}", ""), "utf-8")
    outline, beats = load_outline(path), BeatWatch()
    async with node(store_url, "one") as one:
        await fleet(PostgresStore(store_url), one)
        info = with_nodes(EngineInfo(running=False), outline, beats)
        accounts = account_statuses(outline, info)
        assert (accounts["a"].state, exit_code(info, accounts.values())) == ("healthy", ExitCode.HEALTHY)
        await one.beat()
        with_nodes(EngineInfo(running=False), outline, beats)
        beats._changed[one.life] -= 60
        info = with_nodes(EngineInfo(running=False), outline, beats)
        assert info.silent[one.life] >= 60
        accounts = account_statuses(outline, info)
        assert (accounts["a"].state, exit_code(info, accounts.values())) == ("unknown", ExitCode.TROUBLED)
        assert node_lines(info)[1] == "Nodes: one (1 account, silent)"
        assert "1 node, 1 silent" in heading_text(info, Counter(unknown=1), 0.0)[0]
        await one.beat()
        info = with_nodes(EngineInfo(running=False), outline, beats)
        assert account_statuses(outline, info)["a"].state == "healthy"
        monkeypatch.setattr(stored_fleet, "MARGIN", -2.9)  # what is printed once waits for the beat that does not come
        with pytest.raises(SystemExit) as ended:
            status(str(path), as_json=True)
        said = json.loads(capsys.readouterr().out)
        assert (ended.value.code, said["accounts"][0]["state"]) == (ExitCode.TROUBLED, "unknown")
        assert said["nodes"][0]["silent_for"] >= 0.1
