"""Templates to HTML. Every text that a template writes becomes one harmless line of bounded length, and is escaped."""

import time
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from engine.console.format import iso, moment, seconds, whole_seconds
from engine.console.safe_text import one_line

STATIC: Final = Path(__file__).parent / "static"
"""The directory of the files that the pages name."""


def render(name: str, **values: Any) -> Markup:
    """Return what a template makes of these values."""
    return Markup(_template(name).render(values))


class Steady(float):
    """The present time, for what is written once and shown for longer: the browser fills in the seconds that pass."""


def _finalize(value: object) -> object:
    """Return what is written in place of a value; nothing that a template writes keeps line breaks or hidden marks."""
    return one_line(value) if type(value) is str else value


def _clock(at: float, now: float) -> str:
    return moment(at, now)


def _ago(at: float, now: float) -> str:
    return "" if isinstance(now, Steady) else whole_seconds(now - at)


def _left(at: float, now: float) -> str:
    return "" if isinstance(now, Steady) else f"in {whole_seconds(at - now)}" if at > now else "now"


def _stamp(at: float) -> str:
    return f"{at:.3f}"


def _exact(text: str) -> Markup:
    """Return a text that is sent back as it is."""
    return escape(text)


@cache
def _template(name: str) -> Template:
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        auto_reload=False,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"ago": _ago, "left": _left, "clock": _clock, "iso": iso, "stamp": _stamp}
    environment.filters |= {"exactly": seconds, "lasted": whole_seconds}
    environment.globals |= {"exact": _exact}
    return environment


def zone() -> str:
    """Return the name of this machine's time zone."""
    return time.strftime("%Z")
