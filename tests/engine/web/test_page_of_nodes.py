"""The page of a node, with real nodes on a real database: accounts of both, and what is done to one at the other."""

import html
import re
from pathlib import Path

import anyio
import httpx
import pytest

from adapters.sandbox import Sandbox
from tests.engine.nodes import ACCOUNTS, Nodes
from tests.engine.web.test_live import free_port
from tests.timeouts import TIMEOUT


@pytest.mark.slow
async def test_the_page_of_a_node_shows_both_and_reaches_an_account_at_the_other(
    tmp_path: Path, store_url: str
) -> None:
    """Which node has each account, live or as stored; a pause is done at the other node; metrics are of this one."""
    port = free_port()
    async with Sandbox() as dc:
        nodes = Nodes(tmp_path, store_url, dc)
        one = await nodes.node("one", lease="30s", rest=f"web: {{listen: 127.0.0.1:{port}}}\n")
        two = await nodes.node("two", lease="30s")
        nodes.settle()
        async with one.running(), two.running():
            await nodes.until(lambda: set(nodes.owners().values()) == {"one", "two"}, one, two)
            await nodes.until(lambda: set(nodes.healthy()) == set(ACCOUNTS), one, two)
            here, there = sorted(ACCOUNTS, key=lambda name: nodes.owners()[name] or "")
            token = one.directory / "data" / "web.token"
            await nodes.until(token.exists, one)
            base = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=base, timeout=TIMEOUT, trust_env=False) as client:
                await client.get("/", params={"token": token.read_text().strip()})
                found = ""
                with anyio.fail_after(TIMEOUT):
                    while "2 of 2 accounts healthy" not in found:
                        found = words((await client.get("/")).text)
                        await anyio.sleep(0.2)
                assert re.search(rf"{here} healthy .*?at node one \(this one\)", found)
                assert re.search(rf"{there} healthy .*?at node two ?, as stored \d\d:\d\d:\d\d", found)
                assert re.search(r"Nodes 2 .*one \(this one\) one alive 1 – in time.*two two alive 1 – in time", found)
                path = f"/accounts/{there.replace(' ', '%20')}"
                csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', (await client.get(path)).text)
                assert csrf is not None
                form = {"csrf": csrf[1], "verb": "pause", "target": there}
                headers = {"accept": "application/json", "origin": base, "sec-fetch-site": "same-origin"}
                answer = await client.post("/act", data=form, headers=headers)
                assert (answer.status_code, answer.json()["said"]) == (200, f"{there} is paused"), two.text
                metrics = (await client.get("/metrics")).text
                assert "holdfast_node_accounts 1.0" in metrics
                assert "holdfast_node_others 1.0" in metrics
        assert dc.stats()["logins_destroyed"] == 0


def words(page: str) -> str:
    """Return the text of a page, with single spaces."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
