"""Lines of a pipe whose other end may write anything."""

from engine.workers.output import MAX_BYTES, PipeLines


def test_lines_are_made_of_chunks_that_end_anywhere() -> None:
    """Whatever the pieces are."""
    lines = PipeLines()
    found = [line for chunk in (b"on", b"e\ntwo\n", b"", b"\nthr", b"ee\n") for line in lines.feed(chunk)]
    assert found == [b"one", b"two", b"", b"three"]


def test_a_line_without_an_end_takes_no_more_memory_than_a_long_one() -> None:
    """The rest of it is left out, and the next line is whole."""
    lines = PipeLines()
    for _ in range(40):
        assert list(lines.feed(b"x" * 100_000)) == []
    assert len(lines.rest()) == MAX_BYTES
    assert list(lines.feed(b"more")) == []
    assert [len(line) for line in lines.feed(b"\nnext\n")] == [0, 4]


def test_what_an_end_has_torn_is_told_apart() -> None:
    """It is no line, and the next process begins with one of its own."""
    lines = PipeLines()
    assert list(lines.feed(b"whole\nto")) == [b"whole"]
    assert lines.rest() == b"to"
    assert list(lines.feed(b"new\n")) == [b"new"]
