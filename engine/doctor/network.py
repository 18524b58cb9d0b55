"""The ways to the data centre, and its clock."""

from collections.abc import Mapping
from statistics import median
from typing import Final

import anyio
from telethon.client.telegrambaseclient import DEFAULT_DC_ID, DEFAULT_IPV4_IP, DEFAULT_PORT

from adapters.telegram import Proxy
from adapters.telegram.reach import Seen, look
from engine.config import Config, Sandbox
from engine.datacentre import connectors_outside
from engine.doctor.findings import Finding

PATIENCE: Final = 3.0
"""Seconds that a look at one way may take."""
AT_ONCE: Final = 32
CLOCK_BEHIND, CLOCK_AHEAD = 300.0, 30.0
"""How far the data centre's clock may be behind ours, and ahead of it, before Telethon drops what it says (seconds)."""

Address = tuple[int, str, int]
NEW_LOGIN: Final = (DEFAULT_DC_ID, DEFAULT_IPV4_IP, DEFAULT_PORT)
"""Where Telethon goes with a session that names no data centre yet."""


async def examine(config: Config, stored: Mapping[str, Address | None]) -> list[Finding]:
    """Look at each way to the data centre once, at the same time; ``stored`` are the addresses in the session files."""
    if isinstance(config.telegram.datacenter, Sandbox):
        return [Finding("network", True, "the sandbox data centre starts with the engine")]
    ways: dict[str, tuple[Address, Proxy | None]] = {}
    for name, connector in connectors_outside(config).items():
        address = connector.address or stored.get(name) or NEW_LOGIN
        where = f"{address[1]}:{address[2]}" if connector.address else f"Telegram ({address[1]}:{address[2]})"
        for proxy in connector.failover.proxies:
            ways[f"{where} through {proxy or 'no proxy'}"] = address, proxy
    seen: dict[str, Seen] = {}
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def visit(way: str, address: Address, proxy: Proxy | None) -> None:
        async with limit:
            try:
                seen[way] = await look(address, proxy, patience=PATIENCE)
            except Exception:
                seen[way] = Seen("dark")

    async with anyio.create_task_group() as tasks:
        for way, (address, proxy) in ways.items():
            tasks.start_soon(visit, way, address, proxy)
    return [*(_reached(way, seen[way]) for way in sorted(seen)), _clock(seen)]


def _reached(way: str, found: Seen) -> Finding:
    match found.reach:
        case "answers":
            return Finding("network", True, f"{way}: the data centre answers")
        case "accepts":
            text = f"{way}: somebody takes the connection, but no data centre answers"
            return Finding("network", False, text, "check host, port and proxy in the config")
        case _:
            return Finding("network", False, f"{way}: nobody is there", "check network, proxy and firewall")


def _clock(seen: Mapping[str, Seen]) -> Finding:
    offsets = [found.clock for found in seen.values() if found.clock is not None]
    if not offsets:
        return Finding("clock", None, "not compared, because no data centre answers")
    offset = round(median(offsets))
    well = -CLOCK_BEHIND <= offset <= CLOCK_AHEAD
    side = "behind" if offset < 0 else "ahead of"
    text = f"the data centre's is {abs(offset)} s {side} ours" if offset else "agrees with ours"
    return Finding("clock", well, text, "" if well else "timedatectl set-ntp true")
