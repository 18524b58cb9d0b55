"""A handler that does not end is told by its name, less and less often, and again when it has ended."""

import logging
from typing import Any

import anyio
import pytest

from adapters.telegram.handler_watch import HANG_SECONDS, HandlerCalls, HangingHandler
from adapters.telegram.inbox import Inbox


async def on_message(_: Any) -> None:
    """Be a handler."""


@pytest.mark.virtual
async def test_a_call_that_does_not_end_is_told_each_time_it_has_lasted_twice_as_long(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In an hour that is after 1, 2, 4, 8, 16 and 32 minutes, with how many updates wait; then its end."""
    caplog.set_level(logging.INFO)
    calls = HandlerCalls("A", lambda: 7)
    call = calls.begin(on_message)
    await anyio.sleep(HANG_SECONDS - 1)
    assert calls.hanging() == []
    await anyio.sleep(3600)
    assert [each.handler for each in calls.hanging()] == ["on_message"]
    calls.end(call)
    assert calls.hanging() == []
    told = [(record.event, record.seconds, getattr(record, "waiting", None)) for record in caplog.records]  # type: ignore[attr-defined]
    assert told[:-1] == [("handler_hangs", HANG_SECONDS * 2**doubling, 7) for doubling in range(6)]
    assert told[-1][0] == "handler_goes_on"


@pytest.mark.virtual
async def test_short_calls_are_never_told(caplog: pytest.LogCaptureFixture) -> None:
    """However many come one after another, none of them hangs, and no timer is left when there is none."""
    caplog.set_level(logging.INFO)
    calls = HandlerCalls("A", lambda: 0)
    for _ in range(100):
        call = calls.begin(on_message)
        await anyio.sleep(10)
        calls.end(call)
    await anyio.sleep(2 * HANG_SECONDS)
    assert caplog.records == []
    assert calls._timer is None


@pytest.mark.virtual
async def test_many_calls_of_one_handler_are_one(caplog: pytest.LogCaptureFixture) -> None:
    """The longest counts, and how many there are."""
    calls = HandlerCalls("A", lambda: 0)
    for _ in range(3):
        calls.begin(on_message)
        await anyio.sleep(1)
    await anyio.sleep(HANG_SECONDS)
    assert calls.hanging() == [HangingHandler("on_message", HANG_SECONDS + 3, 3)]
    assert len(caplog.records) == 1
    calls.close()


@pytest.mark.virtual
async def test_an_inbox_knows_which_of_its_handlers_hangs() -> None:
    """A handler is known by the user's name for it, from its call to its end, however that comes."""
    inbox = Inbox("A")
    inbox.on(on_message, None)
    inbox.on(_hang, None)
    quick, hanging = (handler for handler, _ in inbox._handlers)
    await quick(None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hanging, None)
        await anyio.sleep(HANG_SECONDS)
        assert [each.handler for each in inbox.calls.hanging()] == ["_hang"]
        tasks.cancel_scope.cancel()
    assert inbox.calls.hanging() == []
    inbox.deliver(None)


async def _hang(_: Any) -> None:
    await anyio.sleep_forever()
