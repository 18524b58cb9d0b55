"""``log stats`` on terminals of any width."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from engine.cli.log_stats import page
from engine.journal.stats import Figures, Stats
from states import State


@pytest.mark.parametrize("width", [60, 80, 100, 160])
@pytest.mark.parametrize("name", ["A", "News of the whole world, in German", "\u65b0\u805e" * 9])
def test_no_figure_is_cut(width: int, name: str) -> None:
    """How much each account lost is what it is asked for: the bar and the name give way first."""
    spent = {**dict.fromkeys(State, 0.0), State.HEALTHY: 86_000.0, State.BACKOFF: 400.0}
    figures = Figures(seconds=spent, outages=12_345, repairs=(95.0, 120.0, 185.0), longest=185.0, causes=())
    found = Stats(since=None, until=1_800_000_000.0, accounts={name: figures}, fleet=figures)
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(page(found, width))
    lines = out.getvalue().splitlines()
    title, row, fleet = lines[lines.index("") + 1 :][:3]
    assert ("p95" in title) is (width > 60)
    for line in (row, fleet):
        for figure in ("99.53 %", "12345", "3 min 5 s"):
            assert figure in line
        assert cell_len(line) <= width
