"""The Telethon adapter: one client per link, exceptions as typed events."""

from adapters.telegram.classify import classify
from adapters.telegram.conversation import AsBot, ByCode, ByQr, LoginFailed, Person, Way
from adapters.telegram.failover import Failover
from adapters.telegram.link import Connector, Datacenter, TelegramLink
from adapters.telegram.login import LoggedIn, Login, log_in_test_account, log_out
from adapters.telegram.owned import OwnedConnector
from adapters.telegram.proxy import Proxy

__all__ = [
    "AsBot",
    "ByCode",
    "ByQr",
    "Connector",
    "Datacenter",
    "Failover",
    "LoggedIn",
    "Login",
    "LoginFailed",
    "OwnedConnector",
    "Person",
    "Proxy",
    "TelegramLink",
    "Way",
    "classify",
    "log_in_test_account",
    "log_out",
]
