"""The standard streams: what an encoding lacks is written plainly, and JSON stays JSON."""

import io
import json

import pytest

from engine.console import streams
from engine.console.safe_text import json_text


@pytest.fixture(autouse=True)
def handler() -> None:
    """Register the handler as a process does."""
    streams.codecs.register_error(streams.ERRORS, streams._written_plainly)


def encoded(text: str, encoding: str) -> str:
    """Return what a stream of this encoding makes of a text."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors=streams.ERRORS)
    stream.write(text)
    stream.flush()
    return raw.getvalue().decode(encoding)


def test_icons_become_words() -> None:
    """An encoding without icons has words for them, and the letters that it has stay."""
    assert encoded("✅ é → ⚠️ Ж", "iso-8859-1") == "[ok] é -> [!] \\u0416"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "koi8-r", "shift_jis", "utf-8", "utf-16"])
def test_json_stays_json(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program reads is the same in every encoding, also a letter of two units and a half of one."""
    value = {"имя": "📰 \udce9 é \\ ✔ ✅ “quoted” …"}
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    text = json_text(value)
    monkeypatch.undo()
    assert json.loads(encoded(text, encoding)) == value
