"""``Secret``: a text whose ``repr`` does not show it, wherever it goes: a traceback with locals, another repr."""


class Secret(str):
    """A text that is written and compared as any other, and shown by none of its own means."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


def to_secret(value: str | None) -> str | None:
    """Return a text as a ``Secret``; None stays."""
    return None if value is None else Secret(value)
