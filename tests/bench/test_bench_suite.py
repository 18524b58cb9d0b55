"""``python -m tests.bench``: every benchmark in its turn, and a summary. No clock is read here."""

import argparse
import importlib
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.bench import __main__ as bench
from tests.bench import load, summary
from tests.bench.machine import cores, describe
from tests.bench.suite import BENCHMARKS, Benchmark, Outcome, run
from tests.bench.summary import Run
from tests.bench.table import Target, add_option, hand_over, received
from tests.timeouts import TIMEOUT

KEPT = Target("events", 30.0, least=30, against="a naive program", headline=True)
MISSED = Target("CPU per event", 44.4, most=40, unit="µs")
SHOWN = Target("longest lag", 222.0, unit="ms")
MACHINE = {"load average before": "0.10, 0.20, 0.30", "one fsync": "0.20 ms"}
WRITES = """
import json, os, sys, pathlib
from tests.bench.table import Target, hand_over
print("a table")
hand_over(pathlib.Path(sys.argv[-1]), [Target("x", 1.5, most=1.0)])
sys.exit(1)
"""


def of(*targets: Target, **more: Any) -> Run:
    """Return a run of one benchmark."""
    return Run(MACHINE, [Outcome("path", 60.0, 0.25, targets)], **more)


def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, deadline: float = TIMEOUT) -> Benchmark:
    """Return a benchmark that is a module of the test's own."""
    name = f"script_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(text, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Benchmark("script", name, deadline)


def test_what_is_handed_over_is_what_is_received(tmp_path: Path) -> None:
    """Every field of a target survives the file, also a ratio without end."""
    file = tmp_path / "x.json"
    targets = [KEPT, MISSED, SHOWN, Target("x", math.inf, why="as soon", verdict=True)]
    hand_over(file, targets)
    assert received(file) == targets
    hand_over(None, targets)  # nobody wants it


def test_a_benchmark_hands_over_its_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That a target is missed, exit code 1, is no failure of the benchmark."""
    outcome = run(script(tmp_path, monkeypatch, WRITES), quick=False, directory=tmp_path)
    assert (outcome.failure, outcome.targets) == ("", (Target("x", 1.5, most=1.0),))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise SystemExit(3)", "It failed with exit code 3."),
        ("raise ValueError('x')", "It ended without having written its results; what it said last is above."),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "It failed with exit code -9."),
    ],
)
def test_a_benchmark_that_fails_is_told(text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sentence; exit code 1 alone, which an exception has, too, is not taken for a missed target."""
    outcome = run(script(tmp_path, monkeypatch, text), quick=False, directory=tmp_path)
    assert (outcome.failure, outcome.targets) == (said, ())


def test_a_benchmark_that_hangs_is_ended_with_all_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its deadline; a process that it has started, and that ignores SIGTERM, is gone, too."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    child = f"import signal, time; signal.signal(15, signal.SIG_IGN); open({str(fifo)!r}, 'w'); time.sleep(600)"
    text = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    outcome = run(script(tmp_path, monkeypatch, text, deadline=1.0), quick=False, directory=tmp_path)
    assert outcome.failure == "It was ended after 1 s, its deadline."
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""  # the end: nobody holds the other side any more
    os.close(reader)


def test_after_a_benchmark_that_fails_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named where it failed and in the summary; the exit code is 2."""
    good = script(tmp_path, monkeypatch, WRITES)
    monkeypatch.setattr(bench, "BENCHMARKS", (Benchmark("gone", "no.such.module", TIMEOUT), evolve(good, name="good")))
    written, markdown = tmp_path / "run.json", tmp_path / "run.md"
    assert bench.main(["--json", str(written), "--markdown", str(markdown)]) == 2
    found = Run.read(written)
    assert [(each.name, bool(each.failure)) for each in found.outcomes] == [("gone", True), ("good", False)]
    said = capsys.readouterr().out
    assert said.count("**gone has no figures.** It ended without having written its results") == 2
    assert "| good | x |  | 1.5 × | ≤ 1 × | ❌ |" in said
    assert said.endswith(markdown.read_text("utf-8"))


def test_after_an_interruption_there_is_a_summary_of_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl+C ends the benchmark that is running, and none is begun after it."""
    text = "import os, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(600)"
    slow = script(tmp_path, monkeypatch, text)
    monkeypatch.setattr(bench, "BENCHMARKS", (slow, evolve(slow, name="another")))
    assert bench.main([]) == 2
    said = capsys.readouterr().out
    assert said.count("**script has no figures.** It was interrupted.") == 2
    assert "another" not in said


def test_only_what_is_asked_for_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--only`` names benchmarks; an unknown one is refused with the names that there are."""
    good = script(tmp_path, monkeypatch, WRITES)
    monkeypatch.setattr(bench, "BENCHMARKS", (Benchmark("gone", "no.such.module", TIMEOUT), evolve(good, name="good")))
    assert bench.main(["--only", "good"]) == 1
    with pytest.raises(SystemExit):
        bench.main(["--only", "other"])
    assert "'gone', 'good'" in capsys.readouterr().err


def test_the_exit_code_says_what_was_missed() -> None:
    """0 with all targets met, 1 with one missed, 2 with a benchmark that failed; what has no target is not judged."""
    failed = Outcome("fleet", 1.0, 0.0, failure="It failed with exit code 3.")
    assert of(KEPT, SHOWN).code == 0
    assert of(KEPT, MISSED).code == 1
    assert Run(MACHINE, [failed, *of(MISSED).outcomes]).code == 2


def test_the_summary_has_each_figure_with_its_target() -> None:
    """Kept, missed and without a target; then the machine, how long it took, and the verdict."""
    lines = summary.summary(of(KEPT, MISSED, SHOWN))
    assert "| path | events | a naive program | 30 × | ≥ 30 × | ✅ |" in lines
    assert "| path | CPU per event |  | 44.4 µs | ≤ 40 µs | ❌ |" in lines
    assert "| path | longest lag |  | 222 ms | – |  |" in lines
    assert "- one fsync: 0.20 ms" in lines
    assert "| path | 60 s | 25% |" in lines
    assert lines[-3:] == ["Targets missed: 1 of 2.", "", "- path, CPU per event: 44.4 µs (target: ≤ 40 µs)"]
    assert summary.summary(of(KEPT, SHOWN))[-1] == "Targets missed: 0 of 1."


def test_a_quick_run_says_that_its_figures_mean_nothing() -> None:
    """So that nobody quotes them."""
    assert any("its figures mean nothing" in line for line in summary.summary(of(KEPT, quick=True)))


def test_a_quiet_run_stands_beside_a_busy_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The README's table has the headlines and names what else is missed; the other has every figure of either run."""
    quiet, busy = of(KEPT, MISSED), of(evolve(KEPT, found=12.3), SHOWN, busy=True)
    files = [tmp_path / "quiet.json", tmp_path / "busy.json"]
    for file, each in zip(files, (quiet, busy), strict=True):
        each.write(file)
    assert bench.main(["--compare", *map(str, files)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert "| events | a naive program | ≥ 30 × | 30 × ✅ | 12.3 × ❌ |" in said
    assert "Also missed, on one of the two at least: CPU per event." in said
    assert "| path | CPU per event |  | ≤ 40 µs | 44.4 µs ❌ | – |" in said
    assert "| path | longest lag |  | – | – | 222 ms |" in said


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    """With its machine, its outcomes and how it was made."""
    found = of(KEPT, MISSED, SHOWN, quick=True, busy=True)
    found.write(tmp_path / "x.json")
    assert Run.read(tmp_path / "x.json") == found


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda benchmark: benchmark.name)
def test_each_benchmark_takes_its_options(
    benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole command line of each, quick and not, is one that its own parser accepts."""
    if benchmark.name == "dispatch":
        pytest.importorskip("automat")
        pytest.importorskip("statemachine")
    name = benchmark.module if benchmark.module != "tests.bench.storage" else "tests.bench.storage.__main__"
    module = importlib.import_module(name)

    class Parsed(Exception):
        """It was accepted; nothing is measured."""

    parse = argparse.ArgumentParser.parse_args
    seen: list[argparse.Namespace] = []

    def accepted(self: argparse.ArgumentParser, *arguments: Any) -> argparse.Namespace:
        seen.append(parse(self, *arguments))
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", accepted)
    for quick in (False, True):
        monkeypatch.setattr("sys.argv", benchmark.command(quick, tmp_path / "x.json")[2:])
        with pytest.raises(Parsed):
            module.main()
    assert [each.results for each in seen] == [tmp_path / "x.json"] * 2


def test_each_module_with_targets_is_run() -> None:
    """A benchmark that somebody adds is in the list: each module that hands something over is one of it."""
    directory = Path(load.__file__).parent
    modules = {
        ".".join(file.relative_to(directory.parents[1]).with_suffix("").parts).removesuffix(".__main__")
        for file in directory.rglob("*.py")
        if "hand_over(" in file.read_text("utf-8") and file.name not in ("table.py", Path(__file__).name)
    }
    assert modules == {benchmark.module for benchmark in BENCHMARKS}


def test_names_of_benchmarks_are_their_own() -> None:
    """``--only`` can name each."""
    assert len({benchmark.name for benchmark in BENCHMARKS}) == len(BENCHMARKS)


def test_the_option_for_results_is_optional() -> None:
    """Whoever runs a benchmark alone does not need it."""
    parser = argparse.ArgumentParser()
    add_option(parser)
    assert parser.parse_args([]).results is None


def test_the_machine_is_described(tmp_path: Path) -> None:
    """Load, processors, disk, versions, loop and cipher; all of it goes into JSON."""
    found = describe(tmp_path)
    assert json.loads(json.dumps(found)) == found
    assert found["processors"].startswith(f"{cores()} × ")
    assert found["cipher"] in ("cryptg", "OpenSSL by ctypes", "Python")
    assert "telethon 1." in found["libraries"]


def test_a_load_ends_with_its_block(tmp_path: Path) -> None:
    """Its programs are gone when the block is left."""
    with load.running(tmp_path) as process:
        assert process.poll() is None
    assert process.returncode == 0
