"""``follow``: a kind of job that never ends. It reads a chat's history, and then stores what happens in it.

The position of a job is a number of the chat's box (pts), and is stored in one transaction with the messages that led
to it. So whatever is killed when, everything is stored once:

    begin     note the box's number; read the history, which is at least as new as that
    catch up  ask for the difference since the position, until there is none
    live      an update that begins at the position is stored, and moves it; one from before is known; one that begins
              after it shows that something is missing: catch up
    too long  Telegram does not send the difference: read on from the last message, and some before it for edits

Each account counts a channel alike, so any account can go on where another was. In private chats and small groups the
box is the account's own, and the job stays with it.
"""

import re
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

import anyio
from attrs import define, field, frozen
from telethon import errors, utils
from telethon._updates.messagebox import ENTRY_ACCOUNT
from telethon.tl import functions, types
from telethon.tl.types import updates

from adapters.sqlite.jobs import ReadHistory
from adapters.sqlite.messages import Message, Stored
from adapters.telegram.boxes import ACCOUNT
from adapters.telegram.chat_history import (
    fetch_after,
    fetch_top,
    find_last_before,
    find_older,
    is_chat,
    is_since,
    moment_of,
    peer_of,
)
from adapters.telegram.difference_watch import DifferenceWatch
from adapters.telegram.followed import Box, changes_in
from adapters.telegram.stored_messages import to_stored
from adapters.telegram.taps import Arrival, Tap, done
from states.ledger import Interval, LedgerRow
from states.schedules import Backoff

ALIVE_EVERY: Final = 5.0
"""How often the job says that it works, in seconds: a quiet chat is no silent job."""
GAP_SECONDS: Final = 2.0
"""How long numbers may be missing before the job asks for them: Telethon waits half a second and asks by itself."""
CATCH_UP_EVERY: Final = 60.0
"""Seconds after which the changes are asked for while a long history is read: later they would be too many."""
REREAD_MESSAGES: Final = 1000
"""Messages before the last one that are read again, for edits, when Telegram does not say what has changed."""
PART: Final = 100
"""Updates that one difference asks for. Source: https://core.telegram.org/method/updates.getChannelDifference"""
RETRY: Final = Backoff(first=2.0, factor=2.0, cap=60.0, jitter=0.2)
"""The waits after a difference that Telegram could not give now."""
NOT_NOW: Final = (errors.PersistentTimestampOutdatedError, errors.ServerError, errors.TimedOutError)
MIN_FRESH, MAX_FRESH = 1.0, 3600.0
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


class GetChannelDifferenceRequest(functions.updates.GetChannelDifferenceRequest):  # type: ignore[misc]
    """A job's own request for a difference: Telethon's are the client's affair, see ``Differences``."""


class GetDifferenceRequest(functions.updates.GetDifferenceRequest):  # type: ignore[misc]
    """The same for the account's box."""


class FollowContext(Protocol):
    """What ``follow`` needs of a job; ``engine.work.handle`` has it."""

    data: Any

    @property
    def id(self) -> int:
        """The job's number."""

    @property
    def account(self) -> str:
        """The account with which the job runs."""

    @property
    def saved(self) -> dict[str, Any]:
        """The job's last checkpoint."""

    async def checkpoint(self, progress: dict[str, Any], **more: Any) -> None:
        """Store the job's progress."""

    def alive(self) -> None:
        """Say that the job works, with nothing new to report."""


def seconds_of(value: str | int) -> float:
    """Return a duration in seconds. Raises ``ValueError`` for a text that is none."""
    found = _DURATION.fullmatch(str(value).strip())
    if found is None:
        raise ValueError(f"a duration is a number with ms, s, m or h, such as 5s, not {value!r:.40}")
    return float(found[1]) * _UNITS[found[2]]


def _is_fresh(_: Any, attribute: Any, value: str | int | None) -> None:
    try:
        fits = value is None or MIN_FRESH <= seconds_of(value) <= MAX_FRESH
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{attribute.name} must be a time from 1s to 1h, such as 5s, not {value!r:.40}")


@frozen(kw_only=True)
class Follow:
    """A chat to follow, from ``since``: a time, the id of a message, or None for all of it.

    With ``raw`` each message is stored as JSON, too. ``fresh`` polls the chat this often, for channels whose messages
    Telegram pushes late.
    """

    chat: str | int = field(validator=is_chat)
    raw: bool = False
    fresh: str | int | None = field(default=None, validator=_is_fresh)
    since: str | int | None = field(default=None, validator=is_since)


async def follow(job: FollowContext, client: Any) -> None:
    """Read a chat's history into the table ``messages``, and then what happens in it, for ever."""
    peer = await client.get_input_entity(job.data.chat)
    chat = utils.get_peer_id(await peer_of(client, peer))
    box = Box.of(peer, chat, job.account)
    fresh = None if job.data.fresh is None else seconds_of(job.data.fresh)
    if fresh is not None and not box.channel:
        raise ValueError("only channels and supergroups are polled; leave `fresh` out, private messages come at once")
    tap = client.inbox.taps.open(box.number, chat, job.id, fresh=fresh is not None)
    try:
        await _Follower(job, client, peer, box, tap, fresh).run()
    except errors.BotMethodInvalidError as exc:
        raise ValueError(
            "a bot cannot read the history of a chat, and so cannot follow one; use a user's account"
        ) from exc
    except errors.ChannelPrivateError as exc:
        raise ValueError(
            f"{job.account} is not in this chat; let it join (jobs add join), or use another account"
        ) from exc
    finally:
        tap.close()


@define(eq=False)
class _Follower:
    """One run of a job."""

    job: FollowContext
    client: Any
    peer: Any
    box: Box
    tap: Tap
    fresh: float | None
    at: dict[str, Any] = field(factory=dict, init=False)
    """The checkpoint: ``pts``, and for the account's box ``date`` and ``qts``; ``last``, the last message; ``after``,
    where the history began; ``messages``, how many were stored; ``live``, whether the history is read; ``behind``;
    ``known``, when nothing had come behind ``pts`` yet (Unix seconds)."""
    _polled: float = field(default=0.0, init=False)
    _poll_floor: float = field(default=0.0, init=False)
    """The pause that the last answer asked for, in seconds."""
    _stands: tuple[int, float] | None = field(default=None, init=False)
    """The position that is behind what Telethon has counted, and since when."""
    _saved_at: float = field(default=0.0, init=False)
    _chain: tuple[int, float] | None = field(default=None, init=False)
    """The number after which this run has stored everything of the box, and since when (Unix seconds)."""
    _watch: DifferenceWatch = field(factory=DifferenceWatch, init=False)
    _tries: int = field(default=0, init=False)
    _not_before: float = field(default=0.0, init=False)

    async def run(self) -> None:
        """Follow until cancelled."""
        self.at = self.job.saved or await self._begin()
        self._chain = self.at["pts"], self.at.setdefault("known", time.time())
        while True:
            if not self.at["live"]:
                await self._read_history()
            self.tap.keep(True)
            if await self._catch_up():
                await self._save(settled=True)
                await self._live()

    # --- the history ---

    async def _begin(self) -> dict[str, Any]:
        """Return the first position. Its number is from before the history is read, so nothing falls in between."""
        known, number = time.time(), await self._number_now()
        last = await find_last_before(self.client, self.peer, self.job.data.since)
        return {
            "chat": self.box.chat, **number, "last": last, "after": last, "messages": 0, "live": False, "behind": 0.0,
            "known": known,
        }  # fmt: skip

    async def _number_now(self) -> dict[str, Any]:
        if self.box.channel:
            page = await fetch_top(self.client, self.peer)
            return {"pts": page.pts or 1}
        state = await self.client(functions.updates.GetStateRequest())
        return {"pts": state.pts, "date": state.date.timestamp(), "qts": state.qts}

    async def _read_history(self) -> None:
        self.tap.keep(False)  # a difference brings what comes meanwhile
        asked = anyio.current_time()
        while True:
            at, page = time.time(), await fetch_after(self.client, self.peer, self.at["last"])
            if not page.messages:
                self.at["live"] = True
                await self._save(history=self._read(self.job.data.since, at))
                return
            found = [self._stored(each, page.pts) for each in page.messages if not isinstance(each, types.MessageEmpty)]
            self.at.update(last=page.messages[-1].id, messages=self.at["messages"] + len(found))
            await self._save(found)
            if anyio.current_time() - asked >= CATCH_UP_EVERY:
                await self._catch_up()
                asked = anyio.current_time()

    def _read(self, since: str | int | None, at: float) -> ReadHistory:
        """Return what of the chat had been read to its end ``at`` this time: it fills what was missed before."""
        user = 0 if self.box.channel else self.client._mb_entity_cache.self_id or 0
        from_at = moment_of(since).timestamp() if isinstance(since, str) and self.at["after"] else None
        return ReadHistory(chat=self.box.chat, after=self.at["after"], at=at, from_at=from_at, user=user)

    def _stored(self, message: Any, version: int | None) -> Message:
        return to_stored(message, self.box.chat, self.box.owner, version, raw=self.job.data.raw)

    # --- the difference ---

    async def _catch_up(self) -> bool:
        """Store what the difference brings, until there is none; return False if it must wait, or was too long."""
        if anyio.current_time() < self._not_before:
            return True
        while True:
            letting_go, asked = self.tap.take(), time.time()
            try:
                answer = await self.client(self._difference())
            except NOT_NOW:
                self._tries += 1
                self._not_before = anyio.current_time() + RETRY.delay(self._tries, 0.5)
                return True
            except errors.PersistentTimestampInvalidError:  # the datacenter has lost its memory, or we are ahead of it
                await self._read_anew({"known": asked, **await self._number_now()})
                return False
            finally:
                done(letting_go)
            await self._watch.take(answer)
            self._tries, self._polled = 0, anyio.current_time()
            self._poll_floor = float(getattr(answer, "timeout", None) or 0.0)
            if isinstance(answer, updates.ChannelDifferenceTooLong):
                await self._read_anew({"known": asked, "pts": answer.dialog.pts})
                return False
            if isinstance(answer, updates.DifferenceTooLong):
                await self._read_anew({"known": asked, "pts": answer.pts})
                return False
            final = getattr(answer, "final", not isinstance(answer, updates.DifferenceSlice))
            if final:
                self.at["known"] = asked
            await self._store_answer(answer)
            if final:
                return True

    def _difference(self) -> Any:
        if self.box.channel:
            channel = utils.get_input_channel(self.peer)
            everything = types.ChannelMessagesFilterEmpty()
            return GetChannelDifferenceRequest(channel, everything, self.at["pts"], PART)
        date = int(self.at["date"])
        return GetDifferenceRequest(pts=self.at["pts"], date=date, qts=self.at["qts"])

    async def _store_answer(self, answer: Any) -> None:
        """Store a difference, and where it leads."""
        state = getattr(answer, "intermediate_state", None) or getattr(answer, "state", None)
        before = dict(self.at)
        if state is not None:
            self.at.update(pts=state.pts, date=state.date.timestamp(), qts=state.qts)
        elif getattr(answer, "pts", None):
            self.at["pts"] = answer.pts
        found = self._changes(answer)
        if found or self.at != before:
            await self._save(found)

    async def _read_anew(self, number: dict[str, Any]) -> None:
        """Go on from the present number: what is new is in the history, and edits of the last messages, too."""
        last = self.at["last"]
        older = await find_older(self.client, self.peer, last, REREAD_MESSAGES) if last else 0
        self.at.update(number, last=older, after=older, live=False)
        self._chain = None  # nobody knows what there was in between
        await self._save()

    # --- live ---

    async def _live(self) -> None:
        """Store what arrives, until the history has to be read again."""
        while True:
            self.job.alive()
            await self.tap.wait(self._patience())
            arrived = self.tap.take()
            try:
                is_whole = await self._store_arrived(arrived)
            finally:
                done(arrived)
            if self._should_catch_up(is_whole) and not await self._catch_up():
                return

    def _patience(self) -> float:
        """Return for how long to wait for an update."""
        until = [ALIVE_EVERY]
        if self._stands is not None:
            until.append(max(GAP_SECONDS / 4, self._not_before - anyio.current_time()))
        if self.fresh is not None:
            until.append(max(0.0, self._polled + max(self.fresh, self._poll_floor) - anyio.current_time()))
        return min(until)

    async def _store_arrived(self, arrived: list[Arrival]) -> bool:
        """Store what continues the position, in one transaction; return False if something is missing."""
        found: list[Stored] = []
        whole, moved = True, False
        for each in arrived:
            if each.interval.upto <= self.at["pts"]:
                continue
            if each.interval.after > self.at["pts"]:
                whole = False
                continue
            self.at["pts"], moved = each.interval.upto, True
            state = getattr(each.content, "intermediate_state", None) or getattr(each.content, "state", None)
            if state is not None:
                self.at.update(date=state.date.timestamp(), qts=state.qts)
            found += self._changes(each.content)
        if found or (moved and anyio.current_time() - self._saved_at >= ALIVE_EVERY):
            await self._save(found)
        return whole

    def _changes(self, content: Any) -> list[Stored]:
        """Return what an update or a difference changes in this chat, and count it."""
        me = self.client._mb_entity_cache.self_id
        found = changes_in(content, self.box, me=me, now=time.time(), raw=self.job.data.raw)
        self.at["messages"] += found.new
        self.at["last"] = max(self.at["last"], found.last) if self.at["live"] else self.at["last"]
        if found.at is not None:
            self.at["known"] = max(self.at["known"], min(found.at, time.time()))
            self.at["behind"] = round(max(0.0, time.time() - found.at), 1) if self.tap.waiting else 0.0
        return found.stored

    def _should_catch_up(self, is_whole: bool) -> bool:
        """Return whether to ask for a difference now."""
        now, pts = anyio.current_time(), self.at["pts"]
        if self.tap.take_missed():
            return True
        known = self.client._message_box.map.get(self.box.number if self.box.channel else ENTRY_ACCOUNT)
        if is_whole and (known is None or known.pts <= pts):
            self._stands = None
        elif self._stands is None or self._stands[0] != pts:  # what is missing may still be on its way
            self._stands = pts, now
        elif now - self._stands[1] >= GAP_SECONDS and now >= self._not_before:
            self._stands = None
            return True
        return self.fresh is not None and now - self._polled >= max(self.fresh, self._poll_floor)

    def _handled(self) -> list[LedgerRow]:
        """Return what this run has stored of a channel without a gap, for the ledger: in the same transaction.

        Of the account's box it stores one chat only, and claims nothing. It is proven until a message that came, or
        until a difference was asked for: while a history is read, or a job was down, nobody knows what has come since.
        """
        user = self.client._mb_entity_cache.self_id
        if self.client.inbox.ledger is None or not user or not self.box.channel:
            return []
        if self._chain is None or self.at["pts"] < self._chain[0]:
            self._chain = self.at["pts"], self.at["known"]
        after, since = self._chain
        interval = Interval(after, self.at["pts"])
        row = LedgerRow(
            user=user,
            login=self.client.session.login,
            box=self.box.number,
            interval=interval,
            since=since,
            until=max(since, self.at["known"]),
        )
        return [row]  # an empty one, too: from there on nothing is missing

    async def _save(
        self, found: Sequence[Stored] = (), *, settled: bool = False, history: ReadHistory | None = None
    ) -> None:
        """Store messages, deletions and the position, in one transaction."""
        self._saved_at = anyio.current_time()
        await self.job.checkpoint(
            dict(self.at),
            messages=[*found, *self._handled()],
            done=self.at["messages"],
            stay=self.box.number == ACCOUNT,
            settled=settled,
            history=history,
        )
