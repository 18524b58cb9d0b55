"""What two threads can do to one session file at the worst moment."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from telethon.crypto import AuthKey

from adapters.session import file as files
from adapters.session.errors import SessionHeld, SessionNotSaved
from adapters.session.holdfast_session import HoldfastSession
from adapters.session.live import LiveFile
from adapters.session.writer import WriteBehind
from tests.adapters.session.support import KEY, QUICK, rows, telethons, until, user
from tests.timeouts import TIMEOUT


@define(eq=False)
class HeldFile:
    """A file whose first visit lasts until it is let go."""

    name: str = "account1"
    inside: int = 0
    most: int = 0
    visits: int = 0
    begun: threading.Event = field(factory=threading.Event)
    go: threading.Event = field(factory=threading.Event)

    @property
    def unsaved(self) -> bool:
        return self.visits == 0

    def visit(self) -> float | None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.begun.set()
        assert self.go.wait(TIMEOUT)
        self.visits += 1
        self.inside -= 1
        return None


def test_one_thread_visits_a_file_that_is_due_at_the_same_time_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is due at a time, is visited earlier, and meanwhile wanted again for just that time: one visit follows."""
    clock = [100.0]
    monkeypatch.setattr("adapters.session.writer.time.monotonic", lambda: clock[0])
    queue, file = WriteBehind(1), HeldFile()
    queue.wake(file, 1.0)
    queue.wake(file)
    assert file.begun.wait(TIMEOUT)
    queue.wake(file, 1.0)
    clock[0] = 101.0
    with queue._changed:
        assert queue._take() is None, "a second thread would visit it"
    file.go.set()
    until_real(lambda: file.visits == 2)
    assert file.most == 1


def until_real(condition: Callable[[], bool]) -> None:
    """Wait by the real clock for something that threads bring about."""
    end = time.perf_counter() + TIMEOUT
    while not condition():
        assert time.perf_counter() < end, "it does not happen"
        time.sleep(0.005)


def test_a_change_at_the_moment_of_closing_is_not_written_without_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that comes when the file was found clean, before it is let go, opens the file again and is written."""
    path = telethons(tmp_path / "a.session")
    session = HoldfastSession(path, timeouts=QUICK)
    live = session._live
    assert live is not None
    release, about, go = LiveFile._release, threading.Event(), threading.Event()

    def slow_release(self: LiveFile) -> None:
        about.set()
        assert go.wait(TIMEOUT)
        release(self)

    monkeypatch.setattr(LiveFile, "_release", slow_release)
    closed = live.close()
    assert about.wait(TIMEOUT)
    monkeypatch.undo()
    changed = threading.Thread(target=session.process_entities, args=([user(7)],))
    changed.start()
    until(lambda: live.contents.dirty)
    go.set()
    changed.join(TIMEOUT)
    closed.result(TIMEOUT)
    assert live.owned, "a change was made, and nobody owns the file that it goes to"
    until(lambda: rows(path) == [7])
    session.close().wait()
    assert not live.owned


def test_memory_is_not_replaced_by_what_was_read_before_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a session is opened again, its file is written: what was written stays in memory."""
    path = telethons(tmp_path / "a.session", entities=1)
    session = HoldfastSession(path, timeouts=QUICK)
    session.close().wait()
    with closing(files.connect(path, mode="rw", timeout=TIMEOUT)) as database:
        database.execute("update entities set name = 'another' where id = 1")
        database.commit()
    take_over, visited = LiveFile._take_over, threading.Event()

    def take_over_slowly(self: LiveFile, *arguments: Any, **options: Any) -> bool:
        self.contents.put_entities([(2, 14, None, None, "Second")], 1)
        writing = threading.Thread(target=lambda: (self.visit(), visited.set()))
        writing.start()
        writing.join(0.3)
        return take_over(self, *arguments, **options)

    monkeypatch.setattr(LiveFile, "_take_over", take_over_slowly)
    session.reopen()
    assert visited.wait(TIMEOUT)
    assert session._live is not None
    assert 2 in session._live.contents.entities
    session.close().wait()
    assert rows(path) == [1, 2]


def test_a_login_is_not_written_into_a_session_that_another_one_holds(tmp_path: Path) -> None:
    """A session that was closed, and is held by another one now, neither writes its new key nor says that it did."""
    path = telethons(tmp_path / "a.session")
    session = HoldfastSession(path, timeouts=QUICK)
    session.close().wait()
    other = HoldfastSession(path, timeouts=QUICK)
    with pytest.raises(SessionHeld):
        session.auth_key = AuthKey(b"n" * 256)
    with pytest.raises(SessionNotSaved, match="not open here"):
        session.save().wait()
    assert rows(path, "select auth_key from sessions") == [KEY]
    other.close().wait()
