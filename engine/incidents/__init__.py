"""Incidents of a running engine: what it decides is told to the law of incidents, and what that says is stored."""
