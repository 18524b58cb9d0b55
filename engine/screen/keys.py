"""Keys from the bytes that a terminal sends for them: pure."""

import re
from typing import Final

from engine.screen.model import PASTE

NAMES: Final = {
    "A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end", "Z": "backtab",
    "1~": "home", "7~": "home", "4~": "end", "8~": "end", "3~": "delete", "5~": "pageup", "6~": "pagedown",
}  # fmt: skip
"""What follows ``ESC [`` or ``ESC O``, without modifiers; terminals and multiplexers differ in what they send."""
CONTROLS: Final = {
    "\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace", "\x08": "backspace", "\x15": "ctrl+u",
    "\x0c": "ctrl+l",
}  # fmt: skip
LONGEST_PASTE: Final = 4_096
_SEQUENCE: Final = re.compile(
    r"\x1b(?:\[(?P<csi>[0-9;:<=>?]*[ -/]*[@-~])|O(?P<ss3>[ -~])|(?P<alt>[^\[O\x1b]))", re.DOTALL
)
_MODIFIERS: Final = re.compile(r"(?:^1)?;[0-9:]+(?=[A-Z~]$)")
_PASTE_BEGINS, _PASTE_ENDS = "\x1b[200~", "\x1b[201~"


class Keys:
    """Takes what the terminal sends, in any pieces, and returns the keys."""

    def __init__(self) -> None:
        self._rest = ""
        self._bytes = b""

    @property
    def unsure(self) -> bool:
        """Whether the last byte was an Esc: the key, or the beginning of another one that is still on its way."""
        return bool(self._rest) and not self._rest.startswith(_PASTE_BEGINS)

    def feed(self, data: bytes) -> list[str]:
        """Return the keys that are complete."""
        self._rest += self._decoded(data)
        return self._taken()

    def settle(self) -> list[str]:
        """Return the keys after nothing came for a moment: a lone Esc was the key."""
        if not self.unsure:
            return []
        rest, self._rest = self._rest, ""
        return ["escape"] if rest == "\x1b" else []

    def _decoded(self, data: bytes) -> str:
        """Return the letters that are complete; what is no UTF-8 is left out."""
        data, self._bytes = self._bytes + data, b""
        try:
            return data.decode()
        except UnicodeDecodeError as exc:
            if exc.reason == "unexpected end of data" and exc.end == len(data):
                self._bytes = data[exc.start :]
            return data.removesuffix(self._bytes).decode(errors="ignore")

    def _taken(self) -> list[str]:
        keys: list[str] = []
        while self._rest:
            if self._rest.startswith(_PASTE_BEGINS):
                end = self._rest.find(_PASTE_ENDS)
                if end < 0:
                    self._rest = _PASTE_BEGINS + self._rest[len(_PASTE_BEGINS) :][-LONGEST_PASTE:]
                    return keys
                keys.append(PASTE + self._rest[len(_PASTE_BEGINS) : end][:LONGEST_PASTE])
                self._rest = self._rest[end + len(_PASTE_ENDS) :]
            elif self._rest[0] == "\x1b":
                if (found := _SEQUENCE.match(self._rest)) is None:
                    if len(self._rest) == 1 or _is_begun(self._rest):
                        return keys
                    self._rest = self._rest[1:]
                    keys.append("escape")
                    continue
                self._rest = self._rest[found.end() :]
                name = NAMES.get(_MODIFIERS.sub("", found["csi"] or found["ss3"] or ""))
                if found["alt"] is not None:
                    continue  # with Alt, a letter is another key
                if name is not None:
                    keys.append(name)
            else:
                letter, self._rest = self._rest[0], self._rest[1:]
                if letter in CONTROLS:
                    keys.append(CONTROLS[letter])
                elif letter.isprintable():
                    keys.append(letter)
        return keys


def _is_begun(rest: str) -> bool:
    """Return whether an escape sequence is not complete yet."""
    return re.fullmatch(r"\x1b(?:\[[0-9;:<=>?]*[ -/]*|O)", rest) is not None and len(rest) < 32
