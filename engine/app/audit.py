"""The audit of a sandbox run: what the jobs report, against the sandbox's own record. A composition root."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from adapters.sandbox import ChannelMessage
from adapters.sqlite.job_reader import JobReader
from engine.config import Config
from states.jobs import JobState

GroupRecord = Mapping[str, Sequence[ChannelMessage]]
"""The messages in each group of the config, by the group's name."""

CHANNEL_OFFSET = -1_000_000_000_000
"""Telethon's number of a channel is this minus the channel's id."""


@frozen(kw_only=True)
class Audit:
    """The messages in the sandbox's groups, counted on both sides."""

    on_server: int = 0
    groups: int = 0
    collected: int = 0
    later: int = 0
    """Messages written after their group was collected, or in a group that no job has collected from the beginning."""
    sent: int = 0
    """Messages of jobs that are done."""
    missed: int = 0
    """Messages in the range of a job that were not collected, and those of a done job that are not on the server."""
    doubled: int = 0
    """Messages that an account sent beyond one per job: the second message of some job."""

    def __str__(self) -> str:
        rule = "=" * 60
        return "\n".join(
            (
                rule,
                "WORK",
                rule,
                "",
                f"  Messages on the server: {self.on_server:,}, in {self.groups} groups",
                f"  Collected: {self.collected:,}" + (f", and {self.later:,} came later" if self.later else ""),
                f"  Sent: {self.sent:,}",
                f"  Missed: {self.missed:,}",
                f"  Doubled: {self.doubled:,}",
                rule,
            )
        )


def audit(config: Config, database: Path, record: GroupRecord) -> Audit:
    """Compare the jobs in ``database`` with ``record``; for a worker thread. Raises what ``JobReader`` raises."""
    ours = {int(account.phone.lstrip("+")) for account in config.accounts if account.phone}
    written = [message for messages in record.values() for message in messages]
    sent = [message.random_id for message in written if message.sender in ours]
    asked: set[int] = set()
    done: dict[int, int] = {}
    """For each message that a job has sent, the chat it went to: chats outside the groups have no record here."""
    reached: dict[int, int] = {}
    with JobReader.open(database) as reader:
        for job in reader.jobs({"kind": ["send", "collect"]}):
            checkpoint = job.checkpoint or {}
            if job.kind == "send" and checkpoint:
                asked.add(checkpoint["random_id"])
                if job.state is JobState.DONE:
                    done[checkpoint["random_id"]] = job.result.get("chat", 0) if isinstance(job.result, dict) else 0
            elif checkpoint and job.data.get("since") is None:  # with ``since`` a job was not asked for older messages
                reached[checkpoint["chat"]] = max(reached.get(checkpoint["chat"], 0), checkpoint["last"])
        chats = {CHANNEL_OFFSET - message.channel for message in written}
        collected = {(chat, number): text for chat in chats for number, text in reader.messages(chat)}
    missed = len({number for number, chat in done.items() if chat in chats} - set(sent))
    later = 0
    for message in written:
        chat = CHANNEL_OFFSET - message.channel
        if collected.get((chat, message.id)) == message.text:
            continue
        if message.id > reached.get(chat, 0):
            later += 1
        else:
            missed += 1
    return Audit(
        on_server=len(written),
        groups=len(record),
        collected=len(collected),
        later=later,
        sent=len(done),
        missed=missed,
        doubled=len(sent) - len(asked & {each for each in sent if each is not None}),
    )
