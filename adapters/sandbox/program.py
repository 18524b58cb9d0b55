"""A Telegram datacenter on loopback, until it is told to stop."""

import argparse
import json
import logging
import os
import shlex
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
from anyio.abc import Listener, SocketAttribute, SocketStream, TaskGroup, TaskStatus

from adapters.sandbox.control.access import ControlToken, token_file
from adapters.sandbox.control.command_server import CommandServer
from adapters.sandbox.errors import SandboxError
from adapters.sandbox.server.sandbox import MAX_CONNECTIONS, Sandbox
from adapters.system.descriptors import raise_to

EXIT_FAILED = 2
ACCEPT_PAUSE_SECONDS = 0.5
FILES, FEW_FILES = MAX_CONNECTIONS + 1024, 10_000 + 1024
"""Descriptors: for all connections that it may have, or at least for those of ten thousand accounts."""

log = logging.getLogger(__name__)


def command_line(host: str, port: int, token_file: Path, command: str = '{"do": "reset"}') -> str:
    """Return a line for a shell that sends one command; the token itself is not in it."""
    return f"{{ cat {shlex.quote(str(token_file))}; echo '{command}'; }} | nc -q 1 {host} {port}"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m adapters.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    parser.add_argument("--port", type=int, default=4430, help="for clients; 0 for any (default: %(default)s)")
    parser.add_argument("--control", type=int, default=0, help="for commands; 0 for any (default: any)")
    parser.add_argument("--dc", type=int, default=2, help="the number of the datacenter (default: %(default)s)")
    parser.add_argument("--state", type=Path, help="a directory to remember accounts, keys and messages in")
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="end when standard input does, as a child process should"
    )
    return parser


async def serve(options: argparse.Namespace) -> None:
    """Run a sandbox and its control connection until a signal, or the end of stdin."""
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(
            Sandbox(dc_id=options.dc, host=options.host, port=options.port, state=options.state)
        )
        listener = await stack.enter_async_context(await _listen(options.host, options.control))
        control_port = int(listener.extra(SocketAttribute.local_port))
        token = stack.enter_context(token_file(options.state))
        async with anyio.create_task_group() as tasks:
            control = CommandServer(sandbox, tasks, token.value)
            tasks.start_soon(_take_commands, listener, control, tasks)
            await tasks.start(_stop_on_signal, tasks.cancel_scope)
            if options.until_stdin_closes:
                tasks.start_soon(_stop_with_stdin, tasks.cancel_scope)
            _print_ready_line(sandbox, control_port, token)
            if not options.until_stdin_closes:
                _print_instructions(sandbox, control_port, token)


def main() -> int:
    """Run the program; return 0 after a clean stop, 2 when it cannot start."""
    options = parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    # Telethon logs every packet at debug level; its own loggers stay quiet here.
    logging.getLogger("telethon").setLevel(logging.WARNING)
    raise_to(FILES, at_least=FEW_FILES)
    try:
        anyio.run(serve, options)
    except SandboxError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    return 0


async def _listen(host: str, port: int) -> Listener[SocketStream]:
    try:
        multi = await anyio.create_tcp_listener(local_host=host, local_port=port)
    except OSError as error:
        raise SandboxError(
            f"The sandbox cannot take commands on port {port} of {host} ({error.strerror}); "
            "choose another with --control."
        ) from error
    return multi.listeners[0]


async def _take_commands(listener: Listener[SocketStream], control: CommandServer, tasks: TaskGroup) -> None:
    """Accept control connections for ever, also after a time without file descriptors for them."""
    while True:
        try:
            await listener.serve(control.serve, tasks)
        except OSError as error:
            log.warning("accepting a control connection failed: %s", error)
            await anyio.sleep(ACCEPT_PAUSE_SECONDS)


async def _stop_on_signal(scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        # The parent may send a signal as soon as it has read the ready line.
        task_status.started()
        async for _ in signals:
            scope.cancel()
            return


async def _stop_with_stdin(scope: anyio.CancelScope) -> None:
    """End when stdin closes: the parent holds its other end, and closes it however it ends."""
    stdin = sys.stdin.fileno()
    while True:
        await anyio.wait_readable(stdin)
        if not os.read(stdin, 4096):
            scope.cancel()
            return


def _print_ready_line(sandbox: Sandbox, control_port: int, token: ControlToken) -> None:
    ready = {
        "ready": True,
        "dc": sandbox.dc_id,
        "host": sandbox.host,
        "port": sandbox.port,
        "control": control_port,
        "control_token_file": str(token.file),
        "public_key": sandbox.public_key,
    }
    print(json.dumps(ready), flush=True)


def _print_instructions(sandbox: Sandbox, control_port: int, token: ControlToken) -> None:
    print(
        f"In Telethon: telethon.crypto.rsa.add_key(<public_key>, old=False) and "
        f'client.session.set_dc({sandbox.dc_id}, "{sandbox.host}", {sandbox.port}); '
        "log in as +9996620001 with the code 22222.\n"
        f"To inject a fault: {command_line(sandbox.host, control_port, token.file)}",
        file=sys.stderr,
    )
