"""A commit that fails costs nothing that changed while it was tried."""

from adapters.session.contents import Contents


def test_what_changed_during_a_failed_commit_is_still_to_be_written() -> None:
    """The rows of the commit are given back beside those that have come since, each once."""
    contents = Contents()
    contents.put_state(0, (1, 0, 0.0, 0))
    contents.put_entities([(7, 70, None, None, "Ada")], now=1)
    taken, _ = contents.take()
    contents.put_state(0, (2, 0, 0.0, 0))
    contents.put_state(5, (1, 0, 0.0, 0))
    contents.put_entities([(8, 80, None, None, "Bob")], now=2)
    contents.set_identity(key=b"k" * 256)
    contents.give_back(taken)
    _, changes = contents.take()
    assert sorted(changes.states) == [(0, 2, 0, 0.0, 0), (5, 1, 0, 0.0, 0)]
    assert sorted(row[0] for row in changes.entities) == [7, 8]
    assert changes.identity is not None
