"""``OneLink``: makes sure that an account never has two links."""

from attrs import define, field

from engine.fleet.ports import Link
from engine.wakeup import Wakeup


@define(eq=False)
class OneLink:
    """A lock that one task takes when it opens a link, and that another may release when it has closed it.

    It takes a tenth of the memory of ``anyio.Lock``, which belongs to one task besides.
    """

    link: Link | None = field(default=None, init=False)
    """The link that was taken for, from before it is opened until it is closed; its task sets it."""
    _over: bool = field(default=False, init=False)
    """Whether none is taken any more."""
    _taken: bool = field(default=False, init=False)
    _released: Wakeup = field(factory=Wakeup, init=False)

    async def take(self) -> None:
        """Wait until no link is there, and take its place; for ever after ``abort``."""
        while self._taken or self._over:
            await self._released.wait()
        self._taken = True

    def abort(self) -> None:
        """Drop the connection of the link, if there is one, and let none be taken any more."""
        self._over = True
        if self.link is not None:
            self.link.abort()

    async def wait(self) -> None:
        """Wait until no link is there."""
        while self._taken:
            await self._released.wait()

    def release(self) -> None:
        """Say that the link is closed."""
        self._taken, self.link = False, None
        self._released.notify()
