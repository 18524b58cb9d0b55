"""Standing work: coroutines that run for as long as their account is healthy, each with the client of the moment.

Like a job, each runs in a task of asyncio's own with this as its owner: one that does not let itself be cancelled is
given up, and holds nothing.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import structlog
from attrs import define, field

from engine.narrate import seconds
from engine.work.ports import Blame, ClientOf
from states.jobs import Lost

FAILURES_MOST = 5
"""Failures in a row, after which it is not started again."""
LASTED_SECONDS = 60.0
"""What ran for so long begins to count its failures anew."""
RESTART_SECONDS = (1.0, 2.0, 5.0, 15.0)
"""How long the second, third, … start waits."""
REST_SECONDS = 1.0
"""How long one waits that has lost its connection, unless it has another client by then."""
GRACE_SECONDS = 5.0
STOP_SECONDS = 5.0

Work = Callable[[Any], Awaitable[None]]

log = structlog.get_logger()


@define(eq=False)
class Post:
    """One function that stands with one account."""

    account: str
    function: Work
    client: Any = field(default=None, init=False)
    """The client that it has, or had for as long as that is connected."""
    task: "asyncio.Task[None] | None" = field(default=None, init=False)
    inside: bool = field(default=False, init=False)
    """Whether the task is in the function, and not after it."""
    failure: BaseException | None = field(default=None, init=False)
    failures: int = field(default=0, init=False)
    """In a row."""
    began: float = field(default=0.0, init=False)
    again_at: float = field(default=-math.inf, init=False)
    told_at: float | None = field(default=None, init=False)
    """When it was told to end; these three by the loop's clock."""
    given_up: bool = field(default=False, init=False)

    @property
    def label(self) -> str:
        """What log lines call it."""
        return f"{getattr(self.function, '__qualname__', repr(self.function))} of {self.account}"

    async def work(self) -> None:
        """Run the function, whatever it raises."""
        try:
            self.inside = True
            await self.function(self.client)
            self.inside = False
        except asyncio.CancelledError:
            self.inside = False
            if self.told_at is None:
                self.failure = RuntimeError("it was cancelled, and nobody here had asked for that")
        except BaseException as exc:
            self.inside = False
            self.failure = exc


@define(eq=False)
class Standing:
    """Starts and ends the work that stands with accounts. ``run`` it in a task group."""

    client_of: ClientOf
    blame: Blame
    posts: list[Post] = field(factory=list)
    _bell: asyncio.Event = field(factory=asyncio.Event, init=False)

    def add(self, account: str, function: Work) -> None:
        """Let ``await function(client)`` stand with an account."""
        self.posts.append(Post(account, function))

    def account_changed(self, _: str) -> None:
        """Look again: an account has another client, or none."""
        if self.posts:
            self._bell.set()

    def label_of(self, task: "asyncio.Task[None]") -> str | None:
        """Return what log lines call the work that a task does, if it does any."""
        return next((post.label for post in self.posts if post.task is task and post.inside), None)

    async def run(self) -> None:
        """Work until cancelled; then end all of it, bounded."""
        try:
            while True:
                self._bell.clear()
                now = anyio.current_time()
                wait = min((self._look_after(post, now) for post in self.posts), default=math.inf)
                with anyio.move_on_after(None if wait == math.inf else max(0.0, wait - now)):
                    await self._bell.wait()
        finally:
            await self._end_all()

    async def _end_all(self) -> None:
        tasks = [post.task for post in self.posts if post.task is not None]
        for post in self.posts:
            self._tell(post, anyio.current_time())
        if tasks:
            with anyio.CancelScope(shield=True):
                _, pending = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for post in self.posts:
                if post.task in pending:
                    self._give_up(post)

    @property
    def stuck(self) -> list[Post]:
        """Work that does not end although it was told to."""
        return [post for post in self.posts if post.given_up and post.task is not None]

    def _look_after(self, post: Post, now: float) -> float:
        """Do what there is to do for one; return when to look again, by the loop's clock."""
        client = self.client_of(post.account)
        if post.task is not None:
            if client is not post.client:
                self._tell(post, now)
            if post.told_at is None or post.given_up:
                return math.inf
            if now - post.told_at >= GRACE_SECONDS:
                self._give_up(post)
            return post.told_at + GRACE_SECONDS
        if client is None or post.given_up:
            post.client = None
            return math.inf
        if client is post.client and post.failure is None:  # it came to its end with this client
            return math.inf
        if now < post.again_at and client is post.client:
            return post.again_at
        post.client, post.failure, post.told_at, post.began = client, None, None, now
        # Bare, and owned here: a group would wait for ever for one that swallows its cancellation.
        post.task = asyncio.get_running_loop().create_task(post.work(), name=post.label)
        post.task.add_done_callback(partial(self._ended, post))
        return math.inf

    def _tell(self, post: Post, now: float) -> None:
        if post.task is not None and post.told_at is None:
            post.told_at = now
            post.task.cancel()

    def _ended(self, post: Post, _: "asyncio.Task[None]") -> None:
        post.task = None
        self._bell.set()
        now = anyio.current_time()
        if now - post.began >= LASTED_SECONDS:
            post.failures = 0
        if post.failure is None or post.told_at is not None:
            post.failure = None
            return
        if isinstance(self.blame(post.failure, post.client), Lost):  # the account will hear of it in a moment
            post.again_at = now + REST_SECONDS
            return
        post.failures += 1
        post.given_up = post.failures >= FAILURES_MOST
        wait = RESTART_SECONDS[min(post.failures, len(RESTART_SECONDS)) - 1]
        post.again_at = now + wait
        then = (
            "it is not started again before the engine is" if post.given_up else f"it starts again in {seconds(wait)}"
        )
        log.error(
            f"{post.label} failed, {post.failures} of {FAILURES_MOST} times in a row; {then}",
            icon="❌",
            exc_info=post.failure,
        )

    def _give_up(self, post: Post) -> None:
        if not post.given_up:
            post.given_up = True
            log.error(f"{post.label} does not end although it was cancelled; it is left alone", icon="❌")
