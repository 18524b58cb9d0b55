"""The routes of the web server: those that programs ask (``/healthz``, ``/readyz``, ``/metrics``), and the page."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engine.web.health import HealthReports
from engine.web.page.routes import WebPage

Rendered = tuple[bytes, str]
"""The text of the metrics, and its content type."""
_FRESH = {"cache-control": "no-store"}


def application(health: HealthReports, metrics: Callable[[str], Awaitable[Rendered]], page: WebPage) -> Starlette:
    """Return the ASGI application. ``metrics`` is given the ``Accept`` header of a request."""

    async def live(_: Request) -> Response:
        body = health.live()
        return _answer(body, ok=body["live"])

    async def ready(_: Request) -> Response:
        body = health.ready()
        return _answer(body, ok=body["ready"])

    async def scrape(request: Request) -> Response:
        text, content_type = await metrics(request.headers.get("accept", ""))
        return Response(text, headers={**_FRESH, "content-type": content_type})

    async def missing(request: Request, _: Exception) -> Response:
        return page.not_found(request)

    own = [Route("/healthz", live), Route("/readyz", ready), Route("/metrics", scrape)]
    made = Starlette(routes=[*own, *page.routes()], exception_handlers={404: missing})
    made.router.redirect_slashes = False  # to an address that the request's own Host would make
    return made


def _answer(body: dict[str, Any], *, ok: bool) -> Response:
    return JSONResponse(body, status_code=200 if ok else 503, headers=_FRESH)
