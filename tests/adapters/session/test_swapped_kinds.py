"""Something else than a file takes the place of a session in use."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.session.errors import NotASession
from adapters.session.failures import classify_write_error
from adapters.session.file import connect
from states.events import DatabaseUnavailable


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/full", path)])
def test_it_is_a_trouble_of_the_file_and_no_mistake_of_the_engine(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """The writer keeps what changed, and says what to do."""
    path = tmp_path / "a.session"
    make(path)
    with pytest.raises(NotASession) as caught:
        connect(path, mode="rw", timeout=0)
    failure = classify_write_error(caught.value)
    assert isinstance(failure, DatabaseUnavailable)
    assert "put it back" in failure.detail
