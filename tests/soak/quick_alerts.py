"""An engine whose channels may get many messages in a short time: ``python -m tests.soak.quick_alerts run CONFIG``.

The rate of messages is the product's, but for the length of its window: a short run has no five minutes for a digest.
"""

import sys

import states.alerts
from engine import __main__ as program

if __name__ == "__main__":
    states.alerts.WINDOW = 1.0  # type: ignore[misc]  # a constant elsewhere
    sys.argv[0] = "python -m engine"
    program.holdfast()
