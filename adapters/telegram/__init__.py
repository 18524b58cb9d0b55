"""The Telethon adapter: one client per link, exceptions as typed events."""

from adapters.telegram.classify import classify
from adapters.telegram.connector import Datacenter, TelegramConnector
from adapters.telegram.conversation import AsBot, ByCode, ByQr, LoginFailed, LoginMethod, LoginPrompts
from adapters.telegram.failover import ProxyFailover
from adapters.telegram.link import TelegramLink
from adapters.telegram.login import LoggedIn, Login, log_in_test_account, log_out
from adapters.telegram.owned import OwnedConnector
from adapters.telegram.proxy import Proxy

__all__ = [
    "AsBot",
    "ByCode",
    "ByQr",
    "Datacenter",
    "LoggedIn",
    "Login",
    "LoginFailed",
    "LoginMethod",
    "LoginPrompts",
    "OwnedConnector",
    "Proxy",
    "ProxyFailover",
    "TelegramConnector",
    "TelegramLink",
    "classify",
    "log_in_test_account",
    "log_out",
]
