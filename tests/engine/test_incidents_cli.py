"""``incidents``, ``incidents ack``, and incidents in ``status``: from a file, with no engine running."""

import json
import time
from pathlib import Path

import pytest
from attrs import evolve

from adapters.sqlite import JournalWriter
from engine.console.incident_lines import as_data, page, paragraph
from states.incident import Incident, IncidentKind, Severity
from states.incidents import AccountGone, IncidentReason
from tests.engine.commands import Run, runs, write_stories
from tests.states.incident_support import Told, down, needs, person, well

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef}
accounts:
  - {name: News, session: one}
  - {name: Shop, session: two}
"""
HOSTILE = "boom\x1b[2J\n\u202eevil"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs commands."""
    return runs(capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)


@pytest.fixture
async def law(tmp_path: Path) -> Told:
    """Write a config, and the incidents of an engine: one that is over, two that are open."""
    await write_stories(tmp_path, CONFIG, {"News": [], "Shop": []})
    law = Told(now=time.time() - 600)
    law.tell(down("Shop"))
    law.wait(130)
    law.tell(AccountGone("Shop"), needs("News"))
    reason = IncidentReason(kind=IncidentKind.OUTAGE, cause="NetworkLost", detail=HOSTILE)
    law.tell(down("Shop", reason), well("Other"))
    law.wait(130)
    journal = await JournalWriter.open(tmp_path / "data" / "engine.db", on_trouble=lambda *_: None)
    await journal.incidents.keep(law.changes)
    assert await journal.aclose(5) == 0
    return law


def test_they_are_listed(run: Run, law: Told) -> None:
    """Each says what is the matter, since when, for whom, and what to do; foreign text is harmless."""
    code, out, err = run("incidents")
    assert (code, err) == (1, "")
    first, second, todo, how, third, _, look, days = out.splitlines()
    assert first.startswith("✅ 1 ")
    assert "outage: Shop had no connection (connection reset); was over after 2 min 10 s" in first
    assert second.startswith("❌ 2 ")
    assert "News cannot go on before somebody acts" in second
    assert todo == "   what to do: log in again"
    assert how == "   how: python -m engine login config.yaml News"
    assert look == "   how: python -m engine log config.yaml --account Shop --failed -n 10"
    assert third.startswith("⚠️ 3 ")
    assert days.startswith("in the last 24 h: 3 began, ")
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_only_the_open_ones(run: Run, law: Told) -> None:
    """``--open`` leaves out what is over, ``-n`` all but the newest."""
    code, out, _ = run("incidents", "--open", "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert (code, [each["id"] for each in found]) == (1, [2, 3])
    assert found[0]["accounts"] == ["News"]
    assert found[0].keys() == as_data(law.book.open[2]).keys()
    assert [json.loads(line)["id"] for line in run("incidents", "-n", "1", "--json")[1].splitlines()] == [3]


def test_one_is_acknowledged(run: Run, law: Told) -> None:
    """It says so once and for all; what is over or does not exist is refused in a sentence."""
    code, out, err = run("incidents", "ack", "2", "2")
    assert (code, out, err) == (0, "incident 2 is acknowledged: News cannot go on before somebody acts\n", "")
    assert ", acknowledged" in run("incidents")[1]
    code, out, err = run("incidents", "ack", "config.yaml", "1", "3", "99", "--json")
    assert code == 1
    assert json.loads(out)["id"] == 3
    assert err.splitlines() == [
        "incident 1 is over already; there is nothing to acknowledge",
        "there is no incident 99",
    ]
    assert run("incidents", "ack")[0] == 2
    assert run("incidents", "ack", "-1")[0] in (1, 2)


def test_status_has_the_open_ones(run: Run, law: Told) -> None:
    """``status`` names them worst first below the accounts, and ``status --json`` has a key for them."""
    code, out, _ = run("status")
    assert code == 3
    lines = out.splitlines()
    place = lines.index("2 open incidents, see 'incidents --open'")
    assert lines[place + 1].startswith("  ❌ 2 News cannot go on before somebody acts for ")
    assert "log in again" in lines[place + 1]
    found = json.loads(run("status", "--json")[1])["incidents"]
    assert [each["id"] for each in found] == [2, 3]
    assert [each["id"] for each in json.loads(run("status", "Shop", "--json")[1])["incidents"]] == [3]


def test_without_an_engine_so_far_there_are_none(run: Run, tmp_path: Path) -> None:
    """``status`` has none, ``incidents`` says what to do, and neither makes a file."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    assert json.loads(run("status", "--json")[1])["incidents"] == []
    code, _, err = run("incidents")
    assert code != 0
    assert "run the engine first" in err
    assert run("incidents", "ack", "1")[0] != 0
    assert not (tmp_path / "data" / "engine.db").exists()


async def test_an_engine_that_was_well_has_none(run: Run, tmp_path: Path) -> None:
    """It is said in a sentence, with exit code 0."""
    await write_stories(tmp_path, CONFIG, {"News": []})
    assert run("incidents") == (0, "there were no incidents\n", "")
    assert run("incidents", "--open") == (0, "no incident is open\n", "")


def test_none_at_all_cannot_be_asked_for(run: Run, law: Told) -> None:
    """``-n 0`` would print that there were no incidents."""
    code, out, err = run("incidents", "-n", "0")
    assert (code, out, err) == (2, "", "-n must be at least 1\n")


def test_a_time_before_the_journal_is_not_known(run: Run, law: Told) -> None:
    """That there were no incidents would be a guess."""
    assert run("incidents", "--since", "2020-01-01", "--until", "2020-01-02")[1].startswith(
        "nothing is known of that time: the journal "
    )


@pytest.mark.parametrize("kind", IncidentKind)
@pytest.mark.parametrize("fleet", [False, True])
@pytest.mark.parametrize("accounts", [(), ("News",), tuple(f"Account {number}" for number in range(200))])
def test_every_kind_has_its_words(kind: IncidentKind, fleet: bool, accounts: tuple[str, ...]) -> None:
    """Each incident says what it means and what to do, in lines that are safe and no longer than they must be."""
    found = Incident(
        id=1, kind=kind, cause="log_in", accounts=accounts, fleet=fleet, severity=Severity.WARNING, since=0.0,
        opened=1.0, detail=HOSTILE,
    )  # fmt: skip
    assert found.meaning
    assert found.action
    lines = paragraph(found, 10.0)
    assert all(line.isprintable() or "️" in line for line in lines)
    assert len("".join(lines)) < 1000
    assert page([found] * 20, 10.0)[-1].plain == "  and 14 more"
    assert page([], 10.0) == []


def test_what_nobody_knows_of_is_first() -> None:
    """Acknowledged incidents are below the others, critical ones above."""
    law = Told()
    law.tell(needs("A"), needs("B", person("retry")), down("C", scopes=()))
    law.wait(200)
    known = [evolve(each, acked=law.now) if each.id == 1 else each for each in law.open]
    shown = [line.plain.split()[1] for line in page(known, law.now)[2:]]
    assert shown == ["2", "3", "1"]
