"""What an idle client does each minute: it saves only what has been seen since the last save."""

from typing import Any

import anyio
import pytest

from adapters.telegram import TelegramConnector
from adapters.telegram.inbox import Inbox
from tests.adapters.telegram.harness import PHONE, DatacenterHarness
from tests.adapters.telegram.test_inbox import delivering, linked, listening, until
from tests.timeouts import TIMEOUT


def saves_asked_for(client: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a client do what is due each minute; return how often it asked for a save."""
    asked: list[None] = []
    with monkeypatch.context() as patched:
        patched.setattr(client, "schedule_save", lambda: asked.append(None))
        client._keepalive.cancel()
        client._keep_alive()
    return len(asked)


async def settled(account: TelegramConnector, client: Any) -> None:
    """Wait until everything that was seen is saved."""
    with anyio.fail_after(TIMEOUT):
        while not await client.save():
            await anyio.sleep(0.01)
    assert account.memory.states


async def test_nothing_is_saved_for_an_idle_account(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A save that could write nothing is not begun, minute after minute."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with delivering(account), linked(account) as link:
            await dc.push(PHONE, "seen")
            await until(heard, 1)
            await settled(account, link.client)
            assert [saves_asked_for(link.client, monkeypatch) for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("what", ["pts", "date", "channel", "self"])
async def test_whatever_was_seen_since_is_saved(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Each part of what the file has to know asks for a save, also when no update came with it."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with delivering(account), linked(account) as link:
            await dc.push(PHONE, "seen")
            await until(heard, 1)
            await settled(account, link.client)
            client = link.client
            box = client._message_box
            if what == "self":
                client._mb_entity_cache.set_self_user(4711, False, 1)
            elif what == "date":
                box.date = box.date.replace(year=box.date.year + 1)
            else:
                state = next(iter(box.map.values()))
                box.map[77 if what == "channel" else next(iter(box.map))] = type(state)(state.pts + 1, state.deadline)
            assert saves_asked_for(client, monkeypatch) == 1


async def test_what_a_handler_still_works_on_is_saved_later(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A save that had to leave out an update whose handler runs does not count."""
    async with harness:
        account = harness.connector()
        async with linked(account) as link:
            with monkeypatch.context() as patched:
                patched.setattr(Inbox, "is_handled", lambda *_: False)
                assert not await link.client.save()
            assert saves_asked_for(link.client, monkeypatch) == 1
