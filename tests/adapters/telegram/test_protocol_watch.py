"""What Telethon only logs is counted, and ends the link in an error that says what is wrong."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import define, field
from telethon.errors import SecurityError
from telethon.tl.types import BadMsgNotification, BadServerSalt, Pong

from adapters.telegram.protocol_watch import MAX_REFUSED, ProtocolStuck, ProtocolWatch


class Log:
    """A logger that keeps nothing."""

    def warning(self, *_: object) -> None:
        """Say nothing."""


@define(slots=False)
class State:
    """Telethon's message layer, as far as the watch looks at it; what it decrypts is given."""

    coming: list[Any] = field(factory=list)
    time_offset: int = 0
    _last_msg_id: int = 0
    _log: Any = field(factory=Log)

    def decrypt_message_data(self, body: bytes) -> Any:
        """Return or raise the next thing; a number is a message with an impossible time."""
        thing = self.coming.pop(0)
        if isinstance(thing, Exception):
            raise thing
        if isinstance(thing, str):
            self._log.warning("Server resent the older message %d, ignoring", 1)
            return None
        if isinstance(thing, float):
            self._log.warning("Server sent a very old message with ID %d, ignoring (see FAQ)", int(thing) << 32)
            return None
        return SimpleNamespace(obj=thing)


class WatchedState(ProtocolWatch, State):
    """The same, watched."""


def read(*coming: Any, sends: bool = True) -> int:
    """Let a watched client read all of it, sending something before each; return how much it read."""
    state = WatchedState(list(coming))
    for number in range(len(coming)):
        if sends:
            state._last_msg_id += 4
        try:
            state.decrypt_message_data(b"")
        except ProtocolStuck:
            return number + 1
    return len(coming) + 1


def salt(sent: int) -> BadServerSalt:
    """Return a refusal of the message with this number."""
    return BadServerSalt(sent, 0, 48, 77)


def test_a_broken_message_ends_the_link() -> None:
    """A message that breaks the encryption may have been an answer: the link is not trusted any more."""
    assert read(Pong(1, 1), SecurityError("wrong key"), Pong(1, 1)) == 2


def test_a_good_message_between_refusals_forgives() -> None:
    """Only an unbroken row counts."""
    assert read(*[salt(4), Pong(1, 1), salt(12), Pong(1, 1)] * 9) == 37


def test_messages_that_come_twice_are_not_trouble() -> None:
    """A datacenter that repeats itself is not taken for one that is broken."""
    assert read("twice", "twice", "twice", "twice") == 5


def test_a_clock_that_is_off_is_told_with_its_seconds() -> None:
    """The error says by how much the clocks differ, and which one is behind."""
    state = WatchedState([time.time() - 400.0])
    with pytest.raises(ProtocolStuck, match=r"4\d\d s behind this machine's"):
        state.decrypt_message_data(b"")


def test_a_salt_refused_for_ever_ends_the_link() -> None:
    """When even what was sent with the latest salt is refused, sending again would never end."""
    assert read(*[salt(4 * number) for number in range(1, 20)]) == MAX_REFUSED


def test_a_change_of_salt_refuses_all_that_is_under_way_and_that_is_fine() -> None:
    """A hundred requests that were sent before the correction are refused with one salt, and the link lives."""
    assert read(*[salt(0)] * 100, sends=False) == 101


def test_several_that_are_refused_side_by_side_for_ever_end_the_link() -> None:
    """Acknowledgements bounce beside the request: each round of them counts once, and it still ends."""
    assert read(*[salt(sent) for sent in range(4, 400, 4) for _ in range(3)]) < 100


def test_numbers_refused_for_ever_end_the_link() -> None:
    """The same for the message numbers that Telethon corrects and sends again."""
    assert read(*[BadMsgNotification(4 * number, 0, 16) for number in range(1, 20)]) == MAX_REFUSED
