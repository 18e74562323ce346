"""The commands that check: `verify`, `ci` and `doctor`, in the formats that CI systems read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from snapseed.cli import console, text
from snapseed.cli.documents import document
from snapseed.cli.options import Call, Only, entity_names, in_project
from snapseed.cli.progress import Meter
from snapseed.errors import SnapseedError
from snapseed.printable import printable

if TYPE_CHECKING:
    from snapseed.ci.checks import CheckResult
    from snapseed.ci.report import CiReport
    from snapseed.verify.files import FileCheck


@in_project("environment", "database", "snapshot", "checks", "quiet")
def verify(
    call: Call,
    offline: Annotated[bool, "Check only the files; connect to nothing."] = False,
    committed: Annotated[bool, "Check only the files, of every snapshot that git tracks; no environment."] = False,
    rows: Annotated[bool, "Also read the rows in the files, and compare them with the manifest."] = False,
    only: Only = None,
) -> None:
    """Compare the files, then the database, with the manifest."""
    if committed:
        _verify_committed(call, rows=rows)
    environment = call.environment
    from snapseed.ci.checks import verify_checks
    from snapseed.cli import formats
    from snapseed.verify.database import verify_snapshot

    with Meter(quiet=call.options.quiet) as meter:
        names = entity_names(only)
        files: FileCheck = "rows" if rows else "digests"
        report = verify_snapshot(call.project, environment, offline=offline, files=files, only=names, listener=meter)
    name, checks = f"verify {environment.name}", verify_checks(report)
    folder = environment.snapshots.folder_of(environment.snapshot)
    lines = text.verified(report, partial(call.again, only=names), quiet=call.options.quiet)
    lost = console.failures(
        lambda: _show_checks(call, name, checks, folder, lines, document(report)),
        lambda: console.append_named("GITHUB_STEP_SUMMARY", formats.summary(name, checks)),
    )
    _exit(0 if report.agrees else 1, lost)


def _verify_committed(call: Call, *, rows: bool) -> NoReturn:
    """Check the snapshots that git tracks, show what was found, and exit."""
    from snapseed.ci.checks import committed_checks
    from snapseed.verify.files import verify_committed

    results = verify_committed(call.project, rows=rows)
    agree = not any(result.findings for result in results)
    found = {"agrees": agree, "snapshots": document(results)}
    checks, folder = committed_checks(results), call.project.snapshots.folder
    _show_checks(call, "verify", checks, folder, text.committed(results), found)
    raise typer.Exit(0 if agree else 1)


def _show_checks(
    call: Call,
    name: str,
    checks: Sequence[CheckResult],
    folder: Path | None,
    lines: Iterable[str],
    found: dict[str, object],
) -> None:
    """Write checks to stdout: as JUnit, with annotations of files in `folder`, or as any other result."""
    from snapseed.cli import formats

    if call.output == "junit":
        console.to_stdout(formats.junit(name, checks))
    else:
        call.show(lines, found)
    if call.output == "github":
        for annotation in formats.error_annotations(checks, folder):
            console.to_stdout(annotation)


@in_project("environment", "retries", "timeout", "allow_host", "yes", "database", "snapshot", "checks", "quiet")
def ci(
    call: Call,
    report: Annotated[Path | None, "FILE", "Write the report as JSON."] = None,
    junit: Annotated[Path | None, "FILE", "Write the checks as JUnit XML."] = None,
    openmetrics: Annotated[Path | None, "FILE", "Write the metrics for scrapers."] = None,
    baseline: Annotated[Path | None, "FILE", "Compare the speed with the report of an earlier run."] = None,
    max_slowdown: Annotated[
        float, typer.Option(min=1.0, metavar="FACTOR", help="With --baseline: fail what takes this many times as long.")
    ] = 1.5,
) -> None:
    """For CI: wait, load with retries, verify, measure, report."""
    environment = call.environment
    from snapseed.ci.checks import checks_of
    from snapseed.ci.process import CiRequest, run_ci
    from snapseed.cli import formats

    _mask_secrets(call)
    with Meter(quiet=call.options.quiet) as meter:
        request = CiRequest(baseline, max_slowdown, call.options.yes)
        done = run_ci(call.project, environment, request, listener=meter)
    name, checks, contents = f"ci {environment.name}", checks_of(done), document(done)
    folder = environment.snapshots.folder_of(environment.snapshot)
    files = (
        (report, lambda: console.as_json(contents) + "\n"),
        (junit, lambda: formats.junit(name, checks) + "\n"),
        (openmetrics, lambda: formats.openmetrics(done)),
    )
    lost = console.failures(
        *(partial(console.write_file, path, render) for path, render in files if path is not None),
        lambda: _show_checks(call, name, checks, folder, text.ci(done, call.again), contents),
        lambda: console.append_named("GITHUB_STEP_SUMMARY", formats.summary(name, checks, done)),
        lambda: _set_github_outputs(call, done),
    )
    _exit(done.exit_code, [done.error, *lost] if done.error else lost)


def _exit(code: int, errors: Sequence[SnapseedError]) -> NoReturn:
    """Say what went wrong. The first failure decides the exit code: a report that is lost does not hide a finding."""
    for error in errors:
        console.complain(error)
    raise typer.Exit(code or next((error.exit_code for error in errors), 0))


def _mask_secrets(call: Call) -> None:
    """Tell GitHub Actions the database's secrets, before a line of anybody else can tell it to stop listening."""
    from psycopg.pq import Conninfo

    from snapseed.cli import formats
    from snapseed.servers.targets import resolve_target

    if not console.is_in_github_actions():
        return
    # What is wrong with the settings is reported by the run.
    with suppress(SnapseedError):
        url = resolve_target(call.project, call.environment).conninfo
        # libpq marks with * what must not be shown.
        options = [option for option in Conninfo.parse(url.encode()) if option.val and option.dispchar == b"*"]
        for command in formats.masks(url, [(option.val or b"").decode() for option in options]):
            console.to_stderr(command)


def _set_github_outputs(call: Call, report: CiReport) -> None:
    """The outputs of the step, if GitHub Actions has named a file for them."""
    from snapseed.servers.targets import resolve_target

    url = resolve_target(call.project, call.environment).conninfo if report.target else ""
    outputs = {
        "outcome": report.outcome,
        "rows": report.metrics.rows,
        "seconds": f"{report.seconds:.3f}",
        "snapshot-digest": report.manifest.identity if report.manifest else "",
        "database-url": url,
    }
    text = "".join(f"{key}={printable(str(value))}\n" for key, value in outputs.items())
    console.append_named("GITHUB_OUTPUT", text)


@in_project("environment", "database", "snapshot", "results")
def doctor(call: Call) -> None:
    """Check everything a load needs, and say how to fix the rest."""
    from snapseed.ci.doctor import examine

    requirements = list(examine(call.project, call.environment))
    ready = not any(requirement.error for requirement in requirements)
    call.show(text.doctor(requirements), {"ready": ready, "checks": document(requirements)})
    raise typer.Exit(0 if ready else 1)
