"""The end of a run in the sandbox: what jobs say they did, against the sandbox's own record. A composition root."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from adapters.sandbox import ChannelMessage
from adapters.sqlite.job_reader import JobReader
from engine.config import Config
from states.jobs import JobState

GroupRecord = Mapping[str, Sequence[ChannelMessage]]
"""What was written in each group of the config, by its name."""

CHANNEL = -1_000_000_000_000
"""Telethon's number of a channel is this less its id."""


@frozen(kw_only=True)
class Audit:
    """Messages in the sandbox's groups, counted on both sides."""

    on_server: int = 0
    groups: int = 0
    collected: int = 0
    later: int = 0
    """Written after their group was collected, or in one that nobody has collected from its begin."""
    sent: int = 0
    """Of jobs that are done."""
    missed: int = 0
    """Up to where a job has collected, and not there; or sent by a job that is done, and not on the server."""
    doubled: int = 0
    """Sent by an account, and no job's own: the second message of some job."""

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
    """Compare; for a worker thread. Raises what ``JobReader`` raises."""
    ours = {int(account.phone.lstrip("+")) for account in config.accounts if account.phone}
    written = [message for messages in record.values() for message in messages]
    sent = [message.random_id for message in written if message.sender in ours]
    asked: set[int] = set()
    done: set[int] = set()
    reached: dict[int, int] = {}
    with JobReader.open(database) as reader:
        for job in reader.jobs({"kind": ["send", "collect"]}):
            mark = job.checkpoint or {}
            if job.kind == "send" and mark:
                asked.add(mark["random_id"])
                if job.state is JobState.DONE:
                    done.add(mark["random_id"])
            elif mark and job.data.get("since") is None:  # one that began later was not asked for what is before
                reached[mark["chat"]] = max(reached.get(mark["chat"], 0), mark["last"])
        chats = {CHANNEL - message.channel for message in written}
        collected = {(chat, number): text for chat in chats for number, text in reader.messages(chat)}
    missed, later = len(done - set(sent)), 0
    for message in written:
        chat = CHANNEL - message.channel
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
