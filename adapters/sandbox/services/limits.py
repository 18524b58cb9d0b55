"""help.getAppConfig, and what a frozen account may do: read, and answer the questions of its login."""

from typing import Any, Final

from attrs import frozen
from telethon.tl import types

from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.services.context import RequestContext

READS: Final = ("get", "search", "check", "resolve", "read")
"""How the names of methods begin that a frozen account may use."""
OPEN: Final = ("auth", "help", "updates")
"""Namespaces of which it may use every method."""


@frozen
class Freeze:
    """Since when an account is frozen, when it will be deleted (Unix seconds), and where to appeal."""

    since: float
    until: float
    appeal: str


def get_app_config(context: RequestContext, _: Any) -> Any:
    """Return the client's configuration; of a frozen account, when it was and will be deleted, and where to appeal."""
    found = None if context.account is None else context.shared.frozen.get(context.account.id)
    values: dict[str, Any] = {}
    if found is not None:
        values = {
            "freeze_since_date": types.JsonNumber(float(found.since)),
            "freeze_until_date": types.JsonNumber(float(found.until)),
            "freeze_appeal_url": types.JsonString(found.appeal),
        }
    return types.help.AppConfig(0, types.JsonObject([types.JsonObjectValue(*item) for item in values.items()]))


def check_frozen(context: RequestContext, request: Any) -> None:
    """Raise RpcRefusal for a request that a frozen account may not make."""
    if context.account is None or context.account.id not in context.shared.frozen:
        return
    namespace, name = type(request).__module__.rpartition(".")[2], type(request).__name__.lower()
    if namespace not in OPEN and not name.startswith(READS):
        raise RpcRefusal(420, "FROZEN_METHOD_INVALID")
