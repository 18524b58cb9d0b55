"""Kinds of jobs: what their data must be, and what a mistake in them is told."""

from typing import Any

import pytest
from attrs import field, frozen

from engine.work.kinds import BadJob, JobKind, JobKinds


async def work(job: Any, client: Any) -> None:
    """Do nothing."""


def _short(_: Any, attribute: Any, value: str) -> None:
    if len(value) > 3:
        raise ValueError(f"{attribute.name} must have at most 3 characters")


@frozen(kw_only=True)
class Inner:
    page: int = 1


@frozen(kw_only=True)
class Data:
    to: str | int
    text: str = field(default="hi", validator=_short)
    count: int = 1
    share: float = 0.5
    loud: bool = False
    since: str | int | None = None
    tags: list[str] = field(factory=list)
    inner: Inner = Inner()


KIND = JobKind("send", work, Data)


def test_data_become_what_the_class_says() -> None:
    """Each field is read by its type, what is left out has its default, and nested classes are read, too."""
    given = {"to": -100, "count": 2, "share": 1, "loud": True, "since": None, "tags": ["a"], "inner": {"page": 7}}
    assert KIND.read(given) == Data(to=-100, count=2, share=1.0, loud=True, since=None, tags=["a"], inner=Inner(page=7))
    assert isinstance(KIND.read(given).share, float)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "to is missing"),
        ({"to": 1, "txt": "a"}, "txt is not known; did you mean 'text'?"),
        ({"to": None}, "to must be text or a whole number, not None"),
        ({"to": True}, "to must be text or a whole number, not True"),
        ({"to": 1.5}, "to must be text or a whole number, not 1.5"),
        ({"to": 1, "text": 5}, "text must be text, not 5"),
        ({"to": 1, "text": "long"}, "text must have at most 3 characters"),
        ({"to": 1, "count": "2"}, "count must be a whole number, not '2'"),
        ({"to": 1, "count": True}, "count must be a whole number, not True"),
        ({"to": 1, "count": 2.0}, "count must be a whole number, not 2.0"),
        ({"to": 1, "share": "0.5"}, "share must be a number, not '0.5'"),
        ({"to": 1, "loud": 1}, "loud must be true or false, not 1"),
        ({"to": 1, "tags": ["a", 2]}, "tags[1] must be text, not 2"),
        ({"to": 1, "inner": {"page": "x"}}, "inner.page must be a whole number, not 'x'"),
        ({"to": 1, "inner": {"pag": 1}}, "pag is not known; did you mean 'page'?"),
    ],
)
def test_data_that_do_not_fit_are_told_why(given: dict[str, Any], said: str) -> None:
    """Which field, what it must be and what it is; no value is made into another type by a guess."""
    with pytest.raises(BadJob, match="the data of a send job") as caught:
        KIND.read(given)
    assert said in str(caught.value)


def test_all_that_does_not_fit_is_told_at_once() -> None:
    """All faults of the data are reported together."""
    with pytest.raises(BadJob) as caught:
        KIND.read({"text": 5, "count": "x", "odd": 1})
    assert str(caught.value).count(";") >= 3


def test_a_fault_is_quoted_in_part() -> None:
    """A long value is not repeated as a whole."""
    with pytest.raises(BadJob) as caught:
        KIND.read({"to": 1, "count": "x" * 5000})
    assert len(str(caught.value)) < 200


def test_a_kind_without_a_class_takes_any_mapping() -> None:
    """The function gets a dict of its own."""
    given = {"anything": [1, {"goes": None}]}
    read = JobKind("free", work).read(given)
    assert read == given
    assert read is not given


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        *(
            ("to", "@me", "@me"),
            ("to", "1234", 1234),
            ("to", "-100", -100),
            ("to", "+1234", "+1234"),
            ("to", "1e3", "1e3"),
        ),
        *(("text", "5", "5"), ("count", "5", 5), ("share", "0.25", 0.25), ("loud", "true", True), ("count", "x", "x")),
        *(("tags", '["a"]', ["a"]), ("inner", '{"page": 2}', {"page": 2}), ("since", "12", 12), ("since", "x", "x")),
        ("unknown", "5", 5),
    ],
)
def test_a_word_of_a_command_is_read_as_its_field_wants(name: str, text: str, value: Any) -> None:
    """Text stays text where the field takes text, a whole number is an id, and the rest is JSON if it is any."""
    read = KIND.value_of(name, text)
    assert (read, type(read)) == (value, type(value))


def test_an_unknown_kind_is_told_what_there_is() -> None:
    """The sentence has the nearest name, or all of them."""
    kinds = JobKinds.of([KIND, JobKind("collect", work)])
    with pytest.raises(BadJob, match=r"there is no kind of jobs called 'sned'; did you mean 'send'\?"):
        kinds.check("sned", {})
    with pytest.raises(BadJob, match="there are: send, collect"):
        kinds.check("xyz", {})
    assert kinds.get("xyz") is None
    assert kinds.check("send", {"to": 1}) == Data(to=1)


def test_a_later_kind_takes_the_place_of_an_earlier_one() -> None:
    """A module can have a ``send`` of its own."""
    mine = JobKind("send", work)
    assert JobKinds.of([KIND, mine]).get("send") is mine
