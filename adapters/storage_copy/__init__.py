"""Moves everything that is stored from SQLite to PostgreSQL, or back. Only ``storage copy`` imports it."""
