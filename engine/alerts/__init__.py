"""Alerts: who is told of incidents, in which words, and that nobody is told less or much more often than that."""
