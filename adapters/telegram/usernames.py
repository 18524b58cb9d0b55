"""Usernames, looked up once: whose they are is known to all accounts, and Telegram's limit on asking is kept.

Telegram answers about 200 ``contacts.resolveUsername`` a day and account, and then makes it wait for hours. Where this
engine knows whose username it is, it asks by the peer instead (``users.getUsers``, ``channels.getChannels``), which has
no such limit and shows whether the peer still has the name. That takes the access hash that this very account was
given, which its session file has: a hash of another account is not valid for it. An account that knows no hash looks
the name up itself. (A peer that was seen in a message could be named by that message; who saw it where is not kept.)

    refused a while ago ──▶ the same refusal
    answered to this account within the hour ──▶ the same answer
    known, and this account has the peer's hash ──▶ the peer is asked for ──▶ it has the name: that is the answer
    otherwise ──▶ looked up, within the budget of the account
"""

import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol

import anyio
from attrs import define, field
from telethon import errors, types, utils
from telethon.tl import TLRequest, functions

from adapters.sqlite.errors import StorageError
from adapters.sqlite.usernames import StoredName, StoredUsernames
from adapters.system import ContinuousClock
from adapters.telegram.classify import RequestHeld, kind_of
from adapters.telegram.recalling import recall
from adapters.telegram.username_budget import DAY, LookupBudget

FRESH_SECONDS: Final = 3600.0
"""How long an account is given the same answer again."""
REFUSALS: Final[Mapping[str, tuple[type[errors.RPCError], float]]] = {
    "USERNAME_NOT_OCCUPIED": (errors.UsernameNotOccupiedError, 3600.0),
    "USERNAME_INVALID": (errors.UsernameInvalidError, DAY),
}
"""What Telegram says of a name that nobody has, and how many seconds that is believed."""
MAX_NAMES: Final = 10_000
"""Names that are remembered; those that were not used for longest are forgotten first."""
MAX_ANSWERS: Final = 1_000
"""Answers of all accounts that are kept in memory."""
MAX_CHARACTERS: Final = 64
"""Characters of a name that is remembered; Telegram's have at most 32."""
OTHER_WAIT: Final = 60.0
"""Seconds that a request waits for another one that asks for the same name."""
NOT_THERE: Final = (errors.BadRequestError, errors.ForbiddenError, errors.NotFoundError, errors.FloodError)
"""What says that a peer cannot be asked for like this."""

Lookup = Callable[[], Awaitable[Any]]


class UsernameKeeper(Protocol):
    """Stores what is known; ``UsernameStore`` does."""

    async def lookups(self, account: str) -> Sequence[float]:
        """Return when an account has asked (Unix seconds), here or elsewhere. Raises ``StorageError``."""

    def put(self, name: StoredName) -> None:
        """Store a name, soon."""

    def forget(self, name: str) -> None:
        """Delete a name, soon."""

    async def put_lookups(self, account: str, times: Sequence[float]) -> None:
        """Store when an account has asked (Unix seconds)."""


class LookupsUsedUp(RequestHeld):
    """The account has looked up as many usernames as it may in 24 hours; nothing was sent."""

    def __init__(self, request: Any, seconds: int, per_day: int) -> None:
        super().__init__(request, seconds, kind_of(request))
        self.per_day = per_day
        self.until = time.time() + seconds

    def __str__(self) -> str:
        """Return the sentence."""
        again = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.until))
        return (
            f"this account has looked up {self.per_day} usernames in 24 hours, as many as usernames.per_day allows; "
            f"it looks up the next one at {again}, and ids need no look-up"
        )


def plain_name(text: Any) -> str | None:
    """Return a username as it is compared; None for what is not remembered."""
    if not isinstance(text, str):
        return None
    name = text.strip().removeprefix("@").lower()
    return name if 0 < len(name) <= MAX_CHARACTERS and name.isascii() and name.isprintable() else None


def names_of(entity: Any) -> frozenset[str]:
    """Return the usernames of a user or chat that lead to it."""
    found = [getattr(entity, "username", None)]
    found += [each.username for each in getattr(entity, "usernames", None) or () if each.active]
    return frozenset(name for each in found if (name := plain_name(each)) is not None)


@define(eq=False)
class Usernames:
    """What an engine's accounts know of usernames together. Used on the loop only, but for ``contradict``."""

    per_day: int = 200
    keeper: UsernameKeeper | None = None
    now: Callable[[], float] = time.time
    clock: Callable[[], float] = ContinuousClock().now
    """What budgets are measured by: it cannot be set."""
    counts: dict[str, int] = field(factory=lambda: dict.fromkeys(("memory", "peer", "lookup", "refused"), 0))
    """How many usernames were answered from memory, by asking for the peer, and by a look-up; and refused here."""
    _names: "OrderedDict[str, StoredName]" = field(factory=OrderedDict, init=False)
    _by_peer: dict[int, set[str]] = field(factory=dict, init=False)
    _answers: "OrderedDict[tuple[str, str], tuple[float, Any]]" = field(factory=OrderedDict, init=False)
    """By account and name: when it was given, and the answer."""
    _budgets: dict[str, LookupBudget] = field(factory=dict, init=False)
    _under_way: dict[str, anyio.Event] = field(factory=dict, init=False)
    """The names that somebody asks for now."""

    def begin(self, stored: StoredUsernames) -> None:
        """Go on with what an earlier engine has stored."""
        for each in stored.names[-MAX_NAMES:]:
            self._put(each)
        for account, times in stored.lookups.items():
            self.take_over(account, times)

    def take_over(self, account: str, times: Iterable[float]) -> None:
        """Go on with an account's budget as it is stored (Unix seconds), unless more look-ups are known here."""
        clock = self.clock()
        shift = clock - self.now()
        stored = LookupBudget(sorted(min(each + shift, clock) for each in times))
        if stored.used(clock) > self.used(account):
            self._budgets[account] = stored

    def of(self, account: str) -> "AccountUsernames":
        """Return them as one account uses them."""
        return AccountUsernames(account, self)

    def rename(self, renamed: Mapping[str, str]) -> None:
        """Have accounts that get other names keep their budgets; ``renamed`` has the new names by the old ones."""
        moved = {renamed[former]: self._budgets.pop(former) for former in renamed if former in self._budgets}
        self._budgets.update(moved)
        self._answers.clear()

    def used(self, account: str) -> int:
        """Return how many names an account has looked up in the last 24 hours."""
        budget = self._budgets.get(account)
        return 0 if budget is None else budget.used(self.clock())

    # --- whose name it is ---

    def known(self, name: str) -> StoredName | None:
        """Return what is known of a name; a refusal that is too old to be believed is not known any more."""
        found = self._believed(name)
        if found is not None:
            self._names.move_to_end(name)
        return found

    def note(self, name: str, peer: int | None, refusal: str = "") -> None:
        """Note whose name it is now, or with what it was refused."""
        new = StoredName(name, peer, refusal, self.now())
        self._put(new)
        if self.keeper is not None:
            self.keeper.put(new)
        if len(self._names) > MAX_NAMES:
            self.forget(next(iter(self._names)))

    def forget(self, name: str) -> None:
        """Forget whose name it was."""
        if self._take(name) is not None and self.keeper is not None:
            self.keeper.forget(name)

    def observe(self, entities: Iterable[Any]) -> None:
        """Take note of users and chats that came in: a name may have moved."""
        for entity in entities:
            if getattr(entity, "min", False) or not isinstance(entity, types.User | types.Channel):
                continue
            peer = utils.get_peer_id(entity)
            mine = names_of(entity)
            for name in mine:
                if (known := self._names.get(name)) is not None and known.peer != peer:
                    self.note(name, peer)
            if peer in self._by_peer:
                for name in self._by_peer[peer] - mine:
                    self.forget(name)

    def contradict(self, name: Any, peer: int) -> bool:
        """Return whether a name is known to be somebody else's, or nobody's."""
        plain = plain_name(name)
        known = None if plain is None else self._believed(plain)
        return known is not None and known.peer != peer

    def _believed(self, name: str) -> StoredName | None:
        """Return what is known of a name; used in threads, too, which ask session files."""
        found = self._names.get(name)
        old = found is not None and found.peer is None and not self._is_within(found.at, REFUSALS[found.refusal][1])
        return None if old else found

    def _put(self, new: StoredName) -> None:
        self._take(new.name)
        if new.peer is None and new.refusal not in REFUSALS:  # of a newer version, or spoilt
            return
        self._names[new.name] = new
        if new.peer is not None:
            self._by_peer.setdefault(new.peer, set()).add(new.name)

    def _take(self, name: str) -> StoredName | None:
        old = self._names.pop(name, None)
        if old is not None and old.peer is not None:
            names = self._by_peer[old.peer]
            names.discard(name)
            if not names:
                del self._by_peer[old.peer]
        return old

    def _is_within(self, at: float, seconds: float) -> bool:
        return 0 <= self.now() - at < seconds

    # --- answers ---

    def answer(self, account: str, name: str) -> Any:
        """Return what this account was answered within the hour, if the name is still that peer's; None if nothing."""
        at, found = self._answers.get((account, name), (0.0, None))
        if found is None or not self._is_within(at, FRESH_SECONDS):
            return None
        known = self.known(name)
        return found if known is not None and known.peer == utils.get_peer_id(found.peer) else None

    def keep(self, account: str, name: str, answer: Any) -> None:
        """Keep what an account was answered."""
        peer = utils.get_peer_id(answer.peer)
        self.note(name, peer)
        self._answers[account, name] = self.now(), answer
        self._answers.move_to_end((account, name))
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)

    # --- the budget ---

    def wait(self, account: str) -> float:
        """Return the seconds until an account may look up another name."""
        budget, now = self._budgets.setdefault(account, LookupBudget()), self.clock()
        return max(0.0, budget.free_at(now, self.per_day) - now)

    async def charge(self, account: str) -> None:
        """Count a look-up, which begins when this returns."""
        budget = self._budgets.setdefault(account, LookupBudget())
        budget.charge(self.clock())
        if self.keeper is not None:
            shift = self.now() - self.clock()
            await self.keeper.put_lookups(account, [each + shift for each in budget.times])

    async def alone(self, name: str, ask: Callable[[], Awaitable[Any]], again: Callable[[], Any]) -> Any:
        """Ask, unless somebody asks for the same name now: then wait for that, and take what ``again`` finds."""
        with anyio.move_on_after(OTHER_WAIT):
            while (other := self._under_way.get(name)) is not None:
                await other.wait()
                if (found := again()) is not None:
                    return found
        done = anyio.Event()
        mine = self._under_way.setdefault(name, done) is done
        try:
            return await ask()
        finally:
            if mine:
                del self._under_way[name]
            done.set()


@define(eq=False)
class AccountUsernames:
    """The usernames as one account uses them."""

    account: str
    shared: Usernames
    _is_read: bool = field(default=False, init=False)
    """Whether its budget goes on from what the engine that had the account before has stored."""
    _reading: anyio.Lock | None = field(default=None, init=False)
    """While its budget is read: an account that looks nothing up has none."""

    async def resolve(self, client: Any, request: Any, lookup: Callable[[Lookup], Awaitable[Any]]) -> Any:
        """Return the answer to a ``contacts.resolveUsername``.

        ``lookup`` sends it as the client sends any request; what it is given is awaited before each time. Raises
        Telegram's own refusal of a name, and ``LookupsUsedUp``.
        """
        name = plain_name(request.username)
        if name is None or getattr(request, "referer", None):
            return await self._look_up(request, lookup)
        if (found := self._remembered(name, request)) is not None:
            return found
        return await self.shared.alone(
            name, lambda: self._ask(client, name, request, lookup), lambda: self._remembered(name, request)
        )

    def _remembered(self, name: str, request: Any) -> Any:
        """Return the answer that is in memory, None if there is none; raise the refusal that is."""
        known = self.shared.known(name)
        if known is not None and known.peer is None:
            self.shared.counts["memory"] += 1
            raise REFUSALS[known.refusal][0](request)
        found = self.shared.answer(self.account, name)
        self.shared.counts["memory"] += found is not None
        return found

    async def _ask(self, client: Any, name: str, request: Any, lookup: Callable[[Lookup], Awaitable[Any]]) -> Any:
        found = await self._recognise(client, name)
        if found is None:
            try:
                found = await self._look_up(request, lookup)
            except (errors.UsernameNotOccupiedError, errors.UsernameInvalidError) as exc:
                refusal = next(text for text, (kind, _) in REFUSALS.items() if isinstance(exc, kind))
                self.shared.note(name, None, refusal)
                raise
        self.shared.keep(self.account, name, found)
        return found

    async def _recognise(self, client: Any, name: str) -> Any:
        """Return the answer if the account knows the peer that had the name, and the peer still has it; else None."""
        known = self.shared.known(name)
        key = name if known is None else known.peer
        await recall(client.session, key)
        try:
            peer = await utils.maybe_async(client.session.get_input_entity(key))
        except ValueError:
            return None
        try:
            match peer:
                case types.InputPeerUser():
                    found = await client(functions.users.GetUsersRequest([peer]))
                case types.InputPeerChannel():
                    found = (await client(functions.channels.GetChannelsRequest([peer]))).chats
                case _:
                    return None
        except NOT_THERE:
            return None
        entity = found[0] if found else None
        if entity is None or getattr(entity, "min", False) or name not in names_of(entity):
            self.shared.forget(name)
            return None
        self.shared.counts["peer"] += 1
        is_user = isinstance(entity, types.User)
        return types.contacts.ResolvedPeer(
            utils.get_peer(entity), [] if is_user else [entity], [entity] if is_user else []
        )

    async def _look_up(self, request: Any, lookup: Callable[[Lookup], Awaitable[Any]]) -> Any:
        return await lookup(partial(self._charge, request))

    async def _charge(self, request: Any) -> None:
        await self._read_budget()
        if wait := self.shared.wait(self.account):
            self.shared.counts["refused"] += 1
            raise LookupsUsedUp(request, math.ceil(wait), self.shared.per_day)
        self.shared.counts["lookup"] += 1
        await self.shared.charge(self.account)

    async def _read_budget(self) -> None:
        """Read how much of the budget is used, once: the account may have lived elsewhere."""
        if self._is_read or self.shared.keeper is None:
            return
        self._reading = self._reading or anyio.Lock()
        async with self._reading:
            if not self._is_read:
                with suppress(StorageError):  # what is known here counts, and the next look-up asks again
                    self.shared.take_over(self.account, await self.shared.keeper.lookups(self.account))
                    self._is_read = True

    async def send_charged(self, lookups: Sequence[Any], send: Callable[[], Awaitable[Any]]) -> Any:
        """Send what looks these names up, wrapped or several at once: that is counted, and not answered from here."""
        for each in lookups:
            await self._charge(each)
        return await send()


def lookups_in(request: Any) -> list[Any]:
    """Return the look-ups of a request, or of several at once, also inside wrappers."""
    if utils.is_list_like(request):
        return [found for each in request for found in lookups_in(each)]
    while isinstance(inner := getattr(request, "query", None), TLRequest):
        request = inner
    return [request] if type(request) is functions.contacts.ResolveUsernameRequest else []


def entities_in(answer: Any) -> Iterator[Any]:
    """Yield the users and chats that an answer or an update names."""
    if isinstance(answer, types.User | types.Channel):
        yield answer
    elif utils.is_list_like(answer):
        yield from answer
    else:
        yield from getattr(answer, "users", None) or ()
        yield from getattr(answer, "chats", None) or ()
