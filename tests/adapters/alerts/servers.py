"""A mail server and a web server on loopback, which keep what they get and fail on request."""

import asyncio
import email
import email.policy
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.smtp import SMTP


class Mails:
    """The handler of the mail server: its mails, and the answer that it gives instead of taking one."""

    def __init__(self) -> None:
        self.port = 0
        self.got: list[EmailMessage] = []
        self.refuses = ""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.refuses:
            return self.refuses
        found = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(found, EmailMessage)
        self.got.append(found)
        return "250 OK"

    @property
    def address(self) -> str:
        return f"mailto://127.0.0.1:{self.port}?from=holdfast@example.org&to=ops@example.org&mode=insecure"

    def text(self, number: int = -1) -> str:
        """Return what a person reads of a mail."""
        part = self.got[number].get_body(("plain", "html"))
        assert part is not None
        return str(part.get_content())


@asynccontextmanager
async def mail_server() -> AsyncIterator[Mails]:
    """Serve mail on the running loop."""
    mails = Mails()
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(mails, hostname="localhost"), "127.0.0.1", 0)
    mails.port = server.sockets[0].getsockname()[1]
    try:
        yield mails
    finally:
        server.close()
        await server.wait_closed()


class Hooks:
    """What the web server has got, and how it answers."""

    def __init__(self) -> None:
        self.port = 0
        self.got: list[tuple[str, bytes]] = []
        self.status = 200
        self.answers = threading.Event()
        """While it is not set, an answer waits."""
        self.answers.set()
        self.arrived = threading.Semaphore(0)

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self.port}/hook/verysecretpath"


@contextmanager
def web_server() -> Iterator[Hooks]:
    """Serve a webhook, in threads."""
    hooks = Hooks()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hooks.got.append((self.path, content))
            hooks.arrived.release()
            hooks.answers.wait(60)
            try:
                self.send_response(hooks.status)
                self.send_header("Content-Length", "0")
                self.end_headers()
            except OSError:
                pass

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hooks.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hooks
    finally:
        hooks.answers.set()
        server.shutdown()
        thread.join()
        server.server_close()
