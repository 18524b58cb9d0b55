"""Whose trouble a refused packet is."""

from telethon import errors

from adapters.telegram.job_errors import classify_job_error
from states.jobs import Lost


def test_a_transport_flood_is_the_connections_trouble() -> None:
    """The datacenter's −429 ends a connection with all that was asked on it: no job has failed by that."""
    flood = errors.InvalidBufferError(bytes.fromhex("53feffff"))
    assert flood.code == 429
    assert classify_job_error(flood, None) == Lost("transport error −429")
