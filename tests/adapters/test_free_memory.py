"""Free memory goes back to the system."""

import os
import platform

import pytest

from adapters.system.free_memory import give_back_free_memory

BLOCK, BLOCKS = 4_000, 20_000


def resident() -> int:
    """Return what this process holds, in bytes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what is free")
def test_what_is_free_is_given_back() -> None:
    """Eighty megabytes are free below a block that is in use, and most of that leaves the process."""
    blocks = [bytes(BLOCK) for _ in range(BLOCKS)]
    last = blocks.pop()
    blocks.clear()
    held = resident()
    give_back_free_memory()
    assert held - resident() > BLOCK * BLOCKS / 2
    assert last == bytes(BLOCK)
