"""The configs that a worker is sent by its parent while it runs: a reload applies the one that was sent last."""

import base64
import pickle
from typing import Final

import anyio
from attrs import define, field

from engine.config import Config
from engine.wakeup import Wakeup

OFFER: Final = b"config"
"""The order to take a config, which follows it on the line."""
HEAR_SECONDS: Final = 10.0
"""For a config to come over the pipe, when the socket has the request that names it."""
NOT_OFFERED: Final = "a worker has its config from its parent; reload the engine, whose directory is two levels above"


def offer_of(number: int, config: Config) -> bytes:
    """Return the order that has a config in it."""
    return OFFER + b" " + base64.b64encode(pickle.dumps((number, config)))


@define(eq=False)
class OfferedConfigs:
    """What the parent has sent. The pipe is the parent's alone, so what comes from it may be unpickled."""

    _number: int = field(default=0, init=False)
    _config: Config | None = field(default=None, init=False)
    _news: Wakeup = field(factory=Wakeup, init=False)

    def take(self, data: bytes) -> None:
        """Take a config from an order."""
        self._number, self._config = pickle.loads(base64.b64decode(data))
        self._news.notify()

    async def has(self, number: str) -> bool:
        """Return whether the last one that came has this number; one that is on its way is waited for."""
        with anyio.move_on_after(HEAR_SECONDS):
            while True:
                news = self._news.upcoming
                if number == str(self._number):
                    return True
                await news.wait()
        return False

    def last(self) -> Config:
        """Return the one that came last."""
        assert self._config is not None, "a reload asks before"
        return self._config
