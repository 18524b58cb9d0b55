"""``Door``: takes connections over that were made to ``engine.sock`` by programs, and serves them."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from anyio.abc import SocketStream
from attrs import define, field

from engine.control.protocol import RefusalReason, Request, refuse
from engine.remote.connection import FrameReader, ProgramConnection, peer_pid
from engine.remote.delivery import UpdateDelivery
from engine.remote.feeds import Feeds
from engine.remote.ports import Accounts, Calls
from engine.remote.programs import MAX_IN_FLIGHT, NotAdmitted, Programs

SendAnswer = Callable[[dict[str, Any]], Awaitable[bool]]
"""Sends a line; returns False if the other side does not take it."""
MAX_TOLD: Final = 200
"""Refusals that are remembered, so that each is logged once."""

log = structlog.get_logger("holdfast.remote")


@define(eq=False)
class Door:
    """Serves programs, each for one account and by one connection."""

    programs: Programs
    accounts: Accounts
    calls: Calls
    feeds: Feeds | None = None
    """The updates; None: programs have none."""
    connections: list[ProgramConnection] = field(factory=list, init=False)
    """Those that are connected now."""
    _told: set[tuple[str, str]] = field(factory=set, init=False)

    async def take(self, request: Request, stream: SocketStream, source: FrameReader, answer: SendAnswer) -> None:
        """Answer a program's first line, and serve the program if it is let in, until it is gone."""
        connection = self._admit(request, stream, source)
        if not isinstance(connection, ProgramConnection):
            await answer(connection)
            return
        try:
            if (found := await self.accounts.elsewhere(connection.account)) is not None:
                await answer({**refuse(RefusalReason.ELSEWHERE, found.sentence), "directory": found.directory})
            elif await answer({**self._welcome(connection), "peers": list(await self.accounts.peers())}):
                await self._serve(connection)
        finally:
            self.programs.leave(connection.seat)

    def _admit(self, request: Request, stream: SocketStream, source: FrameReader) -> ProgramConnection | dict[str, Any]:
        if request.layer != self.calls.layer:
            sentence = (
                f"the engine speaks layer {self.calls.layer} of Telegram's protocol, and this program layer "
                f"{request.layer}; use the same version of Telethon in both"
            )
            return self._refuse(request, sentence)
        try:
            seat, account = self.programs.admit(request.program, request.account, self.accounts.names)
        except NotAdmitted as exc:
            return self._refuse(request, str(exc), RefusalReason.BUSY if exc.later else RefusalReason.REFUSED)
        connection = ProgramConnection(seat, account, self.programs, self.accounts, self.calls, source, stream)
        if self.feeds is not None:
            connection.subscribe = UpdateDelivery(connection, self.feeds).begin
        return connection

    def end(self, account: str, why: str) -> None:
        """Close the connections of programs that use an account: they connect again, and are told where it is."""
        for connection in self.connections:
            if connection.account == account:
                connection.end(why)

    def _welcome(self, connection: ProgramConnection) -> dict[str, Any]:
        account = connection.account
        datacenter = self.accounts.datacenter(account)
        return {"ok": True, "account": account, "datacenter": datacenter, "in_flight": MAX_IN_FLIGHT}

    def _refuse(self, request: Request, sentence: str, reason: RefusalReason = RefusalReason.REFUSED) -> dict[str, Any]:
        told = request.program, sentence
        if told not in self._told:
            if len(self._told) >= MAX_TOLD:
                self._told.clear()
            self._told.add(told)
            log.warning("remote_refused", program=request.program, account=request.account, detail=sentence)
        return refuse(reason, sentence)

    async def _serve(self, connection: ProgramConnection) -> None:
        name, account, pid = connection.seat.name, connection.account, peer_pid(connection.stream)
        self.connections.append(connection)
        log.info("remote_connected", program=name, account=account, pid=pid)
        try:
            await connection.run()
        finally:
            self.connections.remove(connection)
            log.info(
                "remote_disconnected",
                program=name,
                account=account,
                requests=connection.requests,
                detail=connection.why,
            )
