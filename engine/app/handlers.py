"""Which functions hear the updates of which accounts: those of the program, then those of the config's modules."""

from collections.abc import Callable, Mapping
from typing import Any

import structlog
from attrs import define, field

from adapters.telegram import TelegramConnector
from engine.app.jobs import JobService, name_of
from engine.config import Config
from engine.console.format import nearest
from engine.console.names import addressed

log = structlog.get_logger("holdfast.engine")


@define(eq=False)
class Handlers:
    """The handlers of a program, each with the name or pattern of its accounts, and those of the modules."""

    config: Config
    jobs: JobService
    """Knows the modules, and the background tasks of the program."""
    first: Callable[[str], list[tuple[Any, Any]]] = field(default=lambda account: [], init=False)
    """Returns handlers of the engine itself for an account, which are called before all others."""
    _own: list[tuple[str, Any, Any]] = field(factory=list, init=False)
    _meant: dict[str, set[str]] = field(factory=dict, init=False)
    """Whom each pattern means by the config ``_meant_by``: a node renews ten thousand accounts one by one."""
    _meant_by: Config | None = field(default=None, init=False)

    def add(self, pattern: str, handler: Any, event: Any) -> None:
        """Add a handler of the program itself, for the accounts that ``pattern`` means."""
        self._own.append((pattern, handler, event))

    def attach(self, connectors: Mapping[str, TelegramConnector]) -> None:
        """Let these connectors, which are named like their accounts, have the handlers that are for them, no others.

        Say which handlers and background tasks of the program are for no account.
        """
        names = [account.name for account in self.config.accounts]
        meant = [addressed(names, (pattern,)) for pattern, _, _ in self._own]
        idle = self.jobs.unmatched()
        idle += [
            (name_of(handler), pattern)
            for (pattern, handler, _), whom in zip(self._own, meant, strict=True)
            if not whom
        ]
        for function, pattern in idle:
            log.warning("accounts_unmatched", function=function, pattern=pattern, hint=nearest(pattern, names))
        for name, connector in connectors.items():
            own = [(handler, event) for (_, handler, event), whom in zip(self._own, meant, strict=True) if name in whom]
            connector.use_handlers([*self.first(name), *own, *self.jobs.handlers_of(name)])

    def renew(self, name: str, connector: TelegramConnector) -> None:
        """Let the connector of one account have what is for it now."""
        own = [(handler, event) for pattern, handler, event in self._own if name in self._addressed(pattern)]
        connector.use_handlers([*self.first(name), *own, *self.jobs.handlers_of(name)])

    def _addressed(self, pattern: str) -> set[str]:
        if self._meant_by is not self.config:
            self._meant, self._meant_by = {}, self.config
        if pattern not in self._meant:
            self._meant[pattern] = addressed([account.name for account in self.config.accounts], (pattern,))
        return self._meant[pattern]
