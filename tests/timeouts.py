"""How long a test waits for something that must happen."""

TIMEOUT = 120.0
"""Seconds. A quiet machine needs one or two of them and a busy one more: all that this limit ends is a hang."""
