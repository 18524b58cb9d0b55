"""How one program has its updates: from its cursor on, as many at a time as it acknowledges."""

import json
from typing import Final

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from engine.fleet.watchers import describe
from engine.remote.connection import ProgramConnection
from engine.remote.feeds import Feed, Feeds, ProgramCursor
from engine.remote.frames import FailureKind, FrameKind, RemoteFailure, encode_frame

WINDOW: Final = 64
"""Updates that a program may have without having acknowledged them."""
TAKEOVER_TIMEOUT: Final = 5.0
"""Seconds that a connection that is over, or a program that ends, has to let go of the cursor."""
RETRY_SECONDS: Final = 5.0
"""Seconds until updates that could not be read are read again."""


@define(eq=False)
class UpdateDelivery:
    """Sends the updates of one account to one program."""

    connection: ProgramConnection
    feeds: Feeds
    _begun: bool = field(default=False, init=False)
    _sent: int = field(default=0, init=False)

    def begin(self, tasks: TaskGroup) -> None:
        """Begin, in a task of the connection; what was begun goes on."""
        if not self._begun:
            self._begun = True
            tasks.start_soon(self._run)

    @property
    def _allowed(self) -> bool:
        connection = self.connection
        return connection.programs.may_have_updates(connection.seat.name, connection.account, connection.accounts.names)

    async def _run(self) -> None:
        connection = self.connection
        if not self._allowed:
            await self._refuse(
                f"the program {connection.seat.name!r} may not have the updates of {connection.account}; see "
                f"remote.programs.{connection.seat.name}.updates"
            )
            return
        feed, cursor = await self._subscribe()
        if not await self._take(feed, cursor):
            await self._refuse(
                f"another connection of the program {connection.seat.name!r} has the updates of {connection.account} "
                "now; end that, or give one of the two another name"
            )
            return
        cursor.reader = connection
        connection.acknowledge = lambda number: self.feeds.acknowledge(feed, cursor, min(number, self._sent))
        try:
            self._sent = cursor.acknowledged
            body = json.dumps({"feed": feed.name}).encode()
            await connection.write(encode_frame(FrameKind.SUBSCRIBED, cursor.acknowledged, body))
            await self._send(feed, cursor)
        finally:
            cursor.reader = None
            feed.changed.notify()

    async def _subscribe(self) -> tuple[Feed, ProgramCursor]:
        """Return the feed and the cursor when the file has them."""
        while True:
            try:
                return await self.feeds.subscribe(self.connection.account, self.connection.seat.name)
            except Exception as exc:  # the file cannot be written now
                self.connection.note_trouble(describe(exc))
            await anyio.sleep(RETRY_SECONDS)

    async def _take(self, feed: Feed, cursor: ProgramCursor) -> bool:
        """Wait until no other connection has the cursor; return False if one goes on having it."""
        with anyio.move_on_after(TAKEOVER_TIMEOUT):
            while cursor.reader is not None:
                await feed.changed.wait()
        return cursor.reader is None

    async def _send(self, feed: Feed, cursor: ProgramCursor) -> None:
        while True:
            changed = feed.changed.upcoming
            if self.connection.is_over:
                return
            if not self._allowed or feed.cursors.get(cursor.program) is not cursor:
                await self._refuse("the config does not let this program have these updates any more")
                return
            room = WINDOW - (self._sent - cursor.acknowledged)
            if self._sent >= feed.durable or room <= 0:
                await changed.wait()
                continue
            until = feed.durable
            try:
                updates = await self.feeds.store.after(feed.account, self._sent, room)
            except Exception as exc:  # the file cannot be read now: they are read later
                self.connection.note_trouble(describe(exc))
                await anyio.sleep(RETRY_SECONDS)
                continue
            first = updates[0][0] if updates else until + 1
            if first > self._sent + 1:
                lost, self._sent = first - 1 - self._sent, first - 1
                body = json.dumps({"updates": lost}).encode()
                await self.connection.write(encode_frame(FrameKind.DROPPED, self._sent, body))
            for number, update in updates:
                self._sent = number
                await self.connection.write(encode_frame(FrameKind.UPDATE, number, update))

    async def _refuse(self, why: str) -> None:
        failure = RemoteFailure(FailureKind.REFUSED, why)
        self.connection.note_refusal(failure)
        await self.connection.write(encode_frame(FrameKind.FAILURE, 0, failure.encode()))
