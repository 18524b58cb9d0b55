"""Drawings of the machine, made from its rules. They are sorted: the same rules always give the same text."""

from collections.abc import Callable, Mapping

from attrs import frozen

from engine.diagram.data import to_json
from engine.diagram.dot import to_dot
from engine.diagram.mermaid import to_mermaid
from engine.diagram.overlay import PLAIN, ObservedPaths, Overlay, observe
from engine.diagram.picture import PictureFailed, digest, source_digest, to_png, to_svg
from engine.diagram.scxml import to_scxml
from engine.diagram.table import to_markdown
from states import Policy

__all__ = ["FORMATS", "PLAIN", "Format", "ObservedPaths", "Overlay", "PictureFailed", "is_current", "observe"]


@frozen
class Format:
    """A format: the name of its file under ``diagrams/`` (None: not kept there), and the function that draws it."""

    file: str | None
    draw: Callable[[Policy, Overlay], bytes]
    overlays: bool
    """Whether it can show what really happened."""


def _drawing(file: str, draw: Callable[[Policy, Overlay], str]) -> Format:
    return Format(file, lambda policy, overlay: draw(policy, overlay).encode(), overlays=True)


def _table(file: str, draw: Callable[[Policy], str]) -> Format:
    return Format(file, lambda policy, _: draw(policy).encode(), overlays=False)


FORMATS: Mapping[str, Format] = {
    "mermaid": _drawing("machine.mmd", to_mermaid),
    "dot": _drawing("machine.dot", to_dot),
    "svg": Format("machine.svg", to_svg, overlays=True),
    "png": Format(None, to_png, overlays=True),  # its bytes depend on fonts and versions, so a check could not compare
    "md": _table("machine.md", to_markdown),
    "json": _table("machine.json", to_json),
    "scxml": _table("machine.scxml", to_scxml),
}


def is_current(form: str, kept: bytes) -> bool:
    """Return whether a kept drawing matches the rules; for a picture, whether it was made from the present text."""
    if form == "svg":
        return source_digest(kept.decode("utf-8", "replace")) == digest(to_dot(Policy()))
    return kept == FORMATS[form].draw(Policy(), PLAIN)
