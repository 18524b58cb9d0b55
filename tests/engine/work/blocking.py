"""Functions that block the loop, and a watch over them."""

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from engine.console.messages import render
from engine.work.stall import watched
from tests.timeouts import TIMEOUT

EVERY = 0.05
JOB = "job 17 (crunch) of Account 1"
OUTRAGEOUS = 10.0
"""Seconds for which a job blocks if nothing stops it."""

Lines = list[Any]


def said(lines: Lines, words: str) -> list[str]:
    """Return the lines with these words."""
    told = [render(line["event"], line) for line in lines]
    return [line for line in told if words in line]


async def until(holds: Callable[[], Any]) -> None:
    """Wait until something can be seen."""
    with anyio.fail_after(TIMEOUT):
        while not holds():
            await anyio.sleep(0.01)


async def look_on(work: Callable[[], Awaitable[None]], *, job: str | None = JOB, **limits: Any) -> asyncio.Task[None]:
    """Let a watch look on while ``work`` runs as a task that is ``job``; return the task when it is over."""
    jobs: dict[asyncio.Task[Any], str] = {}
    settings: dict[str, Any] = {"throw": False, "every": EVERY, "first_report": 0.2, "throw_after": 0.3, **limits}
    async with watched(name=jobs.get, **settings):
        await anyio.sleep(2 * EVERY)
        task = asyncio.ensure_future(work())
        if job is not None:
            jobs[task] = job
        await until(task.done)
        await anyio.sleep(4 * EVERY)
    return task


def block(seconds: float) -> None:
    """Do what a job must not do."""
    time.sleep(seconds)


async def run_away() -> None:
    """Block, without ever waiting for anything."""
    end = time.monotonic() + OUTRAGEOUS
    while time.monotonic() < end:
        pass


async def oversleep() -> None:
    """Block in one call of the operating system."""
    block(OUTRAGEOUS)


async def read_on_a_deaf_line() -> None:
    """Block in a read of what never comes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(OUTRAGEOUS), 0))
        ours.recv(1)


async def hold_the_loop_briefly() -> None:
    """Block for less than a second."""
    block(0.8)
