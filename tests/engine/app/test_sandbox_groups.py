"""The groups of the sandbox as the user meets them: a list in the config."""

from typing import Any

import pytest

from adapters.sandbox import Sandbox
from tests.engine.harness import FAST, EngineHarness, all_are

PHONES = ("+9996620001", "+9996620002")
ACCOUNTS = "\n".join(
    f'  - {{name: Account {phone[-1]}, session: data/account{phone[-1]}, phone: "{phone}"}}' for phone in PHONES
)


async def what_is_there(harness: EngineHarness, name: str) -> tuple[Any, set[str], int]:
    """Return a group of the engine's sandbox, which does not run now; its members' phones; how many messages."""
    async with Sandbox(state=harness.directory / "data" / "sandbox") as dc:
        channels, store = dc._hub.store.channels, dc._hub.store
        group = channels.named(name)
        phones = {f"+{store.account_by_id(member.account).phone}" for member in channels.members(group.id)}
        return group, phones, len(dc.channel_messages(name))


async def run_once(harness: EngineHarness, groups: str) -> None:
    harness.write("sandbox", ACCOUNTS, f"{FAST}sandbox: {{groups: {groups}}}\n")
    async with harness.running("--for", "1s") as process:
        await harness.until(all_are("healthy", 2))
        assert await harness.finish(process) == 0


@pytest.mark.slow
async def test_a_group_of_the_config_is_there_when_the_accounts_are(harness: EngineHarness) -> None:
    """It is a megagroup with its title, its history and all accounts that have a phone; a second start adds nothing."""
    for _ in range(2):
        await run_once(harness, "[{name: holdfast_news, title: News, messages: 300}, {name: talk}]")
        group, phones, count = await what_is_there(harness, "holdfast_news")
        assert (group.title, group.megagroup, count) == ("News", True, 300)
        assert phones >= set(PHONES)
        assert (await what_is_there(harness, "talk"))[1:] == (set(PHONES), 0)
    assert harness.text.count("The sandbox wrote 300 messages into @holdfast_news") == 1


@pytest.mark.slow
async def test_a_group_that_cannot_be_is_told_with_its_place(harness: EngineHarness) -> None:
    """The sandbox of an earlier run may have a channel of that name; the engine says which entry it was."""
    async with Sandbox(state=harness.directory / "data" / "sandbox") as dc:
        await dc.create_channel("news", "News")
    harness.write("sandbox", ACCOUNTS, f"{FAST}sandbox: {{groups: [{{name: talk}}, {{name: news}}]}}\n")
    async with harness.running() as process:
        assert await harness.finish(process) == 1
    assert "sandbox.groups[1]: @news is a broadcast channel already; choose another username." in harness.text
