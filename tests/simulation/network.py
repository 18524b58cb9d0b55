"""A network in memory: sockets and links between them, with delay, loss, silence and every way in which a link ends.

A link is reliable and in order, as TCP is: what a fault withholds arrives when the fault is over, or the sender gives
up after ``GIVE_UP_SECONDS``. Links do not wait for each other. A fault acts on the port of one account or on all.
"""

import asyncio
import errno
import random
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from attrs import Factory, define, field

from tests.simulation.process import WORLD, SimulatedProcess, current

if TYPE_CHECKING:
    from tests.simulation.loop import SimulatedLoop

CONNECT_SECONDS: Final = 127.0
"""After how long a connection that nobody answers has failed (Linux, ``tcp_syn_retries`` 6)."""
GIVE_UP_SECONDS: Final = 924.0
"""After how long a sender whose data nobody acknowledges gives up (Linux, ``tcp_retries2`` 15)."""
ORPHAN_SECONDS: Final = 100.0
"""The same once the program has closed the socket (Linux, ``tcp_orphan_retries`` 8)."""
HIGH_WATER: Final = 64 * 1024
LOW_WATER: Final = 16 * 1024
MAX_PIECES: Final = 64
"""Into how many pieces one write is cut at most."""
FIRST_PORT: Final = 40_000


@define(eq=False)
class NetworkFault:
    """What the network does from now on, to one port or, with None, to all. Times are virtual seconds."""

    port: int | None = None
    gone: bool = False
    """Nothing arrives in either direction: connecting hangs, links are silent."""
    unreachable: bool = False
    """The machine has no route: connecting fails at once; links are silent."""
    refused: bool = False
    silent_up: bool = False
    """Nothing that the engine sends arrives."""
    silent_down: bool = False
    """Nothing that the datacenter sends arrives."""
    dropped: bool = False
    """New links hang; open ones stay as they are."""
    delay: float = 0.0
    """Seconds more for everything."""
    pieces: int = 0
    """Of how many bytes each piece is in which data arrive; 0 leaves them whole."""


@define(eq=False)
class SimulatedSocket:
    """What code sees of a socket: a listening one, or one end of a link."""

    port: int = 0
    peer_port: int = 0
    listening: bool = False
    backlog: int = 0
    resets: bool = False
    """Whether closing it sends RST (SO_LINGER with zero seconds)."""
    transport: "SimulatedTransport | None" = None
    pending: "deque[SimulatedSocket]" = field(factory=deque)
    waiter: "asyncio.Future[None] | None" = None
    network: "Network | None" = None
    family: int = 2
    type: int = 1
    proto: int = 6

    def setblocking(self, _: bool) -> None:
        """Do nothing: no simulated socket blocks."""

    def setsockopt(self, _: int, option: int, value: Any) -> None:
        """Note SO_LINGER."""
        if isinstance(value, bytes) and len(value) == 8:
            on, seconds = struct.unpack("ii", value)
            self.resets = bool(on) and seconds == 0

    def getsockopt(self, *_: Any) -> int:
        """Return 0."""
        return 0

    def bind(self, address: tuple[str, int]) -> None:
        """Take a port."""
        assert self.network is not None
        self.port = address[1] or self.network.free_port()

    def listen(self, backlog: int = 0) -> None:
        """Listen; with a queue of length zero, which its owner fills, clients' packets are dropped."""
        assert self.network is not None
        self.listening, self.backlog = True, backlog
        self.network.listeners[self.port] = self

    def getsockname(self) -> tuple[str, int]:
        """Return this end."""
        return "127.0.0.1", self.port

    def getpeername(self) -> tuple[str, int]:
        """Return the other end."""
        return "127.0.0.1", self.peer_port

    def fileno(self) -> int:
        """Return that there is no descriptor."""
        return -1

    def close(self) -> None:
        """Close it."""
        if self.network is not None and self.network.listeners.get(self.port) is self:
            del self.network.listeners[self.port]
            for waiting in self.pending:
                waiting.close()
        self.listening = False
        if self.transport is not None:
            self.transport.abort()


@define(eq=False)
class Direction:
    """One direction of a link: what is on its way."""

    queue: deque[tuple[float, bytes | None, float]] = field(factory=deque)
    """When each piece arrives at the earliest, the piece (None is the end, FIN), and when it was sent."""
    timer: Any = None
    size: int = 0
    oldest: float | None = None
    """Since when the first piece is withheld."""


@define(eq=False)
class Link:
    """A connection: two transports and what is between them."""

    number: int
    port: int
    """The datacenter's, which tells the account."""
    began: float
    client: "SimulatedTransport" = field(init=False)
    server: "SimulatedTransport" = field(init=False)
    ended: float | None = None
    silent: bool = False
    """Whether nothing arrives any more, in either direction, and nobody is told."""


class SimulatedTransport(asyncio.Transport):
    """One end of a link, for an asyncio protocol."""

    def __init__(self, network: "Network", sock: SimulatedSocket, link: Link, *, is_client: bool) -> None:
        super().__init__({"socket": sock, "peername": sock.getpeername(), "sockname": sock.getsockname()})
        self.network, self.sock, self.link, self.is_client = network, sock, link, is_client
        self.process: SimulatedProcess = current()
        self.outgoing = Direction()
        self.protocol: Any = None
        self.received: list[bytes | None] = []
        """What arrived before anybody read."""
        self.closing = self.lost = self.eof_sent = self.paused = self.write_paused = False
        self.told = False
        """Whether this end was told that the link is over: by FIN, by RST, or by its kernel's own time-out."""
        self.bytes_sent = self.bytes_heard = 0
        """How many bytes were ever written here, and how many this end's protocol was given."""
        self.heard_sent_at = 0.0
        """When the first of those bytes was sent that arrived together last."""
        self.marks: deque[tuple[int, Callable[[], None]]] = deque()
        sock.transport = self

    @property
    def peer(self) -> "SimulatedTransport":
        """The other end."""
        return self.link.server if self.is_client else self.link.client

    # --- asyncio's interface ---

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Set who hears of what arrives."""
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return who hears of what arrives."""
        return self.protocol  # type: ignore[no-any-return]

    def is_closing(self) -> bool:
        """Return whether this end was closed."""
        return self.closing

    def is_reading(self) -> bool:
        """Return whether what arrives is passed on."""
        return not self.paused

    def pause_reading(self) -> None:
        """Pass on nothing until ``resume_reading``."""
        self.paused = True

    def resume_reading(self) -> None:
        """Pass on what has arrived meanwhile."""
        self.paused = False
        self.network.call_in(self.process, 0.0, self.deliver)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes have not arrived yet."""
        return self.outgoing.size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the limits."""
        return LOW_WATER, HIGH_WATER

    def when_heard(self, count: int, function: Callable[[], None]) -> None:
        """Call a function of the world once this end's protocol was given so many bytes; never, if it never is."""
        self.marks.append((count, function))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Keep the limits."""

    def can_write_eof(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> None:
        """Send bytes."""
        if self.eof_sent or self.lost or not self.process.alive or not data:
            return
        self.bytes_sent += len(data)
        for piece in self.network.cut(self.link, bytes(data)):
            self.network.send(self, piece)
        if self.outgoing.size > HIGH_WATER and not self.write_paused:
            self.write_paused = True
            self.protocol.pause_writing()

    def write_eof(self) -> None:
        """Send FIN after what was written."""
        if not self.eof_sent and not self.lost:
            self.eof_sent = True
            self.network.send(self, None)

    def close(self) -> None:
        """Close after what was written has left."""
        if not self.closing:
            self.closing = True
            if self.sock.resets:
                self.hang_up()
            else:
                self.write_eof()
            self.network.call_in(self.process, 0.0, self.end, None)

    def abort(self) -> None:
        """Close at once."""
        if not self.closing or not self.lost:
            self.closing = True
            self.hang_up()
            self.network.call_in(self.process, 0.0, self.end, None)

    # --- the network's side ---

    def hang_up(self) -> None:
        """Let the kernel close this end: RST if it lingers for zero seconds or was not read to the end, or else FIN."""
        if self.sock.resets or self.received:
            self.network.discard(self)
            self.network.reset(self.peer)
        elif not self.eof_sent:
            self.eof_sent = True
            self.network.send(self, None)

    def end(self, exc: Exception | None) -> None:
        """Tell the protocol, once, that the link is over on this side."""
        if self.lost:
            return
        self.lost = self.closing = True
        self.told |= exc is not None
        self.network.note_end(self)
        if self.protocol is not None and self.process.alive:
            self.protocol.connection_lost(exc)

    def deliver(self) -> None:
        """Pass on what has arrived."""
        while self.received and not self.paused and not self.lost and self.protocol is not None:
            piece = self.received.pop(0)
            self.told |= piece is None
            if piece is not None:
                if not self.closing:
                    self.protocol.data_received(piece)
                    self.bytes_heard += len(piece)
                    while self.marks and self.marks[0][0] <= self.bytes_heard:
                        self.marks.popleft()[1]()
            elif not self.protocol.eof_received() and not self.closing:
                self.close()

    def drained(self) -> None:
        """Let the writer go on when enough has arrived."""
        if self.write_paused and self.outgoing.size <= LOW_WATER and not self.lost:
            self.write_paused = False
            self.protocol.resume_writing()


@define(eq=False)
class Network:
    """All sockets of a simulation."""

    rng: random.Random
    loop: "SimulatedLoop" = field(init=False)
    listeners: dict[int, SimulatedSocket] = field(factory=dict)
    faults: list[NetworkFault] = field(factory=list)
    links: dict[int, Link] = field(factory=dict)
    """Those that are open at one end at least."""
    on_attempt: Callable[[int], Any] = lambda _: None
    """Called with the port when a client begins to connect; returns what ``on_open`` is called with."""
    on_open: Callable[[Link, Any], None] = lambda *_: None
    on_end: Callable[[Link], None] = lambda _: None
    base_latency: float = Factory(lambda self: self.rng.uniform(0.005, 0.09), takes_self=True)
    _ports: int = FIRST_PORT
    _numbers: int = 0

    def free_port(self) -> int:
        """Return a port that nobody has."""
        self._ports += 1
        return self._ports

    def call_in(self, process: SimulatedProcess, seconds: float, function: Callable[..., object], *args: Any) -> Any:
        """Call a function later as code of a process."""
        return self.loop.call_later(seconds, function, *args, context=process.context)

    def _faults_of(self, port: int) -> list[NetworkFault]:
        return [each for each in self.faults if each.port is None or each.port == port]

    def is_silent(self, port: int, *, up: bool) -> bool:
        """Return whether nothing arrives now in one direction."""
        return any(
            each.gone or each.unreachable or (each.silent_up if up else each.silent_down)
            for each in self._faults_of(port)
        )

    # --- connecting ---

    async def connect(self, host: str, port: int, protocol: Any) -> SimulatedTransport:
        """Connect; raises what the kernel would."""
        attempt = self.on_attempt(port)
        faults = self._faults_of(port)
        if any(each.unreachable for each in faults):
            raise OSError(errno.ENETUNREACH, f"Connect call failed ({host!r}, {port})")
        delay = self._delay(port)
        if not self._hears(port):
            await self._connect_when_heard(host, port)
        await asyncio.sleep(2 * delay)
        listener = self.listeners.get(port)
        if listener is None or not listener.listening or any(each.refused for each in self._faults_of(port)):
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed ({host!r}, {port})")
        if listener.backlog == 0:
            await asyncio.sleep(CONNECT_SECONDS)
            raise TimeoutError(errno.ETIMEDOUT, f"Connect call failed ({host!r}, {port})")
        return self._open(listener, protocol, attempt)

    def _hears(self, port: int) -> bool:
        """Return whether a first packet arrives, and the answer to it."""
        dropped = any(each.dropped for each in self._faults_of(port))
        return not (dropped or self.is_silent(port, up=True) or self.is_silent(port, up=False))

    async def _connect_when_heard(self, host: str, port: int) -> None:
        """Repeat the first packet after 1, 3, 7, 15, … seconds, as the kernel does."""
        for pause in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0):
            await asyncio.sleep(pause)
            if self._hears(port):
                return
        raise TimeoutError(errno.ETIMEDOUT, f"Connect call failed ({host!r}, {port})")

    def _open(self, listener: SimulatedSocket, protocol: Any, attempt: Any) -> SimulatedTransport:
        self._numbers += 1
        link = Link(self._numbers, listener.port, self.loop.time())
        ours = SimulatedSocket(port=self.free_port(), peer_port=listener.port, network=self)
        theirs = SimulatedSocket(port=listener.port, peer_port=ours.port, network=self)
        link.client = SimulatedTransport(self, ours, link, is_client=True)
        link.server = SimulatedTransport(self, theirs, link, is_client=False)
        self.links[link.number] = link
        self.on_open(link, attempt)
        listener.pending.append(theirs)
        if listener.waiter is not None and not listener.waiter.done():
            listener.waiter.set_result(None)
        self._made(link.client, protocol)
        return link.client

    def _made(self, transport: SimulatedTransport, protocol: Any) -> None:
        transport.process = current()
        transport.protocol = protocol
        protocol.connection_made(transport)
        self.call_in(transport.process, 0.0, transport.deliver)

    def attach(self, sock: SimulatedSocket, protocol: Any) -> SimulatedTransport:
        """Give an accepted socket its protocol; raises ``OSError`` if the link is over."""
        transport = sock.transport
        if transport is None or transport.lost:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        self._made(transport, protocol)
        return transport

    async def accept(self, sock: SimulatedSocket) -> SimulatedSocket:
        """Wait for the next connection at a listening socket."""
        while not sock.pending:
            sock.waiter = self.loop.create_future()
            await sock.waiter
        return sock.pending.popleft()

    # --- data ---

    def _delay(self, port: int) -> float:
        more = sum(each.delay for each in self._faults_of(port))
        return (self.base_latency + more) * self.rng.uniform(0.8, 1.3)

    def cut(self, link: Link, data: bytes) -> list[bytes]:
        """Return the pieces in which data arrive."""
        size = min((each.pieces for each in self._faults_of(link.port) if each.pieces), default=len(data))
        size = max(size, len(data) // MAX_PIECES + 1)
        return [data[start : start + size] for start in range(0, len(data), size)]

    def send(self, sender: SimulatedTransport, piece: bytes | None) -> None:
        """Put a piece on its way; it arrives after those before it."""
        way, now = sender.outgoing, self.loop.time()
        last = way.queue[-1][0] if way.queue else 0.0
        way.queue.append((max(now + self._delay(sender.link.port), last), piece, now))
        way.size += len(piece or b"")
        if way.timer is None:
            self._wait(sender)

    def _wait(self, sender: SimulatedTransport) -> None:
        way = sender.outgoing
        way.timer = self.loop.call_at(
            max(way.queue[0][0], self.loop.time()), self._arrive, sender, context=WORLD.context
        )

    def _arrive(self, sender: SimulatedTransport) -> None:
        """Let what is due arrive, unless the network is silent in this direction."""
        way, now = sender.outgoing, self.loop.time()
        way.timer = None
        if not way.queue or sender.peer.lost:
            if sender.peer.lost and any(piece is not None for _, piece, _ in way.queue):
                self.discard(sender)
                self.reset(sender)
            return
        if sender.link.silent or self.is_silent(sender.link.port, up=sender.is_client):
            way.oldest = now if way.oldest is None else way.oldest
            if now - way.oldest >= (ORPHAN_SECONDS if sender.lost else GIVE_UP_SECONDS):
                self.discard(sender)
                self.call_in(sender.process, 0.0, sender.end, TimeoutError(errno.ETIMEDOUT, "Connection timed out"))
                return
            pause = min(30.0, 0.2 + (now - way.oldest))
            way.timer = self.loop.call_later(pause, self._arrive, sender, context=WORLD.context)
            return
        way.oldest = None
        peer = sender.peer
        peer.heard_sent_at = way.queue[0][2]
        while way.queue and way.queue[0][0] <= now:
            _, piece, _ = way.queue.popleft()
            way.size -= len(piece or b"")
            peer.received.append(piece)
        self.call_in(peer.process, 0.0, peer.deliver)
        if sender.write_paused:
            self.call_in(sender.process, 0.0, sender.drained)
        if way.queue:
            self._wait(sender)

    def discard(self, sender: SimulatedTransport) -> None:
        sender.outgoing.queue.clear()
        sender.outgoing.size = 0

    # --- ends ---

    def reset(self, end: SimulatedTransport) -> None:
        """Let an RST arrive at one end, when the network lets it through."""
        if end.lost:
            return
        if end.link.silent or self.is_silent(end.link.port, up=not end.is_client):
            return  # lost: an RST is not repeated; who sends on a dead link gets the next one
        error = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        self.discard(end)
        self.call_in(end.process, self._delay(end.link.port), end.end, error)

    def reset_links(self, port: int | None) -> int:
        """Reset both ends of all links, or of those to one port, as a router does that forgot them; return how many."""
        hit = [link for link in self.links.values() if port is None or link.port == port]
        for link in hit:
            for end in (link.client, link.server):
                self.discard(end)
                error = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
                self.call_in(end.process, 0.0, end.end, error)
        return len(hit)

    def silence_links(self, port: int | None) -> list[Link]:
        """Let all links, or those to one port, carry nothing any more; return them."""
        hit = [link for link in self.links.values() if port is None or link.port == port]
        for link in hit:
            link.silent = True
        return hit

    def process_died(self, process: SimulatedProcess, *, silently: bool = False) -> None:
        """Close the sockets of a dead process, as its kernel does; ``silently`` if its machine lost its power."""
        for link in list(self.links.values()):
            for end in (link.client, link.server):
                if end.process is process and not end.lost:
                    if not silently:
                        end.hang_up()
                    end.lost = end.closing = True
                    self.note_end(end)

    def note_end(self, end: SimulatedTransport) -> None:
        """Forget a link of which both ends are over."""
        if end.is_client and end.link.ended is None:
            end.link.ended = self.loop.time()
            self.on_end(end.link)
        if end.peer.lost:
            self.links.pop(end.link.number, None)
