"""The outside world (Telethon, SQLite, the sandbox datacenter), translated into the typed events of ``states``."""
