"""Handlers of a node's accounts, which come one by one."""

from pathlib import Path
from typing import Any, cast

import pytest
from attrs import evolve

from engine.app import handlers as module
from engine.app.handlers import Handlers
from engine.app.jobs import JobService
from engine.config import AccountConfig, Config, Telegram
from engine.console.names import addressed


class FakeConnector:
    """Has handlers."""

    def use_handlers(self, handlers: list[tuple[Any, Any]]) -> None:
        self.handlers = [event for _, event in handlers]


def test_whom_a_pattern_means_is_worked_out_once_for_each_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """For ten thousand accounts it took minutes when each asked; another config is asked anew."""
    asked: list[tuple[str, ...]] = []

    def ask(names: list[str], patterns: tuple[str, ...]) -> set[str]:
        asked.append(patterns)
        return addressed(names, patterns)

    monkeypatch.setattr(module, "addressed", ask)
    accounts = tuple(AccountConfig(name=f"A {n}", session=Path(f"/{n}.session")) for n in range(50))
    config = Config(telegram=Telegram(api_id=1, api_hash="0" * 32), accounts=accounts)
    handlers = Handlers(config, JobService(config))
    handlers.add("A 1*", print, "ones")
    handlers.add("*", print, "all")

    def renew(name: str) -> list[str]:
        connector = FakeConnector()
        handlers.renew(name, cast("Any", connector))
        return connector.handlers

    assert {account.name for account in accounts if "ones" in renew(account.name)} == addressed(
        [account.name for account in accounts], ("A 1*",)
    )
    assert asked == [("A 1*",), ("*",)]
    handlers.config = evolve(config, accounts=accounts[:1])
    assert renew("A 0") == ["all"]
    assert renew("A 1") == []
    assert len(asked) == 4
