"""A web server that other machines may reach says once that nothing of it is encrypted."""

import anyio
import pytest
from starlette.applications import Starlette
from structlog.testing import capture_logs

from engine.config import ListenAddress
from engine.web.server import WebServer, is_exposed
from tests.timeouts import TIMEOUT


@pytest.mark.parametrize(
    ("host", "exposed"),
    [("127.0.0.1", False), ("127.1.2.3", False), ("::1", False), ("0.0.0.0", True), ("::", True), ("fe80::1%lo", True)],
)
def test_only_loopback_is_not_exposed(host: str, exposed: bool) -> None:
    """An address is exposed unless it is one of this machine's alone."""
    assert is_exposed(host) is exposed


async def test_listening_on_all_addresses_is_warned_of_once() -> None:
    """The operator hears at the start what it means, and how to mend it."""
    with capture_logs() as said, anyio.fail_after(TIMEOUT):
        async with anyio.create_task_group() as tasks:
            await tasks.start(WebServer(ListenAddress("0.0.0.0", 0), Starlette()).run)
            tasks.cancel_scope.cancel()
    assert [(each["event"], each["log_level"]) for each in said] == [
        ("web_listening", "info"),
        ("web_exposed", "warning"),
    ]
