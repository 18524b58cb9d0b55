"""The events of the sandbox datacenter that a demo runs, and their lines."""

from functools import partial
from typing import Final

from engine.console.format import seconds
from engine.console.log_event import LogEvent

_ACCOUNT: Final = {"account": "the account's name"}
_DETAIL: Final = {"detail": "what happened, in a sentence"}

_sandbox = partial(LogEvent, "holdfast.sandbox")

SANDBOX: Final = (
    _sandbox(
        "sandbox_starting",
        "info",
        "🔍",
        "Starting the sandbox datacenter; the first time it makes its keys",
        "the sandbox is started",
    ),
    _sandbox(
        "sandbox_listening",
        "info",
        "🔍",
        "The sandbox datacenter listens on 127.0.0.1:{port}",
        "the sandbox has started",
        {"port": "its TCP port"},
    ),
    _sandbox(
        "sandbox_control",
        "info",
        "🔍",
        "To hurt the sandbox's connections by hand: {command}",
        "the sandbox has started",
        {"port": "the control port", "command": "a command that injects a fault"},
    ),
    _sandbox(
        "sandbox_group_filled",
        "info",
        "🔍",
        "The sandbox wrote {messages} messages into @{group}",
        "a group got its history",
        {"group": "its name", "messages": "how many messages"},
    ),
    _sandbox(
        "sandbox_logged_in",
        "info",
        "🔑",
        "Logged in {account} at the sandbox, as a test number",
        "an account without a session was logged in",
        _ACCOUNT,
    ),
    _sandbox(
        "sandbox_login_failed",
        "error",
        "🔑",
        "{account} cannot log in at the sandbox: {detail}",
        "an account could not be logged in",
        {**_ACCOUNT, **_DETAIL},
    ),
    _sandbox(
        "sandbox_chaos",
        "info",
        "🔍",
        lambda of: f"Chaos in the sandbox for {seconds(of['duration'])}, with the seed {of['seed']}",
        "the scenario is chaos",
        {"duration": "how long, in seconds", "seed": "what makes it the same again"},
    ),
    _sandbox(
        "sandbox_scenario_failed",
        "error",
        "❌",
        "The scenario is not played: {detail}",
        "the sandbox refuses the scenario, or has ended",
        _DETAIL,
    ),
    _sandbox(
        "sandbox_ended",
        "error",
        "❌",
        "The sandbox datacenter ended by itself (exit code {exit_code}); restart the engine to have it again",
        "the sandbox's process ended",
        {"exit_code": "its exit code"},
    ),
)
"""Every event of this logger."""
