"""Keys as terminals send them, whole and in pieces."""

import pytest

from engine.screen.keys import LONGEST_PASTE, Keys
from engine.screen.model import PASTE

SENT = {
    b"p": ["p"],
    b"\xc3\xa9": ["\u00e9"],
    b"\r": ["enter"],
    b"\n": ["enter"],
    b"\x7f": ["backspace"],
    b"\x08": ["backspace"],
    b"\x15": ["ctrl+u"],
    b"\x0c": ["ctrl+l"],
    b"\x1b[A": ["up"],
    b"\x1bOA": ["up"],
    b"\x1b[1;5B": ["down"],
    b"\x1b[C": ["right"],
    b"\x1bOD": ["left"],
    b"\x1b[5~": ["pageup"],
    b"\x1b[6;2~": ["pagedown"],
    b"\x1b[H": ["home"],
    b"\x1b[1~": ["home"],
    b"\x1b[7~": ["home"],
    b"\x1bOF": ["end"],
    b"\x1b[4~": ["end"],
    b"\x1b[Z": ["backtab"],
    b"\x1b[3~": ["delete"],
    b"\x1b[15~": [],
    b"\x1b[?1;2c": [],
    b"\x1b[<0;3;4M": [],
    b"\x1b[I": [],
    b"\x1bp": [],
    b"\x00\x01": [],
    b"\x1b[A\x1b[Bjp": ["up", "down", "j", "p"],
    b"\x1b[200~p\r\x1b[A\x1b[201~q": [f"{PASTE}p\r\x1b[A", "q"],
}
"""Bytes, and the keys that they are."""


@pytest.mark.parametrize("sent", SENT)
def test_keys_are_understood(sent: bytes) -> None:
    """As xterm, the Linux console, screen and tmux send them; what is no key is nothing."""
    keys = Keys()
    assert keys.feed(sent) + keys.settle() == SENT[sent]


@pytest.mark.parametrize("sent", SENT)
def test_keys_may_come_in_pieces(sent: bytes) -> None:
    """A slow line sends a byte at a time, and means the same."""
    keys = Keys()
    found = [key for byte in sent for key in keys.feed(bytes([byte]))]
    assert found + keys.settle() == SENT[sent]


def test_a_lone_esc_is_the_key() -> None:
    """Once nothing has followed it for a moment."""
    keys = Keys()
    assert (keys.feed(b"\x1b"), keys.unsure) == ([], True)
    assert (keys.settle(), keys.unsure) == (["escape"], False)


def test_two_esc_are_two_keys() -> None:
    """Typed fast, they are not the beginning of another key."""
    keys = Keys()
    assert keys.feed(b"\x1b\x1b") + keys.settle() == ["escape", "escape"]


def test_bytes_that_are_no_text_are_left_out() -> None:
    """A terminal of another encoding does not stop the keys that follow."""
    keys = Keys()
    assert keys.feed(b"\xff\xe9q") == ["q"]
    assert keys.feed(b"\xc3") == []
    assert keys.feed(b"\xa9j") == ["\u00e9", "j"]


def test_a_huge_paste_is_bounded() -> None:
    """It takes little memory, and ends where it ends, also if its mark comes in pieces."""
    keys = Keys()
    assert keys.feed(b"\x1b[200~") == []
    for _ in range(1000):
        assert keys.feed(b"p" * 1000) == []
    (pasted,) = keys.feed(b"\x1b[20") + keys.feed(b"1~")
    assert len(pasted) <= LONGEST_PASTE + len(PASTE)
    assert keys.feed(b"j") == ["j"]
