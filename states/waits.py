"""What is shown of requests that wait in place until a hold is over."""

from attrs import frozen


@frozen
class RequestWait:
    """Requests of one kind that wait in place."""

    request: str
    """The kind that is held, as in ``Hold``."""
    until: float
    """When the hold ends (Unix seconds)."""
    count: int
    """How many requests wait."""
