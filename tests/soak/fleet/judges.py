"""What a fleet has done, compared with what the datacenter remembers and with what has to be true of every fleet."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from telethon import utils
from telethon.tl.types import PeerChannel

from adapters.sandbox import Sandbox
from adapters.sandbox.store.channels import ChannelMessage
from states.jobs import Job
from tests.engine.harness import COMPLAINTS
from tests.soak.fleet.plan import FleetPlan

SHOWN: Final = 5
"""Differences that are told of each kind."""
MARK: Final = 10**12
RAISED: Final = re.compile(
    r"^(?:[ |+-]*)([\w.]+(?:Error|Exception|Fenced|Lost|Group|Interrupt|Exit|\w+): .{0,80})$", re.M
)
"""The line of a traceback that says what was raised."""
OWNERS: Final = "SELECT a.name, n.name, n.state FROM accounts a LEFT JOIN nodes n ON n.id = a.owner ORDER BY a.id"
LIVING: Final = "SELECT name FROM nodes WHERE state <> 'dead'"
POSTS: Final = "SELECT chat, id, text, edited IS NOT NULL, deleted IS NOT NULL, reply_to FROM messages"
CONNECTIONS: Final = """SELECT application_name, state, left(query, 100) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""
PREPARED: Final = "SELECT gid FROM pg_prepared_xacts"


def told(what: str, found: Sequence[object]) -> list[str]:
    """Return a complaint with the first of what was found; none if there is nothing."""
    return [f"{len(found)} {what}: {', '.join(map(str, found[:SHOWN]))}"] if found else []


def of_keys(stats: Mapping[str, Any]) -> list[str]:
    """No login was destroyed."""
    return told("logins were destroyed", ["see logins_destroyed"] * int(stats["logins_destroyed"]))


def of_sends(jobs: Iterable[Job], dc: Sandbox, plan: FleetPlan) -> list[str]:
    """Each message is at the datacenter once, as its job says, and nothing else is."""
    sends = [job for job in jobs if job.kind == "send"]
    heard = defaultdict[tuple[int, int | None], list[tuple[int, int, str]]](list)
    users = {name: int(phone[1:]) for name, phone in zip(plan.accounts_named, plan.phones, strict=True)}
    for phone in plan.phones:
        for mine in dc.messages(phone):
            if mine.out and mine.random_id is not None:
                heard[mine.sender, mine.random_id].append((mine.peer, mine.id, mine.text))
    for group in plan.groups:
        for message in dc.channel_messages(group):
            where = utils.get_peer_id(PeerChannel(message.channel))
            heard[message.sender or 0, message.random_id].append((where, message.id, message.text))
    texts = Counter(text for each in heard.values() for _, _, text in each)
    wanted = {str(job.data["text"]) for job in sends}
    wrong = []
    for job in sends:
        result, mark = job.result or {}, job.checkpoint or {}
        found = heard.pop((users.get(job.worker or "", 0), mark.get("random_id")), [])
        if found != [(result.get("chat"), result.get("message"), job.data["text"])]:
            wrong.append(f"job {job.id} of {job.worker} is {job.state.value}, {result}, and there is {found}")
    return [
        *told("messages are missed", sorted(wanted - texts.keys())),
        *told("messages were sent twice", sorted(text for text, times in texts.items() if times > 1)),
        *told("messages are not there as their job says", wrong),
        *told("messages were sent that no job knows", list(heard.items())),
        *told("jobs of messages are missing", ["jobs"] * (plan.sends - len(sends))),
    ]


def posts_of(dc: Sandbox, names: Iterable[str]) -> dict[int, list[ChannelMessage]]:
    """Return what the datacenter remembers of channels, by the numbers that they have in the store."""
    return {-MARK - dc._hub.store.channels.named(name).id: dc.channel_messages(name) for name in names}


def of_followed(posts: Mapping[int, Iterable[ChannelMessage]], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    """Each post is stored once, with its last text, and says whether it was edited and deleted; see ``POSTS``."""
    missed, different, invented = list[str](), list[str](), list[str]()
    stored = defaultdict[int, dict[int, tuple[Any, ...]]](dict)
    times = Counter[tuple[int, int]]()
    for chat, number, *row in rows:
        times[chat, number] += 1
        stored[chat][number] = tuple(row)
    for chat, messages in posts.items():
        there = stored[chat]
        for each in messages:
            row = there.pop(each.id, None)
            if row is None:
                if each.deleted is None:
                    missed.append(f"{chat} {each.id}")
                continue
            wanted = (each.text, each.edited is not None, each.deleted is not None, each.reply_to)
            # Of a message that is deleted, an edit just before may have come in no difference: only the end is told.
            if row != wanted and not (row[2] and each.deleted):
                different.append(f"{chat} {each.id} is {row}, not {wanted}")
        invented += [f"{chat} {number}" for number in there]
    return [
        *told("posts are missed", missed),
        *told("posts are stored twice", [each for each, count in times.items() if count > 1]),
        *told("posts are stored as they are not", different),
        *told("posts are stored that do not exist", invented),
    ]


def of_owners(owners: Iterable[tuple[Any, ...]], living: Iterable[str], running: Iterable[str]) -> list[str]:
    """Each account has an owner that lives, and each node that runs has one life; see ``OWNERS`` and ``LIVING``."""
    rows = list(owners)
    lives, expected = Counter(living), Counter(running)
    return [
        *told("accounts have no owner", [name for name, node, _ in rows if node is None]),
        *told("accounts have an owner that is dead", [f"{name} {node}" for name, node, at in rows if at == "dead"]),
        *told("nodes live that should not, or not once", sorted((lives - expected).keys() | (expected - lives).keys())),
    ]


def of_states(snapshots: Mapping[str, str], accounts: Iterable[str]) -> list[str]:
    """Each account is healthy, by its last record."""
    return told(
        "accounts are not healthy",
        [f"{name} {snapshots.get(name, 'unknown')}" for name in accounts if snapshots.get(name) != "healthy"],
    )


def of_logs(texts: Mapping[str, str]) -> list[str]:
    """Python complains of nothing; each kind of complaint is told once, with what is around the first of it."""
    found = defaultdict[str, list[str]](list)
    for name, text in texts.items():
        for match in COMPLAINTS.finditer(text):
            after = text[match.start() : match.end() + 20_000]
            raised = RAISED.search(after) if match.group() == "Traceback" else None
            what = raised.group(1) if raised is not None else match.group()
            around = text[max(0, match.start() - 1000) : match.end() + (raised.end() if raised else 1000)]
            found[what].append(f"{name} says {what!r}:\n{around}")
    return [f"{len(shown)} times in the logs: {shown[0]}" for shown in found.values()]


def of_transactions(connections: Sequence[object], prepared: Sequence[object]) -> list[str]:
    """When no node runs, nobody is connected to the store, and nothing is left open; see ``CONNECTIONS``."""
    return [
        *told("connections to the store are left", connections),
        *told("transactions are prepared", prepared),
    ]


def of_descriptors(
    name: str, descriptors: Iterable[str], *, to_telegram: int, to_store: int, accounts: int, lives: int
) -> list[str]:
    """A node has a connection for each of its accounts, a few to the store, and no more than that.

    ``lives`` is how many workers it has, 1 without a parent.
    """
    said = []
    found = list(descriptors)
    sockets = sum(each.startswith("socket:") for each in found)
    parents = int(lives > 1)
    if to_telegram > accounts:
        said.append(f"{name} has {to_telegram} connections to Telegram for {accounts} accounts")
    if to_store > MAX_STORE_CONNECTIONS * (lives + parents):
        said.append(f"{name} has {to_store} connections to the store")
    if sockets > to_telegram + to_store + MAX_OTHER_SOCKETS * (lives + parents):
        said.append(f"{name} has {sockets} sockets, of which {to_telegram + to_store} lead outside")
    if len(found) - sockets > MAX_FILES * (lives + parents):
        others = Counter(each for each in found if not each.startswith("socket:"))
        said.append(f"{name} has {len(found) - sockets} files open: {others.most_common(SHOWN)}")
    return said


MAX_STORE_CONNECTIONS: Final = 16
MAX_OTHER_SOCKETS: Final = 8
"""The control socket, the loop's own pair, and those of commands."""
MAX_FILES: Final = 40
