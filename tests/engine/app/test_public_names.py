"""What a program of a user's imports from ``engine``, and how the objects that it holds show themselves."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

import engine
from adapters.sandbox import Fault, FaultKind, Sandbox
from engine import ConnectionMonitor, Engine, State
from tests.engine.harness import EngineHarness

PHONES = ("+9996620001", "+9996620002")


@pytest.mark.parametrize("name", engine.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    """What ``__all__`` lists is there, and is called so at home."""
    assert getattr(engine, name).__name__ == name


def test_type_checkers_see_the_public_names() -> None:
    """The imports for type checkers, the lazy imports and ``__all__`` name the same things from the same modules."""
    (block,) = (node for node in ast.parse(Path(engine.__file__).read_text()).body if _is_for_type_checkers(node))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    lazy = {name: home for home, names in engine._HOMES.items() for name in names}
    assert seen == lazy
    assert sorted(lazy) == sorted(engine.__all__) == dir(engine)


def _is_for_type_checkers(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def test_importing_the_engine_imports_nothing_heavy() -> None:
    """Commands need not wait for Telethon: only the name that is asked for brings in its module."""
    heavy = {"telethon", "anyio", "attrs", "adapters", "states"}
    program = f"import sys, engine; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As with any module."""
    with pytest.raises(AttributeError, match="module 'engine' has no attribute 'Motor'"):
        _ = engine.Motor


async def test_an_engine_and_its_accounts_say_in_a_line_how_they_are(harness: EngineHarness) -> None:
    """Before, while and after it runs, without what the config says."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES)
        running = Engine.from_config(harness.config)
        account = running.account("Account 1")
        assert repr(running) == "<Engine config.yaml: 2 accounts, not started>"
        assert repr(account) == "<Account 'Account 1': not started>"
        async with running:
            with anyio.fail_after(20):
                await account.ready()
                await running.account("Account 2").ready()
            assert repr(running) == "<Engine config.yaml: 2 accounts, 2 healthy, running>"
            assert repr(account) == "<Account 'Account 1': healthy>"
            await dc.inject(Fault(FaultKind.REFUSE))
            await dc.inject(Fault(FaultKind.RESET))
            with anyio.fail_after(20):
                while account.snapshot.state is not State.BACKOFF:
                    await anyio.sleep(0.01)
            assert re.fullmatch("<Account 'Account 1': backoff, [^\n]{10,80}>", repr(account))
            running.stop.now()
            assert repr(running).endswith(", stopping>")
        assert repr(running).endswith(", stopped>")


def test_a_monitor_says_in_a_line_how_its_clients_are() -> None:
    """Not what its policy is."""
    monitor = ConnectionMonitor()
    monitor.register_client("Account 1", object())
    assert repr(monitor) == "<ConnectionMonitor: 1 client, 0 healthy, not watching>"
