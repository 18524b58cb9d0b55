"""The page of ``verify --html``: what it is made of, how it is served, and what is said when it cannot be."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.cli import app
from engine.diagram.words import STATE_ROLES
from engine.verify import ALWAYS
from engine.verify.forms import form_of
from engine.verify.page import make_page, script_json
from engine.verify.page.picture import to_picture
from engine.verify.page.serve import HOST, MAX_REQUESTS, PageServer
from engine.verify.premises import PREMISES
from engine.verify.world import GENERATION, LINK, Configuration, enumerate_events
from states import ROWS, Snapshot, State
from tests.engine.harness import ROOT
from tests.timeouts import TIMEOUT

HOSTILE = "</script><script>alert(1)</script><!-- %STYLE% \u2028 & 'x' \""


def test_no_text_can_end_the_data() -> None:
    """Whatever a text holds, it stays within the element that holds the data, and is read back as it was."""
    text = script_json({"text": HOSTILE})
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text) == {"text": HOSTILE}
    page = make_page({"text": HOSTILE}).decode()
    assert page.count("</script>") == 2
    assert "alert(1)</script>" not in page
    assert json.loads(page.split('type="application/json">')[1].split("</script>")[0]) == {"text": HOSTILE}


def test_the_page_may_load_nothing() -> None:
    """Its policy forbids everything but its own style and script, and it names no address."""
    page = make_page({}).decode()
    assert re.search(r"content=\"default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+';", page)
    assert "unsafe" not in page
    assert not re.search(r"https?://|src=|@import|fetch\(|XMLHttp|WebSocket|innerHTML", page)
    assert " style=" not in page  # the policy would forbid it


def test_the_picture_has_every_state_and_every_change_of_state() -> None:
    """Each can be marked, because it carries its names."""
    picture = to_picture()
    assert re.findall(r'data-state="(\w+)"', picture) == [state.value for state in State]
    drawn = re.findall(r'data-from="(\w+)" data-to="(\w+)"', picture)
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == {(row.source.value, row.target.value) for row in ROWS if row.target is not None}
    assert all(role.value in picture for role in STATE_ROLES.values())


def test_every_property_has_a_premise() -> None:
    """The page can show of each property what it is about."""
    assert tuple(PREMISES) == ALWAYS


def test_the_forms_of_events_have_names_of_their_own() -> None:
    """Two events that differ have two names, which may stand in an address as they are."""
    names: dict[str, object] = {}
    for started in (False, True):
        at = Snapshot(generation=GENERATION, link=LINK, links=LINK)
        for event, _ in enumerate_events(Configuration(at, started=started)):
            key = form_of(event).key
            assert names.setdefault(key, event) == event
            assert re.fullmatch(r"[A-Za-z0-9.+-]+", key)


# --- serving ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[PageServer]:
    """Serve a small page."""
    with PageServer(0) as server:
        server.page = b"<!doctype html>the page"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(TIMEOUT)


def ask(server: PageServer, method: str = "GET", path: str = "/", host: str | None = None) -> tuple[int, bytes]:
    """Return the status and the body of an answer."""
    connection = http.client.HTTPConnection(HOST, server.server_address[1], timeout=TIMEOUT)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_the_page_is_served(server: PageServer) -> None:
    """There is one page, at the root, for this machine alone."""
    assert ask(server) == (200, b"<!doctype html>the page")
    assert ask(server, path="/?x=1")[0] == 200
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/other", None, 404),
        ("GET", "/../etc/passwd", None, 404),
        ("POST", "/", None, 501),
        ("DELETE", "/", None, 501),
        ("GET", "/", "evil.example:80", 421),
        ("GET", "/", "127.0.0.1.evil.example:80", 421),
    ],
)
def test_nothing_else_is_served(server: PageServer, method: str, path: str, host: str | None, status: int) -> None:
    """No other path, no other method, and nothing to a page from elsewhere that has this machine's address."""
    found, body = ask(server, method, path, host)
    assert found == status
    assert b"the page" not in body


def test_connections_that_say_nothing_do_not_add_up(server: PageServer) -> None:
    """Beyond its places the server closes connections; when they are gone, it answers again."""
    silent = [socket.create_connection(server.server_address, TIMEOUT) for _ in range(MAX_REQUESTS)]  # type: ignore[arg-type]  # an address of TCP
    late = socket.create_connection(server.server_address, TIMEOUT)  # type: ignore[arg-type]  # as above
    assert late.recv(1) == b""
    for each in (*silent, late):
        each.close()
    for _ in range(1000):
        try:
            assert ask(server)[0] == 200
        except (ConnectionError, http.client.HTTPException):
            continue
        return
    pytest.fail("the places were not given up")


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--port", "8000"], 2, "--port says where --serve serves the page; add --serve"),
        (["--serve", "--port", "70000"], 2, "--port: 70000 is no port; give one from 1 to 65535"),
        (
            ["--html", "nowhere/page.html"],
            1,
            "nowhere/page.html: no such file or directory; see that the directory can be written",
        ),
    ],
)
def test_a_mistake_is_told_before_the_check(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, and nobody waits for the exploration first."""
    assert refused(["verify", *words], capsys) == (code, said)


def test_a_port_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence says which, and what to do."""
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        code, said = refused(["verify", "--serve", "--port", str(port)], capsys)
    assert (code, said) == (1, f"port {port} is taken; give --port another one, or leave it out")


@pytest.mark.slow
def test_json_stays_alone_on_stdout_and_ctrl_c_ends_the_serving(tmp_path: Path) -> None:
    """A program reads what was checked, a person on stderr where the page is; the file has what is served."""
    command = [sys.executable, "-m", "engine", "verify", "--json", "--serve", "--html", str(tmp_path / "page.html")]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        written, served = process.stderr.readline(), process.stderr.readline()
        assert written == f"🧭 {tmp_path / 'page.html'} has the page; open it in a browser\n"
        url = re.fullmatch(r"🧭 (http://127\.0\.0\.1:\d+/) has the page until Ctrl\+C\n", served)
        assert url is not None
        with urllib.request.urlopen(url[1], timeout=TIMEOUT) as answer:
            assert answer.read() == (tmp_path / "page.html").read_bytes()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["findings"] == []


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return the code of a command that is refused, and the beginning of its one sentence."""
    with pytest.raises(SystemExit) as ended:
        app(words, exit_on_error=False)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert isinstance(ended.value.code, int)
    return ended.value.code, printed.err.strip()
