"""The loops of these tests: those of connections run on each one that an engine may run on."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
try:
    import uvloop
except ImportError:  # not everywhere
    pass
else:
    LOOPS["uvloop"] = uvloop.new_event_loop


@pytest.hookimpl(tryfirst=True)
def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]] | None:
    """Run the tests of connections on both loops: what a transport tells of its buffer is the loop's."""
    return LOOPS if item.path.name in ("test_server.py", "test_streams.py") else None
