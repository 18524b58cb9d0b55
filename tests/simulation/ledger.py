"""What the world writes down while it runs: the evidence for the judges, and the happenings for the diagram."""

import asyncio
import logging
from collections import Counter
from typing import Any

from attrs import define, field

from adapters.telegram.datacenter_probe import inspect_datacenter
from tests.simulation.evidence import (
    Complaint,
    ConnectionSeen,
    ConnectionUse,
    DeadKey,
    EngineLife,
    Evidence,
    FloodDemand,
    LogLine,
    RequestSeen,
    SyncSeen,
)
from tests.simulation.network import Link
from tests.simulation.outcome import Happening
from tests.simulation.process import current
from tests.simulation.world import World

TELETHON = "holdfast.telethon"
"""Logger of what Telethon itself says; its word for a lost connection is an error, also where it was expected."""
MAX_HAPPENINGS = 50_000


@define(eq=False)
class Ledger:
    """One run's evidence as it grows."""

    world: World
    evidence: Evidence = field(factory=Evidence)
    happenings: list[Happening] = field(factory=list)
    counters: Counter[str] = field(factory=Counter)
    accounts_by_port: dict[int, str] = field(factory=dict)
    """The names of accounts by the port that they call."""
    connections: dict[int, ConnectionSeen] = field(factory=dict)
    """By the number of the link."""
    life: int = 0
    phones: dict[str, str] = field(factory=dict)
    """The names of accounts by their phone numbers, without the plus."""
    asking: tuple[Link, str, int] | None = None
    """Whose request the datacenter is answering: link, method and key."""
    refusal: FloodDemand | DeadKey | None = None
    """What the answer to that request says that matters for later."""

    @property
    def now(self) -> float:
        """Virtual seconds."""
        return self.world.now

    def tell(self, who: str, text: str, to: str | None = None) -> None:
        """Write down what happened."""
        if len(self.happenings) < MAX_HAPPENINGS:
            self.happenings.append(Happening(self.now, who, text, to))

    # --- network ---

    def attempt(self, port: int) -> ConnectionSeen:
        """Note that somebody asks for a connection."""
        seen = ConnectionSeen(
            number=len(self.evidence.connections) + 1,
            life=self.life,
            began=self.now,
            account=self.accounts_by_port.get(port, ""),
            route=f"127.0.0.1:{port}",
            use=ConnectionUse.PROBE if _asks_for_datacenter() else ConnectionUse.UNKNOWN,
        )
        self.evidence.connections.append(seen)
        self.counters["probes" if seen.use is ConnectionUse.PROBE else "attempts"] += 1
        return seen

    def opened(self, link: Link, seen: ConnectionSeen) -> None:
        """Note that the datacenter has accepted."""
        seen.accepted = self.now
        self.connections[link.number] = seen

    def ended(self, link: Link) -> None:
        """Note that the engine's side is over."""
        seen = self.connections.get(link.number)
        if seen is not None and seen.closed is None:
            seen.closed = self.now
            seen.given_up = not link.client.told

    # --- requests ---

    def request(self, link: Link, method: str, key: int, phone: str) -> None:
        """Note a request that has arrived."""
        seen = self.connections.get(link.number)
        if seen is None:
            return
        text = key_text(key)
        seen.key = seen.key or text
        seen.use = ConnectionUse.ACCOUNT
        seen.account = seen.account or self.phones.get(phone, "")
        seen.first_request = self.now if seen.first_request is None else seen.first_request
        seen.last_request = self.now
        self.evidence.requests.append(
            RequestSeen(
                at=self.now,
                connection=seen.number,
                account=seen.account,
                method=method,
                key=text,
                sent=link.server.heard_sent_at,
            )
        )
        self.counters["requests"] += 1

    def refused(self, code: int, text: str, *, by_fault: bool = True) -> None:
        """Note that the request that is being answered is refused."""
        if self.asking is None:
            return
        link, method, key = self.asking
        seen = self.connections.get(link.number)
        if seen is None:
            return
        self.tell("datacenter", f"{code} {text} to {method}", seen.account or None)
        if code in (420, -429):
            seconds = float(text.rpartition("_")[2]) if text.rpartition("_")[2].isdigit() else 0.0
            flood = FloodDemand(
                at=self.now, account=seen.account, method=method, seconds=seconds, connection=seen.number
            )
            self.evidence.floods.append(flood)
            self.refusal = flood
        if code in (401, 406):
            dead = DeadKey(key=key_text(key), account=seen.account, at=self.now, why=text, by_fault=by_fault)
            self.evidence.dead_keys.append(dead)
            self.refusal = dead

    def delivered(self, refusal: FloodDemand | DeadKey) -> None:
        """Note that the engine's side has got the answer."""
        if isinstance(refusal, FloodDemand):
            refusal.delivered = self.now
        else:
            refusal.told = self.now

    # --- disk, lives, logs ---

    def synced(self, path: str) -> None:
        """Note that a file was synced."""
        if len(self.evidence.syncs) < MAX_HAPPENINGS:
            self.evidence.syncs.append(SyncSeen(at=self.now, file=path.rpartition("/")[2]))

    def begin_life(self) -> EngineLife:
        """Note that an engine starts."""
        self.life += 1
        life = EngineLife(number=self.life, began=self.now)
        self.evidence.lives.append(life)
        self.tell("program", f"starts the engine (life {self.life})", "engine")
        return life

    def complain(self, text: str) -> None:
        """Note what Python complains of."""
        self.evidence.complaints.append(Complaint(at=self.now, life=self.life, text=text[:4000]))

    def on_loop_error(self, _: Any, context: dict[str, Any]) -> None:
        """Note what the loop's exception handler is told."""
        exc = context.get("exception")
        self.complain(f"{context.get('message')}: {exc!r}" + _traceback(exc))


def _asks_for_datacenter() -> bool:
    """Return whether the network probe asks for a connection: it has no account, and each account's port is a route."""
    task = asyncio.current_task()
    coro: Any = task.get_coro() if task is not None else None
    while coro is not None:
        if getattr(getattr(coro, "cr_code", None), "co_name", "") == inspect_datacenter.__name__:
            return True
        coro = getattr(coro, "cr_await", None)
    return False


def key_text(key: int) -> str:
    """Return a key's number as text."""
    return f"{key & (2**64 - 1):016x}"


def _traceback(exc: BaseException | None) -> str:
    import traceback

    return "" if exc is None else "\n" + "".join(traceback.format_exception(exc))[-3000:]


class LogCapture(logging.Handler):
    """Takes the log lines of simulated engines."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(logging.INFO)
        self.ledger = ledger

    def emit(self, record: logging.LogRecord) -> None:
        """Note a line."""
        if not current().name.startswith("engine") or record.name.startswith(TELETHON):
            return
        ledger = self.ledger
        fields = getattr(record.msg, "fields", vars(record))  # an adapter's record has its fields as attributes
        try:
            text = record.getMessage()
        except Exception as exc:
            text = f"a line that cannot be written: {exc!r}"
        if record.exc_info:
            text += _traceback(record.exc_info[1])
        ledger.counters["log_lines"] += 1
        ledger.evidence.logs.append(
            LogLine(
                at=ledger.now,
                life=ledger.life,
                level=record.levelname.lower(),
                event=str(fields.get("event") or record.name),
                logger=record.name,
                account=str(fields.get("account") or ""),
                text=text[:4000],
            )
        )
