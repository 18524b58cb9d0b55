"""What the tests of archives share."""

from pathlib import Path

import pytest

from tests.adapters.archive.support import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return a home with everything in it."""
    return Home(tmp_path / "home").fill()


@pytest.fixture
def archive(home: Home, tmp_path: Path) -> Path:
    """Return an archive of it."""
    return home.pack(tmp_path / "backup.tar.gz").path
