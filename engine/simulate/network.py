"""The model of network and datacenter: what becomes of attempts and probes, and who notices a disturbance when.

A packet takes half of an account's ``rtt``; TCP and the request that proves a login take one each. The datacenter, and
the engine's own processor, complete so many handshakes per second, first come, first served. A first packet that is
dropped is sent again when Linux would send it again; what else is lost stays lost.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import attrs
from attrs import define, field, frozen

from adapters.sandbox.faults.kinds import FaultKind
from engine.simulate.account import (
    ANSWERED,
    CONNECTED,
    DEAD,
    DUE,
    HANDSHAKE,
    LOSS,
    LOST,
    REFUSAL,
    REPORT,
    RETRY,
    SILENCE,
    SYN,
    SimulatedAccount,
)
from engine.simulate.agenda import Agenda
from engine.simulate.answered import AnsweredProbes
from engine.simulate.disturbances import (
    AT_ONCE,
    CALM,
    MOMENTS,
    Conditions,
    Disturbance,
    ModelKind,
    Opening,
    conditions_of,
)
from engine.simulate.link import FLOOD_TEXT, PROOF, SYN_RETRIES, fault_of
from engine.simulate.ticks import TICKS, ticks
from states.effects import HoldRequests, Open, Probe
from states.snapshot import State

MAX_LATENCY: Final = 60.0
LEAST_RATE: Final = 0.01
MOST_RATE: Final = 1_000_000.0
WITH_LINK = (State.HEALTHY, State.TIMEOUT)


def _latency(_: object, __: "attrs.Attribute[float]", value: float) -> None:
    if not 0 <= value <= MAX_LATENCY:
        raise ValueError(f"must be from 0 s to {MAX_LATENCY:g} s")


def _spread(_: object, __: "attrs.Attribute[float]", value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError("must be from 0 to below 1, a part of the latency")


def check_rate(_: object, __: "attrs.Attribute[float]", value: float) -> None:
    """Raise ``ValueError`` for a number of handshakes per second that nothing can compute with."""
    if not LEAST_RATE <= value <= MOST_RATE:
        raise ValueError(f"must be from {LEAST_RATE:g} to {MOST_RATE:,.0f} handshakes per second")


@frozen(kw_only=True)
class NetworkModel:
    """The network and the datacenter while nothing is wrong."""

    latency: float = field(default=0.08, validator=_latency)
    """Seconds from a packet to its answer, on average."""
    spread: float = field(default=0.5, validator=_spread)
    """How much nearer the nearest accounts are, and farther the farthest, as a part of the latency."""
    handshakes: float = field(default=400.0, validator=check_rate)
    """Handshakes per second that engine and datacenter complete, for all accounts together."""


@define(eq=False)
class SimulatedNetwork:
    """What the network does for each account. ``disturbances`` are in the order in which they begin."""

    model: NetworkModel
    accounts: Sequence[SimulatedAccount]
    disturbances: Sequence[Disturbance]
    agenda: Agenda
    answered: AnsweredProbes
    patience: int
    """Ticks that the probe of a healthy account may take."""
    begun: int = field(default=0, init=False)
    """A bit for each disturbance that has begun."""
    sign: SimulatedAccount | None = field(default=None, init=False)
    """The account whose answer is the next sign of life, while somebody listens for one."""
    _active: int = field(default=0, init=False)
    """A bit for each disturbance that is active."""
    _known: dict[int, Conditions] = field(factory=lambda: {0: CALM}, init=False)
    """The conditions that active disturbances add up to."""
    _served: int = field(default=0, init=False)
    """When the handshakes are completed that were begun so far."""
    _service: int = field(init=False)
    """Ticks from one handshake that is completed to the next."""

    def __attrs_post_init__(self) -> None:
        self._service = ticks(1 / self.model.handshakes)
        for number, each in enumerate(self.disturbances):
            for account in self._members(each):
                account.mask |= 1 << number
            self.agenda.call_at(each.begin, lambda _, number=number: self._begin(number))  # type: ignore[misc]
            if each.end is not None and not _is_moment(each):
                self.agenda.call_at(each.end, lambda _, number=number: self._end(number))  # type: ignore[misc]

    def conditions(self, account: SimulatedAccount) -> Conditions:
        """Return what the network does for an account now."""
        return self._conditions_under(account.mask & self._active)

    def reason_for(self, account: SimulatedAccount) -> int:
        """Return the number of the last disturbance that has begun for an account; -1 for none."""
        return (account.mask & self.begun).bit_length() - 1

    def rtt(self, account: SimulatedAccount, conditions: Conditions) -> int:
        """Return the ticks from a packet to its answer."""
        return account.rtt + ticks(conditions.latency) if conditions.latency else account.rtt

    # --- attempts ----------------------------------------------------------------------------------------------------

    def open(self, account: SimulatedAccount, effect: Open) -> None:
        """Let an account try to connect."""
        now = self.agenda.tick
        account.opening, account.dead = True, False
        account.sent, account.limit = now, now + ticks(effect.patience)
        self.attempt(account)

    def attempt(self, account: SimulatedAccount) -> None:
        """Send the first packet of a connection, or send it again."""
        conditions, now = self.conditions(account), self.agenda.tick
        rtt = self.rtt(account, conditions)
        account.phase = SYN
        match conditions.opening:
            case Opening.NO_ROUTE:
                self._report(account, now, LOST)
            case Opening.REFUSED:
                self._report(account, now + rtt, LOST)
            case Opening.HANGS:
                self._report(account, account.limit, SILENCE)
            case Opening.CLOSED:
                self._report(account, now + 2 * rtt, LOST)
            case Opening.WORKS:
                self._shake_hands(account, conditions, now + rtt)

    def _shake_hands(self, account: SimulatedAccount, conditions: Conditions, at: int) -> None:
        """Let an account ask for its proof at a time."""
        rtt = self.rtt(account, conditions)
        account.phase = HANDSHAKE
        if conditions.silent:
            account.phase = DEAD
            self._report(account, account.limit, SILENCE)
        elif fault := fault_of(conditions):
            self._report(account, at + rtt, *fault)
        else:
            self._served = max(self._served, at + rtt // 2) + self._service
            done = max(self._served, at + rtt) + ticks(conditions.slow)
            refusal = None if self._is_spared(account, conditions) else conditions.refusal
            self._report(account, done, REFUSAL if refusal else CONNECTED, refusal)

    def _is_spared(self, account: SimulatedAccount, conditions: Conditions) -> bool:
        """Return whether a flood wait does not meet an account: its proof is held, and a ping takes its place."""
        refusal = conditions.refusal
        return refusal is not None and account.held > self.agenda.tick and bool(FLOOD_TEXT.fullmatch(refusal[1]))

    # --- probes ------------------------------------------------------------------------------------------------------

    def probe(self, account: SimulatedAccount, effect: Probe) -> None:
        """Let an account ask its link for a sign of life."""
        now, conditions = self.agenda.tick, self.conditions(account)
        account.sent, account.limit, account.proof = now, now + ticks(effect.patience), effect.proof
        answer = now + self.rtt(account, conditions)
        if conditions.silent or account.dead:
            self._report(account, account.limit, SILENCE)
        elif fault := fault_of(conditions):
            self._report(account, answer, *fault)
        elif not effect.proof or account.held > now:
            self._report(account, answer, ANSWERED)
        else:
            answer += ticks(conditions.slow)
            self._report(account, answer, REFUSAL if conditions.refusal else ANSWERED, conditions.refusal)

    def arm(self, account: SimulatedAccount, *, skips: bool) -> None:
        """Let an account's next probe be due in a while, or skip it and those after it as long as all are answered."""
        now, conditions = self.agenda.tick, self.conditions(account)
        rtt = self.rtt(account, conditions)
        lasts = not account.dead and not account.loss  # the end of a link may be on its way already
        if skips and conditions.calm and lasts and rtt <= self.patience:
            self.answered.add(account, now, rtt)
        else:
            account.due = self.agenda.push(now + self.answered.every, account.index, DUE)

    def seek_sign(self) -> None:
        """Let the answer come that is the next sign of life of all whose answers are skipped."""
        self.sign = self.answered.next(self.agenda.reached)
        if self.sign is not None:
            self.unskip(self.sign, self.conditions(self.sign))

    def unskip(self, account: SimulatedAccount, conditions: Conditions) -> None:
        """Skip an account's probes no more; until now they were answered under these conditions."""
        rtt = self.rtt(account, conditions)
        armed = self.answered.remove(account, rtt, self.agenda.reached)
        due = armed + self.answered.every
        account.due = self.agenda.push(due, account.index, DUE)
        if account.due <= self.agenda.reached:  # it has been sent, and the answer is on its way
            account.due = 0
            account.sent, account.limit = due, due + self.patience
            account.proof = self.answered.is_proof(account.snapshot, due)
            self._report(account, due + rtt, ANSWERED)

    def hold(self, account: SimulatedAccount, effect: HoldRequests, base: int) -> None:
        """Send no request of a kind until a time; the only one that the model knows is the proof."""
        if effect.request in ("any", PROOF):
            account.held = ticks(effect.until - base)

    # --- disturbances ------------------------------------------------------------------------------------------------

    def _begin(self, number: int) -> None:
        each = self.disturbances[number]
        self.begun |= 1 << number
        before = self._active
        if not _is_moment(each):
            self._active |= 1 << number
        if each.kind is ModelKind.HANDSHAKES:
            self._service = ticks(1 / each.rate)
            return
        for account in self._members(each):
            self._change(account, before, always=each.kind in AT_ONCE or each.kind is ModelKind.HALF_OPEN)
            if each.kind in AT_ONCE:
                self._lose(account, each)
            elif each.kind is ModelKind.HALF_OPEN:
                self._forget(account)

    def _end(self, number: int) -> None:
        each = self.disturbances[number]
        before = self._active
        self._active &= ~(1 << number)
        if each.kind is ModelKind.HANDSHAKES:
            self._service = ticks(1 / self.model.handshakes)
            return
        for account in self._members(each):
            self._change(account, before, always=False)

    def _members(self, each: Disturbance) -> Iterable[SimulatedAccount]:
        return self.accounts if each.members is None else map(self.accounts.__getitem__, each.members)

    def _change(self, account: SimulatedAccount, before: int, *, always: bool) -> None:
        """Let what is under way for an account notice that its conditions are others than ``before``."""
        old, new = self._conditions_under(account.mask & before), self.conditions(account)
        if account.armed >= 0:
            if not always and new.calm and new.latency == old.latency:
                return
            self.unskip(account, old)
        if account is self.sign:
            self.sign = None
        if old is new or not account.report:
            return
        if account.opening and account.phase == SYN:
            self._send_again(account, old, new)
        elif account.opening and account.phase == HANDSHAKE:
            if new.silent:
                self._forget(account)
            elif fault_of(new) or (new.refusal and new.refusal != old.refusal):
                self._shake_hands(account, new, self.agenda.tick)
        elif not account.opening and new.silent:
            self._forget_answer(account)

    def _send_again(self, account: SimulatedAccount, old: Conditions, new: Conditions) -> None:
        """Let a first packet that was dropped be sent again at its time, now that it may come through."""
        now, first = self.agenda.tick, account.sent
        if old.opening is not Opening.HANGS or new.opening is Opening.HANGS:
            return
        again = next((first + retry * TICKS for retry in SYN_RETRIES if first + retry * TICKS >= now), account.limit)
        if again < account.limit:
            self._report(account, again, RETRY)

    def _lose(self, account: SimulatedAccount, each: Disturbance) -> None:
        """Let an open link end; the account knows after half of its way."""
        has_link = account.snapshot.state in WITH_LINK or (account.opening and account.phase == HANDSHAKE)
        if has_link and not account.dead and not self.conditions(account).silent:
            account.loss_code = -404 if each.kind is FaultKind.FORGET_KEY else each.code
            account.loss = self.agenda.push(self.agenda.tick + account.rtt // 2, account.index, LOSS)

    def _forget(self, account: SimulatedAccount) -> None:
        """Let an open link carry nothing any more."""
        if account.snapshot.state in WITH_LINK:
            account.dead = True
            self._forget_answer(account)
        elif account.opening and account.phase == HANDSHAKE:
            account.phase = DEAD
            self._report(account, account.limit, SILENCE)

    def _forget_answer(self, account: SimulatedAccount) -> None:
        if account.report:
            self._report(account, account.limit, SILENCE)

    def _conditions_under(self, active: int) -> Conditions:
        found = self._known.get(active)
        if found is None:
            numbers = (number for number in range(active.bit_length()) if active >> number & 1)
            found = self._known[active] = conditions_of(self.disturbances[number] for number in numbers)
        return found

    def _report(self, account: SimulatedAccount, at: int, says: int, detail: tuple[int, str] | None = None) -> None:
        """Let an account hear something at a time, or of silence when its patience ends before that."""
        if at > account.limit:
            at, says, detail = account.limit, SILENCE, None
        account.says, account.detail = says, detail
        account.report = self.agenda.push(at, account.index, REPORT)


def _is_moment(each: Disturbance) -> bool:
    return each.kind in MOMENTS and each.end == each.begin
