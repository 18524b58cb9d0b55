"""What tests of a whole engine share."""

from pathlib import Path

import pytest

from tests.engine.harness import EngineHarness


@pytest.fixture
def harness(tmp_path: Path) -> EngineHarness:
    """Return a harness in an empty directory."""
    return EngineHarness(tmp_path)
