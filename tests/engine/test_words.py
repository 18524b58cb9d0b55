"""The words of commands: the config can be left out, any name can be typed, and what is printed works as printed."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cli import diagram
from engine.console import shell
from states.events import Connected, NetworkLost, Started, TurnGranted
from tests.engine.commands import Run, runs, write_stories
from tests.engine.harness import ROOT

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}
accounts:
  - {name: Account 1, session: one}
  - {name: "Shop [1]", session: two}
  - {name: "-x", session: three}
  - {name: "*", session: four}
  - {name: "--help", session: five}
  - {name: "it's", session: six}
  - {name: notes, session: seven}
web: {reader_token_file: readers.token}
"""
NAMES = ("Account 1", "-x", "--help", "--", "*", "it's", '"', "$HOME `id`", "a\nb", "tab\there", "\u202eevil", "Ж 📰")
STARTED = "the engine is not running; start it with: python -m engine run config.yaml"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command in a directory with a config, and in ``other.yaml`` another."""
    (tmp_path / "config.yaml").write_text(CONFIG, "utf-8")
    (tmp_path / "other.yaml").write_text(CONFIG.replace("Account 1", "Other 1") + "storage: {directory: more}\n")
    (tmp_path / "notes").write_text("a file that is called as an account is")
    return runs(capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)


@pytest.mark.parametrize("verb", ["pause", "resume", "retry"])
def test_an_account_alone_is_of_the_default_config(run: Run, verb: str) -> None:
    """``pause "Account 1"`` needs no config, and with one means that one."""
    assert run(verb, "Account 1") == (3, "", f"{STARTED}\n")
    assert run(verb, "other.yaml", "Other 1")[2].endswith("run other.yaml\n")
    assert "Other 1" in run(verb, "Other 1")[2] + run(verb, "other.yaml", "Account 1")[2]
    assert run(verb)[2] == "name an account, after the config if that is not config.yaml\n"
    assert run(verb, "config.yaml")[2] == "name an account, after config.yaml\n"
    assert "in quotes" in run(verb, "config.yaml", "Account", "1")[2]


@pytest.mark.parametrize("name", ["-x", "--help", "*", "it's"])
def test_any_name_can_be_typed(run: Run, name: str) -> None:
    """After ``--`` every word is a name."""
    assert run("pause", "--", name) == (3, "", f"{STARTED}\n")
    assert run("pause", "--", "config.yaml", name) == (3, "", f"{STARTED}\n")
    assert run("status", "--json", "--", name)[1].count('"name"') == 1


def test_status_takes_a_pattern_alone(run: Run) -> None:
    """A word alone is the accounts, unless it is a config; an account's name comes before a file's."""
    assert run("status", "Shop*", "--json")[1].count('"name"') == 1
    assert run("status", "other.yaml", "--json")[1].count('"name"') == 7
    assert run("status", "notes", "--json")[1].count('"name"') == 1
    assert run("status", "none.yaml")[0] == 2
    assert "no account is named like 'Shpo'" in run("status", "Shpo")[2]
    assert run("session", "backup", "Shop*")[1].startswith("❌ Shop [1]: ")


def test_jobs_take_their_words_alone(run: Run, tmp_path: Path) -> None:
    """Numbers, kinds and data are told from a config."""
    (tmp_path / "send").write_text("a file that is called as a kind is")
    assert run("jobs", "add", "send", "to=@x", "text=hi") == (0, "job 1\n", "")
    assert run("jobs", "add", "config.yaml", "send", "to=@x", "text=hi") == (0, "job 2\n", "")
    assert run("jobs", "add", "other.yaml", "send", "to=@x", "text=hi") == (0, "job 1\n", "")
    assert '"id": 2' in run("jobs", "show", "2", "--json")[1]
    assert run("jobs", "cancel", "1", "2")[1] == "2 jobs are cancelled\n"
    assert run("jobs", "retry", "config.yaml", "1")[1] == "job 1 is queued\n"
    assert run("jobs", "retry", "--state", "cancelled")[1] == "job 2 is queued\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["jobs", "show", "x"], "'x' is neither a number nor a config file"),
        (["jobs", "show", "config.yaml", "x"], "'x' is not a number"),
        (["jobs", "show"], "give the number of one job"),
        (["jobs", "show", "9" * 25], f"there is no job {'9' * 25}"),
        (["jobs", "retry", "9" * 25], f"there is no job {'9' * 25}"),
        (["jobs", "add"], "name a kind and its data"),
        (["jobs", "add", "config.yaml"], "name a kind and its data"),
        (["jobs", "add", "send", "hello"], "'hello' is not data; write name=value"),
        (["log", "explain", "x"], "SEQ: give the number of an entry"),
        (["log", "explain", "1", "2", "3"], "SEQ: 3 words are too many"),
    ],
)
def test_a_mistake_is_told_in_the_words_that_were_typed(run: Run, words: list[str], said: str) -> None:
    """No sentence names a parameter that nobody typed."""
    run("jobs", "add", "send", "to=@x", "text=hi")
    code, _, error = run(*words)
    assert code in (1, 2)
    assert said in error
    assert "--number" not in error + "".join(words)
    assert len(error.splitlines()) == 1


async def test_explain_takes_its_words_in_any_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number is the word that is one."""
    await write_stories(tmp_path, CONFIG, {"Account 1": [Started(), TurnGranted(generation=0), Connected()]})
    run = runs(capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)
    shown = run("log", "explain", "3")
    assert shown[0] == 0
    assert run("log", "explain", "3", "config.yaml") == run("log", "explain", "config.yaml", "3") == shown


# --- what is printed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NAMES, "caf\udce9"])
def test_a_printed_command_is_read_back(name: str) -> None:
    """A shell gives the program the very words, on one line, whatever is in them."""
    line = shell.engine_command("session restore", "config.yaml", name, options=["--list"])
    script = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
    arguments = line.removeprefix("python -m engine ")
    done = subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {arguments}', sys.executable, script], check=True, capture_output=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    words = [os.fsdecode(word) for word in done.stdout.split(b"\0")]
    assert [word for word in words if word != "--list"][-2:] == ["config.yaml", name]
    assert line.isprintable()
    assert ("--" in words) == name.startswith("-")


async def test_a_printed_login_works_for_every_name(run: Run) -> None:
    """What ``doctor``-like advice says can be typed: the account is found, and not taken for an option."""
    for name in ("-x", "--help", "*", "it's", "Account 1"):
        line = shell.engine_command("pause", "config.yaml", name)
        assert run(*shlex.split(line)[3:]) == (3, "", f"{STARTED}\n")


@pytest.mark.slow
def test_the_program_is_called_as_it_was(tmp_path: Path) -> None:
    """Advice begins with the words that started the program, and works when it is typed in the same directory."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    binaries = Path(sys.executable).parent
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("UV", "VIRTUAL"))}
    bare["PATH"] = os.pathsep.join(each for each in bare["PATH"].split(os.pathsep) if Path(each) != binaries)
    searched = {**bare, "PATH": f"{binaries}:{bare['PATH']}"}
    link = tmp_path / "holdfast"
    link.symlink_to(binaries / "holdfast")
    under_uv = {**searched, "UV_RUN_RECURSION_DEPTH": "1"}
    cases = [
        ([str(binaries / "python"), "-m", "engine"], bare, tmp_path, f"{binaries / 'python'} -m engine"),
        (["python", "-m", "engine"], searched, tmp_path, "python -m engine"),
        (["python", "-X", "utf8", "-m", "engine"], searched, tmp_path, "python -X utf8 -m engine"),
        (["holdfast"], searched, tmp_path, "holdfast"),
        ([str(binaries / "holdfast")], bare, tmp_path, str(binaries / "holdfast")),
        (["./holdfast"], bare, tmp_path, "./holdfast"),
        ([str(binaries / "python"), "-m", "engine"], under_uv, ROOT, "uv run python -m engine"),
        ([str(binaries / "holdfast")], under_uv, ROOT, "uv run holdfast"),
        ([str(binaries / "python"), "-m", "engine"], under_uv, tmp_path, f"{binaries / 'python'} -m engine"),
    ]
    given = os.path.relpath(tmp_path / "config.yaml", ROOT)
    for words, environment, where, program in cases:
        config = "config.yaml" if where == tmp_path else given
        done = subprocess.run(
            ["/usr/bin/env", *words, "pause", config, "Account 1"], check=False, capture_output=True, text=True,
            cwd=where, env={**environment, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.stderr.endswith(f"start it with: {program} run {config}\n"), (words, done.stderr)


def test_check_outside_a_checkout_says_so(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An installation has no committed drawings, and is not told to draw them."""
    monkeypatch.setattr(diagram, "DIAGRAMS", tmp_path / "diagrams")
    assert run("diagram", "--check") == (
        2, "", "--check compares the drawings of a checkout of Holdfast; this installation has none\n"
    )  # fmt: skip


# --- what the documents say ------------------------------------------------------------------------------------------

PAGES = ("README.md", "CONTRIBUTING.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md"))))
COMMAND = re.compile(r"(?:(?:[A-Z]+=\S+ +)*)((?:\S+ )*(?:python -m engine|holdfast))((?: [^`|#\n]*)?)")
FILLED = {
    "ACCOUNT": "'Account 1'", "SEQ": "3", "NUMBER": "1", "1234": "3", "CONFIG": "config.yaml", "COMMAND": "--help",
    '"+49…"': "+4915123456789",
}  # fmt: skip
OTHERS = ("useradd", "install", "docker", "systemctl", "chown", "alias", "python3", "cp", "journalctl")
"""Commands of the system, in which a word is ``holdfast``."""
NOT_RUN = (
    "run",
    "login",
    "logout",
    "verify",
    "doctor",
    "simulate",
    "session restore",
    "session import",
    "account remove",
    "alerts test",
    "backup",
    "restore",
    "--install-completion",
)
"""Commands whose words alone are tried, with ``--help``: they take long, ask, read a login, or change the shell."""


def documented() -> list[tuple[str, str, str]]:
    """Return each command of the documents: the page, how it begins, and its words."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text("utf-8")
        blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        for line in [*(line for block in blocks for line in block.splitlines()), *inline]:
            if line.startswith("#"):
                continue
            for part in line.split("&&"):
                if (match := re.match(COMMAND, part.strip())) is not None and not part.strip().startswith(OTHERS):
                    found.append((page, match[1], match[2].split("  #")[0].strip()))
    return found


@pytest.mark.parametrize("page", sorted({page for page, *_ in documented()}))
async def test_every_command_of_the_documents_works(
    page: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins as a checkout, an installation or a service begins it, and its words are understood."""
    story = [Started(), TurnGranted(generation=0), Connected(), NetworkLost(detail="reset")]
    await write_stories(tmp_path, CONFIG, {"Account 1": story})
    run = runs(capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)
    run("jobs", "add", "send", "to=@x", "text=hi")
    for where, program, text in documented():
        if where != page:
            continue
        assert program in ("uv run python -m engine", "holdfast") or program.startswith("/"), (page, program, text)
        words = shlex.split(" ".join(FILLED.get(word, word) for word in text.split()))
        words = [word for word in words if word not in ("-f", "--watch", "…")]
        if any(text.startswith(each) for each in NOT_RUN):
            words = (
                [*words[: 2 if words[0] in ("session", "alerts", "account") else 1], "--help"]
                if words[0][0] != "-"
                else ["--help"]
            )
        code, _, said = run(*words)
        missing = ("no kind", "needs Graphviz", "no job has read a chat")
        understood = code in (0, 1, 3) or any(each in said for each in missing)
        assert understood or not words, (page, text, code, said)
