"""The tables of ``memory_entities`` and ``isolation``: what is missed is told. No clock is read here."""

from pathlib import Path

import pytest

from tests.bench import isolation, memory_entities
from tests.bench.isolation import FloodPhase
from tests.bench.memory_entities import CONTENDERS, OURS

FIGURES = {"bytes": 60e6, "open": 0.5, "by_id": 1e-6, "by_username": 1e-3}


def missed(found: dict[str, dict[str, float]]) -> list[str]:
    """Return the targets that were missed."""
    return [target.against for target in memory_entities.table(found, 1000).targets if not target.kept]


def test_a_session_that_keeps_everything_misses_its_targets() -> None:
    """Each figure of Holdfast is judged against its alternative of the same run."""
    same = dict.fromkeys(CONTENDERS, FIGURES)
    assert len(missed(same)) == 3
    ours = {**FIGURES, "bytes": 3e6, "open": 0.01}
    assert missed({**same, OURS: ours}) == []


@pytest.mark.slow
def test_a_contender_answers_whatever_it_is_asked(tmp_path: Path) -> None:
    """Ours and Telethon's, each with a session that knows three thousand, find whomever they are asked for."""
    path = tmp_path / "account.session"
    memory_entities.fill(path, 3000)
    for name in (OURS, memory_entities.SQLITE):
        assert memory_entities.measure(name, path, 3000)["by_id"] > 0


def test_an_update_that_is_lost_is_a_missed_target() -> None:
    """Lost, doubled, late and large are each judged; a calm run is well."""
    none, handled, hanging = (FloodPhase(name, lags=[0.01], ages=[0.02], rate=100) for name in ("no", "yes", "hang"))
    assert all(target.kept for target in isolation.table([none, handled, hanging], 3).targets)
    handled.lost, hanging.grown, hanging.ages = 1, 100_000_000, [1.0]
    assert [target.kept for target in isolation.table([none, handled, hanging], 3).targets].count(False) == 3
