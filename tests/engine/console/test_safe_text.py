"""Text from elsewhere is one harmless line; what programs read is exact."""

import io
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from engine.console.logs import JsonLines, TextLines
from engine.console.messages import render
from engine.console.safe_text import MAX_LINE, MAX_LINES, json_text, one_line, plain, safe_lines

DANGEROUS = (
    *map(chr, (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))),
    *"\u2028\u2029\u200b\u200c\u200d\u200e\u200f\u061c\u2060\ufeff\xad\u3164\ud800\udfff\ufffe\U000e0041",
)


@pytest.mark.parametrize("character", DANGEROUS, ids=lambda character: f"U+{ord(character):04X}")
def test_a_dangerous_character_is_written_out(character: str) -> None:
    """Neither alone nor between words does it reach a line as it is."""
    for text in (character, f"News {character} 1", f"Новости{character}x"):
        assert character not in one_line(text)
        assert one_line(text).isascii() == text.replace(character, "").isascii()


@given(st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Lu"]), max_size=40))
def test_no_mixture_breaks_a_line(text: str) -> None:
    """Whatever stands beside what, one line has one line, and can be written in UTF-8."""
    safe = one_line(text)
    assert len(safe.splitlines()) <= 1
    assert not set(safe) & set(DANGEROUS)
    safe.encode()


@pytest.mark.parametrize("text", ["Новости", "👩‍👩‍👧 family", "می‌خواهم", "❤️‍🔥", "a\\nb", "日本　語", "✅ ⏱️"])
def test_what_people_write_stays_as_it_is(text: str) -> None:
    """Letters of any script, pictures that are joined of several, and backslashes are not touched."""
    assert one_line(text) == text


def test_a_long_text_keeps_its_begin_and_its_end() -> None:
    """What an error is about stands at its begin, and what to do at its end."""
    line = one_line(f"begin {'x' * 1_000_000} end")
    assert len(line) < MAX_LINE + 100
    assert line.startswith("begin ")
    assert line.endswith(" end")
    lines = safe_lines("\n".join(map(str, range(100_000))))
    assert len(lines.splitlines()) == MAX_LINES + 1


def test_nothing_in_a_text_is_markup() -> None:
    """Brackets in a name, a cause or a job's text are brackets."""
    screen = io.StringIO()
    Console(file=screen, force_terminal=True, width=80).print(plain("[bold]x[/bold] [/] [link=http://a]b :smile:"))
    assert screen.getvalue() == "[bold]x[/bold] [/] [link=http://a]b :smile:\n"


@pytest.mark.slow
@given(
    st.recursive(
        st.text() | st.just("\u202e\x9b\ud800"), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_is_exact_and_harmless(value: object) -> None:
    """A program reads what there was; a terminal that shows it obeys nothing."""
    text = json_text(value, indent=2)
    assert json.loads(text) == value
    assert not set(text) & set(DANGEROUS) - {"\n", "\u200c", "\u200d"}
    text.encode()


FORGED = "gone\n2001-11-29 03:00:00 - INFO - ✅ Stopped\r\x1b[2J\x9b2J\u2028x"


@pytest.mark.parametrize("logger", ["holdfast.fleet", "anything"])
def test_an_exception_forges_no_line_of_the_log(logger: str) -> None:
    """A line break in an exception's text begins no line that looks like one of the log's own."""
    try:
        raise ValueError(FORGED)
    except ValueError as exc:
        record = logging.LogRecord(logger, logging.ERROR, "", 0, FORGED, None, (ValueError, exc, exc.__traceback__))
    record.exc_text = logging.Formatter().formatException(record.exc_info)  # type: ignore[arg-type]  # it is set
    lines = TextLines().format(record).split("\n")
    assert [line for line in lines if line.startswith("2001")] == []
    assert not set("".join(lines)) & set(DANGEROUS)
    assert json.loads(JsonLines().format(record))["event"] == FORGED


def test_a_stack_is_as_harmless_as_a_traceback() -> None:
    """The calls that hold up the loop may quote a line of the user's code."""
    fields = {"event": "loop_stalled", "running": "job 1", "account": "A", "still": 1.0, "stack": FORGED, "others": 0}
    assert not set(render("loop_stalled", fields)) & (set(DANGEROUS) - {"\n"})


def test_a_pile_of_marks_is_written_out() -> None:
    """A thousand accents on one letter would cover the lines above; the letters of no script have so many."""
    safe = one_line(f"e{chr(0x301) * 1000} x{chr(0xFE0F)}{chr(0x489) * 20}")
    assert chr(0x301) * 9 not in safe
    assert chr(0x489) * 9 not in safe
    assert "\\u0301" in safe
    for word in ("Việt", "שָׁלוֹם", "กี่ปั้น", "བསྒྲུབས", "नमस्ते"):
        assert one_line(word) == word
