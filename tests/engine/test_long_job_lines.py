"""Lines of a jobs file that are too long, and numbers that are: each says what is wrong with it."""

import pytest

from engine.cli.jobs import MAX_LINE_CHARACTERS, _parse_job


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"kind": "send", "priority": ' + "9" * 5000 + "}", "a number has more digits than can be read"),
        ('"' + "x" * MAX_LINE_CHARACTERS + '"', r"the line has [\d,]+ characters; at most"),
    ],
)
def test_too_much_is_said_to_be_too_much(line: str, said: str) -> None:
    """Neither is called another format, and nobody is told to change a setting of Python's."""
    with pytest.raises(ValueError, match=said) as caught:
        _parse_job(line, lambda **_: pytest.fail("nothing may be added"))
    assert "set_int_max" not in str(caught.value)
