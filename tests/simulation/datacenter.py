"""The datacenter of the simulation: the sandbox's own code over simulated sockets, and what it tells the ledger."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import adapters.sandbox.server.listener as listener_module
from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.faults.kinds import FaultPoint
from adapters.sandbox.mtproto import tl
from adapters.sandbox.server import requests as requests_module
from adapters.sandbox.server.connection import Connection
from tests.simulation.evidence import DeadKey, FloodDemand
from tests.simulation.ledger import Ledger
from tests.simulation.network import Link, Network, SimulatedSocket

DUPLICATED = "AUTH_KEY_DUPLICATED"


def install(network: Network, ledger: Ledger) -> None:
    """Put the sandbox's listeners onto the simulated network, and let the ledger see what arrives."""
    real = listener_module.socket
    listener_module.socket = SimpleNamespace(  # type: ignore[assignment]
        **{name: getattr(real, name) for name in ("AF_INET", "AF_INET6", "SOCK_STREAM", "SOL_SOCKET", "SO_REUSEADDR")},
        socket=lambda *_: SimulatedSocket(network=network),
    )
    # Connections are in sets, whose order must not depend on addresses.
    Connection.__hash__ = lambda self: link_of(self).number  # type: ignore[assignment,method-assign]
    _watch_requests(ledger)


def link_of(connection: Any) -> Link:
    """Return the link that a connection of the sandbox serves."""
    return connection._writer.transport.link  # type: ignore[no-any-return]


def _watch_requests(ledger: Ledger) -> None:
    handler = requests_module.RequestHandler
    note_use, answer, perform = handler.note_use, handler.answer, requests_module.faulty_answer
    refusals: dict[bytes, FloodDemand | DeadKey] = {}
    """What an answer says, by the answer, which has the number of its request."""

    def noted(self: Any, key: Any, query: Any) -> None:
        owner = self._hub.store.owner(key.id)
        ledger.request(
            link_of(self._receiver), tl.method_name(query.request), key.id, "" if owner is None else owner.phone
        )
        note_use(self, key, query)

    def answered(self: Any, msg_id: int, key: Any, query: Any, fault: Any) -> bytes:
        ledger.asking, ledger.refusal = (link_of(self._receiver), tl.method_name(query.request), key.id), None
        if self._hub.store.is_destroyed(key.id):
            ledger.refused(406, DUPLICATED, by_fault=False)
        body = answer(self, msg_id, key, query, fault)
        if ledger.refusal is not None:
            refusals[body] = ledger.refusal
        return body

    def faulty(context: Any, request: Any, fault: Any) -> Any:
        try:
            return perform(context, request, fault)
        except RpcRefusal as refusal:
            ledger.refused(refusal.code, str(refusal.text))
            raise

    send = Connection._send

    def sent(self: Any, body: bytes, *, reply: bool, content: bool) -> None:
        refusal, link = refusals.pop(body, None), link_of(self)
        before = link.server.bytes_sent
        readable = not self._find_fault(FaultPoint.SEAL) and not self._find_fault(FaultPoint.CLOCK)
        send(self, body, reply=reply, content=content)
        if refusal is not None and readable and link.server.bytes_sent > before:
            link.client.when_heard(link.server.bytes_sent, partial(ledger.delivered, refusal))

    handler.note_use = noted  # type: ignore[method-assign]
    handler.answer = answered  # type: ignore[method-assign]
    Connection._send = sent  # type: ignore[method-assign]
    requests_module.faulty_answer = faulty
