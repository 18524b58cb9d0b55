"""Reads YAML by PyYAML, with the line of every key and a sentence for every mistake."""

import re
from collections.abc import Iterator
from typing import Final

import yaml
from attrs import field, frozen

from engine.config.document import MAX_DEPTH, MAX_NODES, MAX_NUMBER, Broken, KeyPath, Problem, Unreadable

_TAG: Final = "tag:yaml.org,2002:"
_PLAIN_TAGS: Final = frozenset(_TAG + name for name in ("str", "value", "merge"))


def read_carefully(text: str) -> tuple[object, dict[KeyPath, int], list[Problem]]:
    """Return the value of a text, its lines and its problems. Raises ``Unreadable``."""
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        return loader.document()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = Problem((), f"the character U+{ord(text[error.position]):04X} is not allowed; remove it", line)
    except yaml.MarkedYAMLError as error:
        problem = _syntax_problem(error)
    finally:
        if loader is not None:
            loader.dispose()
    raise Unreadable(problem)


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    # str(error) is not used, because it shows the line itself, which may hold a secret. So may quoted names.
    what = ", ".join(part for part in (error.context, error.problem) if part)
    what = re.sub(r"""(['"])(?![<,])[^'"]{7,}\1""", "…", what)
    if what.endswith("but got '{'"):
        what += "; inside {…} and […] put quotes around ${NAME}"
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Problem((), f"this is not YAML: {what}")
    return Problem((), f"this is not YAML at column {mark.column + 1}: {what}", mark.line + 1)


@frozen
class _Extent:
    """The size of a finished node with its aliases written out: number of values, and levels."""

    nodes: int
    height: int


@frozen
class _MappingEntry:
    key: yaml.Node
    value: yaml.Node = field(repr=False)


class _Loader(yaml.SafeLoader):
    """Composes nodes within the limits, then builds the values itself, because SafeLoader does not keep lines."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._extents: dict[int, _Extent] = {}  # by id of the node; the tree keeps the nodes alive
        self._count = 0
        self._depth = 0
        self._deepest = 0
        self._lines: dict[KeyPath, int] = {}
        self._problems: list[Problem] = []

    def document(self) -> tuple[object, dict[KeyPath, int], list[Problem]]:
        root = self.get_single_node()
        value = None if root is None else self._build_value(root, ())
        return value, self._lines, self._problems

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            return self._compose_alias(parent, index)
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # missing in the stubs
        above, before = self._deepest, self._count
        self._depth += 1
        self._deepest = self._depth
        self._count += 1
        self._check_limits(mark)
        node = super().compose_node(parent, index)
        self._extents[id(node)] = _Extent(self._count - before, self._deepest - self._depth + 1)
        self._depth -= 1
        self._deepest = max(above, self._deepest)
        return node

    def _compose_alias(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # as above
        extent = self._extents.get(id(self.anchors.get(event.anchor)))
        if extent is None:
            raise yaml.MarkedYAMLError(
                problem="this alias (*name) has no finished anchor (&name) before it", problem_mark=event.start_mark
            )
        self._count += extent.nodes
        self._deepest = max(self._deepest, self._depth + extent.height)
        self._check_limits(event.start_mark)
        return super().compose_node(parent, index)

    def _check_limits(self, mark: yaml.Mark) -> None:
        if self._deepest > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested more than {MAX_DEPTH} levels deep", problem_mark=mark)
        if self._count > MAX_NODES:
            raise yaml.MarkedYAMLError(
                problem=f"more than {MAX_NODES:,} values, aliases written out", problem_mark=mark
            )

    def _build_value(self, node: yaml.Node, path: KeyPath) -> object:
        self._lines.setdefault(path, _line(node))  # keeps the line of the key, which was set before if there is a key
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            entries = self._collect_entries(node, path)
            return {key: self._build_entry(entry, (*path, key)) for key, entry in entries.items()}
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self._build_value(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._build_scalar(node, path)
        return self._report(node, path, "this YAML tag is not accepted here; remove it")

    def _build_entry(self, entry: _MappingEntry, path: KeyPath) -> object:
        self._lines[path] = _line(entry.key)
        return self._build_value(entry.value, path)

    def _collect_entries(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, _MappingEntry]:
        """Return the entries of a mapping; its own take precedence over merged ones (``<<: *anchor``)."""
        entries: dict[str, _MappingEntry] = {}
        merged: list[yaml.MappingNode] = []
        for key, value in node.value:
            if key.tag == _TAG + "merge":
                merged.extend(self._merge_sources(value, path))
            elif not isinstance(key, yaml.ScalarNode):
                self._report(key, path, "a key must be text, not a list or a mapping")
            elif key.value in entries:
                first = _line(entries[key.value].key)
                self._report(key, (*path, key.value), f"given twice, first in line {first}; keep one of them")
            else:
                entries[key.value] = _MappingEntry(key, value)
        for source in merged:
            entries = self._collect_entries(source, path) | entries
        return entries

    def _merge_sources(self, value: yaml.Node, path: KeyPath) -> Iterator[yaml.MappingNode]:
        for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if isinstance(source, yaml.MappingNode):
                yield source
            else:
                self._report(source, path, "'<<' must be followed by an alias of a mapping, like <<: *name")

    def _build_scalar(self, node: yaml.ScalarNode, path: KeyPath) -> object:
        plain_tag = self.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]  # as above
        if node.tag not in (_TAG + "str", plain_tag):
            return self._report(node, path, "this YAML tag is not accepted here; remove it")
        if node.tag in _PLAIN_TAGS:
            return str(node.value)
        if len(node.value) <= MAX_NUMBER:
            try:
                return self.construct_object(node)
            except (ValueError, OverflowError):
                pass  # 2024-13-45, 0b_ and the like, which only look like a date or a number
        return self._report(node, path, "neither a number nor a date, though it looks like one; put it in quotes")

    def _report(self, node: yaml.Node, path: KeyPath, text: str) -> Broken:
        self._problems.append(Problem(path, text, _line(node)))
        return Broken()


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
