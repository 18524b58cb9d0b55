"""The requests of one connection: performing them, and pushing what follows from them."""

import logging
from typing import Any

from attrs import define

from adapters.sandbox import services
from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.faults.fault import Fault
from adapters.sandbox.mtproto import tl
from adapters.sandbox.mtproto.cipher import AuthKey
from adapters.sandbox.server.faulty_answers import faulty_answer
from adapters.sandbox.server.hub import Hub, UpdateReceiver
from adapters.sandbox.services import RequestContext
from adapters.sandbox.store.database import StoredAccount

log = logging.getLogger(__name__)


@define(eq=False)
class RequestHandler:
    """Performs the requests of one connection."""

    _hub: Hub
    _receiver: UpdateReceiver
    """The connection that is pushed the updates of the account that is logged in."""
    _dc_id: int
    _subscribed: int | None = None
    _awaiting_login: int | None = None
    """The key under which the client waits to be logged in."""

    def answer(self, msg_id: int, key: AuthKey, query: tl.Query, fault: Fault | None) -> bytes:
        """Return the answer to a request: the service's, or what a fault that hits it makes of it."""
        stats = self._hub.stats
        name = tl.method_name(query.request)
        stats.count(stats.requests, name)
        context = RequestContext(self._hub.shared, self._dc_id, key, self._hub.store.owner(key.id))
        try:
            if self._hub.store.is_destroyed(key.id):
                raise RpcRefusal(406, "AUTH_KEY_DUPLICATED")
            value = (
                self._perform(context, query, name) if fault is None else faulty_answer(context, query.request, fault)
            )
            return tl.rpc_result(msg_id, value)
        except RpcRefusal as refusal:
            return tl.rpc_error(msg_id, refusal)
        except Exception:
            # A mistake of ours must reach the client as an answer, not as a connection that ends.
            log.exception("request failed")
            stats.count(stats.protocol_errors, "internal")
            return tl.rpc_error(msg_id, RpcRefusal(500, "INTERNAL_SERVER_ERROR"))

    def note_use(self, key: AuthKey, query: tl.Query) -> None:
        """Note that a request has arrived; destroy the login if another connection uses it in parallel."""
        store, owner = self._hub.store, self._hub.store.owner(key.id)
        if owner is None or not self._hub.key_use.is_parallel(key.id, self, tl.method_name(query.request)):
            return
        if not store.is_destroyed(key.id):
            store.destroy_login(key)
            self._hub.stats.logins_destroyed += 1
            log.warning("two connections sent requests with one login of %s in parallel; it is destroyed", owner.phone)

    def may_receive(self, owner: StoredAccount | None) -> bool:
        """Return whether the client, whose key is the owner's, may still get the updates it once asked for.

        The key may have been logged out, or in as another account, on another connection.
        """
        return self._subscribed is None or (owner is not None and owner.id == self._subscribed)

    def end(self, key: AuthKey | None) -> None:
        """Push nothing any more, and leave the key to other connections: this one is over."""
        self.stop_updates()
        if key is not None:
            self._hub.key_use.end(key.id, self)

    def stop_updates(self) -> None:
        """Push nothing any more."""
        if self._subscribed is not None:
            self._hub.unsubscribe(self._subscribed, self._receiver)
            self._subscribed = None
        if self._awaiting_login is not None:
            self._hub.stop_awaiting_login(self._awaiting_login, self._receiver)
            self._awaiting_login = None

    def _perform(self, context: RequestContext, query: tl.Query, name: str) -> Any:
        if not services.is_known(query.request):
            self._hub.stats.count(self._hub.stats.unknown_requests, name)
            log.warning("request %s is not in the sandbox", name)
        if services.waits_for_login(query.request) and not query.without_updates and self._awaiting_login is None:
            self._awaiting_login = context.key.id
            self._hub.await_login(context.key.id, self._receiver)
        value = services.perform(context, query.request)
        self._update_subscription(context, query)
        self._hub.deliver(context.deliveries, self._receiver)
        for key, update in context.notices:
            self._hub.notify_login(key, update)
        return value

    def _update_subscription(self, context: RequestContext, query: tl.Query) -> None:
        """Keep the subscription to updates in step with the account that is logged in."""
        account = context.account.id if context.account else None
        if self._subscribed is not None and self._subscribed != account:
            self.stop_updates()
        wanted = services.asks_for_updates(query.request) and not query.without_updates
        if wanted and account is not None and self._subscribed is None:
            self._subscribed = account
            self._hub.subscribe(account, self._receiver)
