"""The page about large fleets quotes what its commands print."""

import pytest

from tools.fleet_plans import PAGE, QUOTED, config_of, printed

TEXT = PAGE.read_text("utf-8")
COMMANDS = dict(QUOTED.findall(TEXT))


@pytest.mark.parametrize(
    "words", [pytest.param(each, marks=pytest.mark.slow if "1000000" in each else ()) for each in COMMANDS]
)
def test_the_page_quotes_what_the_command_prints(words: str) -> None:
    """To the last digit, with the config of the page."""
    assert printed(words, config_of(TEXT)) == COMMANDS[words], "run: python -m tools.fleet_plans"


def test_the_page_has_both_sizes() -> None:
    """A hundred thousand accounts, half of whose nodes are killed, and a million."""
    assert [words.removeprefix("simulate config.yaml ") for words in COMMANDS] == [
        "--accounts 100000 --nodes 40",
        "--accounts 100000 --nodes 40 --kill 20",
        "--accounts 1000000 --nodes 400",
    ]
