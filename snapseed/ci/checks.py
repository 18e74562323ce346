"""A run of the CI process, or a verification, as checks: each passed, failed for a reason, or was not reached."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from snapseed.ci.report import CiReport, CiStep
from snapseed.errors import RefusedError, SnapseedError
from snapseed.snapshot.manifest import Manifest
from snapseed.verify.database import VerifyReport
from snapseed.verify.files import CommittedResult, FileFinding

if TYPE_CHECKING:
    from snapseed.load.outcome import LoadReport

State = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class CheckResult:
    """How the check `name` of a `group` ended. If it failed, `details` is all that is known.

    `path` is the damaged file, relative to the snapshot's folder.
    """

    group: str
    name: str
    state: State
    seconds: float = 0.0
    details: str = ""
    path: str | None = None

    @property
    def message(self) -> str:
        """The details on one line."""
        return self.details.partition("\n")[0]


def checks_of(report: CiReport) -> list[CheckResult]:
    """The checks of a run in order: configuration, database, files, load, embeddings, rows, speed.

    Those of single entities are there only if the manifest could be read.
    """
    checks = [_step(report, CiStep.PREPARE, "configuration", "snapshot and settings"), *_database(report)]
    if report.manifest is not None:
        load = report.load
        seconds = load.phases.get("checking files", 0.0) if load else 0.0
        checks += _file_checks(report.manifest, load.files if load else None, seconds)
        checks += _load(report, report.manifest)
        if report.embedding is not None or report.step is CiStep.EMBED:
            checks.append(_step(report, CiStep.EMBED, "embeddings", "complete"))
        if report.verify is None and _errors_in(report, CiStep.VERIFY):
            checks.append(_step(report, CiStep.VERIFY, "rows", "verification"))
        else:
            checks += _row_checks(report.manifest, report.verify)
    checks += [_check("speed", slowdown.what, [slowdown], slowdown.seconds) for slowdown in report.slowdowns]
    if report.baseline and not report.slowdowns:
        checks.append(_step(report, CiStep.COMPARE, "speed", "as fast as the baseline allows"))
    return checks


def verify_checks(report: VerifyReport) -> list[CheckResult]:
    """The checks of a verification: the files, the tables and the rows of each entity."""
    checks = [*_file_checks(report.manifest, report.files, 0.0)]
    return [*checks, *_row_checks(report.manifest, report)] if report.target else checks


def committed_checks(results: Sequence[CommittedResult]) -> list[CheckResult]:
    """A check for each committed snapshot; `path` begins with the folder of the snapshot."""
    checks = [_check("committed", result.snapshot, result.findings) for result in results]
    return [replace(check, path=f"{check.name}/{check.path}") if check.path else check for check in checks]


def error_check(error: SnapseedError) -> CheckResult:
    """The failed check of a command that failed before it had a report."""
    return _check("snapseed", "configuration", [error])


def _check(
    group: str, name: str, findings: Sequence[object], seconds: float = 0.0, otherwise: State = "passed"
) -> CheckResult:
    """A check that failed if there are findings."""
    path = next((finding.path for finding in findings if isinstance(finding, FileFinding)), None)
    details = "\n".join(map(str, findings))
    return CheckResult(group, name, "failed" if findings else otherwise, seconds, details, path)


def _errors_in(report: CiReport, step: CiStep) -> list[SnapseedError]:
    """The error that ended the run, if it was in this step."""
    return [report.error] if report.error and report.step is step else []


def _reached(report: CiReport, step: CiStep) -> State:
    """Passed if the run got past this step, otherwise skipped."""
    steps = list(CiStep)
    done, last = steps.index(step), steps.index(report.step)
    return "passed" if done < last or (done == last and report.error is None) else "skipped"


def _step(report: CiReport, step: CiStep, group: str, name: str) -> CheckResult:
    """The check that a step is."""
    seconds = report.steps.get(step, 0.0)
    return _check(group, name, _errors_in(report, step), seconds, otherwise=_reached(report, step))


def _database(report: CiReport) -> list[CheckResult]:
    """Whether the database could be reached, and whether a guard allowed it."""
    if report.step is CiStep.WAIT and isinstance(report.error, RefusedError):
        return [CheckResult("database", "reachable", "passed"), _step(report, CiStep.WAIT, "database", "guard")]
    guard = CheckResult("database", "guard", _reached(report, CiStep.WAIT))
    return [_step(report, CiStep.WAIT, "database", "reachable"), guard]


def _load(report: CiReport, manifest: Manifest) -> Iterator[CheckResult]:
    """Each entity, and the transaction: it is at fault if no entity is, unless the files are."""
    load, errors, reached = report.load, _errors_in(report, CiStep.LOAD), _reached(report, CiStep.LOAD)
    copied = {copy.entity: copy.seconds for copy in load.entities} if load else {}
    at_fault = _entities_at_fault(load) if errors and load else set()
    for entity in manifest.entities:
        found = errors if entity.name in at_fault else []
        yield _check("load", entity.name, found, copied.get(entity.name, 0.0), otherwise=reached)
    found = [] if at_fault or (load and load.files) else errors
    yield _check("load", "transaction", found, load.seconds if load and found else 0.0, otherwise=reached)


def _entities_at_fault(load: LoadReport) -> set[str]:
    """Those whose rows differed before the commit, or else the one that was being copied when the load failed."""
    differing = {result.entity for result in load.verified if not result.agrees}
    return differing or ({load.copying} if load.copying else set())


def _file_checks(manifest: Manifest, findings: Sequence[FileFinding] | None, seconds: float) -> Iterator[CheckResult]:
    """A check for each entity, which gets its share of the time, and for each file that belongs to none.

    Without findings, not even an empty list, the files were not checked.
    """
    state: State = "skipped" if findings is None else "passed"
    for entity in manifest.entities:
        found = [finding for finding in findings or () if finding.entity == entity.name]
        yield _check("files", entity.name, found, seconds * entity.bytes / max(1, manifest.bytes), otherwise=state)
    for finding in findings or ():
        if finding.entity is None:
            yield _check("files", finding.path, [finding])


def _row_checks(manifest: Manifest, report: VerifyReport | None) -> Iterator[CheckResult]:
    """A check for each problem with a table, and for each entity. Those that were not compared are skipped."""
    for problem in report.tables if report else ():
        yield _check("tables", problem.split(":")[0], [problem])
    results = {result.entity: result for result in report.entities} if report else {}
    for entity in manifest.entities:
        if result := results.get(entity.name):
            yield _check("rows", entity.name, result.lines(), result.seconds)
        else:
            yield CheckResult("rows", entity.name, "skipped")
