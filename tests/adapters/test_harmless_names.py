"""Names that strangers have chosen for files."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.harmless_names import MAX_NAME_BYTES, harmless_name, numbered
from adapters.own_places import is_session_name


@pytest.mark.parametrize(
    ("given_name", "harmless"),
    [
        ("report.pdf", "report.pdf"),
        ("Bericht für März.pdf", "Bericht für März.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\win.ini", "win.ini"),
        ("..", "file"),
        ("", "file"),
        (".bashrc", "bashrc"),
        ("-rf", "_rf"),
        ("~root", "_root"),
        ("CON", "_CON"),
        ("lpt1.txt", "_lpt1.txt"),
        ("a\u202egpj.exe", "agpj.exe"),
        ("a\u200bb\x1b[31m\n.txt", "ab[31m.txt"),
        ("a:b?.txt", "a_b_.txt"),
        ("x.session", "x_session"),
        ("x.SESSION-journal", "x_SESSION-journal"),
        ("name. . ", "name"),
        ("half\ud83d", "half"),
    ],
)
def test_what_becomes_of_a_name(given_name: str, harmless: str) -> None:
    """Each kind of trick becomes a plain name, and a plain name stays."""
    assert harmless_name(given_name) == harmless


@given(st.text(max_size=400))
def test_every_name_is_harmless(text: str) -> None:
    """Whatever it was: one visible file, short enough, no login, and the same when it is given again."""
    name = harmless_name(text)
    assert os.path.basename(name) == name
    assert name not in ("", ".", "..")
    assert not name.startswith((".", "-", "~"))
    assert name.isprintable()
    assert len(name.encode()) <= MAX_NAME_BYTES
    assert not is_session_name(name)
    assert harmless_name(name) == name


def test_a_long_name_keeps_its_extension() -> None:
    """The end of the stem is cut, between characters."""
    name = harmless_name("ü" * 300 + ".tar")
    assert name.endswith("ü.tar")
    assert len(name.encode()) <= MAX_NAME_BYTES
    assert not is_session_name(harmless_name("a" * (MAX_NAME_BYTES - 9) + ".session" + "b" * 50))


def test_a_number_goes_before_the_extension() -> None:
    """The first has none."""
    assert [numbered("a.b.c", number) for number in (1, 2)] == ["a.b.c", "a.b (2).c"]
    assert numbered("plain", 3) == "plain (3)"
