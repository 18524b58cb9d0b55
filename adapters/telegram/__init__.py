"""The Telethon adapter: one client per link, exceptions as typed events."""

from adapters.telegram.classify import classify
from adapters.telegram.failover import Failover
from adapters.telegram.link import Connector, Datacenter, TelegramLink
from adapters.telegram.login import log_in_test_account
from adapters.telegram.owned import OwnedConnector
from adapters.telegram.proxy import Proxy

__all__ = [
    "Connector",
    "Datacenter",
    "Failover",
    "OwnedConnector",
    "Proxy",
    "TelegramLink",
    "classify",
    "log_in_test_account",
]
