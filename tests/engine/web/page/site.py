"""The pages of a made-up engine over HTTP: with the policy of the real ones, and a stream that a test fills."""

import asyncio
import json
import queue
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

from attrs import define, field

from engine.web.page import views
from engine.web.page.render import STATIC
from engine.web.page.source import PageName, View, Viewer, account_at
from tests.engine.web.page.fake import NOW, OPERATOR, FakeSource, fleet
from tests.timeouts import TIMEOUT

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
Events: TypeAlias = "queue.Queue[tuple[str, Any] | None]"
"""What a stream sends next; None ends it."""
_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@define(eq=False)
class Site:
    """A server of pages; ``source`` and ``viewer`` may be exchanged at any time."""

    source: FakeSource
    viewer: Viewer = OPERATOR
    address: str = ""
    acted: list[dict[str, str]] = field(factory=list)
    streams: list[Events] = field(factory=list)
    """What each stream sends next, the newest last."""
    opened: Event = field(factory=Event)
    """Set when the page that is open has its stream."""
    refuses: int = 0
    """The status with which streams are refused; 0 if they are not."""
    told: int = 200
    """The status of an answer to whether there is a stream."""

    def page(self, path: str, query: dict[str, str]) -> str:
        """Return a page."""
        match path.strip("/").split("/"):
            case [""]:
                made = views.fleet_page(self.source, self.viewer, NOW, query)
            case ["accounts", part]:
                name = account_at(self.source.statuses, unquote(part)) or ""
                made = views.account_page(self.source, self.viewer, NOW, query, name)
            case ["jobs"]:
                made = views.jobs_page(self.source, self.viewer, NOW, query)
            case ["incidents"]:
                made = views.incidents_page(self.source, self.viewer, NOW, query)
            case _:
                return views.message_page("Not found", "There is no such page here")
        return asyncio.run(made)

    def send(self, name: str, data: Any) -> None:
        """Send an event to the page that is open."""
        assert self.opened.wait(TIMEOUT)
        self.streams[-1].put((name, data))

    def cut(self) -> None:
        """End the stream of the page that is open, which opens another."""
        assert self.opened.wait(TIMEOUT)
        self.opened.clear()
        self.streams[-1].put(None)

    def send_all(self) -> None:
        """Send the page of the fleet what it shows now, as the engine's stream does."""
        found = views.fragments(self.source, self.viewer, NOW, View(PageName.FLEET))
        for key, html in found.html.items():
            self.send("fragment", {"id": key, "html": html})
        self.send("order", {"ids": list(found.order)})
        self.send("seen", {"at": NOW})


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """Serve the pages on a free port of this machine."""

    class Answer(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:  # type: ignore[override]
            pass

        def _send(self, text: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("content-type", f"{kind}; charset=utf-8")
            self.send_header("content-security-policy", POLICY)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/stream":
                self._stream()
            elif parts.path.startswith("/static/"):
                file = STATIC / parts.path.rpartition("/")[2]
                self._send(file.read_bytes(), _TYPES[file.suffix[1:]])
            else:
                self._send(site.page(parts.path, dict(parse_qsl(parts.query))).encode(), "text/html")

        def do_HEAD(self) -> None:
            self.send_response(site.told)
            self.end_headers()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            form = {key: values[0] for key, values in parse_qs(body).items()}
            site.acted.append(form)
            self._send(
                json.dumps({"done": True, "said": f"{form['target']}: {form['verb']} done"}).encode(),
                "application/json",
            )

        def _stream(self) -> None:
            if site.refuses:
                self.send_error(site.refuses)
                return
            mine: Events = queue.Queue()
            site.streams.append(mine)
            site.opened.set()
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b"retry: 100\n\n")
            while (event := mine.get()) is not None:
                name, data = event
                self.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
                self.wfile.flush()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        for stream in site.streams:
            stream.put(None)
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    """Serve a made-up fleet until Ctrl+C, to look at: ``python -m tests.engine.web.page.site``."""
    with serving(Site(fleet(48))) as site, suppress(KeyboardInterrupt):
        print(f"{site.address}/ and {site.address}/accounts/News%202")
        Event().wait()


if __name__ == "__main__":
    main()
