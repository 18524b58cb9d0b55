"""The engine: one runner per account, the supervisor, the commands."""
