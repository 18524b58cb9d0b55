"""``run`` through proxies: the config's list, failed over, in a process of its own."""

import signal
from pathlib import Path
from urllib.parse import quote

import pytest

from adapters.sandbox import Sandbox
from tests.adapters.telegram.proxies import PASSWORD, SECRETS, USER, LocalProxy
from tests.engine.harness import FAST, EngineHarness, all_are

PHONE = "+9996620001"


@pytest.mark.slow
async def test_an_engine_fails_over_and_tells_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first proxy refuses the login, the second carries the account; both are named, and no password anywhere.

    Anywhere is: what is printed, the logs of the engine and of Telethon, and the journal.
    """
    harness = EngineHarness(tmp_path)
    monkeypatch.setenv("HF_PASSWORD", quote(PASSWORD, safe=""))
    strict = LocalProxy("socks5", user=USER, password="another")
    kind = LocalProxy("http", user=USER, password=PASSWORD)
    async with Sandbox() as dc, strict.listening(), kind.listening():
        login = f"{USER}:${{HF_PASSWORD}}"
        urls = [f"socks5://{login}@127.0.0.1:{strict.port}", f"http://{login}@127.0.0.1:{kind.port}"]
        harness.at(dc, PHONE, rest=FAST)
        config = harness.config.read_text()
        harness.config.write_text(config.replace(f'phone: "{PHONE}"', f'phone: "{PHONE}", proxy: {urls}'))
        async with harness.running(dev=True) as process:
            await harness.until(all_are("healthy", 1))
            assert await harness.finish(process, signal.SIGINT) == 0
        assert dc.stats()["accepted"] == len(kind.tunnels)
    assert f"Network error for Account 1: the proxy {strict.address()} refused the login" in harness.text
    assert f"Successfully reconnected Account 1 at attempt 2 via {kind.address()}" in harness.text
    written = [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert len(written) >= 3
    shown = b"".join([harness.said, harness.shown, *written])
    assert not [secret for secret in (*SECRETS, quote(PASSWORD, safe="")) if secret.encode() in shown]
