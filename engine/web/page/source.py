"""What the page may ask of a running engine, and what is asked of whoever renders it. Nothing here knows HTTP.

    routes, stream ──ask──▶ Views (views.py) ──ask──▶ PageSource (engine/app/page_source.py)

``Views`` is a module: its functions match the protocol.

What the browser sends. An action is a form, ``POST /act`` with the fields ``csrf`` (``Viewer.csrf``), ``verb`` (a
``PageVerb``), ``target`` and ``back`` (the path that the answer leads back to); the answer is a page with a sentence,
or ``{"done": …, "said": …}`` for who asks with ``Accept: application/json``. A script asks with ``fetch`` and the same
fields, URL-encoded.

What the browser hears. ``GET /stream?page=…&name=…&seen=…`` (``PageName``, the account's name, ``Viewer.seen``; all
other words of the query are handed to ``fragments`` as ``View.query``) answers with events whose data is JSON:

    fragment  {"id": …, "html": …}   the element of this id is replaced, or is a new one of the element ``order``
    remove    {"ids": […]}           these elements are there no more
    order     {"ids": […]}           the children of the element ``order`` in their order
    seen      {"at": …}              a batch is complete, as of this time (Unix seconds); its ``id`` is for a reconnect
    reload    {}                     this page is too old to be brought up to date: fetch it anew

``seen`` comes every 15 s when nothing changes, so that the page knows that it is up to date. An answer of 503 has
``Retry-After`` (so many streams are open); 401 is the end of the visitor's access. A page that is hidden had better
close its stream: a browser has six connections to a server.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote

from attrs import field, frozen

from engine.console.account_status import AccountStatus
from engine.console.status import EngineInfo
from engine.journal.explain import Explanation
from engine.web.page.history import Past
from states import Entry, Policy, State
from states.incident import Incident
from states.jobs import Job

if TYPE_CHECKING:  # it needs what is here
    from engine.web.page.nodes import AccountWhere, FleetNodes

MAX_ROWS: Final = 500
"""Rows that a page may ask for at once: records, jobs or incidents; a greater ``limit`` counts as this one."""


class PageUnreadable(Exception):
    """What is stored cannot be read now, or not in time; the text is a sentence for the page."""


class PageRole(StrEnum):
    """What a visitor may do."""

    READER = "reader"
    """See everything, change nothing."""
    OPERATOR = "operator"
    """See everything, and act."""


class PageVerb(StrEnum):
    """What an operator can have done; its target is an account's name, or the number of an incident or a job."""

    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    ACK = "ack"
    RETRY_JOB = "retry-job"


@frozen
class Viewer:
    """Who looks at a page."""

    role: PageRole
    csrf: str = field(default="", repr=False)
    """What the forms of an operator send along as the field ``csrf``; the same for all operators until the token
    changes, and empty for a reader."""
    seen: str = ""
    """What a page has of what its stream tells: it goes into the page, and from there to ``/stream?seen=…``."""

    @property
    def may_act(self) -> bool:
        """Whether the page has forms."""
        return self.role is PageRole.OPERATOR


class PageName(StrEnum):
    """The pages."""

    FLEET = "fleet"
    ACCOUNT = "account"
    JOBS = "jobs"
    INCIDENTS = "incidents"


@frozen
class View:
    """What a browser shows and wants to be kept up to date: ``/stream?page=fleet``, ``/stream?page=account&name=…``."""

    page: PageName
    account: str | None = None
    """The account's name, on the page of one; it may have been removed since."""
    query: tuple[tuple[str, str], ...] = ()
    """What else the address of the page says (filter, search), sorted; foreign and unchecked."""


@frozen
class Fragments:
    """The parts of a page that change while it is shown."""

    html: Mapping[str, str]
    """The outer HTML of each element by its id, which stands in it: the browser puts it in the place of the old one.
    Equal states give equal texts, so a text has no seconds that pass: those are counted in the browser from a time."""
    order: Sequence[str] = ()
    """The ids of the elements, all of them in ``html``, that are children of the element whose id is ``order`` (the
    rows of the accounts), in the order in which they are shown."""


@frozen
class Histories:
    """What became of all accounts, as ``engine.web.page.history`` folds it from the journal."""

    past: Mapping[str, Past]
    """By name; accounts of which nothing is known are left out. What has not changed is the same object as before."""
    complete: bool
    """Whether the journal was read to its end; after a start that takes some time."""
    at: float
    """As of when (Unix seconds)."""


@frozen
class AccountHeat:
    """How often an account went along each arrow of the machine, and how long it stayed in each state."""

    since: float
    """Since when that is counted (Unix seconds)."""
    moves: Mapping[tuple[State, str, State], int] = field(factory=dict)
    """By state, event and next state."""
    dwells: Mapping[State, float] = field(factory=dict)
    """Seconds."""


@frozen
class ActionOutcome:
    """What came of an action."""

    done: bool
    said: str
    """A sentence for a person, as the command of that name prints it."""


class PageSource(Protocol):
    """A running engine. What is no coroutine costs microseconds, and may be called from any thread.

    Coroutines belong to the engine's loop. They read the engine's file in a thread and in bounded time, and raise
    ``PageUnreadable``.
    """

    @property
    def info(self) -> EngineInfo:
        """Its process and its start."""

    @property
    def config_name(self) -> str:
        """The name of the config's file, without its directory."""

    @property
    def policy(self) -> Policy:
        """The schedules by which accounts are decided upon."""

    @property
    def stopping(self) -> bool:
        """Whether the engine is being stopped."""

    def accounts(self) -> Mapping[str, AccountStatus]:
        """Return where each account of the config is, by name, in the config's order."""

    async def look(self) -> None:
        """Have the other nodes looked at, if there may be any and that was not done a moment ago. Never raises."""

    def nodes(self) -> "FleetNodes | None":
        """Return the nodes that share the accounts, as of the last look; None if all accounts are this engine's."""

    def whereabouts(self, account: str) -> "AccountWhere | None":
        """Return which node has an account, and how what is said of it is known; None as above."""

    def trouble_since(self, account: str) -> float | None:
        """Return since when an account is in trouble (Unix seconds); None if it is not, or if that is not known."""

    def incidents(self) -> Sequence[Incident]:
        """Return the incidents that are open: critical ones first, then the oldest first."""

    def jobs(self) -> Mapping[str, Mapping[str, int]]:
        """Return how many jobs there are, by kind and state, as of a few seconds ago."""

    def running_jobs(self) -> Sequence[Job]:
        """Return the jobs that run now, with their progress."""

    async def past_incidents(self, limit: int) -> Sequence[Incident]:
        """Return the newest incidents that are over, the newest first."""

    async def failed_jobs(self, limit: int) -> Sequence[Job]:
        """Return the newest jobs that failed for good, the newest first; ``detail`` and ``error`` have the cause."""

    async def queued_jobs(self, limit: int) -> Sequence[Job]:
        """Return queued jobs, the oldest first."""

    async def jobs_of(self, account: str, limit: int) -> Sequence[Job]:
        """Return the newest jobs that are bound to an account or were done by it, in any state, the newest first."""

    async def journal(self, account: str | None, before: int | None, limit: int) -> Sequence[Entry]:
        """Return the newest records of an account, or of all with None, the newest first.

        ``before`` limits them to those with a smaller number than that.
        """

    async def journal_at(self, since: float, until: float, limit: int, account: str | None = None) -> Sequence[Entry]:
        """Return the first records of all accounts, or of one, from ``since`` until before ``until``, in order."""

    async def explain(self, seq: int) -> Explanation:
        """Return the explanation of a record, which ``engine.journal.explain_page`` writes as text or as data.

        Raises ``PageUnreadable`` also for a record that does not exist (any more).
        """

    async def history(self) -> Histories:
        """Return what became of all accounts in the last 90 days, as of some seconds ago."""

    def known_history(self) -> Histories:
        """Return what was read of it last, and have it read again soon; before the first time, it is empty."""

    async def heat(self, account: str, since: float) -> AccountHeat:
        """Return how an account went through the machine since a time."""

    async def act(self, verb: PageVerb, target: str) -> ActionOutcome:
        """Do it, through what answers the command of that name, in bounded time. Never raises for a bad target."""


class Views(Protocol):
    """Renders pages: ``engine.web.page.views``, a module, matches it.

    Each page is a whole document, with ``<link>`` and ``<script>`` to files below ``/static/`` and nothing inline.
    ``query`` is what the address says behind ``?`` (filter, search), foreign and unchecked. A page of 10,000 accounts
    takes its time: what computes for more than some milliseconds runs in a thread. ``PageUnreadable`` is shown in
    place of the part that cannot be read.
    """

    async def fleet_page(self, source: PageSource, viewer: Viewer, now: float, query: Mapping[str, str]) -> str:
        """Return the page of all accounts."""

    async def account_page(
        self, source: PageSource, viewer: Viewer, now: float, query: Mapping[str, str], account: str
    ) -> str:
        """Return the page of an account, which exists."""

    async def jobs_page(self, source: PageSource, viewer: Viewer, now: float, query: Mapping[str, str]) -> str:
        """Return the page of the jobs."""

    async def incidents_page(self, source: PageSource, viewer: Viewer, now: float, query: Mapping[str, str]) -> str:
        """Return the page of the incidents."""

    def fragments(self, source: PageSource, viewer: Viewer, now: float, view: View) -> Fragments:
        """Return what changes of a view.

        Called once a second at most for each view and role, in a thread, never twice at once: it may keep what it made
        for a status that is still the same object.
        """

    def message_page(self, title: str, sentence: str, back: str = "/") -> str:
        """Return a page that says one thing: an error, or what came of an action; ``back`` is where its link leads.

        It has no menu and nothing of the fleet: it is also what somebody without a token sees. ``back`` empty: no link.
        """


def element_id(account: str) -> str:
    """Return the id of the element of an account: stable, and safe whatever its name is."""
    return f"account-{blake2b(account.encode('utf-8', 'backslashreplace'), digest_size=8).hexdigest()}"


def account_path(account: str) -> str:
    """Return the path of an account's page: by its name where that can stand in one, else by the id of its element."""
    try:
        quoted = quote(account, safe="")
    except UnicodeEncodeError:
        quoted = ""
    if quoted.strip(".") == "":  # browsers take such a part of a path for a direction
        quoted = element_id(account)
    return f"/accounts/{quoted}"


def account_at(accounts: Mapping[str, Any], part: str) -> str | None:
    """Return the account that the last part of such a path, decoded, names; None if there is none."""
    if part in accounts:
        return part
    return next((name for name in accounts if element_id(name) == part), None) if part.startswith("account-") else None
