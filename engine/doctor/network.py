"""Checks every route to the datacenter, and its clock."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

import anyio
from telethon.client.telegrambaseclient import DEFAULT_DC_ID, DEFAULT_IPV4_IP, DEFAULT_PORT

from adapters.telegram import Proxy
from adapters.telegram.datacenter_probe import DatacenterProbeResult, inspect_datacenter
from engine.app.telegram import connectors_outside
from engine.config import Config, SandboxConfig
from engine.doctor.findings import Finding

PROBE_TIMEOUT: Final = 3.0
"""Seconds that the probe of one route may take."""
MAX_PROBES_AT_ONCE: Final = 32
MAX_NAMED: Final = 3
"""Accounts that are named with a route that fails."""
MAX_CLOCK_BEHIND, MAX_CLOCK_AHEAD = 300.0, 30.0
"""Seconds that the datacenter's clock may be behind ours, and ahead of it, before Telethon drops its messages."""

Address = tuple[int, str, int]
"""Number of the datacenter, host, port."""
NEW_LOGIN: Final = (DEFAULT_DC_ID, DEFAULT_IPV4_IP, DEFAULT_PORT)
"""Where Telethon connects with a session that names no datacenter yet."""


async def check(config: Config, stored: Mapping[str, Address | None]) -> list[Finding]:
    """Probe each route to the datacenter once, all at the same time.

    ``stored`` has the addresses in the session files, by account.
    """
    if isinstance(config.telegram.datacenter, SandboxConfig):
        return [Finding("network", True, "the sandbox datacenter starts with the engine")]
    routes: dict[str, tuple[Address, Proxy | None]] = {}
    users: dict[str, list[str]] = {}
    for name, connector in connectors_outside(config).items():
        address = connector.address or stored.get(name) or NEW_LOGIN
        target = f"{address[1]}:{address[2]}" if connector.address else f"Telegram ({address[1]}:{address[2]})"
        for proxy in connector.failover.proxies:
            route = f"{target} through {proxy or 'no proxy'}"
            routes[route] = address, proxy
            users.setdefault(route, []).append(name)
    results: dict[str, DatacenterProbeResult] = {}
    limit = anyio.CapacityLimiter(MAX_PROBES_AT_ONCE)

    async def probe(route: str, address: Address, proxy: Proxy | None) -> None:
        async with limit:
            try:
                results[route] = await inspect_datacenter(address, proxy, timeout=PROBE_TIMEOUT)
            except Exception:
                results[route] = DatacenterProbeResult("dark")

    async with anyio.create_task_group() as tasks:
        for route, (address, proxy) in routes.items():
            tasks.start_soon(probe, route, address, proxy)
    shared = len(routes) > 1
    judged = [_judge_route(route, results[route], users[route] if shared else []) for route in sorted(results)]
    return [*judged, _judge_clock(results)]


def _judge_route(route: str, result: DatacenterProbeResult, users: Sequence[str]) -> Finding:
    """Judge a route; ``users`` are named where one fails, if the accounts have addresses of their own."""
    of = f" (of {', '.join(users[:MAX_NAMED])}{' and others' if len(users) > MAX_NAMED else ''})" if users else ""
    match result.state:
        case "answers":
            return Finding("network", True, f"{route}: the datacenter answers")
        case "accepts":
            text = f"{route}{of}: the connection is accepted, but no datacenter answers"
            return Finding("network", False, text, "check host, port and proxy in the config")
        case "refuses":
            text = f"{route}: the datacenter or the proxy answers that it does not let this machine in"
            return Finding("network", False, text, "check the proxy's user and password, or wait some minutes")
        case _:
            return Finding("network", False, f"{route}{of}: unreachable", "check network, proxy and firewall")


def _judge_clock(results: Mapping[str, DatacenterProbeResult]) -> Finding:
    offsets = [result.clock for result in results.values() if result.clock is not None]
    if not offsets:
        return Finding("clock", None, "not compared, because no datacenter answers")
    offset = round(median(offsets))
    ok = -MAX_CLOCK_BEHIND <= offset <= MAX_CLOCK_AHEAD
    side = "behind" if offset < 0 else "ahead of"
    text = f"the datacenter's clock is {abs(offset)} s {side} ours" if offset else "agrees with ours"
    return Finding("clock", ok, text, "" if ok else "timedatectl set-ntp true")
