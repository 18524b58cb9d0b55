"""The page on which a person walks the reachable configurations; it loads nothing, and opens from a file."""

import base64
import hashlib
import json
import re
from importlib.resources import files
from typing import Any, Final

from engine.verify.page.data import Recorder
from engine.verify.page.picture import to_picture

__all__ = ["Recorder", "make_page", "script_json", "source_digest"]

SCRIPTS: Final = ("machine.js", "link.js", "export.js", "page.js")
"""The page's scripts, in the order in which they build upon each other."""


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def script_json(value: Any) -> str:
    """Return JSON that may stand in a ``script`` element: nothing in it ends the element or begins a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _source(text: str) -> str:
    """Return what a policy for content calls an inline element by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def make_page(data: dict[str, Any]) -> bytes:
    """Return the page that shows ``data`` (``Recorder.as_data``)."""
    style, script = _read("page.css"), "\n".join(map(_read, SCRIPTS))
    policy = f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; "
    policy += "base-uri 'none'; form-action 'none'"
    parts = {
        "POLICY": policy,
        "STYLE": style,
        "PICTURE": to_picture(),
        "DATA": script_json(data),
        "SCRIPT": script,
    }
    page = re.sub(r"%([A-Z]+)%", lambda found: parts[found[1]], _read("page.html"))
    return page.encode()


def source_digest() -> str:
    """Return a fingerprint of the page without its data: a picture of the page is stale when it changes."""
    return hashlib.sha256("".join(map(_read, ("page.html", "page.css", *SCRIPTS))).encode()).hexdigest()
