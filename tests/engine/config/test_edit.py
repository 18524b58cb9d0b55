"""Edits of a config's text: hostile forms of YAML, and every character that is not the account's stays."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.config.document import read_yaml
from engine.config.edit import CannotEdit, with_account, without_account

NEW = {"name": "N: 1", "session": "sessions/n", "phone": "+9996620001"}
WRITTEN = '{name: "N: 1", session: sessions/n, phone: "+9996620001"}'


@pytest.mark.parametrize(
    ("text", "added"),
    [
        ("accounts: [{name: A}]\n", f"accounts: [{{name: A}}, {WRITTEN}]\n"),
        ("accounts: [{name: A}, ] # all\n", f"accounts: [{{name: A}}, {WRITTEN}, ] # all\n"),
        (
            "accounts: [\n  {name: A}  # the first, and - only\n]\n",
            f"accounts: [\n  {{name: A}},  # the first, and - only\n  {WRITTEN}\n]\n",
        ),
        ("accounts: [\r\n  {name: A},\r\n]\r\n", f"accounts: [\r\n  {{name: A}},\r\n  {WRITTEN},\r\n]\r\n"),
        (
            '{"accounts": [\n    {"name": "A"}\n]}\n',
            f'{{"accounts": [\n    {{"name": "A"}},\n    {json.dumps(NEW)}\n]}}\n',
        ),
        ("accounts:\n-   {name: A}\n# end", f"accounts:\n-   {{name: A}}\n-   {WRITTEN}\n# end"),
        ("\ufeffaccounts:\n- {name: A}", f"\ufeffaccounts:\n- {{name: A}}\n- {WRITTEN}"),
        ('"accounts":\n  - &a {name: A}\n', f'"accounts":\n  - &a {{name: A}}\n  - {WRITTEN}\n'),
        (
            "accounts:\n  -\n    name: A\n    session: |\n      a\n\n\n# rest\nweb: {}\n",
            "accounts:\n  -\n    name: A\n    session: |\n      a\n"
            '  - name: "N: 1"\n    session: sessions/n\n    phone: "+9996620001"\n\n\n# rest\nweb: {}\n',
        ),
        (
            "x: &x [accounts, 1]\nd: {accounts: [2]}\naccounts:\n- name: A\n  proxy: [\n    direct,\n  ]\n",
            "x: &x [accounts, 1]\nd: {accounts: [2]}\naccounts:\n- name: A\n  proxy: [\n    direct,\n  ]\n"
            '- name: "N: 1"\n  session: sessions/n\n  phone: "+9996620001"\n',
        ),
        (
            "accounts:\n- name: A # \u2028 no break in a comment\n- name: Ж ☃\n",
            None,
        ),
    ],
)
def test_an_account_finds_its_place_and_leaves_it_again(text: str, added: str | None) -> None:
    """It is added in the form of the list, and when it is removed the text is the same as before."""
    if added is None:  # for YAML, U+2028 ends the line and with it the comment
        with pytest.raises(CannotEdit, match="cannot be edited"):
            with_account(text, NEW)
        return
    assert with_account(text, NEW) == added
    before = read_yaml(text.removeprefix("\ufeff")).value
    assert isinstance(before, dict)
    assert without_account(added, len(before["accounts"])) == text


@pytest.mark.parametrize(
    ("text", "index", "left"),
    [
        ("accounts: [{name: A}, {name: B}]\n", 0, "accounts: [{name: B}]\n"),
        ("accounts: [{name: A}, {name: B}]\n", 1, "accounts: [{name: A}]\n"),
        ("accounts: [{name: A}, # of A\n {name: B}]\n", 0, "accounts: [ # of A\n {name: B}]\n"),
        ("accounts: [\n  {name: A}, # of A\n  # of B\n  {name: B}\n]\n", 0, "accounts: [\n  # of B\n  {name: B}\n]\n"),
        ("accounts: [\n  {name: A} # of A\n  , {name: B}\n]\n", 1, "accounts: [\n  {name: A} # of A\n  \n]\n"),
        ("accounts:\n- name: A\n\n\n- {name: B}", 1, "accounts:\n- name: A\n\n"),
        (
            "accounts:\n- name: A # - x\n# - y\n-\n  # z\n  name: B\nweb:\n",
            1,
            "accounts:\n- name: A # - x\n# - y\nweb:\n",
        ),
        (
            "a: &p direct\naccounts:\n- name: A\n  proxy:\n    *p\n- name: B\n",
            0,
            "a: &p direct\naccounts:\n- name: B\n",
        ),
        ("accounts:\n- name: A\n  session:\n- name: B\n", 0, "accounts:\n- name: B\n"),
        ("accounts:\n- name: A\n  session: 'a\n\n   b'\n- name: B\n", 0, "accounts:\n- name: B\n"),
        ("accounts: # - all\r\n- name: A\r\n  session: a\r\n- name: B\r\n", 0, "accounts: # - all\r\n- name: B\r\n"),
    ],
)
def test_an_account_takes_its_own_characters_along(text: str, index: int, left: str) -> None:
    """Comments on lines of their own stay, in brackets as well as in lines."""
    assert without_account(text, index) == left


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("accounts:\n- &a {name: A}\n- {<<: *a, name: B}\n", 0),
        ("accounts:\n- {name: A, proxy: &p direct}\n- {name: B, proxy: *p}\n", 0),
        ("accounts:\n- &a\n  name: A\n- name: B\n  phone: *a\n", 0),
        ("? accounts\n: - name: A\n  - name: B\n", 0),
    ],
)
def test_what_others_depend_on_is_left_to_a_person(text: str, index: int) -> None:
    """The sentence says that the change has to be written by hand."""
    with pytest.raises(CannotEdit, match="write the change into it yourself"):
        without_account(text, index)


@pytest.mark.parametrize(
    "text", ["", "[]", "a", "accounts: 1", "accounts: {}", "accounts: []", "b: 1\n", "a: [", "\t- a"]
)
def test_a_text_without_accounts_has_no_place(text: str) -> None:
    """Whatever the text is, the answer is a sentence."""
    with pytest.raises(CannotEdit):
        with_account(text, NEW)


NAMES = [
    *("yes", "No", "null", "~", "=", "<<", "2026-01-01", ".inf", "1", "1e3", "0x1f", "12:30:45", "1_000"),
    *(
        "-",
        "- a",
        "a: b",
        "a #b",
        "#a",
        "'",
        '"',
        "\\",
        "{a}",
        "[",
        "a,b",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "`a",
        "|",
        ">",
    ),
    *("Жанна ☃", "é", "a " * 30 + "b"),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ["accounts:\n- {name: A}\n", "accounts:\n- name: A\n", "accounts: [{name: A}]\n"])
def test_a_name_is_read_as_it_was_given(name: str, text: str) -> None:
    """Whatever YAML would take it for, it is written so that it is this text."""
    found = read_yaml(with_account(text, {"name": name, "session": name})).value
    assert found == {"accounts": [{"name": "A"}, {"name": name, "session": name}]}


def _names(count: int) -> Sequence[str]:
    return [f"Account {number}" for number in range(count)]


@st.composite
def _configs(draw: st.DrawFn) -> tuple[str, int]:
    """Make a config as a person might write it, and the number of its accounts."""
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    comment = st.sampled_from(["", "", " # a comment", "   # - {name: X}, 'quote \" ] }", " # Ж ☃"])
    between = st.sampled_from([[], [], [""], ["# on its own"], ["", "   # - deep", ""]])
    indent = draw(st.sampled_from(["", "  ", "    "]))
    lines = draw(st.sampled_from([[], ["# top"], ["web: {listen: 127.0.0.1:80}", "", "x: [1, 2] # list"]]))[:]
    flow = draw(st.booleans())
    count = draw(st.integers(min_value=2, max_value=4))
    lines.append("accounts:" + (" [" if flow else "") + draw(comment))
    for number, name in enumerate(_names(count)):
        lines += draw(between)
        entry = draw(st.sampled_from([
            f"{{name: {name}, session: 's'}}",
            f'{{"name":   "{name}" ,session: s }}',
            f"{{name: {name},\n  session: s # inner\n   }}",
        ])).split("\n")  # fmt: skip
        last = number == count - 1
        if flow:
            comma = "," if not last or draw(st.booleans()) else ""
            lines += ["  " + part for part in [*entry[:-1], entry[-1] + comma + draw(comment)]]
        elif draw(st.booleans()):
            lines += [indent + "- " + entry[0], *(f"{indent}  {part}" for part in entry[1:])]
            lines[-1] += draw(comment)
        else:
            lines += [
                f"{indent}- name: {name}{draw(comment)}",
                f"{indent}  session: >-",
                f"{indent}    s",
                f"{indent}    t",
            ]
    lines += [*draw(between), *(["]" + draw(comment)] if flow else []), *draw(st.sampled_from([[], ["z: 1", "# end"]]))]
    return newline.join(lines) + draw(st.sampled_from(["", newline])), count


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_configs(), st.data())
def test_all_other_characters_stay(config: tuple[str, int], data: st.DataObject) -> None:
    """What is added and removed again leaves the very text; what is removed takes only its own lines along."""
    text, count = config
    added = with_account(text, NEW)
    assert without_account(added, count) == text
    index = data.draw(st.integers(min_value=0, max_value=count - 1))
    left = without_account(text, index)
    found = read_yaml(left).value
    assert isinstance(found, dict)
    assert [each["name"] for each in found["accounts"]] == [
        name for name in _names(count) if not name.endswith(str(index))
    ]
    kept = iter(text)
    assert all(each in kept for each in left), "what is left was there, in this order"
    own = [line.strip() for line in text.splitlines() if line.strip().startswith("#")]
    assert [line.strip() for line in left.splitlines() if line.strip().startswith("#")] == own
