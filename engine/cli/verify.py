"""``verify``."""

import errno
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console

from engine.cli.common import EXIT_BAD_INPUT, EXIT_FAILED, AsJson, fail, reporting_errors, write_output
from engine.cli.declared import Parameter
from engine.console.safe_text import one_line
from engine.verify import ALWAYS, POLICIES, VerificationReport
from engine.verify import verify as explore
from engine.verify.lease import (
    ALWAYS_ONE,
    NEVER_TWO,
    LeaseCase,
    LeaseReport,
    explore_cases,
    thorough_cases,
    usual_cases,
)
from states import EVENTS, ROWS, State

if TYPE_CHECKING:  # for the page alone
    from engine.verify.page.serve import PageServer

MAX_PORT = 65_535


def verify(
    *,
    as_json: AsJson = False,
    html: Annotated[
        Path | None, Parameter(name="--html", help="Write a page into this file on which to walk the machine.")
    ] = None,
    serve: Annotated[
        bool, Parameter(negative="", help="Serve that page on this machine until Ctrl+C, and say where.")
    ] = False,
    port: Annotated[int | None, Parameter(help="The port of --serve; without it, any that is free.")] = None,
    thorough: Annotated[
        bool,
        Parameter(negative="", help="Explore the leases also with several troubles at once, which takes minutes."),
    ] = False,
) -> None:
    """Check the machine and the leases exhaustively, and print what the check covered.

    Exit code 0 if every property holds, 1 if one does not; the shortest path to the violation is then printed. With
    --html or --serve check the machine, and make a page on which a person walks its reachable configurations.
    """
    if port is not None and not serve:
        fail(EXIT_BAD_INPUT, "--port says where --serve serves the page; add --serve")
    if port is not None and not 0 <= port <= MAX_PORT:
        fail(EXIT_BAD_INPUT, f"--port: {port} is no port; give one from 1 to {MAX_PORT}")
    with reporting_errors():
        if html is None and not serve:
            _check(as_json=as_json, leases=(*usual_cases(), *(thorough_cases() if thorough else ())))
        else:
            _show(html, as_json=as_json, serve=serve, port=port or 0)


def _check(*, as_json: bool, observe: Any = None, leases: Sequence[LeaseCase] = ()) -> None:
    """Explore, and print what that covered; exit if a property does not hold."""
    began = time.perf_counter()
    report = explore(observe=observe)
    took = time.perf_counter() - began
    if not as_json:
        _print_report(report, took)
    explored = []
    for case, found in explore_cases(leases):
        explored.append((case, found))
        if not as_json:
            _print_case(case, found)
    broken = [str(found.finding) for _, found in explored if found.finding is not None]
    if as_json:
        covered = _covered(report) | {"leases": [_lease_fields(case, found) for case, found in explored]}
        print(json.dumps(covered, ensure_ascii=False, indent=2))
    elif explored and not broken:
        print(f"✅ {NEVER_TWO}, and {ALWAYS_ONE}: they hold of every configuration of the leases")
    if report.findings or broken:
        raise SystemExit(EXIT_FAILED)


def _covered(report: VerificationReport) -> dict[str, Any]:
    return {
        "states": len(report.states),
        "events": len({event for _, event in report.pairs}),
        "pairs": len(report.pairs),
        "rules": len(report.rules),
        "configurations": report.configurations,
        "decisions": report.decisions,
        "policies": len(POLICIES),
        "findings": [str(finding) for finding in report.findings],
    }


def _lease_fields(case: LeaseCase, found: LeaseReport) -> dict[str, Any]:
    return {
        "name": case.name,
        "nodes": case.world.nodes,
        "configurations": found.configurations,
        "moves": found.moves,
        "whole": found.whole,
        "finding": None if found.finding is None else str(found.finding),
    }


def _print_case(case: LeaseCase, found: LeaseReport) -> None:
    """Print what the exploration of one world of the leases covered, and its finding."""
    console = Console(highlight=False)
    if found.finding is not None:
        console.print(f"❌ leases, {case.name}: {found.finding}", markup=False, soft_wrap=True)
        return
    nearest = "" if found.whole else "the nearest "
    console.print(
        f"leases, {case.world.nodes} nodes, {case.name}: {nearest}{found.configurations} configurations "
        f"and {found.moves} moves",
        markup=False,
        soft_wrap=True,
    )


def _print_report(report: VerificationReport, took: float) -> None:
    covered, console = _covered(report), Console(highlight=False)
    for finding in report.findings:
        console.print(f"❌ {finding}", markup=False, soft_wrap=True)
    console.print(
        f"{covered['states']} of {len(State)} states, {covered['events']} of {len(EVENTS)} events, "
        f"{covered['pairs']} of {len(State) * len(EVENTS)} pairs, {covered['rules']} of {len(ROWS)} rules; "
        f"{report.configurations} configurations and {report.decisions} decisions under {len(POLICIES)} policies, "
        f"in {took:.1f} s",
        markup=False,
        soft_wrap=True,
    )
    if not report.findings:
        console.print(
            f"✅ always: {len(ALWAYS)} properties hold of every decision; sometimes: every rule is taken and every "
            "state entered; eventually: every configuration comes to rest",
            markup=False,
            soft_wrap=True,
        )


# --- the page --------------------------------------------------------------------------------------------------------


def _show(html: Path | None, *, as_json: bool, serve: bool, port: int) -> None:
    """Check, and make the page of what was decided. What can be refused is refused before the check, which takes long.

    Where a property does not hold there is no page: the exploration has stopped before it was everywhere.
    """
    from engine.verify.page import Recorder, make_page  # noqa: PLC0415 - for the page alone

    if html is not None and not html.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(html))
    if html is not None and html.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(html))
    server = _listen(port) if serve else None
    recorder = Recorder()
    _check(as_json=as_json, observe=recorder.observe)
    page = make_page(recorder.as_data())
    if html is not None:
        write_output(html, page)
        _remark(f"🧭 {html} has the page; open it in a browser", as_json=as_json)
    if server is not None:
        with server:
            server.page = page
            _remark(f"🧭 {server.url} has the page until Ctrl+C", as_json=as_json)
            with suppress(KeyboardInterrupt):
                server.serve_forever()


def _listen(port: int) -> "PageServer":
    from engine.verify.page.serve import PageServer  # noqa: PLC0415 - as above

    try:
        return PageServer(port)
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            fail(EXIT_FAILED, f"port {port} is taken; give --port another one, or leave it out")
        why = (exc.strerror or str(exc)).lower()
        fail(EXIT_FAILED, f"port {port} cannot be listened at ({why}); give --port another one, or leave it out")


def _remark(sentence: str, *, as_json: bool) -> None:
    """Say where the page is; beside JSON, which must stay alone on stdout, on stderr."""
    print(one_line(sentence), file=sys.stderr if as_json else sys.stdout, flush=True)
