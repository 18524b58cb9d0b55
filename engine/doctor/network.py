"""The ways to the datacenter, and its clock."""

from collections.abc import Mapping
from statistics import median
from typing import Final

import anyio
from telethon.client.telegrambaseclient import DEFAULT_DC_ID, DEFAULT_IPV4_IP, DEFAULT_PORT

from adapters.telegram import Proxy
from adapters.telegram.datacenter_probe import DatacenterProbeResult, inspect_datacenter
from engine.app.telegram import connectors_outside
from engine.config import Config, SandboxConfig
from engine.doctor.findings import Finding

TIMEOUT: Final = 3.0
"""Seconds that a look at one way may take."""
AT_ONCE: Final = 32
CLOCK_BEHIND, CLOCK_AHEAD = 300.0, 30.0
"""How far the datacenter's clock may be behind ours, and ahead of it, before Telethon drops what it says (seconds)."""

Address = tuple[int, str, int]
NEW_LOGIN: Final = (DEFAULT_DC_ID, DEFAULT_IPV4_IP, DEFAULT_PORT)
"""Where Telethon goes with a session that names no datacenter yet."""


async def examine(config: Config, stored: Mapping[str, Address | None]) -> list[Finding]:
    """Look at each way to the datacenter once, at the same time; ``stored`` are the addresses in the session files."""
    if isinstance(config.telegram.datacenter, SandboxConfig):
        return [Finding("network", True, "the sandbox datacenter starts with the engine")]
    ways: dict[str, tuple[Address, Proxy | None]] = {}
    for name, connector in connectors_outside(config).items():
        address = connector.address or stored.get(name) or NEW_LOGIN
        where = f"{address[1]}:{address[2]}" if connector.address else f"Telegram ({address[1]}:{address[2]})"
        for proxy in connector.failover.proxies:
            ways[f"{where} through {proxy or 'no proxy'}"] = address, proxy
    seen: dict[str, DatacenterProbeResult] = {}
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def visit(way: str, address: Address, proxy: Proxy | None) -> None:
        async with limit:
            try:
                seen[way] = await inspect_datacenter(address, proxy, timeout=TIMEOUT)
            except Exception:
                seen[way] = DatacenterProbeResult("dark")

    async with anyio.create_task_group() as tasks:
        for way, (address, proxy) in ways.items():
            tasks.start_soon(visit, way, address, proxy)
    return [*(_reached(way, seen[way]) for way in sorted(seen)), _clock(seen)]


def _reached(way: str, found: DatacenterProbeResult) -> Finding:
    match found.state:
        case "answers":
            return Finding("network", True, f"{way}: the datacenter answers")
        case "accepts":
            text = f"{way}: somebody takes the connection, but no datacenter answers"
            return Finding("network", False, text, "check host, port and proxy in the config")
        case _:
            return Finding("network", False, f"{way}: nobody is there", "check network, proxy and firewall")


def _clock(seen: Mapping[str, DatacenterProbeResult]) -> Finding:
    offsets = [found.clock for found in seen.values() if found.clock is not None]
    if not offsets:
        return Finding("clock", None, "not compared, because no datacenter answers")
    offset = round(median(offsets))
    well = -CLOCK_BEHIND <= offset <= CLOCK_AHEAD
    side = "behind" if offset < 0 else "ahead of"
    text = f"the datacenter's is {abs(offset)} s {side} ours" if offset else "agrees with ours"
    return Finding("clock", well, text, "" if well else "timedatectl set-ntp true")
