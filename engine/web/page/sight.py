"""``Sight``: an engine as somebody sees it at a moment, which is what a page is made of."""

from collections.abc import Awaitable
from typing import Any, Final, TypeVar
from urllib.parse import urlencode
from weakref import WeakKeyDictionary

from attrs import frozen
from markupsafe import Markup

from engine.web.page.desk import Desk
from engine.web.page.render import render, zone
from engine.web.page.source import PageName, PageSource, PageUnreadable, Viewer
from engine.web.page.words import incident_words

MAX_DIGITS: Final = 18
T = TypeVar("T")


@frozen
class Sight:
    """An engine as somebody sees it at a moment."""

    source: PageSource
    viewer: Viewer
    now: float
    desk: Desk

    @classmethod
    def of(cls, source: PageSource, viewer: Viewer, now: float) -> "Sight":
        """Return an engine with what is kept of it."""
        return cls(source, viewer, now, _desks.setdefault(source, Desk()))

    async def with_history(self) -> "Sight":
        """Read what became of the accounts; without it, what was known last is shown."""
        self.desk.histories, _ = await read(self.source.history(), self.desk.histories)
        return self

    def part(self, template: str, **values: Any) -> Markup:
        """Return a part of a page."""
        return render(template, viewer=self.viewer, now=self.now, **values)

    def document(self, template: str, page: PageName, title: str, stream: dict[str, str], **values: Any) -> str:
        """Return a whole page. ``stream`` is what the address of its stream says besides."""
        words = {"page": page.value, **{key: value for key, value in stream.items() if value}, "seen": self.viewer.seen}
        return str(self.part(
            template, here=page.value, title=title, stream=f"/stream?{urlencode(words, errors='backslashreplace')}",
            config=self.source.config_name, zone=zone(), open_count=self.open_count(), **values,
        ))  # fmt: skip

    def open_count(self) -> Markup:
        """Return the number of open incidents, which stands on every page."""
        return self.part("open_count.html", count=len(self.source.incidents()))

    def open_incidents(self, back: str, most: int) -> Markup:
        """Return the section of the open incidents, at most so many."""
        found = self.source.incidents()
        shown = list(map(incident_words, found[:most]))
        return self.part("incidents_open.html", back=back, total=len(found), incidents=shown)


_desks: "WeakKeyDictionary[PageSource, Desk]" = WeakKeyDictionary()


async def read(reading: Awaitable[T], instead: T) -> tuple[T, str]:
    """Return what was read and an empty text, or something else and the sentence why it cannot be read."""
    try:
        return await reading, ""
    except PageUnreadable as exc:
        return instead, str(exc)


def number_of(text: str) -> int | None:
    """Return the number that an address has; None if it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None
