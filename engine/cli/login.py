"""``login`` and ``logout``: a person's credentials, asked for at the terminal."""

import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from cyclopts import Parameter

from engine.cli.common import EXIT_BAD_INPUT, EXIT_FAILED, Where, account_of, fail, reporting_errors
from engine.cli.terminal import InputEnded, Terminal

if TYPE_CHECKING:  # Telethon takes a second or two to import, which the other commands need not wait for
    from engine.app.login import CredentialsCommand, LoginOutcome

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Yes = Annotated[bool, Parameter(name="--yes", negative="", help="Ask for no confirmation.")]


def login(
    *where: Where,
    qr: Annotated[bool, Parameter(negative="", help="Log in by a QR code, scanned with another device.")] = False,
    code: Annotated[
        bool, Parameter(negative="", help="Log in by a code that Telegram sends, as without --qr.")
    ] = False,
    phone: Annotated[str | None, Parameter(help="The phone number, if not the config's.")] = None,
    yes: Yes = False,
) -> None:
    """Log an account in, at the terminal: by a code, by --qr, or as a bot by the bot_token in the config.

    The old session is replaced when the new login is proven, and kept as a backup. The engine may run or not.

    Exit code 0 if it is done, 1 if it could not be done, 2 for a bad config or an unknown account.
    """
    with reporting_errors():
        config, account = account_of(where)
        if qr and (code or phone is not None):
            fail(EXIT_BAD_INPUT, "--qr needs neither a code nor a phone number; leave out one or the other")
        if account.bot_token is not None and (qr or code or phone is not None):
            fail(EXIT_BAD_INPUT, f"{account.name} is a bot, which logs in by its token alone; leave out the option")
        from adapters.telegram import AsBot, ByCode, ByQr, LoginMethod  # noqa: PLC0415  # as above
        from engine.app.login import CredentialsCommand  # noqa: PLC0415  # as above

        way: LoginMethod = ByCode(phone or account.phone)
        if qr:
            way = ByQr()
        elif account.bot_token is not None:
            way = AsBot(account.bot_token)
        visit = CredentialsCommand(config, account, Terminal(yes))
        _run(visit, lambda: visit.log_in(way))


def logout(*where: Where, yes: Yes = False) -> None:
    """Log an account out at Telegram, and move its session file, which is worth nothing then, to the backups.

    Exit code 0 if it is done, 1 if it could not be done, 2 for a bad config or an unknown account.
    """
    with reporting_errors():
        config, account = account_of(where)
        from engine.app.login import CredentialsCommand  # noqa: PLC0415  # as above

        terminal = Terminal(yes)
        visit = CredentialsCommand(config, account, terminal)

        async def confirmed() -> "LoginOutcome | None":
            question = f"{account.name} will have to log in again. Log it out?"
            return await visit.log_out() if await terminal.confirm(question) else None

        _run(visit, confirmed)


def _run(visit: "CredentialsCommand", work: Callable[[], Awaitable["LoginOutcome | None"]]) -> None:
    """Do it, say what came of it, and leave."""
    from adapters.sandbox import SandboxDied, SandboxError  # noqa: PLC0415  # as above
    from adapters.telegram import LoginFailed  # noqa: PLC0415  # as above

    os.umask(0o077)  # sessions are their owner's alone
    quiet = logging.getLogger("holdfast.telethon")  # what it says of lost links is told as a sentence
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    try:
        outcome, number = anyio.run(_until_signal, work)
    except (LoginFailed, SandboxDied, SandboxError) as exc:
        fail(EXIT_FAILED, str(exc))
    except InputEnded:
        fail(EXIT_FAILED, f"The input ended; {_left(visit)}")
    if number is not None:
        fail(128 + number, f"\nStopped; {_left(visit)}")
    if outcome is None:
        fail(EXIT_FAILED, "Nothing was changed")
    print("\n".join(outcome.sentences))
    raise SystemExit(0 if outcome.done else EXIT_FAILED)


def _left(visit: "CredentialsCommand") -> str:
    return f"but {visit.account.name} has its new session already" if visit.changed else "nothing was changed"


async def _until_signal(work: Callable[[], Awaitable[Any]]) -> tuple[Any, int | None]:
    """Return what came of the work, or the signal that ended it; a second signal leaves at once."""
    outcome: Any = None
    failure: Exception | None = None
    received: int | None = None

    async def listen(scope: anyio.CancelScope) -> None:
        nonlocal received
        with anyio.open_signal_receiver(*SIGNALS) as signals:
            async for number in signals:
                if received is not None:
                    print("Leaving at once", file=sys.stderr, flush=True)
                    os._exit(128 + number)
                received = int(number)
                scope.cancel()

    async with anyio.create_task_group() as listening:
        with anyio.CancelScope() as scope:
            listening.start_soon(listen, scope)
            try:
                outcome = await work()
            except Exception as exc:  # raised below: here it would become a group
                failure = exc
        listening.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return outcome, received if scope.cancelled_caught else None
