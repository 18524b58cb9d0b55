"""The events of what the engine tells the machines around it, and their lines: the web server, health, heartbeats."""

from functools import partial
from typing import Final

from engine.console.format import seconds
from engine.console.log_event import LogEvent

_DETAIL: Final = {"detail": "what happened, in a sentence"}

_web = partial(LogEvent, "holdfast.web")
_health = partial(LogEvent, "holdfast.health")

HEALTH: Final = (
    _health(
        "liveness_lost",
        "error",
        "❌",
        "The engine does not do all of its work: {detail}",
        "the loop, journal, dispatcher or watch over the links does not do its work; `/healthz` says so, too",
        _DETAIL,
    ),
    _health(
        "liveness_back",
        "info",
        "✅",
        lambda of: f"The engine does all of its work again, after {seconds(of['took'])}",
        "what `liveness_lost` told is over",
        {"took": "how long it took, in seconds"},
    ),
    _health(
        "heartbeat_failed",
        "warning",
        "⚠️",
        lambda of: (
            f"The heartbeat does not reach {of['host']} ({of['detail']}); it is sent again every "
            f"{seconds(of['every'])}, and the accounts go on"
        ),
        "the URL of `heartbeat` does not answer as it should; told once until it does",
        {"host": "the host of the URL", **_DETAIL, "every": "the seconds between two heartbeats"},
    ),
    _health(
        "heartbeat_answered",
        "info",
        "✅",
        "The heartbeat reaches {host} again",
        "the URL of `heartbeat` answers again",
        {"host": "the host of the URL"},
    ),
    _web(
        "web_listening",
        "info",
        "🔍",
        "The web server is at http://{address}",
        "the web server listens",
        {"address": "the address and the port"},
    ),
    _web(
        "web_exposed",
        "warning",
        "⚠️",
        "Other machines may reach the web server at {address}, and nothing of it is encrypted, the page's link and "
        "cookies included: put a reverse proxy with TLS before it, or let web.listen be on 127.0.0.1",
        "the web server listens on an address other than loopback; told once each time that it begins to",
        {"address": "the address and the port"},
    ),
    _web(
        "web_unreachable",
        "error",
        "❌",
        "{address}: the web server cannot listen there ({detail}); it is tried again, and the accounts go on. If "
        "another program has the port, stop that, or give web.listen another one",
        "the web server cannot listen; told once until it does",
        {"address": "the address and the port", **_DETAIL},
    ),
    _web(
        "page_ready",
        "info",
        "🔍",
        "The page can be opened with the token in {path}; the link with it: {command}",
        "there is a token for the page, at the start or anew; the token itself is never in the log",
        {"path": "the file with the token of the operators", "command": "prints the link"},
    ),
    _web(
        "page_token_unusable",
        "error",
        "❌",
        "{detail}. The file is looked at every few seconds; the accounts go on",
        "a file with a token of the page cannot be used, so that the page is closed to those who had it",
        _DETAIL,
    ),
    _web(
        "page_token_refused",
        "warning",
        "⚠️",
        "Somebody at {client} tried to open the page with a wrong token",
        "a wrong token was sent; told at most every ten minutes",
        {"client": "the address"},
    ),
    _web(
        "web_request_failed",
        "error",
        "❌",
        "An error in the engine itself ended a request for {request}",
        "a mistake of the engine ended a request; told at most every ten minutes",
        {"request": "the path", "exception": "the traceback"},
    ),
)
"""Every event of these loggers."""
