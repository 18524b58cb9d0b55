"""The request of a heartbeat, to a real server."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from adapters.system import PingFailed, ping

KEY = "KeyOfTheHeartbeat"


@contextmanager
def server(status: int) -> Iterator[tuple[str, list[str]]]:
    """Serve one status; yield the URL and the paths that were asked for."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"OK" * 5000)

        def log_message(self, format: str, *args: object) -> None:
            pass

    listener = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.server_port}/{KEY}", asked
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


def test_the_url_is_fetched() -> None:
    """Once for each call, whatever the answer has in it."""
    with server(200) as (url, asked):
        ping(url, 10)
        ping(url, 10)
    assert asked == [f"/{KEY}"] * 2


def test_another_status_is_a_failure() -> None:
    """It says which."""
    with server(503) as (url, _), pytest.raises(PingFailed, match=r"^the answer was 503$"):
        ping(url, 10)


def test_a_failure_never_quotes_the_url() -> None:
    """The URL is a key; why it failed is a few words."""
    with socket.socket() as bound:  # nobody listens there
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(PingFailed) as caught:
            ping(f"http://127.0.0.1:{bound.getsockname()[1]}/{KEY}", 10)
    assert str(caught.value) == "connection refused"
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(PingFailed) as caught:
        ping(f"http://127.0.0.1:{silent.getsockname()[1]}/{KEY}", 0.05)
    assert str(caught.value) == "no answer in time"


def test_what_is_no_http_is_a_failure() -> None:
    """A server of something else has taken the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(4096)
                client.sendall(b"220 mail\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(PingFailed, match="the answer is not HTTP"):
            ping(f"http://127.0.0.1:{listener.getsockname()[1]}/", 10)
        thread.join()
