"""The journal with a story, for the tests of the page."""

from tests.engine.journal.conftest import path

__all__ = ["path"]
