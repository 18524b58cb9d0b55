"""Records with values that are unusual, but possible: each is stored, and none ends the writer."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from adapters.sqlite.codec import decode_body, encode_body
from adapters.sqlite.reader import JournalReader
from states import Record, Snapshot
from states.events import NetworkLost, Started
from tests.adapters.sqlite.support import a_journal, decide


class Marked(str):
    """A text of a program's own class, as markup libraries have them."""

    __slots__ = ()


@pytest.mark.parametrize("name", ["at", "dwell", "delay", "draw", "deadline", "attempt", "failures"])
@pytest.mark.parametrize("value", [2**63, -(2**63), 2**80])
async def test_a_number_too_long_for_sqlite_ends_no_writer(tmp_path: Path, name: str, value: int) -> None:
    """A record with one, whose names the journal has already, is stored as near to it as the file can."""
    made = decide(Snapshot(), Started(), 7.0)
    async with a_journal(tmp_path / "engine.db") as journal:
        await journal.write("Account 1", made.record, made.snapshot)
        odd: dict[str, Any] = {name: value}
        await journal.write("Account 1", attrs.evolve(made.record, **odd), made.snapshot)
        await journal.write("Account 1", made.record, made.snapshot)
        await journal.flush()
    with JournalReader.open(tmp_path / "engine.db") as reader:
        assert [getattr(entry, name) for entry in reader.entries()] == [
            getattr(made.record, name), float(value), getattr(made.record, name),
        ]  # fmt: skip


@pytest.mark.parametrize(
    "odd", [{"detail": Marked("a")}, {"cause": (Marked("a"),)}, {"payload": {"detail": Marked("a")}}], ids=str
)
def test_a_text_of_a_class_of_its_own_is_stored_as_text(odd: dict[str, Any]) -> None:
    """What an exception says may be such a text: it goes into the record like any other."""
    record: Record = attrs.evolve(decide(Snapshot(), NetworkLost(detail="b"), 7.0).record, **odd)
    assert [decode_body(encode_body(record))[name] for name in odd] == list(odd.values())
