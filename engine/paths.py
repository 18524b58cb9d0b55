"""Where the engine keeps what, in ``storage.directory``."""

from pathlib import Path
from typing import Final

DATABASE: Final = Path("engine.db")
"""Journal and snapshots."""
LOCK: Final = Path("engine.lock")
"""Names the engine that runs on this data."""
SOCKET: Final = Path("engine.sock")
"""Where a running engine hears commands."""
LOGS: Final = Path("logs")
BACKUPS: Final = Path("backups")
"""Copies of session files."""
SANDBOX: Final = Path("sandbox")
"""State of the datacenter of our own."""
SANDBOX_ADDRESS: Final = SANDBOX / "running.json"
"""Where the sandbox of the running engine listens."""
