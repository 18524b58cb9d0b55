"""The section ``logging``."""

import logging

import pytest

from adapters.log_events import ADAPTER_EVENTS
from engine.config import LogFormat, LoggingSection, LogLevel
from engine.config.log_section import LOGGERS, to_loggers
from engine.console.messages import LOG_EVENTS
from tests.engine.config.texts import HEAD, ONE, Load, Problems


@pytest.mark.parametrize(
    "text", ["", "logging:\n", "logging: {}\n", "logging: {levels: }\n", "logging: {levels: {}}\n"]
)
def test_without_it_lines_are_text(good: Load, text: str) -> None:
    """And each logger has its own level."""
    assert good(HEAD + ONE + text).logging == LoggingSection(format=LogFormat.TEXT, levels={})


def test_format_and_levels_are_read(good: Load) -> None:
    """Levels are of loggers, also of those that are not the engine's."""
    section = good(
        HEAD + ONE + "logging: {format: json, levels: {holdfast.connection: debug, root: error, my-bot.x: info}}"
    ).logging
    assert section.format is LogFormat.JSON
    assert section.levels == {
        "holdfast.connection": LogLevel.DEBUG,
        "root": LogLevel.ERROR,
        "my-bot.x": LogLevel.INFO,
    }


def test_levels_are_those_of_the_standard_library() -> None:
    """So that they can be given to its loggers."""
    assert [level.number for level in LogLevel] == [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR]


@pytest.mark.parametrize(
    ("section", "key", "said"),
    [
        ("json", "logging", "must be a mapping (key: value), not text"),
        ("{formt: json}", "logging.formt", "unknown key; did you mean 'format'?"),
        ("{format: xml}", "logging.format", "must be one of text, json, not 'xml'"),
        ("{format: }", "logging.format", "must be one of text, json, not an empty value"),
        ("{level: debug}", "logging.level", "unknown key; did you mean 'levels'?"),
        ("{levels: debug}", "logging.levels", "must be a mapping (logger: level), not text"),
        ("{levels: [debug]}", "logging.levels", "must be a mapping (logger: level), not a list"),
        (
            "{levels: {'': debug}}",
            "logging.levels",
            "must have names of loggers as its keys, such as holdfast.connection",
        ),
        ("{levels: {a..b: debug}}", "logging.levels", "must have names of loggers as its keys, such as "),
        (
            "{levels: {holdfast.conection: debug}}",
            "logging.levels",
            "has no logger 'holdfast.conection'; did you mean 'holdfast.connection'?",
        ),
        ("{levels: {5: debug}}", "logging.levels", "must have names of loggers as its keys"),
        ("{levels: {root: loud}}", "logging.levels.root", "must be one of debug, info, warning, error, not 'loud'"),
        ("{levels: {root: 10}}", "logging.levels.root", "must be one of debug, info, warning, error, not a number"),
        ("{levels: {a.b: DEBUG}}", "logging.levels.a.b", "must be one of debug, info, warning, error, not 'DEBUG'"),
    ],
)
def test_what_is_wrong_is_said(bad: Problems, section: str, key: str, said: str) -> None:
    """By key, in a sentence."""
    (problem,) = bad(f"{HEAD}{ONE}logging: {section}")
    assert f": {key}: {said}" in problem


def test_the_loggers_of_the_config_are_those_of_the_log() -> None:
    """Every logger that an event has can be given a level, and so can one of Telethon's."""
    logged = {event.logger for event in (*LOG_EVENTS.values(), *ADAPTER_EVENTS)}
    assert logged <= set(LOGGERS)
    assert set(LOGGERS) - logged == {"holdfast.monitor", "holdfast.telethon"}
    assert to_loggers({"holdfast.telethon.account1": "debug", "root": "info", "users": "error"})


def test_too_many_loggers_are_refused(bad: Problems) -> None:
    """A config is bounded in all its parts."""
    many = ", ".join(f"l{number}: info" for number in range(101))
    (problem,) = bad(f"{HEAD}{ONE}logging: {{levels: {{{many}}}}}")
    assert "logging.levels: must have at most 100 loggers" in problem


def test_all_that_is_wrong_is_said_at_once(bad: Problems) -> None:
    """One mistake hides no other."""
    assert len(bad(f"{HEAD}{ONE}logging: {{format: xml, levels: {{root: loud, a: quiet}}}}")) == 3
