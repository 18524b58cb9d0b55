"""The Telethon adapter: one client per link, exceptions as typed events."""

from adapters.telegram.classify import classify
from adapters.telegram.link import Connector, Datacenter, TelegramLink
from adapters.telegram.login import log_in_test_account
from adapters.telegram.owned import OwnedConnector

__all__ = ["Connector", "Datacenter", "OwnedConnector", "TelegramLink", "classify", "log_in_test_account"]
