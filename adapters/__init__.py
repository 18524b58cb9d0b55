"""The outside world: Telethon, SQLite, and the sandbox data centre, as typed events of ``states``."""
