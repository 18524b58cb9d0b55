"""An open page is kept up to date: by differences, at its visitor's pace, and for so many visitors."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import httpx
import pytest
import structlog

from engine.web import connection
from engine.web.page import stream
from engine.web.page.source import Fragments, PageName, PageRole, View
from engine.web.page.stream import Picture
from tests.engine.web.page.stage import HOST, TOKENS, Stage, staged
from tests.timeouts import TIMEOUT

Event = tuple[str, Any, str]
"""The name, the data and the mark of an event."""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Update pages ten times as often."""
    monkeypatch.setattr(stream, "EVERY", 0.05)


class Visitor:
    """Reads a stream, and keeps what a browser would show."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.shown: dict[str, str] = {}
        self.order: list[str] = []
        self.mark = ""
        self.heard: list[str] = []
        self._events = self._read()

    async def _lines(self) -> AsyncIterator[str]:
        """Yield lines as a browser sees them: they end with a line feed, and with nothing else."""
        rest = b""
        async for part in self.answer.aiter_bytes():
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                yield line.decode()

    async def _read(self) -> AsyncIterator[Event]:
        name = data = mark = ""
        async for line in self._lines():
            key, _, value = line.partition(": ")
            if key == "event":
                name = value
            elif key == "data":
                data = value
            elif key == "id":
                mark = value
            elif not line and name:
                yield name, json.loads(data), mark
                name = data = mark = ""

    async def batch(self) -> list[str]:
        """Take events until a batch is complete, or the stream is over; return their names."""
        names = []
        with anyio.fail_after(TIMEOUT):
            async for name, data, mark in self._events:
                names.append(name)
                if name == "fragment":
                    self.shown[data["id"]] = data["html"]
                elif name == "remove":
                    for each in data["ids"]:
                        self.shown.pop(each, None)
                elif name == "order":
                    self.order = data["ids"]
                elif name == "seen":
                    self.mark = mark
                    break
        self.heard += names
        return names


@asynccontextmanager
async def visiting(
    stage: Stage, seen: str | None = "", role: PageRole = PageRole.READER, **query: str
) -> AsyncIterator[Visitor]:
    """Fetch a page and open its stream, from what the page has or from another mark."""
    async with stage.client(role) as client:
        if seen == "":
            page = await client.get("/", params=query)
            seen = page.text.partition("data-seen='")[2].partition("'")[0]
        async with client.stream("GET", "/stream", params={"page": "fleet", "seen": seen or "", **query}) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            yield Visitor(answer)


# --- pictures --------------------------------------------------------------------------------------------------------


def test_a_picture_tells_what_somebody_does_not_have() -> None:
    """What is new, what is other, what is gone, and the order if it is another."""
    first = Picture().after(Fragments({"a": "1", "b": "1", "c": "1"}, ["a", "b"]), 1)
    second = first.after(Fragments({"a": "2", "b": "1"}, ["b", "a"]), 2)
    third = second.after(Fragments({"a": "2", "b": "1", "d": "1"}, ["b", "a"]), 3)
    assert second.events(first.version) == [
        ("remove", {"ids": ["c"]}),
        ("fragment", {"id": "a", "html": "2"}),
        ("order", {"ids": ("b", "a")}),
    ]
    assert third.events(second.version) == [("fragment", {"id": "d", "html": "1"})]
    assert [name for name, _ in third.events(first.version)] == ["remove", "fragment", "fragment", "order"]
    assert third.events(third.version) == []


def test_an_unchanged_picture_has_the_same_version() -> None:
    """It is only newer."""
    first = Picture().after(Fragments({"a": "1"}), 1)
    again = first.after(Fragments({"a": "1"}), 2)
    assert (again.version, again.at, again.texts) == (first.version, 2, first.texts)


def test_what_comes_back_is_not_gone() -> None:
    """Neither for who has seen it go, nor for who has not."""
    first = Picture().after(Fragments({"a": "1", "b": "1"}), 1)
    back = first.after(Fragments({"a": "1"}), 2).after(Fragments({"a": "1", "b": "1"}), 3)
    assert back.events(first.version) == [("fragment", {"id": "b", "html": "1"})]


def test_so_much_is_remembered_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not heard of it has to begin anew."""
    monkeypatch.setattr(stream, "MAX_GONE", 3)
    picture = Picture().after(Fragments({str(number): "1" for number in range(10)}), 1)
    picture = picture.after(Fragments({"9": "1"}), 2)
    assert (len(picture.gone), picture.floor) == (0, picture.version)


# --- streams ---------------------------------------------------------------------------------------------------------


async def test_a_page_hears_of_what_has_changed_since_it_was_made() -> None:
    """And of nothing else."""
    async with staged() as stage, visiting(stage) as visitor:
        assert await visitor.batch() == ["seen"]
        stage.views.html = {"counts": '<p id="counts">1</p>', "row": "<p>ü\u2028</p>"}
        stage.views.order = ["row"]
        assert await visitor.batch() == ["fragment", "fragment", "order", "seen"]
        assert visitor.shown == stage.views.html
        assert visitor.order == ["row"]
        del stage.views.html["row"]
        stage.views.order = []
        assert await visitor.batch() == ["remove", "order", "seen"]
        assert visitor.shown == stage.views.html


async def test_a_change_between_the_page_and_its_stream_is_not_lost() -> None:
    """The page says what it has."""
    async with staged() as stage, stage.client(PageRole.READER) as client:
        page = await client.get("/")
        mark = page.text.partition("data-seen='")[2].partition("'")[0]
        stage.views.html = {"counts": '<p id="counts">7</p>'}
        async with visiting(stage, mark) as visitor:
            assert await visitor.batch() == ["fragment", "seen"]
            assert visitor.shown == stage.views.html


async def test_who_comes_later_hears_what_is_true_then() -> None:
    """Although another visitor has heard of the same mark's first change before."""
    async with staged() as stage, visiting(stage) as one:
        await one.batch()
        mark = one.mark
        for number in ("1", "2"):
            stage.views.html = {"counts": number}
            await one.batch()
        async with visiting(stage, mark) as two:
            assert await two.batch() == ["fragment", "seen"]
            assert two.shown == {"counts": "2"}


async def test_a_broken_connection_goes_on_where_it_was() -> None:
    """The browser sends the last mark that it has heard."""
    async with staged() as stage:
        async with visiting(stage) as visitor:
            await visitor.batch()
            mark = visitor.mark
        stage.views.html = {"counts": '<p id="counts">7</p>'}
        async with (
            stage.client(PageRole.READER, headers={"last-event-id": mark}) as client,
            client.stream("GET", "/stream?page=fleet&seen=old-0") as answer,
        ):
            assert await Visitor(answer).batch() == ["fragment", "seen"]


@pytest.mark.parametrize("mark", [None, "x", "abc-1", "abc-99999999999999999999", "-", "-1", "ü-٣"])
async def test_a_page_that_is_too_old_has_to_be_fetched_anew(mark: str | None) -> None:
    """It hears that, and the stream ends."""
    async with staged() as stage, visiting(stage, mark) as visitor:
        assert await visitor.batch() == ["reload"]
        assert await visitor.batch() == []


async def test_a_mark_of_another_view_or_from_the_future_is_too_old() -> None:
    """Each view has its own."""
    async with staged() as stage, stage.client(PageRole.READER) as client:
        page = await client.get("/", params={"q": "x"})
        mark = page.text.partition("data-seen='")[2].partition("'")[0]
        for wrong in (mark, mark.partition("-")[0] + "-99"):
            async with visiting(stage, wrong) as visitor:
                assert await visitor.batch() == ["reload"]


async def test_views_and_roles_have_pictures_of_their_own() -> None:
    """And visitors of one view have one picture."""
    async with (
        staged() as stage,
        visiting(stage, q="a") as one,
        visiting(stage, q="a") as two,
        visiting(stage, q="b") as three,
    ):
        for visitor in (one, two, three):
            await visitor.batch()
        assert one.mark == two.mark
        assert one.mark != three.mark
        before = len(stage.views.drawn)
        counts = Counter[object]()
        with anyio.fail_after(TIMEOUT):
            while counts[("q", "b"),] < 10:  # a busy machine draws one of two views a little more often
                await anyio.sleep(0.01)
                counts = Counter(view.query for view in stage.views.drawn[before:])
        assert set(counts) == {(("q", "a"),), (("q", "b"),)}
        assert counts[("q", "a"),] < 1.7 * counts[("q", "b"),]  # a picture for each visitor would be twice as many


async def test_nothing_is_drawn_for_nobody() -> None:
    """An engine whose page is closed computes nothing for it."""
    async with staged() as stage:
        async with visiting(stage) as visitor:
            await visitor.batch()
        with anyio.fail_after(TIMEOUT):
            while stage.page.hub.streams:
                await anyio.sleep(0.01)
        await anyio.sleep(0.1)
        before = len(stage.views.drawn)
        await anyio.sleep(0.3)
        assert len(stage.views.drawn) == before


async def test_a_quiet_fleet_is_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the page knows that it is up to date, and a proxy that the connection is alive."""
    monkeypatch.setattr(stream, "ALIVE_SECONDS", 0.1)
    async with staged() as stage, visiting(stage) as visitor:
        for _ in range(3):
            assert await visitor.batch() == ["seen"]


async def test_a_view_that_fails_ends_nothing() -> None:
    """It is told once, and the streams go on when it works again."""
    with structlog.testing.capture_logs() as said:
        async with staged() as stage, visiting(stage) as visitor:
            await visitor.batch()
            draw = stage.views.fragments

            def broken(*_: object) -> Fragments:
                raise LookupError("a mistake")

            stage.views.fragments = broken  # type: ignore[method-assign, assignment]
            await anyio.sleep(0.3)
            stage.views.html = {"counts": '<p id="counts">7</p>'}
            stage.views.fragments = draw  # type: ignore[method-assign]
            assert await visitor.batch() == ["fragment", "seen"]
    assert [each["event"] for each in said] == ["web_listening", "web_request_failed"]


@pytest.mark.parametrize(
    "query", ["", "page=nothing", "page=account", "page=fleet&name=x", "page=fleet&q=" + "x" * 500]
)
async def test_what_is_no_stream_is_refused(query: str) -> None:
    """In a sentence."""
    async with staged() as stage, stage.client(PageRole.READER) as client:
        assert (await client.get(f"/stream?{query}")).status_code == 400


async def test_a_stream_of_an_account_is_for_one_that_exists() -> None:
    """It may have been removed since."""
    async with staged() as stage, stage.client(PageRole.READER) as client:
        assert (await client.get("/stream?page=account&name=nobody")).status_code == 404
        async with client.stream("GET", "/stream", params={"page": "account", "name": ".."}) as answer:
            assert answer.status_code == 200
            assert stage.views.drawn[-1] == View(PageName.ACCOUNT, "..")


async def test_so_many_streams_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are still served then, and a place that is free is there for the next one."""
    monkeypatch.setattr(connection, "MAX_STREAMS", 2)
    async with staged() as stage, visiting(stage) as one:
        async with visiting(stage) as two, stage.client(PageRole.READER) as client:
            await one.batch()
            await two.batch()
            answer = await client.get("/stream?page=fleet")
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert (await client.get("/")).status_code == 200
        with anyio.fail_after(TIMEOUT):
            while stage.page.hub.streams > 1:
                await anyio.sleep(0.01)
        async with visiting(stage) as three:
            assert await three.batch() == ["seen"]


async def test_who_does_not_read_is_dropped_and_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others hear of every change meanwhile, and nothing piles up for who does not."""
    monkeypatch.setattr(connection, "SEND_SECONDS", 0.5)
    async with staged() as stage, visiting(stage) as reader:
        await reader.batch()
        cookie = f"{stage.access.cookie_name}={stage.access.cookie(PageRole.READER, 1_900_000_000)}"
        async with stage.client(PageRole.READER) as client:
            cookie = f"{stage.access.cookie_name}={client.cookies[stage.access.cookie_name]}"
        asleep = await anyio.connect_tcp(HOST, stage.server.port)
        request = f"GET /stream?page=fleet&seen={reader.mark} HTTP/1.1\r\nhost: {HOST}\r\ncookie: {cookie}\r\n\r\n"
        await asleep.send(request.encode())
        with anyio.fail_after(TIMEOUT):
            while stage.page.hub.streams < 2:
                await anyio.sleep(0.01)
            number = 0
            while stage.page.hub.streams > 1:
                number += 1
                stage.views.html = {"counts": f"{number} {'x' * 1_000_000}"}
                await reader.batch()
                assert reader.shown == stage.views.html
        await asleep.aclose()


async def test_a_token_that_ends_ends_its_streams() -> None:
    """Who has the new link goes on."""
    async with staged() as stage:
        async with visiting(stage) as visitor:
            await visitor.batch()
            stage.access.use({PageRole.OPERATOR: TOKENS[PageRole.OPERATOR]})
            stage.page.hub.end()
            assert await visitor.batch() == []
            async with stage.client() as client:
                assert (await client.get("/stream?page=fleet")).status_code == 401
        async with visiting(stage, role=PageRole.OPERATOR) as visitor:
            assert await visitor.batch() == ["seen"]


async def test_the_end_of_the_server_ends_all_streams() -> None:
    """At once: an engine does not wait for a page that is open."""
    async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
        with anyio.fail_after(TIMEOUT):
            async with staged() as stage:
                await client.get(f"{stage.base}/?token={TOKENS[PageRole.READER]}")
                mark = (await client.get(f"{stage.base}/")).text.partition("data-seen='")[2].partition("'")[0]
                request = client.build_request("GET", f"{stage.base}/stream?page=fleet&seen={mark}")
                visitor = Visitor(await client.send(request, stream=True))
                assert await visitor.batch() == ["seen"]
        with suppress(httpx.HTTPError):
            assert await visitor.batch() == []
        await visitor.answer.aclose()


async def test_pictures_that_nobody_sees_are_bounded() -> None:
    """Any query is a view of its own."""
    async with staged() as stage, stage.client(PageRole.READER) as client:
        for number in range(stream.MAX_UNSEEN + 20):
            await client.get("/", params={"q": str(number)})
        assert len(stage.page.hub._channels) <= stream.MAX_UNSEEN + 1


def test_half_a_character_breaks_no_event() -> None:
    """JSON has an escape for it."""
    line = stream._event("fragment", {"html": "\ud800"}).decode().splitlines()[1]
    assert json.loads(line.removeprefix("data: ")) == {"html": "\ud800"}
