"""Which connection uses a login, and when two use it in parallel.

A datacenter destroys a login that sends requests in parallel over two TCP connections, from the same address or from
two. Connections for media are exempt. Source: https://core.telegram.org/api/errors#406-not-acceptable
"""

from attrs import define, field

from adapters.sandbox.services import serves_media


@define
class _Uses:
    current: object
    """The connection that sent the last request."""
    earlier: set[object] = field(factory=set)
    """Open connections that sent requests before it, and none since."""


@define
class KeyUse:
    """The open connections that have sent requests with each key that is logged in.

    A new connection may take over from one that is still open: the client may have lost it without a FIN, and the
    datacenter cannot know. It is in parallel when the earlier one sends a request after that.
    """

    _uses: dict[int, _Uses] = field(factory=dict)

    def is_parallel(self, key_id: int, connection: object, method: str) -> bool:
        """Note a request; return whether another connection has used the key since this one's last request."""
        if serves_media(method):
            return False
        uses = self._uses.setdefault(key_id, _Uses(connection))
        if uses.current is connection:
            return False
        parallel = connection in uses.earlier
        uses.earlier.discard(connection)
        uses.earlier.add(uses.current)
        uses.current = connection
        return parallel

    def end(self, key_id: int, connection: object) -> None:
        """Forget a connection that is over. If it was the current one, whichever speaks next goes on alone."""
        uses = self._uses.get(key_id)
        if uses is None:
            return
        uses.earlier.discard(connection)
        if uses.current is connection:
            del self._uses[key_id]
