"""What a node says of itself to all others when it begins a life: version, process, and a digest of its config."""

import hashlib
import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from engine.config import Config

DISTRIBUTION: Final = "holdfast-telegram"
BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
"""Differs with each start of a machine; other systems than Linux have none."""
DIGEST: Final = 12
"""Characters of a digest, which tells configs apart. Of secrets there is none."""


def details_of(config: Config) -> dict[str, Any]:
    """Return what the others, and commands on any host, may know of this node.

    Programs on the same machine find its socket by ``directory``.
    """
    return {
        "version": _version(),
        "pid": os.getpid(),
        "config": digests_of(config),
        "machine": this_machine(),
        "directory": str(config.storage.directory.absolute()),
    }


def this_machine() -> str | None:
    """Return what distinguishes this start of this machine from all others; None where that cannot be told."""
    try:
        return BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return None


def digests_of(config: Config) -> Mapping[str, str]:
    """Return a digest of each section that should be the same on all nodes. Files may be elsewhere on each host."""
    sections = {
        "accounts": sorted((account.name, account.hosts) for account in config.accounts),
        "states": config.states,
        "fleet": config.fleet,
        "requests": config.requests,
        "usernames": config.usernames,
        "incidents": config.incidents,
        "work": evolve(config.work, modules=()),
        "node.lease": config.node.lease,
        "telegram.api_id": config.telegram.api_id,
        "telegram.datacenter": getattr(config.telegram.datacenter, "id", None),
    }
    return {name: hashlib.sha256(repr(value).encode()).hexdigest()[:DIGEST] for name, value in sections.items()}


def _version() -> str:
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"
