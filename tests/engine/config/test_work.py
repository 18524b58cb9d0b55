"""The section ``work``: what it may say, and what each mistake in it is told."""

import pytest

from engine.config.work import Module, to_hours
from states.jobs import RETRY
from states.pace import Budget, Hours, KindPolicy
from states.schedules import Backoff
from tests.engine.config.texts import HEAD, ONE, Load, Problems

FULL = """
work:
  per_account: 2
  retry: {first: 5s, cap: 1m, tries: 3}
  modules:
    - my_work.py
    - {module: my_package.work, accounts: [News *, Account 1]}
    - {module: other.py, accounts: Account 1}
  kinds:
    send:
      at_once: 5
      per_account: 3
      budget: {at_most: 20, per: 1d, jitter: 0.5}
      hours: "09:00-18:00"
      patience: 5m
    collect:
"""


def test_a_whole_section_is_read(good: Load) -> None:
    """Every key means what it says; durations, patterns and hours as everywhere."""
    two = "accounts: [{name: News 1, session: a}, {name: Account 1, session: b}]\n"
    work = good(HEAD + two + FULL).work
    assert (work.per_account, work.retry) == (2, Backoff(first=5, cap=60, tries=3))
    assert work.modules == (
        Module(module="my_work.py"),
        Module(module="my_package.work", accounts=("News *", "Account 1")),
        Module(module="other.py", accounts=("Account 1",)),
    )
    assert work.of("send") == KindPolicy(
        at_once=5,
        per_account=3,
        budget=Budget(at_most=20, per=86_400, jitter=0.5),
        hours=Hours(9 * 60, 18 * 60),
        patience=300,
    )
    assert work.of("collect") == KindPolicy()


@pytest.mark.parametrize("text", ["", "work:\n", "work: {}\n", "work: {kinds: }\n", "work: {modules: []}\n"])
def test_without_a_word_the_defaults_hold(good: Load, text: str) -> None:
    """The section and all of its keys may be left out or be empty."""
    work = good(HEAD + ONE + text).work
    assert (work.per_account, work.retry, work.kinds, work.modules) == (4, RETRY, {}, ())


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("09:00-18:00", Hours(540, 1080)),
        ("9:00 - 18:00", Hours(540, 1080)),
        ("22:30\u201306:00", Hours(1350, 360)),
        ("00:00-12:00", Hours(0, 720)),
        ("12:00-24:00", Hours(720, 0)),
    ],
)
def test_hours_may_be_written_in_several_ways(text: str, hours: Hours) -> None:
    """With or without a leading zero, spaces or a dash of its own; 24:00 is midnight."""
    assert to_hours(text) == hours


HOURS = "must be two different times of a day"
WRONG = [
    ("[]", "work", "must be a mapping"),
    ("{jobs: 1}", "work.jobs", "unknown key"),
    *[(f"{{per_account: {value}}}", "work.per_account", said) for value, said in (
        ("0", "must be from 1 to 10000"), ("10001", "must be from 1 to 10000"), ("x", "whole number"),
        ("true", "not true or false"), ("1.5", "whole number"),
    )],
    *[(f"{{retry: {value}}}", f"work.retry{key}", said) for value, key, said in (
        ("3", "", "must be a mapping"),
        ("{then: park}", "", "waits for the operator, so 'then' has no effect; remove it"),
        ("{tries: 0}", ".tries", "must be at least 1"),
        ("{first: soon}", ".first", "not 'soon'"),
        ("{first: 5m}", "", "cap (120 s)"),
        ("{jitter: 1}", ".jitter", "must be at least 0 and below 1"),
        ("{wait: 1s}", ".wait", "unknown key"),
    )],
    *[(f"{{modules: {value}}}", f"work.modules{key}", said) for value, key, said in (
        ("my_work.py", "", "must be a list, not text"),
        ("{a: b}", "", "must be a list, not a mapping"),
        ("[7]", "[0]", "must be a mapping"),
        ("['']", "[0].module", "must be a file such as my_work.py, or a module such as my_package.work"),
        ("[a.py, 'my work']", "[1].module", "must be a file such as my_work.py"),
        ("[a/b]", "[0].module", "must be a file such as my_work.py"),
        ("[a..b]", "[0].module", "must be a file such as my_work.py"),
        ("[{accounts: A}]", "[0].module", "is required"),
        ("[{module: a.py, account: A}]", "[0].account", "did you mean 'accounts'?"),
        ("[{module: a.py, accounts: []}]", "[0].accounts", "must be an account's name, a pattern such as"),
        ("[{module: a.py, accounts: [A, 7]}]", "[0].accounts", "must be an account's name, a pattern such as"),
        ("[{module: a.py, accounts: B}]", "[0].accounts", "no account is named like 'B'; there are: A"),
        ("[{module: a.py, accounts: [A, 'B *']}]", "[0].accounts", "no account is named like 'B *'; there are: A"),
        ("[{module: a.py, accounts: ''}]", "[0].accounts", "must be an account's name, a pattern such as"),
    )],
    ("{kinds: [send]}", "work.kinds", "must be a mapping (kind: its rules), not a list"),
    *[(f"{{kinds: {{send: {value}}}}}", f"work.kinds.send{key}", said) for value, key, said in (
        ("5", "", "must be a mapping"),
        ("{at_most: 5}", ".at_most", "unknown key"),
        ("{at_once: 0}", ".at_once", "must be from 1 to 10000"),
        ("{at_once: many}", ".at_once", "whole number"),
        ("{per_account: -1}", ".per_account", "must be from 1 to 10000"),
        ("{patience: 0}", ".patience", "must be more than 0 s"),
        ("{patience: long}", ".patience", "not 'long'"),
        ("{budget: 20}", ".budget", "must be a mapping"),
        ("{budget: {per: 1d}}", ".budget.at_most", "is required"),
        ("{budget: {at_most: 3}}", ".budget.per", "is required"),
        ("{budget: {at_most: 0, per: 1d}}", ".budget.at_most", "must be from 1 to 10000"),
        ("{budget: {at_most: 3, per: 0}}", ".budget.per", "must be more than 0 s"),
        ("{budget: {at_most: 3, per: 1d, jitter: 2}}", ".budget.jitter", "must be from 0 to 1"),
        ("{budget: {at_most: 3, per: 1d, jitter: 10ms}}", ".budget.jitter", "must be a number"),
        ("{hours: 9-18}", ".hours", HOURS),
        ("{hours: '09:00'}", ".hours", HOURS),
        ("{hours: '09:00-09:00'}", ".hours", HOURS),
        ("{hours: '00:00-24:00'}", ".hours", HOURS),
        ("{hours: '09:00-24:30'}", ".hours", HOURS),
        ("{hours: '09:60-18:00'}", ".hours", HOURS),
        ("{hours: [9, 18]}", ".hours", HOURS),
        ("{hours: 32400}", ".hours", HOURS),
    )],
]  # fmt: skip


@pytest.mark.parametrize(("section", "where", "said"), WRONG, ids=[f"{where}-{section}" for section, where, _ in WRONG])
def test_each_mistake_is_a_sentence_with_its_place(bad: Problems, section: str, where: str, said: str) -> None:
    """A bad value is told by line, key path and what would be right, and nothing else is."""
    (problem,) = bad(f"{HEAD}{ONE}work: {section}")
    assert problem.startswith(f"config.yaml:3: {where}: ")
    assert said in problem


def test_all_mistakes_are_told_at_once(bad: Problems) -> None:
    """All mistakes of a section are reported together."""
    section = "{per_account: 0, modules: ['', a/b], kinds: {send: {at_once: 0, hours: 9}, join: {patience: 0}}}"
    assert len(bad(f"{HEAD}{ONE}work: {section}")) == 6
