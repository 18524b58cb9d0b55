"""What commands say of rows of the journal that they leave out."""

import pytest

from adapters.stores.journal_rows import UnreadableRow
from engine.cli.log_common import tell_unreadable


def test_a_row_whose_account_cannot_be_told_is_that_of_an_unknown_account(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that cannot be read is not shown as None."""
    tell_unreadable([UnreadableRow(seq=0, account=None, life=None, why="it is spoilt")])
    assert "the first is what is stored of an unknown account: it is spoilt" in capsys.readouterr().err
