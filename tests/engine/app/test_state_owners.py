"""Which account goes on with which stored state."""

from adapters.sqlite.renames import Rename, StoredLogin
from engine.app.restored import PresentLogin, owners, renames_of


def has(login: str, *, credentials: str = "") -> PresentLogin:
    """Return the login in a session file."""
    return PresentLogin(login=login, credentials=credentials or f"{login} of the application")


def left(login: str, *, at: float = 0.0) -> StoredLogin:
    """Return whose state is stored."""
    return StoredLogin(login=login, credentials=f"{login} of the application" if login else "", at=at)


def test_a_login_is_found_under_its_former_name() -> None:
    """The key alone decides."""
    assert owners({"B": has("1")}, {"A": left("1")}) == {"B": "A"}


def test_a_corrected_application_is_no_other_login() -> None:
    """The same key with another ``api_id`` has other credentials, and goes on."""
    assert owners({"B": has("1", credentials="corrected")}, {"A": left("1")}) == {"B": "A"}


def test_three_accounts_change_their_names_in_a_circle() -> None:
    """Each finds its own state."""
    stored = {"A": left("1"), "B": left("2"), "C": left("3")}
    found = owners({"A": has("3"), "B": has("1"), "C": has("2")}, stored)
    assert found == {"A": "C", "B": "A", "C": "B"}
    assert sorted((each.former, each.name) for each in renames_of(found, "ABC", stored, "today")) == [
        ("A", "B"),
        ("B", "C"),
        ("C", "A"),
    ]


def test_a_copy_of_a_login_under_a_second_name_takes_nothing_away() -> None:
    """The account that still has its name keeps its state."""
    assert owners({"B": has("1"), "A": has("1")}, {"A": left("1")}) == {"A": "A"}


def test_a_file_that_cannot_be_read_changes_nothing() -> None:
    """Its account goes on under its name."""
    assert owners({"A": PresentLogin()}, {"A": left("1")}) == {"A": "A"}


def test_state_that_another_account_has_taken_along_is_nobody_elses() -> None:
    """A file that cannot be read under the name that is free now has no share in it."""
    assert owners({"A": PresentLogin(), "B": has("1")}, {"A": left("1")}) == {"B": "A"}


def test_the_newest_state_of_a_login_counts() -> None:
    """An earlier version has left one under each name that the login had."""
    assert owners({"C": has("1")}, {"A": left("1", at=2.0), "B": left("1", at=1.0)}) == {"C": "A"}


def test_state_that_is_in_the_way_is_kept_under_a_name_of_its_own() -> None:
    """Its jobs stay with the name, and no name is given twice."""
    stored = {"A": left("1"), "B": left("2"), "B (login until today)": left("3")}
    found = owners({"B": has("1")}, stored)
    assert renames_of(found, ["B"], stored, "today") == [
        Rename(former="A", name="B"),
        Rename(former="B", name="B (login until today, 2)", with_jobs=False),
    ]
