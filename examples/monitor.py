"""Watch the clients of a script, which stay its own, and reconnect those that are lost.

API_ID=12345 API_HASH=0123… python monitor.py account1.session account2.session
"""

import asyncio
import logging
import os
import sys
from pathlib import Path

from telethon import TelegramClient

from engine import ConnectionMonitor


async def main(
    clients: dict[str, TelegramClient],
    check_interval: float = 300,  # seconds
    status_every: float = 60,
) -> None:
    """Watch clients until the task is cancelled, as Ctrl+C does it."""
    monitor = ConnectionMonitor(check_interval=check_interval)
    for name, client in clients.items():
        monitor.register_client(name, client)
    monitor.start_monitoring()
    try:
        while True:
            await asyncio.sleep(status_every)
            monitor.print_status()
    finally:
        await monitor.stop_monitoring()  # gives the clients back, connected as they are
        for client in clients.values():
            await client.disconnect()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s - %(message)s")
    api_id, api_hash = int(os.environ["API_ID"]), os.environ["API_HASH"]
    files = [Path(name) for name in sys.argv[1:]]
    asyncio.run(main({file.stem: TelegramClient(file, api_id, api_hash) for file in files}))
