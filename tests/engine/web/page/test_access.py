"""Tokens, cookies and forms: what gives access, and what does not."""

import pytest

from engine.web.page.access import ATTEMPTS, COOKIE_SECONDS, MAX_CLIENTS, WINDOW, PageAccess, is_own
from engine.web.page.source import PageRole
from tests.engine.web.page.stage import TOKENS

NOW = 1_800_000_000.0


def opened() -> PageAccess:
    access = PageAccess()
    access.use(TOKENS)
    return access


def test_a_token_gives_its_role_and_no_other_text_gives_any() -> None:
    """Neither a part of it, nor one that is longer, nor nothing."""
    access = opened()
    assert access.role_of(TOKENS[PageRole.OPERATOR], "1", 0) is PageRole.OPERATOR
    assert access.role_of(TOKENS[PageRole.READER], "1", 0) is PageRole.READER
    right = TOKENS[PageRole.OPERATOR]
    for number, wrong in enumerate(("", right[:-1], f"{right}x", right.upper(), "\udcff", "x" * 100_000)):
        assert access.role_of(wrong, f"client {number}", 0) is None


def test_before_there_are_tokens_nobody_has_access() -> None:
    """Not even with an empty one."""
    access = PageAccess()
    assert not access.open
    assert access.role_of("", "1", 0) is None
    assert access.viewer("1.0", NOW) is None
    assert not access.is_form("")


def test_wrong_tokens_are_bounded_for_each_client() -> None:
    """Then it waits, whatever it sends; another client does not, and an IPv6 network is one client."""
    access = opened()
    for number in range(ATTEMPTS):
        assert access.wait("2001:db8::1", number) == 0
        access.role_of("wrong", f"2001:db8::{number + 1:x}", number)
    assert access.wait("2001:db8::ffff", ATTEMPTS) > WINDOW - ATTEMPTS - 1
    assert access.wait("2001:db8:1::1", ATTEMPTS) == 0
    assert access.wait("192.0.2.1", ATTEMPTS) == 0
    assert access.wait("2001:db8::1", ATTEMPTS + WINDOW) == 0


def test_clients_with_wrong_tokens_fill_no_memory() -> None:
    """Only so many are remembered."""
    access = opened()
    for number in range(MAX_CLIENTS + 500):
        access.role_of("wrong", f"client {number}", 0)
    assert len(access._failures) == MAX_CLIENTS


def test_a_cookie_outlives_a_restart_and_ends_with_its_token() -> None:
    """It is signed with the token, and nothing of it is kept."""
    cookie = opened().cookie(PageRole.OPERATOR, NOW)
    again = opened()
    found = again.viewer(cookie, NOW + 60)
    assert found is not None
    assert (found.role, found.may_act) == (PageRole.OPERATOR, True)
    assert TOKENS[PageRole.OPERATOR] not in cookie
    again.use({**TOKENS, PageRole.OPERATOR: "another-token-0123456789"})
    assert again.viewer(cookie, NOW + 60) is None


def test_a_reader_has_nothing_of_a_form() -> None:
    """Whoever cannot act needs none."""
    access = opened()
    reader = access.viewer(access.cookie(PageRole.READER, NOW), NOW)
    assert reader is not None
    assert (reader.role, reader.may_act, reader.csrf) == (PageRole.READER, False, "")


@pytest.mark.parametrize("shift", [-COOKIE_SECONDS - 1, 2 * 86_400])
def test_a_cookie_is_good_for_its_time(shift: float) -> None:
    """An old one is not, and one from days ahead neither."""
    access = opened()
    assert access.viewer(access.cookie(PageRole.OPERATOR, NOW + shift), NOW) is None


@pytest.mark.parametrize("cookie", [None, "", "x", "1.2", "9" * 400, "1800000000." + "0" * 64, "٣." + "0" * 64])
def test_what_is_no_cookie_of_ours_is_worth_nothing(cookie: str | None) -> None:
    """Whatever it looks like."""
    assert opened().viewer(cookie, NOW) is None


def test_a_cookie_cannot_be_made_longer_lived() -> None:
    """The time is signed, too."""
    access = opened()
    made, _, signature = access.cookie(PageRole.READER, NOW).partition(".")
    assert access.viewer(f"{int(made) + 1}.{signature}", NOW) is None


def test_engines_on_one_host_have_cookies_of_their_own() -> None:
    """A browser sends the same cookies to all ports."""
    other = PageAccess()
    other.use({PageRole.OPERATOR: "another-token-0123456789"})
    assert opened().cookie_name != other.cookie_name
    assert opened().cookie_name == opened().cookie_name


def test_a_form_is_known_by_what_it_has_in_it() -> None:
    """Another engine's, an old one's and an empty one are not."""
    access = opened()
    viewer = access.viewer(access.cookie(PageRole.OPERATOR, NOW), NOW)
    assert viewer is not None
    assert access.is_form(viewer.csrf)
    for wrong in ("", "0" * 64, viewer.csrf[:-1], "ü", TOKENS[PageRole.OPERATOR]):
        assert not access.is_form(wrong)


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({}, True),
        ({"origin": "http://127.0.0.1:8080"}, True),
        ({"origin": "https://127.0.0.1:8080"}, True),
        ({"origin": "HTTP://127.0.0.1:8080".lower(), "sec-fetch-site": "same-origin"}, True),
        ({"origin": "null", "sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"origin": "null"}, False),
        ({"origin": "null", "sec-fetch-site": "cross-site"}, False),
        ({"origin": "http://127.0.0.1:8080", "sec-fetch-site": "cross-site"}, False),
        ({"origin": "http://127.0.0.1:8080", "sec-fetch-site": "same-site"}, False),
        ({"origin": "http://127.0.0.1:8081"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "file://"}, False),
        ({"origin": ""}, False),
        ({"origin": "http://127.0.0.1:8080.evil.example"}, False),
    ],
)
def test_whose_page_a_form_is_on(headers: dict[str, str], own: bool) -> None:
    """The browser says it, and says it of itself."""
    assert is_own({"host": "127.0.0.1:8080", **headers}) is own
