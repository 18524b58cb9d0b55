"""The page of a real engine on real connections: its link, its tokens, its actions, and its end."""

import re
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import httpx
import pytest

from adapters.sandbox import Sandbox
from adapters.sqlite.job_reader import JobReader
from adapters.sqlite.jobs import NewJob, change
from engine import Engine
from engine.app import page_tokens
from engine.app.page_source import EnginePageSource
from engine.web.page.source import PageUnreadable
from states.jobs import Cancelled, JobState
from tests.engine.config.texts import HEAD, ONE
from tests.engine.harness import FAST, ROOT, EngineHarness
from tests.engine.web.test_live import free_port
from tests.timeouts import TIMEOUT

pytestmark = pytest.mark.slow

PHONES = ("+9996620001", "+9996620002")


class Browser:
    """A browser in front of an engine's page."""

    def __init__(self, harness: EngineHarness) -> None:
        self.harness, self.port = harness, free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.section = f"web: {{listen: 127.0.0.1:{self.port}}}\n"

    @property
    def token_file(self) -> Path:
        """Where the token is."""
        return self.harness.directory / "data" / "web.token"

    @asynccontextmanager
    async def opened(self, token: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
        """Open the link, as soon as the engine listens and has its token."""
        async with httpx.AsyncClient(base_url=self.base, timeout=TIMEOUT, trust_env=False) as client:
            with anyio.fail_after(TIMEOUT):
                while True:
                    try:
                        given = token or self.token_file.read_text().strip()
                        if (await client.get("/", params={"token": given})).status_code == 303:
                            break
                    except (httpx.ConnectError, FileNotFoundError):
                        pass
                    await anyio.sleep(0.05)
            yield client

    async def act(self, client: httpx.AsyncClient, verb: str, target: str) -> tuple[int, str]:
        """Send a form as the page's script does."""
        page = (await client.get("/accounts/Account%201")).text
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
        assert found is not None
        form = {"csrf": found[1], "verb": verb, "target": target}
        headers = {"accept": "application/json", "origin": self.base, "sec-fetch-site": "same-origin"}
        answer = await client.post("/act", data=form, headers=headers)
        return answer.status_code, answer.json()["said"]


@pytest.fixture
def browser(harness: EngineHarness) -> Browser:
    """Return a browser for the harness's engine."""
    return Browser(harness)


async def test_what_a_person_does_on_the_page_is_done(harness: EngineHarness, browser: Browser) -> None:
    """By the same functions as the commands, and with their sentences; what cannot be done is a sentence, too."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES, rest=FAST + browser.section)
        async with Engine.from_config(harness.config) as engine:
            await engine.account("Account 1").ready()
            async with browser.opened() as client:
                assert await browser.act(client, "pause", "Account 1") == (200, "Account 1 is paused")
                assert engine.account("Account 1").state == "paused"
                assert (await browser.act(client, "retry", "Account 1"))[0] == 409
                assert await browser.act(client, "resume", "Account 1") == (200, "Account 1 is connecting")
                await engine.account("Account 1").ready()
                assert (await browser.act(client, "retry", "Account 1"))[0] == 200
                status, said = await browser.act(client, "pause", "nobody\x1b[31m<script>")
                assert (status, "\x1b" in said) == (409, False)
                assert await browser.act(client, "ack", "77") == (
                    409,
                    "No incident 77 is open; it may be over already",
                )
                for wrong in ("x", "-1", "9" * 40, "٣"):
                    assert (await browser.act(client, "ack", wrong))[0] == 409
                    assert (await browser.act(client, "retry-job", wrong))[0] == 409
                [number] = await engine.jobs.add([NewJob(kind="send", data={"to": "@x", "text": "hi"}, due=4e9)])
                path = harness.directory / "data" / "engine.db"
                change(path, [number], Cancelled())
                assert await browser.act(client, "retry-job", str(number)) == (200, f"Job {number} is queued")
                with JobReader.open(path) as reader:
                    job = reader.job(number)
                assert job is not None
                assert job.state is not JobState.CANCELLED


async def test_what_the_page_reads_is_what_the_journal_has(harness: EngineHarness, browser: Browser) -> None:
    """Records from the newest on, page by page; a time of all accounts; an explanation; jobs; the past."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES, rest=FAST + browser.section)
        async with Engine.from_config(harness.config) as engine:
            source = EnginePageSource(engine)
            await engine.account("Account 1").ready()
            newest = await source.journal(None, None, 3)
            assert [each.seq for each in newest] == sorted((each.seq for each in newest), reverse=True)
            assert len(newest) == 3
            older = await source.journal(None, newest[-1].seq, 1000)
            assert all(each.seq < newest[-1].seq for each in older)
            own = await source.journal("Account 1", None, 500)
            assert {each.account for each in own} == {"Account 1"}
            assert await source.journal("nobody", None, 5) == []
            begin = min(each.at for each in [*newest, *older])
            first = await source.journal_at(begin, begin + 1000, 2)
            assert [each.seq for each in first] == sorted(each.seq for each in first)
            assert (await source.explain(own[-1].seq)).entry == own[-1]
            for number in (0, -1, 10**6, 2**70):
                with pytest.raises(PageUnreadable):
                    await source.explain(number)
            heat = await source.heat("Account 1", 0.0)
            assert sum(heat.moves.values()) == len(own)
            histories = await source.history()
            assert histories.complete
            assert set(histories.past) == {"Account 1", "Account 2"}
            assert await source.past_incidents(10) == []
            [number] = await engine.jobs.add(
                [NewJob(kind="send", data={"to": "@x", "text": "hi"}, account="Account 1")]
            )
            mine = await source.jobs_of("Account 1", 10)
            assert [each.id for each in mine] == [number]
            before, after = source.accounts(), source.accounts()
            assert all(before[name] is after[name] or before[name] != after[name] for name in before)


async def test_a_file_that_cannot_be_read_is_a_sentence(harness: EngineHarness, browser: Browser) -> None:
    """In bounded time, and for few threads at once."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=FAST + browser.section)
        async with Engine.from_config(harness.config) as engine:
            reads = EnginePageSource(engine)._reads
            with pytest.MonkeyPatch.context() as patch:
                from threading import Event

                from engine.app import page_reads

                patch.setattr(page_reads, "READ_SECONDS", 0.1)
                stuck = Event()
                for _ in range(page_reads.READS_AT_ONCE):
                    with pytest.raises(PageUnreadable, match="could not be read within"):
                        await reads.within(lambda place: stuck.wait(TIMEOUT))
                with pytest.raises(PageUnreadable, match="read by so many"):
                    await reads.within(lambda place: None)
                stuck.set()
            with anyio.fail_after(TIMEOUT):
                while True:
                    try:
                        assert await reads.within(lambda place: place.directory.name) == "data"
                        break
                    except PageUnreadable:
                        await anyio.sleep(0.02)


@pytest.mark.slow
async def test_the_token_is_in_its_file_alone(harness: EngineHarness, browser: Browser) -> None:
    """Neither in what the engine prints nor in its log files; the command prints the link. A restart keeps visitors."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=FAST + browser.section)
        async with harness.running() as process:
            async with browser.opened() as client:
                cookies = dict(client.cookies)
                assert (await client.get("/")).status_code == 200
                await harness.until(lambda seen: "page_ready" in seen.text or "web link" in seen.text)
            assert await harness.finish(process, signal.SIGTERM) == 0
        token = browser.token_file.read_text().strip()
        assert stat.S_IMODE(browser.token_file.stat().st_mode) == 0o600
        everything = harness.text + harness.shown.decode()
        for path in (harness.directory / "data" / "logs").iterdir():
            everything += path.read_text()
        assert token not in everything
        assert str(browser.token_file) in everything
        command = [sys.executable, "-m", "engine", "web", "link", str(harness.config)]
        done = await anyio.run_process(command, cwd=ROOT, env=harness.environment)
        assert done.stdout.decode() == f"{browser.base}/?token={token}\n"
        async with harness.running() as process:
            async with browser.opened() as client:
                client.cookies.clear()
                assert (await client.get("/")).status_code == 401
                client.cookies.update(cookies)
                assert (await client.get("/")).status_code == 200
            assert await harness.finish(process, signal.SIGTERM) == 0


async def test_a_token_that_is_deleted_ends_the_visits(
    harness: EngineHarness, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that others may read is used no longer; the log says so, once. What programs ask goes on."""
    monkeypatch.setattr(page_tokens, "LOOK_EVERY", 0.05)
    async with Sandbox() as dc:
        readers = harness.directory / "readers.token"
        section = browser.section.replace("}", f", reader_token_file: {readers}}}")
        harness.at(dc, PHONES[0], rest=FAST + section)
        async with Engine.from_config(harness.config), browser.opened() as client:
            token = readers.read_text().strip()
            async with browser.opened(token) as reader:
                assert 'name="csrf"' not in (await reader.get("/accounts/Account%201")).text
            browser.token_file.chmod(0o644)
            with anyio.fail_after(TIMEOUT):
                while (await client.get("/")).status_code != 503:
                    await anyio.sleep(0.05)
            assert (await client.get("/healthz")).status_code == 200
            browser.token_file.unlink()
            with anyio.fail_after(TIMEOUT):
                while (await client.get("/")).status_code != 401:
                    await anyio.sleep(0.05)
            async with browser.opened() as again:
                assert (await again.get("/")).status_code == 200


async def test_a_reload_moves_the_page(harness: EngineHarness, browser: Browser) -> None:
    """Open streams end at once, and the page is at its new address with the same token; no account reconnects."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=FAST + browser.section)
        async with Engine.from_config(harness.config) as engine:
            await engine.account("Account 1").ready()
            life = engine.account("Account 1").snapshot.life
            async with browser.opened() as client, client.stream("GET", "/stream?page=fleet&seen=old") as answer:
                async for line in answer.aiter_lines():
                    if line == "event: reload":
                        break
                other = Browser(harness)
                text = harness.config.read_text().replace(f":{browser.port}}}", f":{other.port}}}")
                harness.config.write_text(text)
                engine.reload_soon()
                async with other.opened() as moved:
                    assert (await moved.get("/")).status_code == 200
                with pytest.raises(httpx.ConnectError):
                    async with httpx.AsyncClient(trust_env=False) as late:
                        await late.get(browser.base)
            assert engine.account("Account 1").snapshot.life == life


async def test_an_engine_stops_while_pages_are_open(harness: EngineHarness, browser: Browser) -> None:
    """In its usual time: the streams are cut."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=FAST + browser.section)
        async with harness.running() as process, browser.opened() as client:
            page = (await client.get("/")).text
            found = re.search(r"/stream\?[^\"']+", page)
            assert found is not None
            path = found[0].replace("&amp;", "&")
            async with client.stream("GET", path) as answer:
                assert answer.status_code == 200
                lines = answer.aiter_lines()
                assert (await anext(lines)).startswith("retry")
                assert await harness.finish(process, signal.SIGTERM) == 0
                with suppress(httpx.HTTPError), anyio.fail_after(TIMEOUT):
                    async for _ in lines:
                        pass


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", 2, "there is no page; add a section web:"),
        ("web: {listen: '127.0.0.1:0'}\n", 2, "web.listen has no port of its own"),
        ("web: {token_file: /dev/null/x}\n", 1, "the token cannot be kept there"),
    ],
)
def test_a_link_that_cannot_be_printed_is_a_sentence(tmp_path: Path, text: str, code: int, said: str) -> None:
    """With its exit code."""
    config = tmp_path / "config.yaml"
    config.write_text(HEAD + ONE + text)
    done = subprocess.run(
        [sys.executable, "-m", "engine", "web", "link", str(config)],
        cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_link_of_readers_is_asked_for(tmp_path: Path) -> None:
    """It is made, too, and is another one; of a server on all addresses it is that of this machine."""
    config = tmp_path / "config.yaml"
    web = "web: {listen: '0.0.0.0:8123', reader_token_file: read.token}\n"
    config.write_text(HEAD + ONE + web)
    links = [
        subprocess.run(
            [sys.executable, "-m", "engine", "web", "link", str(config), *options],
            cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=True,
        ).stdout
        for options in ([], ["--reader"], [])
    ]  # fmt: skip
    assert links[0] == links[2] != links[1]
    assert all(each.startswith("http://127.0.0.1:8123/?token=") for each in links)
    assert links[1].strip().endswith((tmp_path / "read.token").read_text().strip())
