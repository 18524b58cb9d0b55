"""The desk: the requests of one connection are performed here, and what follows from them is seen to."""

from typing import Any

import attrs
from telethon.tl import types

from adapters.sandbox import services, tl
from adapters.sandbox.centre import Centre, Receiver, log
from adapters.sandbox.cipher import AuthKey
from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.faults import Fault, FaultKind
from adapters.sandbox.services import Call
from adapters.sandbox.store import Account


@attrs.define(eq=False)
class Desk:
    """See the module's docstring."""

    _centre: Centre
    _receiver: Receiver
    """Who is pushed the updates of the account that is logged in."""
    _dc_id: int
    _subscribed: int | None = None
    _waiting: int | None = None
    """The key under which the client waits to be logged in."""

    def answer(self, msg_id: int, key: AuthKey, query: tl.Query, fault: Fault | None) -> bytes:
        """The answer to a request: what the service says, or what a fault that strikes here makes of it."""
        stats = self._centre.stats
        name = tl.method_name(query.request)
        stats.note(stats.requests, name)
        call = Call(self._centre.office, self._dc_id, key, self._centre.store.owner(key.id))
        try:
            value = self._perform(call, query, name) if fault is None else _spoiled(call, fault)
            return tl.rpc_result(msg_id, value)
        except RpcRefusal as refusal:
            return tl.rpc_error(msg_id, refusal)
        except Exception:
            # A mistake of ours must reach the client as an answer, not as a connection that ends.
            log.exception("request failed")
            stats.note(stats.protocol_errors, "internal")
            return tl.rpc_error(msg_id, RpcRefusal(500, "INTERNAL_SERVER_ERROR"))

    def is_for(self, owner: Account | None) -> bool:
        """Whether the client, whose key is the owner's, may still be pushed what it once asked for.

        The key may have been logged out, or in as somebody else, on another connection.
        """
        return self._subscribed is None or (owner is not None and owner.id == self._subscribed)

    def leave(self) -> None:
        """Nothing is pushed any more."""
        if self._subscribed is not None:
            self._centre.unsubscribe(self._subscribed, self._receiver)
            self._subscribed = None
        if self._waiting is not None:
            self._centre.wait_no_more(self._waiting, self._receiver)
            self._waiting = None

    def _perform(self, call: Call, query: tl.Query, name: str) -> Any:
        if not services.is_known(query.request):
            self._centre.stats.note(self._centre.stats.unknown_requests, name)
            log.warning("request %s is not in the sandbox", name)
        if services.waits_for_login(query.request) and not query.without_updates and self._waiting is None:
            self._waiting = call.key.id
            self._centre.wait(call.key.id, self._receiver)
        value = services.perform(call, query.request)
        self._follow(call, query)
        self._centre.deliver(call.deliveries, self._receiver)
        for key, update in call.notices:
            self._centre.notify(key, update)
        return value

    def _follow(self, call: Call, query: tl.Query) -> None:
        """Keeps the subscription to updates in step with who is logged in."""
        account = call.account.id if call.account else None
        if self._subscribed is not None and self._subscribed != account:
            self.leave()
        wanted = services.asks_for_updates(query.request) and not query.without_updates
        if wanted and account is not None and self._subscribed is None:
            self._subscribed = account
            self._centre.subscribe(account, self._receiver)


def _spoiled(call: Call, fault: Fault) -> Any:
    """What a request is answered with instead. Raises RpcRefusal, which is an answer, too."""
    match fault.kind:
        case FaultKind.TOO_LONG:
            return types.updates.DifferenceTooLong(call.store.pts(call.me.id))
        case FaultKind.REVOKE:
            raise RpcRefusal(401, fault.text or "AUTH_KEY_UNREGISTERED")
        case FaultKind.DUPLICATE:
            raise RpcRefusal(406, "AUTH_KEY_DUPLICATED")
    raise RpcRefusal(fault.code or 500, fault.text or "INTERNAL")
