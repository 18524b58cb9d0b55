"""The user's modules: what is found in them, and what one that cannot be used is told."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.work.modules import BadModule, FreshImport, ModuleContents, load_modules

HEAD = "from attrs import frozen\nfrom engine.work.decorators import job_kind, on, while_healthy\n"
Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Write a module of the user's; what is imported during the test is forgotten after it."""
    modules, paths = dict(sys.modules), list(sys.path)

    def write_module(name: str, text: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEAD + text, encoding="utf-8")
        return name

    yield write_module
    sys.path[:] = paths
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.modules.update(modules)


def found(tmp_path: Path, *modules: str | tuple[str, list[str]]) -> ModuleContents:
    """Return what is in modules."""
    return load_modules([(each, ["*"]) if isinstance(each, str) else each for each in modules], tmp_path)


def refused(tmp_path: Path, *modules: str) -> str:
    """Return what is said of modules that cannot be used."""
    with pytest.raises(BadModule) as caught:
        found(tmp_path, *modules)
    return str(caught.value)


def test_marked_functions_are_found_by_their_marks(tmp_path: Path, write: Write) -> None:
    """Kinds with their data, handlers with their event, background work; each for the accounts of its module."""
    write(
        "my_work.py",
        """
@frozen
class Data:
    to: str

@job_kind("greet", data=Data)
async def greet(job, client): ...

@job_kind("free")
async def free(job, client): ...

@on("an event")
@on("another")
async def hear(event): ...

@while_healthy
async def stand(client): ...

async def unmarked(): ...
""",
    )
    what = found(tmp_path, ("my_work.py", ["News *"]))
    assert [(kind.name, kind.data and kind.data.__name__) for kind in what.kinds] == [("greet", "Data"), ("free", None)]
    assert [(each.event, each.accounts) for each in what.handlers] == [
        ("another", ("News *",)),
        ("an event", ("News *",)),
    ]
    assert [each.function.__name__ for each in what.background_tasks] == ["stand"]


def test_a_marked_function_is_a_plain_one(tmp_path: Path, write: Write) -> None:
    """A declaration changes nothing about how a function is called, so that it can be tested."""
    write("plain_work.py", "@job_kind('add')\nasync def add(job, client):\n    return job + client\n")
    (kind,) = found(tmp_path, "plain_work.py").kinds
    coroutine = kind.function(1, 2)
    with pytest.raises(StopIteration) as caught:
        coroutine.__await__().send(None)
    assert caught.value.value == 3


def test_a_dotted_name_is_a_module_of_the_folder_or_of_python(tmp_path: Path, write: Write) -> None:
    """Packages beside the config can be named, and modules may import their neighbours."""
    write("shelf_of_work/__init__.py", "")
    write("shelf_of_work/deep.py", "@job_kind('deep')\nasync def deep(job, client): ...\n")
    write("uses_shelf.py", "from shelf_of_work.deep import deep as imported\n")
    assert [kind.name for kind in found(tmp_path, "shelf_of_work.deep").kinds] == ["deep"]
    assert [kind.name for kind in found(tmp_path, "uses_shelf.py").kinds] == ["deep"]


def test_a_file_is_imported_once(tmp_path: Path, write: Write) -> None:
    """Also if the engine is made twice, or a sibling has imported it: its globals are one set."""
    write("counted_work.py", "@job_kind('n')\nasync def n(job, client): ...\n")
    first, second = (found(tmp_path, "counted_work.py").kinds[0].function for _ in range(2))
    assert first is second


def test_a_file_with_the_name_of_a_module_in_use_replaces_nothing(tmp_path: Path, write: Write) -> None:
    """A ``json.py`` of the user's is read, and ``json`` stays what it is for all other code."""
    import json

    write("json.py", "@job_kind('mine')\nasync def mine(job, client): ...\n")
    assert [kind.name for kind in found(tmp_path, "json.py").kinds] == ["mine"]
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 / 0\n", "cannot be imported: line 3 of bad_work.py: ZeroDivisionError: division by zero; mend it"),
        ("def f(:\n", "cannot be imported: line 3 of bad_work.py: SyntaxError: invalid syntax; mend it"),
        ("import no_such_module_at_all\n", "line 3 of bad_work.py: ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)\n", "it ends the program (SystemExit: 3); mend it"),
        ("raise RuntimeError\n", "line 3 of bad_work.py: RuntimeError; mend it"),
        ("@job_kind('k')\ndef k(job, client): ...\n", "k must be async: async def k(…)"),
        ("@while_healthy\ndef w(client): ...\n", "w must be async: async def w(…)"),
        (
            "@job_kind('k', data=dict)\nasync def k(job, client): ...\n",
            "the data of the kind 'k' must be an attrs class",
        ),
    ],
)
def test_a_module_that_cannot_be_used_is_told_where_and_why(tmp_path: Path, write: Write, text: str, said: str) -> None:
    """The sentence begins with the module and says what is wrong with it."""
    write("bad_work.py", text)
    told = refused(tmp_path, "bad_work.py")
    assert told.startswith("bad_work.py")
    assert said in told


def test_a_module_that_failed_is_imported_anew(tmp_path: Path, write: Write) -> None:
    """Nothing half made is left of it: mended, it works."""
    write("bad_work.py", "1 / 0\n")
    refused(tmp_path, "bad_work.py")
    write("bad_work.py", "@job_kind('now')\nasync def now(job, client): ...\n# mended\n")
    assert [kind.name for kind in found(tmp_path, "bad_work.py").kinds] == ["now"]


@pytest.mark.parametrize(("name", "said"), [("none.py", "there is no file"), ("no_such_package.x", "No module named")])
def test_a_module_that_is_not_there_is_named(tmp_path: Path, write: Write, name: str, said: str) -> None:
    """A file is told with its whole path."""
    told = refused(tmp_path, name)
    assert told.startswith(f"{name} cannot be imported: ")
    assert said in told


def test_a_kind_belongs_to_one_module(tmp_path: Path, write: Write) -> None:
    """Two modules with the same kind are a mistake, and both are named."""
    for name in ("one_work.py", "two_work.py"):
        write(name, "@job_kind('same')\nasync def same(job, client): ...\n")
    told = refused(tmp_path, "one_work.py", "two_work.py")
    assert told == "two_work.py: the kind 'same' is in one_work.py already; rename one of them"


def test_a_function_that_is_found_twice_is_one(tmp_path: Path, write: Write) -> None:
    """A module may be named twice, for other accounts, and may import a kind of another one's."""
    write("first_work.py", "@job_kind('k')\nasync def k(job, client): ...\n")
    write("second_work.py", "from first_work import k\n")
    what = found(tmp_path, ("first_work.py", ["A"]), ("first_work.py", ["B"]), "second_work.py")
    assert len({kind.function for kind in what.kinds}) == 1


def test_two_functions_of_a_module_for_one_kind_are_a_mistake(tmp_path: Path, write: Write) -> None:
    """The first would never run: a kind that was copied and not renamed is told."""
    write("twice_work.py", "".join(f"@job_kind('k')\nasync def {name}(job, client): ...\n" for name in ("one", "two")))
    assert refused(tmp_path, "twice_work.py") == (
        "twice_work.py: the kind 'k' is in twice_work.py already; rename one of them"
    )


def test_code_that_changed_is_noticed_and_imported_anew(tmp_path: Path, write: Write) -> None:
    """A module and one that it imports are new, even within the same second; what is loaded stays as it is."""
    write("helper_of_it.py", "WORD = 'old'\n")
    text = "import helper_of_it\n@job_kind('say')\nasync def say(job, client): return helper_of_it.WORD\n"
    write("says.py", text)
    before = found(tmp_path, "says.py")
    assert before.changed() == []
    write("helper_of_it.py", "WORD = 'new'\n")
    assert before.changed() == ["helper_of_it.py"]
    with FreshImport(before, tmp_path):
        after = found(tmp_path, "says.py")
    assert after.kinds[0].function is not before.kinds[0].function
    assert [each.kinds[0].function.__globals__["helper_of_it"].WORD for each in (before, after)] == ["old", "new"]
    assert after.changed() == []


def test_code_that_cannot_be_imported_leaves_the_one_before(tmp_path: Path, write: Write) -> None:
    """What is said names the line, and an import afterwards still gets the code that works."""
    write("breaks.py", "@job_kind('say')\nasync def say(job, client): ...\n")
    before = found(tmp_path, "breaks.py")
    write("breaks.py", "1 / 0\n")
    with pytest.raises(BadModule, match="ZeroDivisionError"), FreshImport(before, tmp_path):
        found(tmp_path, "breaks.py")
    assert found(tmp_path, "breaks.py").kinds == before.kinds


def test_a_module_that_has_the_name_of_another_takes_no_others_place(tmp_path: Path, write: Write) -> None:
    """A file called like a module of Python is imported anew, and Python's own stays where it is."""
    import json

    write("json.py", "@job_kind('say')\nasync def say(job, client): ...\n")
    before = found(tmp_path, "json.py")
    with FreshImport(before, tmp_path):
        assert sys.modules["json"] is json
        assert found(tmp_path, "json.py").kinds[0].name == "say"
    assert sys.modules["json"] is json
