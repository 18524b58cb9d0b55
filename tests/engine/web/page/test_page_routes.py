"""The page over HTTP: who sees what, and what no request can do. A real server, asked over TCP."""

import asyncio

import anyio
import pytest
import structlog
from anyio.abc import SocketStream

from engine.web.page import routes
from engine.web.page.access import ATTEMPTS
from engine.web.page.source import PageRole, PageUnreadable, PageVerb, account_path, element_id
from tests.engine.web.page.stage import HOST, HOSTILE, TOKENS, FakeEngine, Stage, staged
from tests.timeouts import TIMEOUT

PAGES = ("/", "/jobs", "/incidents", "/accounts/Account%201", "/stream?page=fleet", "/accounts/nobody")
PROTECTION = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src "
    "'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}


async def raw(stage: Stage, sends: bytes) -> bytes:
    """Send bytes, and return what comes until the server closes."""
    stream = await anyio.connect_tcp(HOST, stage.server.port)
    async with stream:
        await stream.send(sends)
        return await rest(stream)


async def rest(stream: SocketStream) -> bytes:
    """Return what comes until the server closes."""
    found = b""
    with anyio.fail_after(TIMEOUT):
        try:
            while True:
                found += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return found


# --- who -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
async def test_without_a_token_a_page_says_where_the_link_is(path: str) -> None:
    """And nothing of the fleet, nor whether an account exists."""
    async with staged() as stage, stage.client() as client:
        answer = await client.get(path)
        assert answer.status_code == 401
        assert "web link CONFIG" in answer.text
        assert "token" in answer.text
        for secret in (*TOKENS.values(), stage.csrf, "Account 1</"):
            assert secret not in answer.text
        assert "set-cookie" not in answer.headers


async def test_a_link_is_exchanged_for_a_cookie() -> None:
    """The address that stays in the browser has no token, and the rest of it is kept."""
    async with staged() as stage, stage.client() as client:
        answer = await client.get("/accounts/a%2Fb", params={"token": TOKENS[PageRole.OPERATOR], "q": "x y"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/accounts/a/b?q=x+y")
        assert TOKENS[PageRole.OPERATOR] not in str(answer.headers)
        [cookie] = answer.headers.get_list("set-cookie")
        flags = {each.strip().lower() for each in cookie.split(";")[1:]}
        assert {"httponly", "samesite=strict", "path=/"} <= flags
        assert "secure" not in flags
        assert "no-store" in answer.headers["cache-control"]
        page = await client.get("/")
        assert page.status_code == 200
        assert "fleet" in page.text


async def test_behind_tls_the_cookie_is_for_tls_alone() -> None:
    """The proxy says so."""
    async with staged() as stage, stage.client(headers={"x-forwarded-proto": "https"}) as client:
        answer = await client.get("/", params={"token": TOKENS[PageRole.OPERATOR]})
        assert "; secure" in answer.headers["set-cookie"].lower()


async def test_wrong_tokens_are_refused_bounded_and_told_once() -> None:
    """Then the right one has to wait, too; who is in stays in. No token is in the log."""
    with structlog.testing.capture_logs() as said:
        async with staged() as stage, stage.client(PageRole.OPERATOR) as inside, stage.client() as client:
            for _ in range(ATTEMPTS):
                answer = await client.get("/", params={"token": "wrong-token-0123456789"})
                assert answer.status_code == 401
                assert "set-cookie" not in answer.headers
                assert "wrong-token" not in answer.text
            answer = await client.get("/", params={"token": TOKENS[PageRole.OPERATOR]})
            assert answer.status_code == 429
            assert 0 < int(answer.headers["retry-after"]) <= 61
            assert (await inside.get("/")).status_code == 200
    assert [each["event"] for each in said] == ["web_listening", "page_token_refused"]
    assert not any(token in str(said) for token in (*TOKENS.values(), "wrong-token"))


async def test_a_cookie_is_good_after_a_restart() -> None:
    """On another port, of another process: the token is what it hangs on."""
    async with staged() as stage, stage.client(PageRole.OPERATOR) as client:
        cookies = dict(client.cookies)
    async with staged() as stage, stage.client(cookies=cookies) as client:
        assert (await client.get("/")).status_code == 200
    async with (
        staged(tokens={PageRole.OPERATOR: "another-token-0123456789"}) as stage,
        stage.client(cookies=cookies) as old,
    ):
        assert (await old.get("/")).status_code == 401


async def test_before_there_is_a_token_the_page_is_closed() -> None:
    """What programs ask is not."""
    async with staged(tokens={}) as stage, stage.client() as client:
        answer = await client.get("/", params={"token": ""})
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert (await client.post("/act", data=stage_form())).status_code == 401
        assert (await client.get("/healthz")).status_code == 200


def stage_form() -> dict[str, str]:
    return {"csrf": "", "verb": "pause", "target": "Account 1"}


# --- what is seen ----------------------------------------------------------------------------------------------------


async def test_pages_are_shown_with_their_filters() -> None:
    """Words that are the frame's own are not handed on."""
    async with staged() as stage, stage.client(PageRole.OPERATOR) as client:
        for path, what in (("/", "fleet"), ("/jobs", "jobs"), ("/incidents", "incidents")):
            answer = await client.get(path, params={"state": "backoff", "page": "x", "seen": "y"})
            assert answer.status_code == 200
            assert f"{what} {{&#x27;state&#x27;: &#x27;backoff&#x27;}}" in answer.text
            assert answer.headers["cache-control"] == "no-store"
        assert (await client.get("/", params={"q": "x" * 500})).status_code == 400
        assert (await client.get("/", params={f"q{number}": "1" for number in range(17)})).status_code == 400


async def test_every_account_has_an_address() -> None:
    """By its name where that can stand in one, whatever is in it."""
    async with staged() as stage, stage.client(PageRole.READER) as client:
        for name in stage.engine.names:
            answer = await client.get(account_path(name))
            assert answer.status_code == 200, name
            assert "<script>" not in answer.text
            assert (await client.get(f"/accounts/{element_id(name)}")).status_code == 200
        assert account_path("..") == f"/accounts/{element_id('..')}"
        assert account_path("\ud800").startswith("/accounts/account-")


@pytest.mark.parametrize("name", ["nobody", "<script>alert(1)</script>", "account-0", "", "Account%201%00", "%ff%fe"])
async def test_an_account_that_does_not_exist_is_not_found(name: str) -> None:
    """And its name is no part of the page but as text."""
    async with staged() as stage, stage.client(PageRole.READER) as client:
        answer = await client.get(f"/accounts/{name}")
        assert answer.status_code == 404
        assert "<script>" not in answer.text


async def test_a_reader_sees_everything_and_has_no_forms() -> None:
    """An operator has them."""
    async with staged() as stage, stage.client(PageRole.READER) as reader, stage.client(PageRole.OPERATOR) as operator:
        assert "<form" not in (await reader.get("/")).text
        assert stage.csrf in (await operator.get("/")).text


async def test_what_cannot_be_read_is_said() -> None:
    """A view that does not say it itself."""
    async with staged() as stage, stage.client(PageRole.READER) as client:
        stage.views.wrong = PageUnreadable("The file <is> locked")
        answer = await client.get("/")
        assert (answer.status_code, "The file &lt;is&gt; locked" in answer.text) == (503, True)
        assert "retry-after" in answer.headers


async def test_a_page_that_takes_too_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who wait for their turn are told, and the next page is made."""
    monkeypatch.setattr(routes, "PAGE_SECONDS", 0.2)
    async with staged() as stage, stage.client(PageRole.READER) as client:
        make = stage.views.fleet_page
        waiting = anyio.Event()

        async def slow(*given: object) -> str:
            await waiting.wait()
            return ""

        stage.views.fleet_page = slow  # type: ignore[method-assign, assignment]
        answers = await asyncio.gather(*(client.get("/") for _ in range(routes.PAGES_AT_ONCE + 2)))
        assert {each.status_code for each in answers} == {503}
        stage.views.fleet_page = make  # type: ignore[method-assign]
        assert (await client.get("/")).status_code == 200


# --- no page of elsewhere --------------------------------------------------------------------------------------------


async def test_every_answer_has_the_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages, errors of all kinds, files, and what is no request at all."""
    monkeypatch.setattr(routes, "static_files", lambda: {"page.css": (b"p {}", "text/css", '"1"')})
    async with staged() as stage, stage.client(PageRole.OPERATOR) as client:
        stage.views.html = {}
        requests: dict[str, tuple[str, int]] = {
            "/": ("GET", 200),
            "/nothing": ("GET", 404),
            "/static/page.css": ("GET", 200),
            "/static/nothing": ("GET", 404),
            "/accounts/nobody": ("GET", 404),
            "/healthz": ("GET", 200),
            "/metrics": ("GET", 200),
            "/jobs": ("POST", 405),
            "/act": ("POST", 403),
            "/?token=wrong": ("GET", 401),
            "/?token=" + TOKENS[PageRole.READER]: ("GET", 303),
        }
        answers = []
        for path, (method, status) in requests.items():
            answer = await client.request(method, path, headers={"content-type": "application/x-www-form-urlencoded"})
            assert answer.status_code == status, path
            answers.append(answer)
        answers.append(await client.get("/", headers={"host": "evil.example"}))
        assert answers[-1].status_code == 421
        stage.views.wrong = LookupError("a mistake")
        answers.append(await client.get("/"))
        assert answers[-1].status_code == 500
        for answer in answers:
            assert {key: answer.headers.get(key) for key in PROTECTION} == PROTECTION, answer.request.url
        async with client.stream("GET", "/stream?page=fleet") as answer:
            assert {key: answer.headers.get(key) for key in PROTECTION} == PROTECTION
        refused = (await raw(stage, b"nonsense\r\n\r\n")).decode().lower()
        assert refused.startswith("http/1.1 400")
        assert all(f"{key}: {value}".lower() in refused for key, value in PROTECTION.items())


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80"])
async def test_a_foreign_host_is_refused_with_a_good_cookie(host: str) -> None:
    """Its name may point here (DNS rebinding)."""
    async with staged() as stage, stage.client(PageRole.OPERATOR) as client:
        cookie = "; ".join(f"{key}={value}" for key, value in client.cookies.items())
        for method in ("GET", "POST"):
            answer = await client.request(method, "/act", headers={"host": host, "cookie": cookie})
            assert answer.status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://127.0.0.1:1"},
    ],
)
async def test_a_form_of_another_page_does_nothing(headers: dict[str, str]) -> None:
    """Whatever it has in it."""
    async with staged() as stage, stage.client(PageRole.OPERATOR) as client:
        answer = await client.post("/act", data=stage.form(), headers=headers)
        assert answer.status_code == 403
        assert stage.engine.acted == []


@pytest.mark.parametrize("change", [{"csrf": ""}, {"csrf": "0" * 64}])
async def test_a_form_that_this_page_has_not_made_does_nothing(change: dict[str, str]) -> None:
    """A cookie is not enough."""
    async with staged() as stage, stage.client(PageRole.OPERATOR) as client:
        assert (await client.post("/act", data=stage.form(**change))).status_code == 403
        assert stage.engine.acted == []


async def test_a_reader_cannot_act() -> None:
    """Even with what a form of an operator has in it; nor can anybody without a cookie."""
    async with staged() as stage, stage.client(PageRole.READER) as reader, stage.client() as nobody:
        assert (await reader.post("/act", data=stage.form())).status_code == 403
        assert (await nobody.post("/act", data=stage.form())).status_code == 401
        answer = await nobody.post(f"/act?token={TOKENS[PageRole.OPERATOR]}", data=stage.form())
        assert answer.status_code == 401
        assert stage.engine.acted == []


# --- what is done ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", list(PageVerb))
async def test_an_operator_acts(verb: PageVerb) -> None:
    """A form is answered with a page that leads back, a script with data."""
    async with staged() as stage, stage.client(PageRole.OPERATOR) as client:
        own = {"origin": stage.base, "sec-fetch-site": "same-origin"}
        answer = await client.post("/act", data=stage.form(verb=verb.value, target=HOSTILE), headers=own)
        assert answer.status_code == 200
        assert "<script>" not in answer.text
        assert "href='/jobs'" in answer.text
        stage.engine.refuses = True
        answer = await client.post("/act", data=stage.form(verb=verb.value), headers={"accept": "application/json"})
        assert (answer.status_code, answer.json()) == (409, {"done": False, "said": "Account 1 is dealt with"})
        assert stage.engine.acted == [(verb, HOSTILE), (verb, "Account 1")]


@pytest.mark.parametrize(
    "back", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", ""]
)
async def test_an_answer_leads_nowhere_else(back: str) -> None:
    """Where a form says that it came from is foreign, too."""
    async with staged() as stage, stage.client(PageRole.OPERATOR) as client:
        answer = await client.post("/act", data=stage.form(back=back))
        assert "href='/'" in answer.text


@pytest.mark.parametrize("change", [{"verb": "delete"}, {"verb": ""}, {"target": ""}])
async def test_what_is_no_action_is_refused(change: dict[str, str]) -> None:
    """In a sentence."""
    async with staged() as stage, stage.client(PageRole.OPERATOR) as client:
        assert (await client.post("/act", data=stage.form(**change))).status_code == 400
        assert stage.engine.acted == []


async def test_bodies_are_bounded() -> None:
    """By what they say, and by what comes; by the number of their fields, and by their kind."""
    async with staged() as stage, stage.client(PageRole.OPERATOR) as client:
        long = stage.form(target="x" * 20_000)
        assert (await client.post("/act", data=long)).status_code == 413

        async def parts() -> "asyncio.AsyncIterator[bytes]":  # type: ignore[name-defined]
            for _ in range(40):
                yield b"x" * 1000

        form = {"content-type": "application/x-www-form-urlencoded"}
        assert (await client.post("/act", content=parts(), headers=form)).status_code == 413
        many = "&".join(f"a{number}=1" for number in range(100))
        assert (await client.post("/act", content=many, headers=form)).status_code == 400
        assert (await client.post("/act", json=stage.form())).status_code == 415
        assert (await client.post("/act", content=b"\xff\xfe%ff", headers=form)).status_code == 403
        assert stage.engine.acted == []
        assert (await client.post("/act", data=stage.form())).status_code == 200


async def test_so_many_actions_at_once_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are told to try again."""
    monkeypatch.setattr(routes, "ACTIONS_AT_ONCE", 1)
    begun, go_on = anyio.Event(), anyio.Event()

    class Slow(FakeEngine):
        async def act(self, verb: PageVerb, target: str):  # type: ignore[no-untyped-def]
            begun.set()
            await go_on.wait()
            return await FakeEngine.act(self, verb, target)

    async with staged(Slow()) as stage, stage.client(PageRole.OPERATOR) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.post("/act", data=stage.form()))
        await begun.wait()
        answer = await client.post("/act", data=stage.form())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        go_on.set()


# --- odd requests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
async def test_other_methods_are_refused(method: str) -> None:
    """Everywhere."""
    async with staged() as stage, stage.client(PageRole.OPERATOR) as client:
        for path in ("/", "/act", "/stream", "/jobs", "/accounts/Account%201", "/static/page.css"):
            answer = await client.request(method, path)
            assert answer.status_code == 405, path
            assert "allow" in answer.headers
        assert (await client.get("/act")).status_code == 405
        assert (await client.post("/")).status_code == 405


async def test_a_head_has_no_body_and_no_stream() -> None:
    """But all else of the answer."""
    async with staged() as stage, stage.client(PageRole.READER) as client:
        for path in ("/", "/jobs", "/stream?page=fleet", "/accounts/Account%201"):
            answer = await client.head(path)
            assert (answer.status_code, answer.content) == (200, b"")


async def test_an_old_client_is_answered() -> None:
    """HTTP/1.0 with a host; without one, nobody knows whom it asks."""
    async with staged() as stage:
        found = await raw(stage, f"GET /static/x HTTP/1.0\r\nhost: {HOST}\r\n\r\n".encode())
        assert found.startswith(b"HTTP/1.1 404")
        assert (await raw(stage, b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 421")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../routes.py",
        "/static/..%2froutes.py",
        "/static/%2e%2e/routes.py",
        "/static/..\\routes.py",
        "/static//etc/passwd",
        "/static/%00",
        "/static/",
        "/static/.hidden",
        "/static/__init__.py",
    ],
)
async def test_no_file_but_those_of_the_page_is_served(path: str) -> None:
    """A name is looked up, and is no path."""
    async with staged() as stage:
        request = f"GET {path} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n"
        found = await raw(stage, request.encode())
        assert found.startswith(b"HTTP/1.1 404"), found


async def test_files_are_kept_by_the_browser_until_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """They need no token, and have nothing secret."""
    monkeypatch.setattr(routes, "static_files", lambda: {"page.css": (b"p {}", "text/css", '"1"')})
    async with staged() as stage, stage.client() as client:
        answer = await client.get("/static/page.css")
        assert (answer.text, answer.headers["content-type"]) == ("p {}", "text/css; charset=utf-8")
        again = await client.get("/static/page.css", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["//evil.example", "//evil.example/..", "/jobs/", "/\\evil.example", "/%2f%2fevil"])
async def test_an_address_with_a_slash_too_many_leads_to_no_other_host(path: str) -> None:
    """Neither by the router, nor by the exchange of a token."""
    async with staged() as stage:
        request = f"GET {path}?token={TOKENS[PageRole.READER]} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n"
        found = await raw(stage, request.encode())
        assert found.startswith(b"HTTP/1.1 404"), found
        assert b"location" not in found.lower()
