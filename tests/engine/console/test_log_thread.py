"""The log's thread: when it is woken, what it renders, and what it leaves to others."""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from engine.console import log_thread, logs
from engine.console.messages import narrate
from states import Policy, Snapshot, Step, step
from states.events import Connected, Started, TurnGranted
from tests.timeouts import TIMEOUT

CONNECTED = "Successfully connected Account 1"


class Fixed:
    """No jitter."""

    def random(self) -> float:
        """Return always the same number."""
        return 0.5


def connected() -> Step:
    """Return the decision that an account is connected."""
    snapshot = Snapshot()
    for event in (Started(), TurnGranted(generation=0), Connected(link=1)):
        made = step(snapshot, event, now=5.0, rng=Fixed(), policy=Policy())
        snapshot = made.snapshot
    return made


class Heard(logging.Handler):
    """Keeps the records of a program's own handler, and the threads that they come from."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.threads: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.records.append(record)
        self.threads.add(threading.current_thread().name)


@contextmanager
def heard() -> Iterator[Heard]:
    """Add a handler to the root logger."""
    handler = Heard()
    logging.getLogger().addHandler(handler)
    try:
        yield handler
    finally:
        logging.getLogger().removeHandler(handler)


def test_a_decision_is_rendered_in_the_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop only lets it wait: what there is to say, and the line, are made where the line is written."""
    where: list[str] = []
    found_out = log_thread.events_of

    def noted(account: str, made: Step) -> object:
        where.append(threading.current_thread().name)
        return found_out(account, made)

    monkeypatch.setattr(log_thread, "events_of", noted)
    with logs.opened(tmp_path, recent=logs.RecentLines()):
        narrate("Account 1", connected())
    assert where == ["log"]
    assert CONNECTED in (tmp_path / "engine.log").read_text()


def test_lines_keep_their_order(tmp_path: Path) -> None:
    """Decisions and other lines are written in the order in which they were logged."""
    log = logging.getLogger("users")
    with logs.opened(tmp_path, recent=logs.RecentLines()):
        for number in range(50):
            narrate(f"Account {number}", connected())
            log.info("after %d", number)
    found = (tmp_path / "engine.log").read_text().splitlines()
    assert len(found) == 100
    for number in range(50):
        assert f"Account {number} " in found[2 * number]
        assert f"after {number}" in found[2 * number + 1]


def test_a_program_s_own_handler_gets_decisions_with_their_fields(tmp_path: Path) -> None:
    """Each once, with the fields as attributes, and with all attributes that a formatter may ask for."""
    with heard() as own, logs.opened(tmp_path, recent=logs.RecentLines()):
        narrate("Account 1", connected())
    [record] = [record for record in own.records if record.name == "holdfast.connection"]
    assert (record.event, record.account, record.levelno) == ("connected", "Account 1", logging.INFO)  # type: ignore[attr-defined]
    assert vars(record).keys() >= vars(logging.makeLogRecord({})).keys()
    assert CONNECTED in logging.Formatter("%(process)d %(threadName)s %(filename)s:%(lineno)d %(message)s").format(
        record
    )
    assert own.threads == {"log"}


def test_a_level_of_the_logger_counts_for_decisions(tmp_path: Path) -> None:
    """A decision of which the log shall not say anything leaves no line."""
    with logs.opened(tmp_path, recent=None, levels={"holdfast.connection": logging.WARNING}):
        narrate("Account 1", connected())
    assert not (tmp_path / "engine.log").exists()


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_field_that_changes_later_is_written_as_it_was(tmp_path: Path, *, as_json: bool) -> None:
    """Lists and mappings are copied when the line is logged, also within each other."""
    names = ["one"]
    nested = {"inner": [names]}
    with logs.opened(tmp_path, recent=logs.RecentLines(), as_json=as_json):
        log = structlog.get_logger("holdfast.jobs")
        log.info("job_cancelled", account="Account 1", job=17, kind="send", names=names, nested=nested)
        log.info("their own", names=names, nested=nested)
        names.append("two")
        nested["inner"].append(["three"])
    text = (tmp_path / "engine.log").read_text()
    assert len(text.splitlines()) == 2
    assert "two" not in text
    assert "three" not in text


def test_many_lines_wake_the_thread_once_and_are_written_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand lines of one turn are four calls into the system, and not a thousand."""
    monkeypatch.setattr(log_thread, "GATHER_SECONDS", TIMEOUT)
    taken: list[int] = []
    together = logs.LogFile.handle_together

    def counted(self: logs.LogFile, records: list[logging.LogRecord]) -> None:
        if self.path.name == "engine.log":
            taken.append(len(records))
        together(self, records)

    monkeypatch.setattr(logs.LogFile, "handle_together", counted)
    with logs.opened(tmp_path, recent=logs.RecentLines()):
        for _ in range(1000):
            narrate("Account 1", connected())
    assert taken == [256, 256, 256, 232]
    assert len((tmp_path / "engine.log").read_text().splitlines()) == 1000


def test_lines_that_do_not_fit_are_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While the thread is held up, so many lines wait as the bound says."""
    monkeypatch.setattr(log_thread, "LINES_QUEUED", 20)
    monkeypatch.setattr(log_thread, "GATHER_SECONDS", TIMEOUT)
    with logs.opened(tmp_path, recent=logs.RecentLines()):
        for number in range(30):
            narrate("Account 1", connected())
            logging.getLogger("users").info("line %d", number)
    assert len((tmp_path / "engine.log").read_text().splitlines()) == 20
    assert "40 log lines were dropped" in capsys.readouterr().err


def test_a_decision_without_an_open_log_goes_to_the_loggers_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """A program that uses the engine as a library gets the record in its own thread."""
    logs.configure()
    with caplog.at_level(logging.INFO):
        narrate("Account 1", connected())
    assert CONNECTED in caplog.text
    assert {record.threadName for record in caplog.records} == {"MainThread"}


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_the_lines_are_the_same_with_and_without_other_handlers(tmp_path: Path, *, as_json: bool) -> None:
    """Whether a program has handlers of its own changes no byte of the log."""
    root = logging.getLogger()
    others, root.handlers = root.handlers, []
    found = []
    try:
        for handlers in ([], [Heard()]):
            root.handlers = list(handlers)
            directory = tmp_path / str(len(handlers))
            with logs.opened(directory, recent=logs.RecentLines(), as_json=as_json):
                narrate("Account 1", connected())
            text = (directory / "engine.log").read_text()
            found.append(re.sub(r"20\d\d-\d\d-\d\d[T ][\d:.+]+", "TIME", text))
    finally:
        root.handlers = others
    assert found[0] == found[1]
    assert CONNECTED in found[0] or '"connected"' in found[0]


def test_a_filter_of_the_program_s_own_counts_for_decisions(tmp_path: Path) -> None:
    """What a filter of the logger leaves out is not written."""
    root, logger = logging.getLogger(), logging.getLogger("holdfast.connection")
    others, root.handlers = root.handlers, []
    logger.addFilter(lambda record: "Account 2" not in record.getMessage())
    try:
        with logs.opened(tmp_path, recent=logs.RecentLines()):
            narrate("Account 1", connected())
            narrate("Account 2", connected())
    finally:
        root.handlers = others
        logger.filters.clear()
    assert len((tmp_path / "engine.log").read_text().splitlines()) == 1
