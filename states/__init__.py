"""The law: states, events, schedules, rules, the machine and ``step``. Pure; it imports only attrs and transitions."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from states.lazy_names import lazy_names

if TYPE_CHECKING:
    from states.events import EVENT_BY_NAME, EVENTS, Event
    from states.machine import MACHINE, ROWS, Row
    from states.record import Entry, Record
    from states.schedules import Policy
    from states.snapshot import Action, Cause, Hold, Snapshot, State, begin
    from states.step import Step, step

__all__ = [
    "EVENTS",
    "EVENT_BY_NAME",
    "MACHINE",
    "ROWS",
    "Action",
    "Cause",
    "Entry",
    "Event",
    "Hold",
    "Policy",
    "Record",
    "Row",
    "Snapshot",
    "State",
    "Step",
    "begin",
    "step",
]

_HOMES = {
    "states.events": ("EVENTS", "EVENT_BY_NAME", "Event"),
    "states.machine": ("MACHINE", "ROWS", "Row"),
    "states.record": ("Entry", "Record"),
    "states.schedules": ("Policy",),
    "states.snapshot": ("Action", "Cause", "Hold", "Snapshot", "State", "begin"),
    "states.step": ("Step",),
}
"""The module of each name, which is imported when the name is first asked for.

The machine takes longer to build than a command such as ``status`` to do its work, and that needs only the snapshots.
"""

if not TYPE_CHECKING:  # a type checker would take any name for one of the package's
    __getattr__ = lazy_names(__name__, _HOMES)

    class _Law(ModuleType):
        """The package, whose ``step`` is the function, also when the module of the same name was imported before."""

        @property
        def step(self) -> Any:
            return import_module("states.step").step

        @step.setter
        def step(self, module: ModuleType) -> None:
            """Leave the name as it is: the import system puts each module that it has loaded into its package."""

    sys.modules[__name__].__class__ = _Law
