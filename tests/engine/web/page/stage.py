"""The page's routes on a real server, in front of an engine and views that are made up."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from html import escape
from typing import Any, cast

import anyio
import httpx
from attrs import define, field

from engine.config import ListenAddress
from engine.console.account_status import AccountStatus
from engine.web.health import HealthReports, Vitals
from engine.web.page.access import PageAccess
from engine.web.page.routes import WebPage
from engine.web.page.source import ActionOutcome, Fragments, PageRole, PageSource, PageVerb, View, Viewer, account_path
from engine.web.routes import application
from engine.web.security import HostGuard
from engine.web.server import WebServer
from tests.timeouts import TIMEOUT

HOST = "127.0.0.1"
TOKENS = {PageRole.OPERATOR: "operators-token-0123456789", PageRole.READER: "readers-token-0123456789"}
HOSTILE = '"><script>alert(1)</script> /../ ünï & co'


@define(eq=False)
class FakeEngine:
    """What the routes ask of an engine."""

    names: list[str] = field(factory=lambda: ["Account 1", "a/b", "..", HOSTILE])
    acted: list[tuple[PageVerb, str]] = field(factory=list)
    refuses: bool = False

    def accounts(self) -> Mapping[str, AccountStatus]:
        return {name: AccountStatus(None) for name in self.names}

    async def act(self, verb: PageVerb, target: str) -> ActionOutcome:
        self.acted.append((verb, target))
        return ActionOutcome(not self.refuses, f"{target} is dealt with")


@define(eq=False, slots=False)
class FakeViews:
    """Pages that say which they are, and fragments that a test puts in."""

    html: dict[str, str] = field(factory=lambda: {"counts": '<p id="counts">0</p>'})
    order: Sequence[str] = ()
    drawn: list[View] = field(factory=list)
    wrong: Exception | None = None
    made: int = 0

    def _page(self, what: str, viewer: Viewer, query: Mapping[str, str]) -> str:
        if self.wrong is not None:
            raise self.wrong
        self.made += 1
        form = f'<form><input name="csrf" value="{viewer.csrf}"></form>' if viewer.may_act else ""
        return f"<body data-seen='{viewer.seen}'>{escape(what)} {escape(str(dict(query)))}{form}"

    async def fleet_page(self, source: PageSource, viewer: Viewer, now: float, query: Mapping[str, str]) -> str:
        return self._page("fleet", viewer, query)

    async def account_page(
        self, source: PageSource, viewer: Viewer, now: float, query: Mapping[str, str], account: str
    ) -> str:
        return self._page(f"account {account}", viewer, query)

    async def jobs_page(self, source: PageSource, viewer: Viewer, now: float, query: Mapping[str, str]) -> str:
        return self._page("jobs", viewer, query)

    async def incidents_page(self, source: PageSource, viewer: Viewer, now: float, query: Mapping[str, str]) -> str:
        return self._page("incidents", viewer, query)

    def fragments(self, source: PageSource, viewer: Viewer, now: float, view: View) -> Fragments:
        self.drawn.append(view)
        return Fragments(dict(self.html), tuple(self.order))

    def message_page(self, title: str, sentence: str, back: str = "/") -> str:
        return f"<h1>{escape(title)}</h1><p>{escape(sentence)}</p><a href='{escape(back)}'>go on</a>"


@define(eq=False)
class Stage:
    """A page that is served."""

    engine: FakeEngine
    views: FakeViews
    access: PageAccess
    page: WebPage
    server: WebServer

    @property
    def base(self) -> str:
        """The address of the server."""
        return f"http://{HOST}:{self.server.port}"

    @asynccontextmanager
    async def client(self, role: PageRole | None = None, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        """Return a browser; with ``role``, one that has opened the link."""
        async with httpx.AsyncClient(base_url=self.base, timeout=TIMEOUT, trust_env=False, **settings) as client:
            if role is not None:
                answer = await client.get("/", params={"token": TOKENS[role]})
                assert answer.status_code == 303
            yield client

    @property
    def csrf(self) -> str:
        """What the forms of operators have in them."""
        viewer = self.access.viewer(self.access.cookie(PageRole.OPERATOR, 1e9), 1e9)
        assert viewer is not None
        return viewer.csrf

    def form(self, **fields: str) -> dict[str, str]:
        """Return a form that would be carried out."""
        return {"csrf": self.csrf, "verb": "pause", "target": "Account 1", "back": "/jobs", **fields}


async def no_metrics(_: str) -> tuple[bytes, str]:
    return b"", "text/plain"


@asynccontextmanager
async def staged(engine: FakeEngine | None = None, *, tokens: Mapping[PageRole, str] = TOKENS) -> AsyncIterator[Stage]:
    """Serve a page as an engine does."""
    engine, views, access = engine or FakeEngine(), FakeViews(), PageAccess()
    access.use(tokens)
    page = WebPage(cast("PageSource", engine), views, access)
    health = HealthReports(measure=Vitals, count=dict, needed=lambda: 0.9, stopping=lambda: False)
    guarded = HostGuard(application(health, no_metrics, page), {HOST})
    server = WebServer(ListenAddress(HOST, 0), guarded)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(page.hub.run)
        await tasks.start(server.run)
        yield Stage(engine, views, access, page, server)
        tasks.cancel_scope.cancel()


def path_of(account: str) -> str:
    """Return the path of an account's page."""
    return account_path(account)
