"""The protocol of systemd, over real datagram sockets."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.system import ServiceManager

Listen = Callable[[str], socket.socket]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Return a function that listens at an address of ``NOTIFY_SOCKET``, as systemd does."""
    opened: list[socket.socket] = []

    def make(address: str) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        opened.append(listener)
        listener.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        listener.settimeout(10)
        return listener

    yield make
    for each in opened:
        each.close()


def manager(address: str, **more: str) -> ServiceManager:
    """Return the service manager of an environment."""
    found = ServiceManager.from_environment({"NOTIFY_SOCKET": address, **more})
    assert found is not None
    return found


@pytest.mark.parametrize("abstract", [False, True])
def test_messages_arrive_as_systemd_expects_them(listen: Listen, tmp_path: Path, abstract: bool) -> None:
    """A path and an abstract name are both understood; each message is one datagram."""
    address = f"@holdfast-test-{os.getpid()}-{id(listen)}" if abstract else str(tmp_path / "notify")
    listener, service = listen(address), manager(address)
    assert all((service.ready(), service.status("3 of 4 accounts healthy"), service.alive(), service.stopping()))
    assert [listener.recv(4096) for _ in range(4)] == [
        b"READY=1",
        b"STATUS=3 of 4 accounts healthy",
        b"WATCHDOG=1",
        b"STOPPING=1",
    ]


def test_a_reload_is_told_with_the_time_at_which_it_began(listen: Listen, tmp_path: Path) -> None:
    """In one datagram: systemd takes a READY=1 that it has from before for none without it."""
    listener, before = listen(str(tmp_path / "notify")), time.monotonic_ns() // 1000
    assert manager(str(tmp_path / "notify")).reloading()
    first, second = listener.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    name, _, microseconds = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(microseconds) <= time.monotonic_ns() // 1000


def test_a_status_is_one_line(listen: Listen, tmp_path: Path) -> None:
    """A line break in it would begin another field."""
    address = str(tmp_path / "notify")
    listener = listen(address)
    assert manager(address).status("one\nMAINPID=1\r\n\ttwo " + "x" * 2000)
    message = listener.recv(8192)
    assert message.startswith(b"STATUS=one MAINPID=1 two xxx")
    assert b"\n" not in message
    assert len(message) < 600


@pytest.mark.parametrize("address", [None, "", "@", "relative/path", "vsock:2:1"])
def test_without_a_socket_that_is_understood_there_is_none(address: str | None) -> None:
    """A program in a terminal has none."""
    assert ServiceManager.from_environment({} if address is None else {"NOTIFY_SOCKET": address}) is None


def test_a_socket_that_is_gone_raises_nothing(tmp_path: Path) -> None:
    """Nor does one whose name is too long, or a file that is no socket."""
    (tmp_path / "file").write_text("")
    for name in ("gone", "x" * 200, "file"):
        assert not manager(str(tmp_path / name)).alive()


def test_a_full_queue_holds_nothing_up(listen: Listen, tmp_path: Path) -> None:
    """Nobody reads: the messages that do not fit are dropped, at once."""
    address = str(tmp_path / "notify")
    listen(address)
    service = manager(address)
    sent = [service.alive() for _ in range(5000)]
    assert sent[0]
    assert not sent[-1]


@pytest.mark.parametrize(
    ("microseconds", "process", "seconds"),
    [
        ("30000000", "mine", 30.0),
        ("500000", "", 0.5),
        ("30000000", "1", None),
        ("", "", None),
        ("0", "", None),
        ("soon", "", None),
        ("-5", "", None),
        ("²", "", None),
    ],
)
def test_the_watchdog_is_for_this_process(microseconds: str, process: str, seconds: float | None) -> None:
    """One that a parent has left is not ours, and nonsense is none."""
    owner = str(os.getpid()) if process == "mine" else process
    found = manager("@x", WATCHDOG_USEC=microseconds, WATCHDOG_PID=owner)
    assert found.watchdog == seconds
