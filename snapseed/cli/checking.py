"""The commands that check: `verify`, `ci` and `doctor`, in the formats that CI systems read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from snapseed.cli import console, reports
from snapseed.cli.memory import use_system_allocator
from snapseed.cli.options import (
    AllowHost,
    CheckFormat,
    CheckOutputFormat,
    Database,
    EnvFile,
    Format,
    Only,
    OptionalEnvironment,
    OutputFormat,
    ProjectFolder,
    Quiet,
    Snapshot,
    Verbose,
    Yes,
    entity_names,
)
from snapseed.config import Environment, Project, find_project

if TYPE_CHECKING:
    from snapseed.ci.checks import Check
    from snapseed.ci.report import CiReport


def verify(
    environment: OptionalEnvironment = None,
    offline: Annotated[bool, typer.Option("--offline", help="Files only; connect to nothing.")] = False,
    committed: Annotated[
        bool, typer.Option("--committed", help="Files only, of every snapshot that git tracks, whatever environment.")
    ] = False,
    only: Only = None,
    database: Database = None,
    snapshot: Snapshot = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    output: CheckOutputFormat = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compare files with the manifest, then the database with the manifest."""
    chosen = console.check_format(output)
    with console.reporting(chosen, verbose=verbose):
        found = find_project(project, env_file)
        if committed:
            _verify_committed(found, chosen)
        target = found.environment(environment, {"database": database, "snapshot": snapshot})
        from snapseed.ci.checks import verify_checks
        from snapseed.cli.progress import verify_progress
        from snapseed.cli.reports import github
        from snapseed.verify.database import verify_snapshot

        with console.Meter(quiet=quiet) as meter:
            progress = verify_progress(meter)
            report = verify_snapshot(found, target, offline=offline, only=entity_names(only), listener=progress)
        name, checks = f"verify {target.name}", verify_checks(report)
        if chosen is CheckFormat.json:
            console.write_json(reports.verify_document(report))
        else:
            _write_checks(chosen, name, checks, reports.verify_text(report), found.snapshots / target.snapshot)
        console.append_named("GITHUB_STEP_SUMMARY", github.summary(name, checks))
        raise typer.Exit(0 if report.agrees else 1)


def ci(
    environment: OptionalEnvironment = None,
    retries: Annotated[
        int | None, typer.Option(min=0, help="Attempts after the first, where a failure may pass (default: 20).")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="No new attempt after this time (default: 2min).")
    ] = None,
    report_file: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the report as JSON.")
    ] = None,
    junit_file: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write the checks as JUnit's XML.")
    ] = None,
    openmetrics_file: Annotated[
        Path | None, typer.Option("--openmetrics", metavar="FILE", help="Write the metrics for scrapers.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The report of an earlier run, to compare the speed with.")
    ] = None,
    max_slowdown: Annotated[
        float, typer.Option(min=1.0, metavar="FACTOR", help="With --baseline: how many times as long is a finding.")
    ] = 1.5,
    allow_host: AllowHost = None,
    yes: Yes = False,
    database: Database = None,
    snapshot: Snapshot = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    output: CheckOutputFormat = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Wait for the database, load with retries, verify, measure, report."""
    chosen = console.check_format(output)
    with console.reporting(chosen, verbose=verbose):
        found = find_project(project, env_file)
        overrides = {"database": database, "snapshot": snapshot, "retries": retries, "timeout": timeout}
        target = found.environment(environment, overrides).allowing(allow_host)
        use_system_allocator()
        from snapseed.ci.checks import checks_of
        from snapseed.ci.process import run_ci
        from snapseed.cli.reports.ci import ci_document, ci_text
        from snapseed.cli.reports.junit import junit
        from snapseed.cli.reports.openmetrics import openmetrics

        log = console.silence if quiet else console.note
        report = run_ci(found, target, baseline=baseline, max_slowdown=max_slowdown, consent=yes, log=log)
        name, checks, document = f"ci {target.name}", checks_of(report), ci_document(report)
        if report_file is not None:
            console.write_json_file(report_file, document)
        if junit_file is not None:
            console.write_file(junit_file, junit(name, checks))
        if openmetrics_file is not None:
            console.write_file(openmetrics_file, openmetrics(report))
        if chosen is CheckFormat.json:
            console.write_json(document)
        else:
            _write_checks(chosen, name, checks, ci_text(report), found.snapshots / target.snapshot)
        _tell_github(found, target, report, name, checks)
        if report.error is not None:
            console.complain(report.error)
        raise typer.Exit(report.exit_code)


def doctor(
    environment: OptionalEnvironment = None,
    database: Database = None,
    snapshot: Snapshot = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    output: OutputFormat = Format.text,
    verbose: Verbose = False,
) -> None:
    """Check everything a load needs, and say what is missing and how to mend it."""
    with console.reporting(output, verbose=verbose):
        found = find_project(project, env_file)
        target = found.environment(environment, {"database": database, "snapshot": snapshot})
        from snapseed.ci.doctor import examine

        checks = list(examine(found, target))
        console.show(output, reports.doctor_text(checks), reports.doctor_document(checks))
        raise typer.Exit(1 if any(check.error for check in checks) else 0)


def _verify_committed(project: Project, output: CheckFormat) -> NoReturn:
    from snapseed.ci.checks import committed_checks
    from snapseed.verify.committed import verify_committed

    results = verify_committed(project)
    if output is CheckFormat.json:
        console.write_json(reports.committed_document(results))
    else:
        text = reports.committed_text(results)
        _write_checks(output, "verify", committed_checks(results), text, project.snapshots)
    raise typer.Exit(1 if any(result.findings for result in results) else 0)


def _write_checks(output: CheckFormat, name: str, checks: Sequence[Check], text: str, snapshot: Path) -> None:
    from snapseed.cli.reports import github
    from snapseed.cli.reports.junit import junit

    if output is CheckFormat.junit:
        console.write(junit(name, checks).rstrip())
    elif output is CheckFormat.github:
        console.write("\n".join([text, *github.error_annotations(checks, snapshot)]))
    else:
        console.write(text)


def _tell_github(
    project: Project, environment: Environment, report: CiReport, name: str, checks: Sequence[Check]
) -> None:
    """The summary and the outputs of the step, where GitHub Actions has named files for them."""
    from psycopg.conninfo import conninfo_to_dict

    from snapseed.cli.reports import github
    from snapseed.servers.targets import resolve_target

    console.append_named("GITHUB_STEP_SUMMARY", github.summary(name, checks, report))
    url = resolve_target(project, environment).conninfo if report.target else ""
    if console.is_in_github_actions() and (password := conninfo_to_dict(url).get("password")):
        console.note(github.masked(str(password)))
    outputs = github.outputs(report, url)
    console.append_named("GITHUB_OUTPUT", "".join(f"{key}={value}\n" for key, value in outputs.items()))
