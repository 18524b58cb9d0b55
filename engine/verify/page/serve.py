"""Serves the page on this machine alone: one page, to whoever asks for it with GET."""

import socketserver
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

HOST: Final = "127.0.0.1"
NAMES: Final = (HOST, "localhost")
"""The names by which the page may be asked for: a page from elsewhere that points its own name here gets nothing."""
MAX_REQUESTS: Final = 16
"""Requests that are answered at once; more are closed unheard."""
PATIENCE: Final = 10.0
"""Seconds that a browser may take to send or to read the next bytes."""


class PageServer(socketserver.ThreadingTCPServer):
    """A server of one page; ``with`` closes it. Raises ``OSError`` when it cannot listen there."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int) -> None:
        super().__init__((HOST, port), PageRequest)
        self.page = b""
        """What is served; set before ``serve_forever``."""
        self._places = threading.BoundedSemaphore(MAX_REQUESTS)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a request in a thread, if there is a place for it."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a request, and give its place up."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away; anything else is an error of ours, and told."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class PageRequest(BaseHTTPRequestHandler):
    """One request for the page."""

    timeout = PATIENCE
    server: PageServer
    server_version = "Holdfast"
    sys_version = ""

    def do_GET(self) -> None:
        """Send the page, or say that there is nothing else."""
        if self.headers.get("Host", "").rpartition(":")[0] not in NAMES:
            self._send(HTTPStatus.MISDIRECTED_REQUEST, b"ask for this page as http://127.0.0.1 with its port\n")
        elif self.path.partition("?")[0] == "/":
            self._send(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")
        else:
            self._send(HTTPStatus.NOT_FOUND, b"there is one page here: /\n")

    def _send(self, status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Write no line for a request."""
