"""Fleets of many nodes: what their database has to do, and how a takeover goes."""
