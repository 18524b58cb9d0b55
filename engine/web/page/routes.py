"""The routes of the page: who may see what, and in which form an answer comes. What it shows is made by ``Views``."""

import mimetypes
import time
from collections.abc import Awaitable, Callable
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

import anyio
import structlog
from attrs import define, field
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from engine.web.connection import begin_stream
from engine.web.page.access import COOKIE_SECONDS, PageAccess, is_own
from engine.web.page.source import PageName, PageSource, PageUnreadable, PageVerb, View, Viewer, Views, account_at
from engine.web.page.stream import RETRY_SECONDS, StreamHub, last_seen

MAX_BODY: Final = 16_384
"""Bytes of a form."""
DISCARDED: Final = 1_048_576
"""Bytes of a form that is too long, which are read so that its sender reads the answer."""
DISCARD_SECONDS: Final = 2.0
MAX_FIELDS: Final = 16
MAX_WORD: Final = 400
"""Characters of each value of a query."""
PAGES_AT_ONCE: Final = 2
"""Pages that are made at the same time; others wait for their turn."""
PAGE_SECONDS: Final = 20.0
"""For a page, its turn included."""
ACTIONS_AT_ONCE: Final = 8
TOLD_SECONDS: Final = 600.0
"""For which wrong tokens are not told again."""

_STATIC: Final = Path(__file__).parent / "static"
_FRESH: Final = {"cache-control": "no-store"}
_OURS: Final = ("token", "page", "name", "seen")
"""Words of a query that are no filter of a page."""
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".png": "image/png"}

NO_ACCESS: Final = (
    "To see it, open the link with the token. 'python -m engine web link CONFIG' prints it, on the machine of the "
    "engine; the line page_ready of the log names the file with the token. If you came from another site, just go on."
)
WRONG: Final = (
    "The token of this link is not the engine's, or not any more. A new link: 'python -m engine web link CONFIG'"
)
NOT_READY: Final = "The page has no token yet, so that nobody can see it; the engine's log says why"
READ_ONLY: Final = "You have opened the page with the token of a reader, who may see everything and change nothing"
FOREIGN: Final = "This form does not come from a page that this engine has shown you; open the page and try again"

log = structlog.get_logger("holdfast.web")

Show = Callable[[Request, Viewer], Awaitable[Response]]


@define(eq=False)
class WebPage:
    """The page of one engine."""

    source: PageSource
    views: Views
    access: PageAccess
    hub: StreamHub = field(init=False)
    _turns: anyio.Semaphore = field(factory=lambda: anyio.Semaphore(PAGES_AT_ONCE), init=False)
    _actions: int = field(default=0, init=False)
    _told_at: float = field(default=float("-inf"), init=False)

    def __attrs_post_init__(self) -> None:
        self.hub = StreamHub(self.source, self.views)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/", self._for_visitors(self._fleet)),
            Route("/accounts/{account:path}", self._for_visitors(self._account)),
            Route("/jobs", self._for_visitors(self._jobs)),
            Route("/incidents", self._for_visitors(self._incidents)),
            Route("/stream", self._for_visitors(self._stream)),
            Route("/act", self._act, methods=["POST"]),
            Route("/static/{name}", self._static),
        ]

    def not_found(self, request: Request) -> Response:
        """Return the answer to what is no page. It says no more to those who may see the page."""
        return self._message(404, "Not found", "There is no such page here")

    # --- who ---------------------------------------------------------------------------------------------------------

    def _for_visitors(self, show: Show) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if not self.access.open:
                return self._message(503, "Not ready", NOT_READY, headers={"retry-after": "5"})
            if "token" in request.query_params:
                return self._enter(request)
            viewer = self.access.viewer(request.cookies.get(self.access.cookie_name), time.time())
            if viewer is None:
                return self._message(401, "This page needs a token", NO_ACCESS, back=_here(request))
            return await show(request, viewer)

        return answer

    def _enter(self, request: Request) -> Response:
        """Exchange a token for a cookie, and lead to the page without it."""
        client, now = request.client.host if request.client else "", anyio.current_time()
        if (wait := self.access.wait(client, now)) > 0:
            said = "There were too many wrong tokens from your address; wait a minute"
            return self._message(429, "Too many attempts", said, headers={"retry-after": str(int(wait) + 1)})
        role = self.access.role_of(request.query_params["token"], client, now)
        if role is None:
            if now >= self._told_at + TOLD_SECONDS:
                self._told_at = now
                log.warning("page_token_refused", client=client)
            return self._message(401, "Wrong token", WRONG, back="/")
        rest = [(key, value) for key, value in request.query_params.multi_items() if key != "token"]
        path = _here(request)
        answer = RedirectResponse(f"{path}?{urlencode(rest)}" if rest else path, status_code=303, headers=_FRESH)
        answer.set_cookie(
            self.access.cookie_name,
            self.access.cookie(role, time.time()),
            max_age=int(COOKIE_SECONDS),
            httponly=True,
            samesite="strict",
            secure=request.headers.get("x-forwarded-proto") == "https",  # a proxy's word: it can only make it stricter
        )
        return answer

    # --- what is seen ------------------------------------------------------------------------------------------------

    async def _fleet(self, request: Request, viewer: Viewer) -> Response:
        return await self._shown(request, viewer, View(PageName.FLEET), self.views.fleet_page)

    async def _jobs(self, request: Request, viewer: Viewer) -> Response:
        return await self._shown(request, viewer, View(PageName.JOBS), self.views.jobs_page)

    async def _incidents(self, request: Request, viewer: Viewer) -> Response:
        return await self._shown(request, viewer, View(PageName.INCIDENTS), self.views.incidents_page)

    async def _account(self, request: Request, viewer: Viewer) -> Response:
        wanted = request.path_params["account"]
        if (account := account_at(self.source.accounts(), wanted)) is None:
            return self._message(404, "No such account", f"No account is called {wanted[:MAX_WORD]!r}", back="/")
        make = partial(self.views.account_page, account=account)
        return await self._shown(request, viewer, View(PageName.ACCOUNT, account), make)

    async def _shown(
        self, request: Request, viewer: Viewer, view: View, make: Callable[..., Awaitable[str]]
    ) -> Response:
        """Return a page, made in its turn and in time."""
        if (words := _words(request.query_params)) is None:
            return self._message(400, "Too long", "The address of this page is too long", back="/")
        with anyio.move_on_after(PAGE_SECONDS):
            async with self._turns:
                try:
                    channel = await self.hub.look(viewer, View(view.page, view.account, words))
                    visitor = Viewer(viewer.role, viewer.csrf, channel.mark)
                    text = await make(self.source, visitor, time.time(), dict(words))
                except PageUnreadable as exc:
                    return self._message(503, "Not now", str(exc), headers={"retry-after": "5"}, back="/")
            return HTMLResponse(text.encode("utf-8", "replace"), headers=_FRESH)
        busy = "The engine has too much to do to make this page now; try again in a moment"
        return self._message(503, "Not now", busy, headers={"retry-after": "5"}, back="/")

    async def _stream(self, request: Request, viewer: Viewer) -> Response:
        given = request.query_params
        words, name = _words(given), given.get("name")
        page = next((each for each in PageName if each == given.get("page")), None)
        if page is None or words is None or (page is PageName.ACCOUNT) != (name is not None):
            return self._message(400, "No such stream", "A stream is for a page: fleet, jobs, incidents or account")
        if name is not None and name not in self.source.accounts():
            return self._message(404, "No such account", "There is no such account any more")
        if request.method == "HEAD":
            return Response(media_type="text/event-stream", headers=_FRESH)
        channel = await self.hub.look(viewer, View(page, name, words))
        if not begin_stream(request.scope):
            said = "So many pages are open that this one is not kept up to date; close some of them"
            return self._message(503, "Too many pages", said, headers={"retry-after": str(RETRY_SECONDS)})
        parts = self.hub.parts(channel, channel.seen(last_seen(request)))
        headers = {**_FRESH, "x-accel-buffering": "no"}  # a proxy had better hand each event on at once
        return StreamingResponse(parts, media_type="text/event-stream", headers=headers)

    async def _static(self, request: Request) -> Response:
        found = static_files().get(request.path_params["name"])
        if found is None:
            return self.not_found(request)
        content, kind, mark = found
        headers = {"cache-control": "no-cache", "etag": mark}
        if request.headers.get("if-none-match") == mark:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    # --- what is done ------------------------------------------------------------------------------------------------

    async def _act(self, request: Request) -> Response:
        """Do what an operator asks for."""
        viewer = self.access.viewer(request.cookies.get(self.access.cookie_name), time.time())
        if viewer is None:
            return self._told(request, 401, "This page needs a token", NO_ACCESS)
        if not is_own(request.headers):
            return self._told(request, 403, "Not from here", FOREIGN)
        if not viewer.may_act:
            return self._told(request, 403, "Not allowed", READ_ONLY)
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            return self._told(request, 415, "No form", "An action is a form: send application/x-www-form-urlencoded")
        body = await _body(request)
        if body is None:
            return self._told(
                request, 413, "Too long", "A form here has 16 kB at most", headers={"connection": "close"}
            )
        try:
            given = dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=MAX_FIELDS))
        except ValueError:
            return self._told(request, 400, "Too many fields", "A form here has a few fields only")
        if not self.access.is_form(given.get("csrf", "")):
            return self._told(request, 403, "Not from here", FOREIGN)
        verb = next((each for each in PageVerb if each == given.get("verb")), None)
        target, back = given.get("target", ""), _local(given.get("back", "/"))
        if verb is None or not target:
            return self._told(
                request, 400, "No such action", "There is no such action, or nothing that it is for", back
            )
        if self._actions >= ACTIONS_AT_ONCE:
            busy = "So much is being done already; try again in a moment"
            return self._told(request, 503, "Not now", busy, back, headers={"retry-after": "2"})
        self._actions += 1
        try:
            outcome = await self.source.act(verb, target)
        finally:
            self._actions -= 1
        title = "Done" if outcome.done else "Not done"
        return self._told(request, 200 if outcome.done else 409, title, outcome.said, back, done=outcome.done)

    # --- answers -----------------------------------------------------------------------------------------------------

    def _told(
        self,
        request: Request,
        status: int,
        title: str,
        said: str,
        back: str = "/",
        *,
        done: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Response:
        """Return a sentence, in the form that the visitor or its script asks for."""
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse({"done": done, "said": said}, status_code=status, headers=_FRESH | (headers or {}))
        return self._message(status, title, said, back=back, headers=headers)

    def _message(
        self, status: int, title: str, said: str, *, back: str = "", headers: dict[str, str] | None = None
    ) -> Response:
        text = self.views.message_page(title, said, back)
        return HTMLResponse(text.encode("utf-8", "replace"), status_code=status, headers=_FRESH | (headers or {}))


@cache
def static_files() -> dict[str, tuple[bytes, str, str]]:
    """Return the files of the page by their names: content, type and mark. Read once: nothing else can be asked for."""
    found = {}
    for path in sorted(_STATIC.iterdir()) if _STATIC.is_dir() else ():
        if path.is_file() and not path.name.startswith("."):
            content = path.read_bytes()
            kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            found[path.name] = (content, kind, f'"{sha256(content).hexdigest()[:20]}"')
    return found


async def _body(request: Request) -> bytes | None:
    """Return the body of a request; None if it is too long."""
    declared = request.headers.get("content-length", "0")
    body, length = bytearray(), 0
    too_long = not declared.isdecimal() or int(declared[:20]) > MAX_BODY
    with anyio.move_on_after(DISCARD_SECONDS if too_long else None):
        async for part in request.stream():
            length += len(part)
            too_long = too_long or length > MAX_BODY
            if not too_long:
                body += part
            elif length > DISCARDED:
                break
    return None if too_long else bytes(body)


def _words(query: QueryParams) -> tuple[tuple[str, str], ...] | None:
    """Return the words of a query that are for the page itself; None if they are too many or too long."""
    words = {key: value for key, value in query.items() if key not in _OURS}
    if len(words) > MAX_FIELDS or any(len(key) > MAX_WORD or len(value) > MAX_WORD for key, value in words.items()):
        return None
    return tuple(sorted(words.items()))


def _here(request: Request) -> str:
    """Return the path of a request, as an address has it."""
    return quote(_local(request.scope["path"]), safe="/")


def _local(path: str) -> str:
    """Return a path of this server; of an address that leads elsewhere, the first page's."""
    is_plain = path.isprintable() and "\\" not in path
    return path if path.startswith("/") and not path.startswith("//") and is_plain else "/"
