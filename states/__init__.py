"""The law: states, events, schedules, rules, the machine and ``step``. Pure; it imports only attrs and transitions."""

from states.events import EVENT_BY_NAME, EVENTS, Event
from states.machine import MACHINE, ROWS, Row
from states.schedules import Policy
from states.snapshot import Action, Cause, Hold, Snapshot, State, begin
from states.step import Entry, Record, Step, step

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
