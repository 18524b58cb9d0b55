"""Changes of incidents, as the law of incidents makes them, for tests that have no incidents of the engine's."""

from attrs import frozen

from states.alerts import About


@frozen(kw_only=True)
class Opened:
    incident: About


@frozen(kw_only=True)
class Joined:
    incident: About


@frozen(kw_only=True)
class Acked:
    incident: About


@frozen(kw_only=True)
class Closed:
    incident: About
    into: int | None = None
