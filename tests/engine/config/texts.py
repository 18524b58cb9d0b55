"""Texts that the tests of the config share."""

from collections.abc import Callable

import attrs

from engine.config import Config

API_HASH = "0123456789abcdef0123456789abcdef"
PHONE = "+9996620001"
KEY = (
    "MIIBCgKCAQEAyMEdY1aR+sCR3ZSJrtztKTKqigvO/vBfqACJLZtS7QMgCGXJ6XIRyy7mx66W0/sOFa7/1mAZtEoIokDP3ShoqF4f"
    "VNb6XeqgQfaUHd8wJpDWHcR2OFwvplUUI1PLTktZ9uW2WE23b+ixNwJjJGwBDJPQEQFBE+vfmH0JP503wr5INS1poWg/j25sIWeY"
    "PHYeOrFp/eXaqhISP6G+q2IeTaWTXpwZj4LzXq5YOpk4bYEQ6mvRq7D1aHWfYmlEGepfaYR8Q0YqvvhYtMte3ITnuSJs171+GDqp"
    "dKcSwHnd6FudwGO4pcCOj4WcDuXc2CTHgH8gFTNhp/Y8/SpDOhvn9QIDAQAB"
)
PEM = f"-----BEGIN RSA PUBLIC KEY-----\n{KEY}\n-----END RSA PUBLIC KEY-----\n"
BOT_TOKEN = "7000000001:TokenOfTheBotTokenOfTheBot"
PROXY_PASSWORD = "PasswordOfTheProxyPasswordOfTheProxy"
PROXY_SECRET = "dd5ec2e75ec2e75ec2e75ec2e75ec2e700"
SECRETS = (API_HASH, PHONE, PHONE[1:], KEY, PROXY_PASSWORD, PROXY_SECRET, PROXY_SECRET[2:], BOT_TOKEN)
HEAD = f"telegram: {{api_id: 777, api_hash: {API_HASH}}}\n"
SANDBOX = f"telegram: {{api_id: 777, api_hash: {API_HASH}, datacenter: sandbox}}\n"
ONE = "accounts: [{name: A, session: a}]\n"
Load = Callable[[str], Config]
Problems = Callable[[str], list[str]]


def shown(config: Config) -> str:
    """Return what a log line or a traceback could show of a config: its own repr, and those of all its sections."""
    return " ".join(map(repr, (config, *attrs.astuple(config, recurse=False))))
