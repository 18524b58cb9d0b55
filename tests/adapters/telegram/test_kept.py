"""What ``collect`` keeps of a message."""

from collections.abc import Sequence
from typing import Any

from attrs import define, field

from adapters.sqlite.messages import Message
from adapters.telegram.builtin_jobs import Collect, collect
from tests.adapters.telegram.harness import DatacenterHarness
from tests.adapters.telegram.test_requests import opened

ME, OTHER = "+9996620001", "+9996620009"


@define
class Reading:
    """A job that keeps its checkpoints to itself."""

    data: Collect
    account: str = "Account 1"
    began: float = 0.0
    kept: list[Message] = field(factory=list)

    @property
    def saved(self) -> dict[str, Any]:
        """Nothing: it begins."""
        return {}

    async def checkpoint(self, mark: dict[str, Any], *, messages: Sequence[Message] = (), **more: Any) -> None:
        """Take what was found."""
        self.kept += messages


async def test_each_message_of_a_private_chat_has_its_sender(harness: DatacenterHarness) -> None:
    """Both sides are named, although Telegram sends no ``from_id`` with what the other side wrote."""
    async with harness as dc, opened(harness) as link:
        await dc.push(ME, "theirs", sender=OTHER)
        await dc.push(OTHER, "mine", sender=ME)
        job = Reading(Collect(chat=f"@user{OTHER[1:]}"))
        await collect(job, link.client)
    assert [(each.text, each.sender) for each in job.kept] == [("theirs", int(OTHER)), ("mine", int(ME))]


async def test_a_channel_is_the_sender_of_its_posts(harness: DatacenterHarness) -> None:
    """The sender of a broadcast is the channel, by the same number as the chat."""
    async with harness as dc, opened(harness) as link:
        await dc.create_channel("news_of_all", "News")
        await dc.post("news_of_all", "post")
        job = Reading(Collect(chat="@news_of_all"))
        await collect(job, link.client)
    [kept] = job.kept
    assert kept.sender == kept.chat
