"""The files and directories of the engine below ``storage.directory``."""

from pathlib import Path
from typing import Final

DATABASE: Final = Path("engine.db")
"""The journal, the snapshots and the jobs."""
LOCK: Final = Path("engine.lock")
"""The lock of the engine that runs on this data."""
SOCKET: Final = Path("engine.sock")
"""Where a running engine accepts commands."""
LOGS: Final = Path("logs")
BACKUPS: Final = Path("backups")
"""Copies of session files."""
SANDBOX: Final = Path("sandbox")
"""The state of the sandbox datacenter."""
SANDBOX_ADDRESS: Final = SANDBOX / "running.json"
"""Where the sandbox of the running engine listens."""
WORKERS: Final = Path("workers")
"""A directory for each worker, named after its number."""
WEB_TOKEN: Final = Path("web.token")
"""The token of the page's operators, unless the config has a place of its own for it."""
