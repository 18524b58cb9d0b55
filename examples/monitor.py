"""Watch the clients of a script, and reconnect those that are lost. The clients stay the script's own.

API_ID=12345 API_HASH=0123… python monitor.py account1.session account2.session
"""

import asyncio
import logging
import os
import sys
from pathlib import Path

from telethon import TelegramClient

from engine import ConnectionMonitor


async def main(clients: dict[str, TelegramClient], check_interval: float = 300, status_every: float = 60) -> None:
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
        await monitor.stop_monitoring()  # the clients are the script's again, connected as they are
        for client in clients.values():
            await client.disconnect()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s - %(levelname)s - %(message)s")
    api_id, api_hash = int(os.environ["API_ID"]), os.environ["API_HASH"]
    asyncio.run(main({Path(file).stem: TelegramClient(file, api_id, api_hash) for file in sys.argv[1:]}))
