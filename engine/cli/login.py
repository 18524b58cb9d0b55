"""``login`` and ``logout``: an account's credentials, entered at the terminal."""

import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import anyio

from engine.cli.common import EXIT_BAD_INPUT, EXIT_FAILED, ConfigAndAccount, fail, load_account, reporting_errors, say
from engine.cli.declared import Parameter
from engine.cli.terminal import InputEnded, Terminal

if TYPE_CHECKING:  # Telethon takes a second or two to import, and most commands do not need it
    from engine.app.login import CredentialsCommand, LoginOutcome

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Yes = Annotated[bool, Parameter(name="--yes", negative="", help="Do not ask for confirmation.")]


def login(
    *words: ConfigAndAccount,
    qr: Annotated[bool, Parameter(negative="", help="Log in by a QR code that another device scans.")] = False,
    code: Annotated[
        bool, Parameter(negative="", help="Log in by a code that Telegram sends; this is the default.")
    ] = False,
    phone: Annotated[str | None, Parameter(help="The phone number, instead of the config's.")] = None,
    yes: Yes = False,
) -> None:
    """Log an account in: by a code, by a QR code (--qr), or as a bot by the bot_token in the config.

    The old session is kept as a backup, and replaced only when the new login is proven. The engine may be running.

    Exit code 0 if it is done, 1 if it could not be done, 2 for a bad config or an unknown account.
    """
    with reporting_errors():
        config, account = load_account(words)
        if qr and (code or phone is not None):
            fail(EXIT_BAD_INPUT, "--qr needs neither a code nor a phone number; leave out one or the other")
        if account.bot_token is not None and (qr or code or phone is not None):
            fail(EXIT_BAD_INPUT, f"{account.name} is a bot, which logs in by its token alone; leave out the option")
        from adapters.telegram import AsBot, ByCode, ByQr, LoginMethod  # noqa: PLC0415  # as above
        from engine.app.login import CredentialsCommand  # noqa: PLC0415  # as above

        method: LoginMethod = ByCode(phone or account.phone)
        if qr:
            method = ByQr()
        elif account.bot_token is not None:
            method = AsBot(account.bot_token)
        command = CredentialsCommand(config, account, Terminal(yes))
        _run(command, lambda: command.log_in(method))


def logout(*words: ConfigAndAccount, yes: Yes = False) -> None:
    """Log an account out at Telegram, and move its session file, which is then useless, to the backups.

    Exit code 0 if it is done, 1 if it could not be done, 2 for a bad config or an unknown account.
    """
    with reporting_errors():
        config, account = load_account(words)
        from engine.app.login import CredentialsCommand  # noqa: PLC0415  # as above

        terminal = Terminal(yes)
        command = CredentialsCommand(config, account, terminal)

        async def confirmed() -> "LoginOutcome | None":
            question = f"{account.name} will have to log in again. Log it out?"
            return await command.log_out() if await terminal.confirm(question) else None

        _run(command, confirmed)


def _run(command: "CredentialsCommand", work: Callable[[], Awaitable["LoginOutcome | None"]]) -> None:
    """Run a command, print its outcome, and exit."""
    from adapters.sandbox import SandboxDied, SandboxError  # noqa: PLC0415  # as above
    from adapters.telegram import LoginFailed  # noqa: PLC0415  # as above

    os.umask(0o077)  # sessions are private to their owner
    quiet = logging.getLogger("holdfast.telethon")  # the command reports lost connections itself, in a sentence
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    try:
        outcome, number = anyio.run(_until_signal, work)
    except (LoginFailed, SandboxDied, SandboxError) as exc:
        fail(EXIT_FAILED, str(exc))
    except InputEnded:
        fail(EXIT_FAILED, f"The input ended; {_describe_result(command)}")
    if number is not None:
        fail(128 + number, "", f"Stopped; {_describe_result(command)}")
    if outcome is None:
        fail(EXIT_FAILED, "Nothing was changed")
    say(*outcome.sentences)
    raise SystemExit(0 if outcome.done else EXIT_FAILED)


def _describe_result(command: "CredentialsCommand") -> str:
    return f"but {command.account.name} has its new session already" if command.changed else "nothing was changed"


async def _until_signal(work: Callable[[], Awaitable[Any]]) -> tuple[Any, int | None]:
    """Return the outcome of the work, or the signal that ended it; a second signal exits at once."""
    from engine.app.stop import heeded  # noqa: PLC0415 - the page of commands needs no structlog

    outcome: Any = None
    failure: Exception | None = None
    received: int | None = None

    async def listen(scope: anyio.CancelScope) -> None:
        nonlocal received
        with anyio.open_signal_receiver(*heeded(*SIGNALS)) as signals:
            async for number in signals:
                if received is not None and number == signal.SIGHUP:
                    continue  # a terminal that closes sends it twice
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
            except Exception as exc:  # raised below: here the task group would wrap it in an ExceptionGroup
                failure = exc
        listening.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return outcome, received if scope.cancelled_caught else None
