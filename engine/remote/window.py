"""``HandledWindow``: which updates a program has handled, and up to which all are. Pure."""

from attrs import define, field


@define
class HandledWindow:
    """Updates that have come to a program, in the order of their numbers.

    Each is handled once, however often it comes: the engine sends again what was not acknowledged when the connection
    was lost.
    """

    acknowledged: int = 0
    """All updates up to this number have been handled."""
    last: int = 0
    """The greatest number that has come."""
    _open: dict[int, bool] = field(factory=dict, init=False)
    """Those after ``acknowledged``, in order, each with whether it was handled."""

    def begin(self, number: int) -> bool:
        """Note that an update has come; return whether it is to be handled: it is not known yet."""
        if number <= self.last:
            return False
        self.last = number
        self._open[number] = False
        return True

    def end(self, number: int) -> bool:
        """Note that an update was handled; return whether more can be acknowledged now."""
        if number not in self._open:
            return False
        self._open[number] = True
        before = self.acknowledged
        for oldest in list(self._open):
            if not self._open[oldest]:
                break
            del self._open[oldest]
            self.acknowledged = oldest
        return self.acknowledged > before

    @property
    def running(self) -> int:
        """How many have come and are not handled yet."""
        return sum(not handled for handled in self._open.values())
