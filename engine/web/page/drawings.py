"""Drawings in SVG: bars of availability, lanes of a timeline, outages of each day, the machine.

They have attributes and classes only, no style: the page's policy forbids that. Each says in words what it shows, and
what matters differs in form, not in colour alone.
"""

from collections.abc import Mapping, Sequence
from math import log10
from typing import Final

from attrs import frozen
from markupsafe import Markup, escape

from engine.console.format import local, whole_seconds
from engine.console.safe_text import one_line
from engine.diagram.places import BEND, BOX, HEIGHT, PLACES, WIDTH, curve
from engine.web.page.buckets import Bucket, Shown
from engine.web.page.history import DAYS, Kind, Span
from engine.web.page.words import word_of
from states import ROWS, State

CELL: Final = 4
"""Width of a bucket."""
TALL: Final = 20
"""Height of a bar."""
LEAST: Final = 5
"""Height of the least loss: a minute of a day has to be seen."""
NO_LIFE: Final = 0.02
"""The share of a bucket below which the engine as good as did not run an account in it."""
MAX_CAUSE: Final = 80
LANE: Final = (1440, 10)
"""Width and height of a lane: a minute is one wide."""
TREND: Final = (DAYS * 8, 60)
AROUND: Final = {
    (State.TIMEOUT, State.RECONNECTING): 80,
    (State.CONNECTING, State.BACKOFF): 80,
    (State.BACKOFF, State.CONNECTING): 80,
}
"""How much arrows bend that would cross the box in the middle: their numbers have to be read."""
PAIRS: Final = tuple(sorted({(row.source, row.target) for row in ROWS if row.target is not None}))


def percent(share: float | None) -> str:
    """Return a share as a percentage that never rounds a loss away: 99.99 % is not 100 %."""
    if share is None:
        return "–"
    if share >= 1:
        return "100 %"
    for digits in (1, 2, 3):
        if (text := f"{100 * share:.{digits}f}") != f"{100:.{digits}f}":
            return f"{text} %"
    return "99.999 %"


def summary(shown: Shown, of: str) -> str:
    """Return what bars show, in a sentence."""
    if shown.lived <= 0:
        return f"{of}: nothing is known"
    if shown.availability is None:
        return f"{of}: too little is known yet"
    outages = "1 outage" if shown.outages == 1 else f"{shown.outages:,} outages"
    lost = f"{whole_seconds(shown.lost)} lost in {outages}" if shown.lost >= 0.5 else "nothing lost"
    return f"{of}: healthy {percent(shown.availability)} of the time, {lost}"


def bars(shown: Shown, of: str) -> Markup:
    """Return the bars of an account, oldest first: full if it was healthy, low if nobody ran it, notched by losses.

    All of one kind are one path: a page has hundreds of these drawings.
    """
    full, gone, none, run = [], [], [], 0
    for place, bucket in enumerate(shown.buckets):
        left = place * CELL
        if bucket.tally.lost >= 0.5:
            tall = _height(bucket)
            full += [_block(left, 0, CELL, TALL - tall)] if tall < TALL else []
            gone.append(_block(left, TALL - tall, CELL, tall))
        elif bucket.lived <= NO_LIFE * bucket.length:
            none.append(_block(left, TALL - 3, CELL, 3))
        else:
            run += 1
            continue
        full += [_block(left - run * CELL, 0, run * CELL, TALL)] if run else []
        run = 0
    full += [_block((len(shown.buckets) - run) * CELL, 0, run * CELL, TALL)] if run else []
    paths = [
        Markup('<path class="{}" d="{}"/>').format(kind, "".join(blocks))
        for kind, blocks in (("ok", full), ("lost", gone), ("none", none))
        if blocks
    ]
    return Markup(
        '<svg class="bars" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(CELL * len(shown.buckets), TALL, summary(shown, of), Markup("").join(paths))


def _block(left: int, top: int, wide: int, tall: int) -> str:
    return f"M{left} {top}h{wide}v{tall}h-{wide}z"


def _height(bucket: Bucket) -> int:
    """Return the height of what was lost; the least loss can be seen."""
    return max(LEAST, round(min(1.0, bucket.tally.lost / max(bucket.lived, 1.0)) * TALL))


# --- the timeline ----------------------------------------------------------------------------------------------------


@frozen
class Times:
    """The times of a timeline: its beginning, the present, and its end (Unix seconds)."""

    begin: float
    now: float
    end: float


def lane(name: str, spans: Sequence[Span], shared: Sequence[tuple[float, float]], times: Times) -> Markup:
    """Return one account's lane, with the fleet's incidents hatched behind it."""
    (width, tall), begin, end = LANE, times.begin, times.end
    scale = width / (end - begin)

    def place(start: float, stop: float) -> tuple[str, str]:
        left = max(start, begin)
        return f"{(left - begin) * scale:.1f}", f"{max((min(stop, end) - left) * scale, 2.0):.1f}"

    parts = [Markup('<rect class="ground" x="0" y="0" width="{}" height="{}"/>').format(width, tall)]
    for start, stop in shared:
        left, wide = place(start, stop)
        parts.append(Markup('<rect class="shared" x="{}" y="0" width="{}" height="{}"/>').format(left, wide, tall))
    for span in spans:
        left, wide = place(span.begin, times.now if span.end is None else span.end)
        top, height = (3, 4) if span.kind is Kind.STOPPED else (1, 8)
        parts.append(
            Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
                span.kind.value, left, top, wide, height, span_words(span)
            )
        )
    text = f"{name}: {_lane_words(spans)}"
    return Markup(
        '<svg class="lane" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(width, tall, text, Markup("").join(parts))


def span_words(span: Span) -> str:
    """Return a span in words: what, from when to when, and its cause."""
    begin, end = local(span.begin), None if span.end is None else local(span.end)
    until = "now" if end is None else f"{end:%H:%M:%S}"
    cause = f", {one_line(span.cause, MAX_CAUSE)}" if span.cause else ""
    return f"{KIND_WORDS[span.kind]}, {'' if begin is None else f'{begin:%H:%M:%S}'} to {until}{cause}"


def _lane_words(spans: Sequence[Span]) -> str:
    told = [span_words(span) for span in spans if span.kind in (Kind.TROUBLE, Kind.PERSON)]
    more = f"; {len(told) - 3} earlier" if len(told) > 3 else ""
    return ("; ".join(told[-3:]) or "no trouble") + more


KIND_WORDS: Final[Mapping[Kind, str]] = {
    Kind.TROUBLE: "in trouble",
    Kind.PERSON: "needed a person",
    Kind.STARTING: "connecting for the first time",
    Kind.STOPPED: "not running",
}


def trend(outages: Sequence[tuple[float, int]], of: str) -> Markup:
    """Return the number of outages of each day, oldest first: the day's beginning (Unix seconds), and the number."""
    width, tall = TREND
    most = max((count for _, count in outages), default=0) or 1
    parts = []
    for place, (begin, count) in enumerate(outages):
        height = max(2, round(count / most * (tall - 2))) if count else 1
        found = local(begin)
        parts.append(
            Markup('<rect class="{}" x="{}" y="{}" width="6" height="{}"><title>{}: {}</title></rect>').format(
                ("recent" if place >= DAYS - 7 else "lost") if count else "none", place * 8 + 1, tall - height, height,
                "" if found is None else f"{found:%a %d %b}", "1 outage" if count == 1 else f"{count:,} outages",
            )
        )  # fmt: skip
    return Markup(
        '<svg class="trend" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(width, tall, of, Markup("").join(parts))


# --- the machine -----------------------------------------------------------------------------------------------------


@frozen
class Walked:
    """How an account went through the machine."""

    current: State | None
    counts: Mapping[tuple[State, State], int]
    path: Sequence[tuple[State, State]] = ()
    """Its last changes of state."""


def machine(walked: Walked) -> Markup:
    """Return the seven states, the arrows that the account took by how often, its last ones, and where it is now."""
    arrows, labels = [], []
    for pair in PAIRS:
        count, on_path = walked.counts.get(pair, 0), pair in walked.path
        line, (x, y) = curve(*pair, bend=AROUND.get(pair, BEND))
        what = "path" if on_path else "taken" if count else "never"
        wide = f"{1.2 + log10(count) * 1.3:.1f}" if count else "1"
        said = f"{word_of(pair[0].value)} → {word_of(pair[1].value)}: {f'{count:,}×' if count else 'never taken'}"
        arrows.append(
            Markup(
                '<path class="arrow {}" d="{}" stroke-width="{}" marker-end="url(#head-{})"><title>{}</title></path>'
            ).format(what, line, wide, what, said)
        )
        if count:
            labels.append(
                Markup('<text class="count" x="{}" y="{}">{}</text>').format(f"{x:.0f}", f"{y + 4:.0f}", count)
            )
    boxes = [_box(state, here=state is walked.current) for state in State]
    here = "its state is not known" if walked.current is None else f"now in {word_of(walked.current.value)}"
    heads = [
        Markup(
            '<marker id="head-{}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto" '
            'markerUnits="userSpaceOnUse"><path class="{}" d="M0 0 L10 5 L0 10 z"/></marker>'
        ).format(each, each)
        for each in ("never", "taken", "path")
    ]
    return Markup(
        '<svg class="machine" viewBox="0 0 {} {}" role="img" aria-label="The states of the account: {}">'
        "<defs>{}</defs>{}</svg>"
    ).format(WIDTH, HEIGHT, here, Markup("").join(heads), Markup("").join([*arrows, *boxes, *labels]))


def _box(state: State, *, here: bool) -> Markup:
    (x, y), (width, height) = PLACES[state], BOX
    mark = Markup('<text class="here" x="{}" y="{}">● now here</text>').format(x, y + 16) if here else ""
    return Markup(
        '<g class="box s-{}{}"><rect x="{}" y="{}" width="{}" height="{}" rx="8"/>'
        '<text class="name" x="{}" y="{}">{}</text>{}</g>'
    ).format(
        escape(state.value), " current" if here else "", f"{x - width / 2:g}", f"{y - height / 2:g}", width, height,
        x, y if here else y + 5, word_of(state.value), mark,
    )  # fmt: skip
