"""The dialogue of a login at the terminal: questions go to stderr, answers come from stdin, one per line.

Stdin may also be a pipe from a script.
"""

import os
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import anyio
from attrs import define, field

from engine.console.safe_text import one_line

MAX_LINE_BYTES: Final = 4096


class InputEnded(Exception):
    """Stdin was closed, or a line is too long, before the question was answered."""


@define(eq=False)
class Terminal:
    """Asks the operator, and prints sentences."""

    yes: bool = False
    """Whether every question for confirmation is answered with yes."""
    _read: bytearray = field(factory=bytearray, init=False, repr=False)
    """Bytes that were read, but not yet returned as a line."""
    _drawn: int = field(default=0, init=False)
    """Number of lines of the QR code right above the cursor; 0 if something else was printed since."""

    async def ask_phone(self) -> str:
        """Ask for the phone number."""
        return await self._ask("Phone number, with its country's code: ")

    async def ask_code(self, where: str) -> str:
        """Ask for the code."""
        return await self._ask(f"Code, sent {where} (Enter to have it sent again): ")

    async def ask_password(self, hint: str) -> str:
        """Ask for the password, without an echo."""
        with _echo_off():
            return await self._ask(f"Password of the two-step verification{f' (hint: {hint})' if hint else ''}: ")

    async def show_qr(self, url: str) -> None:
        """Draw the QR code, over the last one if the terminal can do that."""
        from engine.cli import qr  # noqa: PLC0415 - what draws the code takes as long to import as a short command

        coloured = sys.stderr.isatty()
        if not self._drawn:
            self._write("On your phone: Telegram, Settings, Devices, Link Desktop Device; then scan this.\n")
        elif coloured:
            self._write(f"\x1b[{self._drawn}A")
        drawn = qr.lines(url, coloured=coloured)
        self._write("".join(f"{line}\n" for line in drawn))
        self._drawn = len(drawn)

    async def say(self, sentence: str) -> None:
        """Print a sentence."""
        self._drawn = 0
        self._write(f"{one_line(sentence)}\n")

    async def confirm(self, question: str) -> bool:
        """Ask for confirmation; without a terminal the answer is no."""
        if self.yes:
            return True
        if not sys.stdin.isatty():
            await self.say(f"{question} There is no terminal to ask at; add --yes to confirm.")
            return False
        return (await self._ask(f"{question} [y/N] ")).strip().lower() in ("y", "yes")

    async def _ask(self, prompt: str) -> str:
        self._drawn = 0
        self._write(one_line(prompt))
        while b"\n" not in self._read:
            with suppress(PermissionError):  # a regular file, which is always readable and cannot be waited for
                await anyio.wait_readable(sys.stdin.fileno())
            chunk = os.read(sys.stdin.fileno(), MAX_LINE_BYTES)
            self._read += chunk
            if not chunk or len(self._read) > MAX_LINE_BYTES:
                self._write("\n")
                raise InputEnded
        line, _, rest = bytes(self._read).partition(b"\n")
        self._read = bytearray(rest)
        return line.decode(errors="replace").rstrip("\r")

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


@contextmanager
def _echo_off() -> Iterator[None]:
    """Turn the terminal's echo off, and on again at the end in every case."""
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    hidden = list(before)
    hidden[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSADRAIN, hidden)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        sys.stderr.write("\n")
        sys.stderr.flush()
