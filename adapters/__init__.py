"""The outside world: Telethon, SQLite, and the sandbox datacenter, as typed events of ``states``."""
