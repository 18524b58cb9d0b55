"""Proves for one link that updates flow: its numbers are compared with those of the datacenter, at each proof.

The proof that a link answers (``updates.getState``) says how far the account is; ``messages.getPeerDialogs`` says it of
its channels, at most once a minute, never while a flood wait holds it, and never for bots, which may not ask. What is
compared, and how, is in ``update_watch``; what follows from it is the law's business, which asks for the missing
updates (``fetch``), and in the end for a fresh client.

Handlers that are slow are no fault of the datacenter: they are told of in the log, and nothing is fetched or cut.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any, Final

from attrs import define, field
from telethon import errors
from telethon._updates.messagebox import ENTRY_ACCOUNT, ENTRY_SECRET, next_updates_deadline
from telethon._updates.session import EntityType
from telethon.tl.functions.channels import GetFullChannelRequest
from telethon.tl.functions.messages import GetPeerDialogsRequest
from telethon.tl.functions.updates import GetStateRequest
from telethon.tl.types import InputChannel, InputDialogPeer, InputPeerChannel
from telethon.tl.types.updates import State

from adapters.log_events import event_logger
from adapters.telegram.account_ledger import note_confirmed, note_set_back
from adapters.telegram.cancellation import begin_request
from adapters.telegram.channel_listing import ChannelListing, ListingMemory, begin_channels, numbers_in
from adapters.telegram.classify import classify, kind_of
from adapters.telegram.update_watch import ACCOUNT, SECRET, ChannelRounds, Lag, UpdateWatch, describe, listed, name_of
from states.events import Event, FloodWait, UpdatesConfirmed, UpdatesStalled

GRACE: Final = 10.0
"""Seconds after which a box that was behind is looked at again: by then what was under way has arrived."""
POLL: Final = 0.5
"""Seconds between two looks while updates are fetched."""
CHANNELS_EVERY: Final = 55.0
"""The least seconds between two requests for the numbers of channels. Proofs, which they go with, are 60 s apart."""
STRANGERS_EVERY: Final = 600.0
"""The least seconds between two requests for channels that Telethon has no number of."""
TIMEOUT: Final = 15.0
"""Seconds that a request for the numbers of channels may take."""
MAX_MET: Final = 100_000
"""Channels without a number of which it is remembered that they were asked about; of more, all are asked about anew."""
MAX_RECHECKED: Final = 10
"""Boxes that are ahead and of which the number is asked for again at the same time."""
CHANNELS: Final = (EntityType.CHANNEL, EntityType.MEGAGROUP, EntityType.GIGAGROUP)

log = event_logger("holdfast.handlers")


@define(eq=False)
class ProofMemory:
    """What is remembered of one account's proofs beyond a link: what was asked when, and what was told."""

    rounds: ChannelRounds = field(factory=ChannelRounds)
    strangers: ChannelRounds = field(factory=ChannelRounds)
    met: set[int] = field(factory=set)
    """Channels without a number that were asked about once."""
    suspects: set[int] = field(factory=set)
    """Channels that were behind when it was last reported: a link says that nothing is missing only once it has
    compared these, whatever it knows of others."""
    asked_at: float = float("-inf")
    """When channels were asked about, by the loop's clock; likewise below."""
    strangers_at: float = float("-inf")
    oldest: int | None = None
    """The update that waited longest for its handlers at the last proof."""
    listing: ListingMemory = field(factory=ListingMemory)
    told: bool = False
    """Whether the log says that updates wait for handlers."""


@define(eq=False)
class UpdateProof:
    """The numbers of one link's client, beside those of the datacenter. It has timers, and no task."""

    client: Any
    number: int
    account: str
    memory: ProofMemory
    report: Callable[[Event], None]
    send: Callable[[Any], Any]
    """Sends a request of the engine's own."""
    is_held: Callable[[str], bool]
    """Returns whether a flood wait holds this kind of request."""
    watch: UpdateWatch = field(factory=UpdateWatch, init=False)
    _before: dict[int, int] = field(factory=dict, init=False)
    _sent_at: float = field(default=0.0, init=False)
    """When the proof was sent (Unix seconds)."""
    _confirmed: bool = field(default=False, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _fetching: bool = field(default=False, init=False)
    _give_up: Callable[[], None] | None = field(default=None, init=False)
    _rechecks: dict[int, Callable[[], None]] = field(factory=dict, init=False)
    """The boxes that are ahead and of which the number is asked for again, each with what gives that up."""
    _compared: set[int] = field(factory=set, init=False)
    """Channels that were compared at least once."""
    _waited: set[int] = field(factory=set, init=False)
    """Boxes that could not come nearer when they were looked at last."""
    _seen: set[tuple[int, int]] = field(factory=set, init=False)
    """The boxes, each with the number it is to reach, that the next look was waited for from the beginning."""
    _listing: ChannelListing = field(init=False)

    @_listing.default
    def _make_listing(self) -> ChannelListing:
        return ChannelListing(
            self.client, self.number, self.account, self.memory.listing, self._pass_on, self.send, self.is_held
        )

    def _pass_on(self, event: Event) -> None:
        self.report(event)

    def numbers(self) -> dict[int, int]:
        """Return how far the client has come in each box."""
        box = self.client._message_box
        if box.is_empty():
            return {}
        found = {entry: state.pts for entry, state in box.map.items() if isinstance(entry, int)}
        found[ACCOUNT] = box.map[ENTRY_ACCOUNT].pts
        if ENTRY_SECRET in box.map:
            found[SECRET] = box.map[ENTRY_SECRET].pts
        return found

    def begin(self) -> None:
        """Note how far the client is: the proof is sent now."""
        self._before, self._sent_at = self.numbers(), time.time()

    def take(self, state: State) -> None:
        """Compare the account's numbers with the answer to the proof, and ask for those of channels."""
        local = self.numbers()
        self._note_backlog()
        server = {ACCOUNT: state.pts, **({SECRET: state.qts} if state.qts else {})}
        before, self._before = self._before, {}
        self.watch.compare(server, before, local, time.time())
        self._note_equal(server, local, self._sent_at)
        self._listing.ask()
        if not self._ask_about_channels(local):
            self._conclude()

    def fetch(self, patience: float) -> None:
        """Ask for what is missing, and report within ``patience`` seconds whether it is there."""
        ahead = [box for box, lag in self.watch.lags.items() if lag.is_ahead]
        for box in ahead[:MAX_RECHECKED]:
            self._recheck(box)
        self.client.differences.ask(max(box, ACCOUNT) for box in self.watch.lags.keys() - ahead)
        self._fetching, self._seen = True, self._due()
        self._look_later(min(POLL, patience), partial(self._look_while_fetching, _loop_time() + patience, patience))

    def close(self) -> None:
        """Report nothing any more."""
        self.report = _ignore
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for give_up in (self._give_up, *self._rechecks.values()):
            if give_up is not None:
                give_up()
        self._give_up = None
        self._rechecks.clear()
        self._listing.close()

    # --- channels ---

    def _ask_about_channels(self, local: dict[int, int]) -> bool:
        """Ask for the numbers of channels, if it is time for that; return whether an answer will come."""
        memory, now = self.memory, _loop_time()
        due = now >= memory.asked_at + CHANNELS_EVERY
        if not due or self._give_up is not None or self.client._mb_entity_cache.self_bot:
            return False
        if self.is_held("GetPeerDialogs"):
            return False
        addressable = self.client._mb_entity_cache.get
        known = {box: number for box, number in local.items() if box > ACCOUNT and addressable(box) is not None}
        rounds, chosen = memory.rounds, tuple[int, ...]()
        is_turn = now >= memory.strangers_at + STRANGERS_EVERY and not memory.suspects
        strangers = self._strangers(local) if is_turn else ()
        if strangers:
            rounds, memory.strangers_at = memory.strangers, now
            chosen = rounds.choose(dict.fromkeys(strangers), now)
        chosen = chosen or memory.rounds.choose(known, now, memory.suspects)
        if not chosen:
            return False
        memory.asked_at = now
        peers = [InputDialogPeer(InputPeerChannel(each, addressable(each).hash)) for each in chosen]
        before = {each: local[each] for each in chosen if each in local}
        conclude = partial(self._take_channels, rounds, chosen, before, time.time())
        self._give_up = begin_request(partial(self.send, GetPeerDialogsRequest(peers)), TIMEOUT, conclude)
        return True

    def _strangers(self, local: dict[int, int]) -> list[int]:
        """Return channels that the client can address and has no number of, and was not told about yet."""
        cached, met = self.client._mb_entity_cache.hash_map.items(), self.memory.met
        if len(met) > MAX_MET:
            met.clear()
        return [each for each, (_, kind) in cached if kind in CHANNELS and each not in local and each not in met]

    def _take_channels(
        self,
        rounds: ChannelRounds,
        chosen: tuple[int, ...],
        before: dict[int, int],
        sent_at: float,
        answer: Callable[[], Any],
    ) -> None:
        """Compare the numbers of channels; a refusal of one of them is found out, and every other says nothing."""
        self._give_up = None
        try:
            found = answer()
        except (errors.ChannelPrivateError, errors.ChannelInvalidError):
            self._refused(rounds, chosen)
        except Exception as exc:
            self._report_flood(exc)
        else:
            self._compare_channels(found, before, sent_at)
            self._compared.update(chosen)
        self._conclude()

    def _report_flood(self, exc: Exception) -> None:
        if isinstance(event := classify(exc, link=self.number, what="request"), FloodWait):
            self.report(event)

    def _refused(self, rounds: ChannelRounds, chosen: tuple[int, ...]) -> None:
        blamed = rounds.refuse(chosen)
        if blamed is None:
            return
        self.memory.suspects.discard(blamed)
        if rounds is self.memory.strangers:
            self.memory.met.add(blamed)
        else:  # Telethon finds out itself that it is private now, and forgets it
            self.client.differences.ask([blamed])

    def _compare_channels(self, found: Any, before: dict[int, int], sent_at: float) -> None:
        server, local, box = numbers_in(found), self.numbers(), self.client._message_box
        new = {channel: server[channel] for channel in server.keys() - local.keys() - before.keys()}
        if new:
            begin_channels(self.client, new, found.chats)
        for channel, number in new.items():
            log.info("channel_begun", account=self.account, channel=channel, number=number)
        agreed = {channel for channel, number in server.items() if local.get(channel) == number}
        box.reset_deadlines(agreed, next_updates_deadline())  # as after an empty difference: it need not be asked for
        self.memory.met |= {chat.id for chat in found.chats} - local.keys()
        self.watch.compare(server, before, local, time.time())
        self._note_equal(server, local, sent_at)

    def _note_equal(self, server: dict[int, int], local: dict[int, int], at: float) -> None:
        """Note for the ledger in which boxes the datacenter, when asked, had counted no further than the client."""
        equal = {box: due for box, due in server.items() if box != SECRET and local.get(box) == due}
        note_confirmed(self.client, equal, at)

    # --- what is behind ---

    def _conclude(self) -> None:
        """Confirm that nothing is behind, or look again in a while."""
        if self._fetching:
            return
        if not self.watch.lags:
            self._confirm()
        elif self._timer is None:
            self._seen = self._due()
            self._look_later(GRACE, self._look)

    def _look(self) -> None:
        stalled = self.watch.look(self.numbers(), self._excused())
        if stalled:
            self._report(stalled, asked=False)
        self._conclude_look(stalled)

    def _conclude_look(self, stalled: list[Lag]) -> None:
        if not self.watch.lags:
            self._confirm()
        elif not stalled:
            self._look_later(GRACE, self._look)

    def _look_while_fetching(self, end: float, patience: float) -> None:
        """See whether the updates are there; what comes nearer to that has as much time again."""
        lags = self.watch.lags
        if _loop_time() < end:
            if self.watch.has_reached(self.numbers()):
                self._fetching = False
                self._confirm()
            else:
                self._look_later(min(POLL, patience), partial(self._look_while_fetching, end, patience))
            return
        new = [box for box, _ in self._due() - self._seen if not lags[box].is_ahead]
        self.client.differences.ask(max(box, ACCOUNT) for box in new)
        stalled = self.watch.look(self.numbers(), self._excused())
        if lags and not stalled:
            for box in [box for box, lag in lags.items() if lag.is_ahead][:MAX_RECHECKED]:
                self._recheck(box)  # a flood wait may have kept it from being asked
            self._look_later(POLL, partial(self._look_while_fetching, _loop_time() + patience, patience))
            return
        self._fetching = False
        if stalled:
            self._report(stalled, asked=True)
        else:
            self._confirm()

    def _confirm(self) -> None:
        """Report that nothing is missing, unless that is not known of all that were behind, also on earlier links."""
        numbers, addressable = self.numbers(), self.client._mb_entity_cache.get
        unknown = self.memory.suspects - self._compared
        if not numbers or any(box in numbers and addressable(box) is not None for box in unknown):
            return
        self.memory.suspects.clear()
        if not self._confirmed:
            self._confirmed = True
            self.report(
                UpdatesConfirmed(
                    link=self.number, channels=sum(box > ACCOUNT for box in self._compared & numbers.keys())
                )
            )

    def _report(self, lags: list[Lag], *, asked: bool) -> None:
        self._confirmed = False
        self.memory.suspects.update(lag.box for lag in lags if lag.box > ACCOUNT)
        since = min(lag.since for lag in lags)
        self.report(
            UpdatesStalled(link=self.number, detail=describe(lags), behind=listed(lags), since=since, asked=asked)
        )

    def _recheck(self, box: int) -> None:
        """Ask for the number of a box that is ahead once more: it may have been answered by a replica that was late.

        Setting the client's number back would repeat updates then.
        """
        peer = self.client._mb_entity_cache.get(box) if box > ACCOUNT else None
        if box in self._rechecks or (box > ACCOUNT and peer is None):
            return
        request = GetStateRequest() if peer is None else GetFullChannelRequest(InputChannel(peer.id, peer.hash))
        if not self.is_held(kind_of(request)):
            self._rechecks[box] = begin_request(partial(self.send, request), TIMEOUT, partial(self._take_recheck, box))

    def _take_recheck(self, box: int, answer: Callable[[], Any]) -> None:
        """Set the box back if it is ahead of this number, too; without an answer it stays as it is."""
        self._rechecks.pop(box, None)
        mine = self.numbers().get(box)
        try:
            found = answer()
        except Exception as exc:
            self._report_flood(exc)
            return
        with suppress(Exception):  # it is reported as what was asked for in vain
            if mine is None or box not in self.watch.lags:
                return
            number = found.full_chat.pts if box > ACCOUNT else found.pts if box == ACCOUNT else found.qts
            self.watch.compare({box: number}, {box: mine}, {box: mine}, time.time())
            self._compared.add(box)
            lag = self.watch.lags.get(box)
            if lag is not None and lag.is_ahead:
                self._set_back(lag)
            if lag is not None:
                self.client.differences.ask([max(box, ACCOUNT)])

    def _set_back(self, lag: Lag) -> None:
        """Let a box whose number is too high go on from one that is right."""
        number, whole = self.watch.set_back(lag)
        entry = {ACCOUNT: ENTRY_ACCOUNT, SECRET: ENTRY_SECRET}.get(lag.box, lag.box)
        self.client._message_box.map[entry].pts = number
        if lag.box != SECRET:  # what the ledger claims beyond it was numbered wrongly
            note_set_back(self.client, lag.box, lag.local, number)
        if not whole:
            why = f"{name_of(lag.box)} (its number was {lag.local - lag.due:,} too high; read the chats for it)"
            self.client.differences.lose(max(lag.box, ACCOUNT), why)

    def _excused(self) -> Collection[int]:
        """Return the boxes that cannot come nearer now, through no fault of the datacenter or the client.

        Those that could not at the last look have the time until the next one, as have those that were not behind then.
        """
        if self.client.inbox.is_full:
            waiting = {*self.watch.lags}
        else:
            waiting = {box for box in self.watch.lags if self.is_held(self._asked_by(box))}
        due = self._due()
        excused = waiting | self._waited | {box for box, _ in due - self._seen}
        self._waited, self._seen = waiting, due
        return excused

    def _due(self) -> set[tuple[int, int]]:
        return {(box, lag.due) for box, lag in self.watch.lags.items()}

    def _asked_by(self, box: int) -> str:
        """Return the kind of request that lets a box come nearer."""
        if self.watch.lags[box].is_ahead:
            return "GetFullChannel" if box > ACCOUNT else "GetState"
        return "GetChannelDifference" if box > ACCOUNT else "GetDifference"

    def _look_later(self, delay: float, look: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()

        def run() -> None:
            self._timer = None
            look()

        self._timer = asyncio.get_running_loop().call_later(delay, run)

    # --- handlers ---

    def _note_backlog(self) -> None:
        """Say in the log, once, that an update has waited for its handlers from one proof to the next."""
        memory, (oldest, count) = self.memory, self.client.inbox.backlog
        if oldest is None or oldest != memory.oldest:
            memory.oldest, memory.told = oldest, False
        elif not memory.told:
            memory.told = True
            log.warning("handlers_behind", account=self.account, count=count)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _ignore(_: Event) -> None:
    """Take an event of a link that was closed."""
