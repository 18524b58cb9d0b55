"""A page as a browser would take it apart: elements, their attributes and texts."""

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Final

from attrs import define, field

VOID: Final = frozenset({"meta", "link", "input", "br", "img"})


@define(eq=False)
class Element:
    """An element with what is in it."""

    tag: str
    attributes: dict[str, str | None]
    children: list["Element | str"] = field(factory=list)

    def all(self, tag: str = "", kind: str = "") -> Iterator["Element"]:
        """Yield the elements in it, itself first, that have this tag and this class."""
        if (not tag or tag == self.tag) and (not kind or kind in self.classes):
            yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.all(tag, kind)

    @property
    def classes(self) -> list[str]:
        return (self.attributes.get("class") or "").split()

    def one(self, tag: str = "", kind: str = "") -> "Element":
        """Return the only such element in it."""
        (found,) = self.all(tag, kind)
        return found

    def by_id(self, identity: str) -> "Element":
        """Return the element with this id."""
        (found,) = (each for each in self.all() if each.attributes.get("id") == identity)
        return found

    @property
    def text(self) -> str:
        """Its text, with single spaces."""
        parts = (child if isinstance(child, str) else child.text for child in self.children)
        return " ".join(" ".join(parts).split())

    @property
    def form(self) -> list[tuple[str, tuple[str, ...]]]:
        """Its elements with the names of their attributes: what a text must never change."""
        return [(each.tag, tuple(each.attributes)) for each in self.all()]


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        assert len(element.attributes) == len(attrs), f"an attribute of {tag} stands there twice"
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"{self.open[-1].tag} is closed by {tag}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(html: str) -> Element:
    """Return a page or a part of one; all that is opened must be closed, in order."""
    parser = _Parser()
    parser.feed(html)
    parser.close()
    assert parser.open == [parser.root], f"not closed: {[each.tag for each in parser.open]}"
    return parser.root
