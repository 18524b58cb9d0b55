"""What a node says of itself to all others when it begins a life: version, process, and a digest of its config."""

import hashlib
import os
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Final

from attrs import evolve

from engine.config import Config

DISTRIBUTION: Final = "holdfast-telegram"
DIGEST: Final = 12
"""Characters of a digest, which tells configs apart. Of secrets there is none."""


def details_of(config: Config) -> dict[str, Any]:
    """Return what the others, and commands on any host, may know of this node."""
    return {"version": _version(), "pid": os.getpid(), "config": digests_of(config)}


def digests_of(config: Config) -> Mapping[str, str]:
    """Return a digest of each section that should be the same on all nodes. Files may be elsewhere on each host."""
    sections = {
        "states": config.states,
        "fleet": config.fleet,
        "requests": config.requests,
        "usernames": config.usernames,
        "incidents": config.incidents,
        "work": evolve(config.work, modules=()),
        "node.lease": config.node.lease,
        "telegram.datacenter": getattr(config.telegram.datacenter, "id", None),
    }
    return {name: hashlib.sha256(repr(value).encode()).hexdigest()[:DIGEST] for name, value in sections.items()}


def _version() -> str:
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"
