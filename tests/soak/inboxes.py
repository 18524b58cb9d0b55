"""A mail server and a webhook for soaks: they count what they take by incident, hold answers back, and refuse."""

import asyncio
import email
import email.policy
import json
import re
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import anyio
from aiosmtpd.smtp import SMTP
from attrs import define, field

OPENED, REPEATED, CLOSED, SOME = "opened", "repeated", "closed", "some"
"""What is told of an incident; ``SOME``: a digest counts it, and does not say."""
HELD_SECONDS: Final = 60.0
_ALONE: Final = re.compile(r"^Incident (\d+)", re.MULTILINE)
_LINE: Final = re.compile(r"^(\S+ )(.*) – since .*, incident (\d+)$", re.MULTILINE)
_MORE: Final = re.compile(r"^and \d+ more, incidents ([\d, ]+)$", re.MULTILINE)

Told = tuple[int, str]
"""An incident, and what is told of it."""


def told_in(subject: str, body: str) -> list[Told]:
    """Return what a message tells of which incidents."""
    body = body.replace("\r\n", "\n")
    if found := _ALONE.search(body):
        return [(int(found[1]), _kind(subject.partition(" ")[2]))]
    found_lines = [(int(number), _kind(headline)) for _, headline, number in _LINE.findall(body)]
    return found_lines + [(int(number), SOME) for more in _MORE.findall(body) for number in more.split(", ")]


def _kind(headline: str) -> str:
    for prefix, kind in (("Over: ", CLOSED), ("Still: ", REPEATED)):
        if headline.startswith(prefix):
            return kind
    return OPENED


@define(eq=False)
class Inbox:
    """What arrived at one server. Its thread or loop asks ``arrive`` whether to take a message."""

    address: str = ""
    refuses: bool = False
    refused: int = 0
    taken: list[list[Told]] = field(factory=list)
    """What each message tells, of those that were taken: those whose answer was held back, too."""
    held: int = 0
    """Messages that wait for their answer."""
    _answers: threading.Event = field(factory=threading.Event)

    def __attrs_post_init__(self) -> None:
        self._answers.set()

    @property
    def told(self) -> Counter[Told]:
        """How often each thing was told."""
        return Counter(each for message in self.taken for each in message)

    def again(self) -> list[list[Told]]:
        """Return the messages that tell what an earlier one has told."""
        seen, found = set[Told](), []
        for message in self.taken:
            if seen.intersection(message):
                found.append(message)
            seen.update(message)
        return found

    def hold(self) -> None:
        """Let no message have its answer from now on."""
        self._answers.clear()

    def answer(self) -> None:
        """Answer again."""
        self._answers.set()
        self.held = 0

    def arrive(self, subject: str, body: str) -> bool:
        """Take a message; return False to refuse it."""
        if self.refuses:
            self.refused += 1
            return False
        self.taken.append(told_in(subject, body))
        return True

    @property
    def holds(self) -> bool:
        """Whether a message that was taken has to wait for its answer."""
        return not self._answers.is_set()

    def wait(self) -> None:
        """Wait until an answer may go; blocks."""
        if self.holds:
            self.held += 1
            self._answers.wait(HELD_SECONDS)


class _Mails:
    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        part = mail.get_body(("plain", "html"))
        if not self.inbox.arrive(str(mail["Subject"]), "" if part is None else str(part.get_content())):
            return "451 try again later"
        if self.inbox.holds:
            self.inbox.held += 1
            with anyio.move_on_after(HELD_SECONDS):
                while self.inbox.holds:
                    await anyio.sleep(0.02)
        return "250 OK"


@asynccontextmanager
async def mail_inbox() -> AsyncIterator[Inbox]:
    """Serve mail on the running loop."""
    inbox = Inbox()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(_Mails(inbox), hostname="localhost"), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    inbox.address = f"mailto://127.0.0.1:{port}?from=holdfast@example.org&to=ops@example.org&mode=insecure"
    try:
        yield inbox
    finally:
        inbox.answer()
        server.close()
        await server.wait_closed()


@contextmanager
def web_inbox() -> Iterator[Inbox]:
    """Serve a webhook, in threads."""
    inbox = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            taken = inbox.arrive(content["title"], content["message"])
            if taken:
                inbox.wait()
            try:
                self.send_response(200 if taken else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()
            except OSError:  # who sent it was killed
                pass

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    inbox.address = f"json://127.0.0.1:{server.server_address[1]}/hook"
    try:
        yield inbox
    finally:
        inbox.answer()
        server.shutdown()
        thread.join()
        server.server_close()
