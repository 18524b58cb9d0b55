"""A datacenter that repeats itself does not fill the log."""

import logging

import pytest

from adapters.telegram import telethon_log
from adapters.telegram.telethon_log import LINES_PER_MINUTE, TELETHON_LOGGER, OneLogger

RESENT = "Server resent the older message %d, ignoring"


def test_of_lines_of_one_kind_only_some_are_written(caplog: pytest.LogCaptureFixture) -> None:
    """Another kind of line is written all the same."""
    logger = OneLogger(f"{TELETHON_LOGGER.name}.flooded")
    for number in range(1000):
        logger.warning(RESENT, number)
    logger.warning("Something else")
    assert [record.msg for record in caplog.records].count(RESENT) == LINES_PER_MINUTE
    assert caplog.records[-1].msg == "Something else"


def test_what_was_left_out_is_said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the next line of its kind, when the minute is over."""
    logger = OneLogger(f"{TELETHON_LOGGER.name}.flooded")
    for number in range(1000):
        logger.warning(RESENT, number)
    monkeypatch.setattr(telethon_log, "MINUTE", 0.0)
    logger.warning(RESENT, 7)
    assert caplog.records[-1].getMessage().endswith("message 7, ignoring (990 more such lines were left out)")


def test_kinds_without_end_take_no_memory_without_end() -> None:
    """A text of which each is another one is not remembered for ever."""
    logger = OneLogger(f"{TELETHON_LOGGER.name}.flooded")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    for number in range(5_000):
        logger.warning(f"kind {number}")
    assert len(logger._said) < 300


def test_lines_for_debugging_are_all_written(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asks for them wants them."""
    logger = OneLogger(f"{TELETHON_LOGGER.name}.debugged")
    logger.setLevel(logging.DEBUG)
    with caplog.at_level(logging.DEBUG):
        for number in range(50):
            logger.debug("step %d", number)
    assert len(caplog.records) == 50
