"""The ledger under chaos and ``kill -9``. ``python -m tests.soak.completeness`` does the same for longer."""

from pathlib import Path

import pytest

from states.ledger import Interval
from tests.soak import completeness


@pytest.mark.slow
async def test_the_ledger_claims_what_was_handled_and_all_of_it(tmp_path: Path) -> None:
    """Two kills in two hundred events: no false claim after any of them, and complete at the end."""
    assert "false claims 0, missed 0" in await completeness.run(tmp_path, kills=2, seed=5)


def test_a_claim_that_no_handler_has_seen_is_found() -> None:
    """The comparison names what is in a claimed interval and was not noted; what is not claimed may be missing."""
    posted = [completeness.Posted(user=1, box=5, pts=pts, line=str(pts)) for pts in (1, 2, 3)]
    wrong = list(completeness.false_claims(posted, {(1, 5): [Interval(0, 2)]}, {"1"}))
    assert wrong == ["pts 2 of box 5: 2"]
