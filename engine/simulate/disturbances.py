"""What can go wrong in the model: disturbances in time, and the conditions that those of an account add up to.

Most kinds are faults of the sandbox, under the same names and with the same meaning, so that a scenario can be run in
both worlds. ``OWN_KINDS`` are those that the sandbox does not have.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

from attrs import field, frozen

from adapters.sandbox.faults.kinds import FaultKind


class ModelKind(StrEnum):
    """The disturbances that only the model has."""

    GONE = "gone"
    """There is no network: open links carry nothing, and new connections have no route."""
    HALF_OPEN = "half_open"
    """The links that are open now carry nothing any more, and nobody is told; new links are as before."""
    LATENCY = "latency"
    """Every packet comes ``seconds`` later, of new links and of open ones."""
    HANDSHAKES = "handshakes"
    """The datacenter completes ``rate`` handshakes per second, for all accounts together; more have to wait."""


Kind = FaultKind | ModelKind

SHARED_KINDS: Final = (
    FaultKind.RESET,
    FaultKind.CLOSE,
    FaultKind.BLACKHOLE,
    FaultKind.REFUSE,
    FaultKind.SYN_DROP,
    FaultKind.ACCEPT_THEN_CLOSE,
    FaultKind.SLOW,
    FaultKind.RPC_ERROR,
    FaultKind.TRANSPORT_ERROR,
    FaultKind.REVOKE,
    FaultKind.DUPLICATE,
    FaultKind.FORGET_KEY,
)
"""The sandbox's faults that the model has; the others are about details of the protocol, which it does not."""
MOMENTS: Final = (FaultKind.RESET, FaultKind.CLOSE, ModelKind.HALF_OPEN)
"""What may happen in a moment; given a duration, it happens to every link that is opened meanwhile, too."""
AT_ONCE: Final = (FaultKind.RESET, FaultKind.CLOSE, FaultKind.TRANSPORT_ERROR, FaultKind.FORGET_KEY)
"""What a link that is open notices when it begins, and not only when it next asks for something."""


@frozen(kw_only=True)
class Disturbance:
    """Something goes wrong from ``begin`` to ``end``, in seconds since the beginning of the simulation.

    ``end`` None is never; a moment has ``end`` equal to ``begin``. ``members`` are the indices of the accounts that it
    happens to; None is all of them.
    """

    begin: float
    end: float | None
    kind: Kind
    members: Sequence[int] | None = field(default=None, repr=False)
    seconds: float = 0.0
    """Of ``slow`` and ``latency``."""
    code: int = 0
    """Of ``transport_error`` and ``rpc_error``."""
    text: str = ""
    """Of ``rpc_error`` and ``revoke``."""
    rate: float = 0.0
    """Of ``handshakes``."""
    label: str = ""
    """What it is called where it is shown; empty is its kind."""


class Opening(StrEnum):
    """What becomes of a TCP connection that is opened."""

    WORKS = "works"
    NO_ROUTE = "no_route"
    REFUSED = "refused"
    HANGS = "hangs"
    CLOSED = "closed"


_OPENINGS: Final[Mapping[Kind, Opening]] = {
    ModelKind.GONE: Opening.NO_ROUTE,
    FaultKind.REFUSE: Opening.REFUSED,
    FaultKind.SYN_DROP: Opening.HANGS,
    FaultKind.ACCEPT_THEN_CLOSE: Opening.CLOSED,
}


@frozen(kw_only=True)
class Conditions:
    """What the network and the datacenter do for an account now."""

    opening: Opening = Opening.WORKS
    silent: bool = False
    """Whether packets are lost, in both directions."""
    lost: bool = False
    """Whether a link ends as soon as something is sent on it."""
    latency: float = 0.0
    """Seconds by which every answer is later."""
    slow: float = 0.0
    """Seconds by which the answer to a request that is no ping is later."""
    transport: int = 0
    """The transport error that is the answer to every packet; 0 is none."""
    forgotten: bool = False
    """Whether the account's key is unknown, which is what -404 says."""
    refusal: tuple[int, str] | None = None
    """The error that is the answer to a request that is no ping."""

    @property
    def calm(self) -> bool:
        """Whether every probe is answered, after the same time whatever it asks."""
        answers = not (self.silent or self.lost or self.transport or self.forgotten) and self.refusal is None
        return answers and not self.slow


CALM: Final = Conditions()


def conditions_of(active: Iterable[Disturbance]) -> Conditions:
    """Return what these disturbances add up to, oldest first: of two of a kind the newer counts."""
    opening, silent, lost, forgotten, latency, slow, transport = Opening.WORKS, False, False, False, 0.0, 0.0, 0
    refusal: tuple[int, str] | None = None
    for each in active:
        opening = _OPENINGS.get(each.kind, opening)
        match each.kind:
            case FaultKind.BLACKHOLE | ModelKind.GONE:
                silent = True
            case FaultKind.RESET | FaultKind.CLOSE:
                lost = True
            case ModelKind.LATENCY:
                latency = each.seconds
            case FaultKind.SLOW:
                slow = each.seconds
            case FaultKind.TRANSPORT_ERROR:
                transport = each.code
            case FaultKind.FORGET_KEY:
                forgotten = True
            case FaultKind.RPC_ERROR:
                refusal = (each.code, each.text)
            case FaultKind.REVOKE:
                refusal = (401, each.text or "SESSION_REVOKED")
            case FaultKind.DUPLICATE:
                refusal = (406, "AUTH_KEY_DUPLICATED")
            case _:
                pass
    return Conditions(
        opening=opening,
        silent=silent,
        lost=lost,
        latency=latency,
        slow=slow,
        transport=transport,
        forgotten=forgotten,
        refusal=refusal,
    )
