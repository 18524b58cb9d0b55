"""``status --verbose``: which account has how much in memory, and which handler does not end."""

from engine.console.memory_lines import MAX_SHOWN, lines


def test_the_largest_comes_first_with_what_it_has() -> None:
    """What is zero is left out; a handler that hangs is named, whatever its name has in it."""
    hanging = [{"handler": "on_\x1b[31mmessage", "seconds": 200.0, "calls": 64}]
    memory = {
        "Calm": {"bytes": 4000, "entities": 10, "cached": 0, "waiting": 0, "hanging": []},
        "Busy": {
            "bytes": 8_000_000,
            "entities": 5000,
            "waiting": 1000,
            "running": 64,
            "left": 31_000,
            "hanging": hanging,
        },
    }
    shown = list(lines(memory))
    assert shown[:3] == ["", "Memory of accounts, estimated: 8.0 MB", "  Busy: 8.0 MB"]
    assert shown[3] == (
        "    5,000 users and chats of the session, 1,000 updates wait for handlers, 64 are with them, "
        "31,000 left at the datacenter"
    )
    assert "has not ended for" in shown[4]
    assert "\x1b" not in shown[4]
    assert shown[5:] == ["  Calm: 4.0 kB", "    10 users and chats of the session"]


def test_thousands_of_accounts_are_no_thousands_of_lines() -> None:
    """The page has the largest, and says how many more there are; odd values of a foreign answer count as nothing."""
    memory = {f"Account {number}": {"bytes": number} for number in range(100)}
    shown = list(lines(memory))
    assert len(shown) == MAX_SHOWN + 3
    assert shown[-1] == "  and 80 more; name an account, or use --json"
    assert list(lines({"A": {"bytes": "many", "entities": None}}))[2] == "  A: 0.0 kB"
    assert list(lines({})) == []
