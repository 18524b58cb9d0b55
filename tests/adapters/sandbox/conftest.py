"""Fixtures of the sandbox's tests: clients, raw peers, and a clean loop after each test."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from telethon import TelegramClient

from tests.adapters.sandbox import harness
from tests.adapters.sandbox.harness import Connect, NewClient, NewSession, OpenPeer


@pytest.fixture
def connected() -> Connect:
    """Return the context manager of a connected client."""
    return harness.connect


@pytest.fixture
def new_session() -> NewSession:
    """Return the maker of sessions that point at a sandbox."""
    return harness.new_session


@pytest.fixture
def new_client() -> NewClient:
    """Return the maker of clients that are not yet connected."""
    return harness.new_client


@pytest.fixture
def raw() -> OpenPeer:
    """Return the context manager of a raw peer."""
    return harness.open_peer


@pytest.fixture(autouse=True)
def forget_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Telethon keeps the addresses of datacenters for the whole process, and each sandbox has others."""
    monkeypatch.setattr(TelegramClient, "_config", None)


@pytest.fixture(autouse=True)
async def no_leftover_tasks() -> AsyncIterator[None]:
    """Check that a test leaves the loop as it was: without tasks or timers of a client or of the sandbox."""
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left over: {left}"
