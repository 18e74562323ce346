"""A run of the CI process, or a verification, as checks: each passed, failed for a reason, or was not reached."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from snapseed.ci.report import CiReport, Step
from snapseed.errors import RefusedError, SnapseedError
from snapseed.load.outcome import LoadReport
from snapseed.snapshot.manifest import Manifest
from snapseed.verify.committed import CommittedResult
from snapseed.verify.database import VerifyReport
from snapseed.verify.files import FileFinding


class State(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One check, identified by `group` and `name`. `path` is the damaged file, relative to the snapshot's folder.

    If it failed, `message` is one line and `details` is all that is known. Otherwise both are empty.
    """

    group: str
    name: str
    state: State
    seconds: float = 0.0
    message: str = ""
    details: str = ""
    path: str | None = None


def checks_of(report: CiReport) -> list[Check]:
    """The checks of a run in order: configuration, database, files, load, embeddings, rows, speed.

    Those of single entities are there only if the manifest could be read.
    """
    checks = [_step(report, Step.PREPARE, "configuration", "snapshot and settings"), *_database(report)]
    if report.manifest is not None:
        checks += [*_files(report, report.manifest), *_load(report, report.manifest)]
        if report.embedding is not None or report.step is Step.EMBED:
            checks.append(_step(report, Step.EMBED, "embeddings", "complete"))
        checks += _rows(report, report.manifest)
    for slowdown in report.slowdowns:
        checks.append(_failed("speed", slowdown.what, [str(slowdown)], slowdown.seconds))
    if report.baseline and not report.slowdowns:
        checks.append(_step(report, Step.COMPARE, "speed", "as fast as the baseline allows"))
    return checks


def verify_checks(report: VerifyReport) -> list[Check]:
    """The checks of a verification: the files, the tables and the rows of each entity."""
    checks = [*_file_checks(report.manifest, report.files, 0.0), *_table_checks(report)]
    return [*checks, *_row_checks(report.manifest, report)] if report.target else checks


def committed_checks(results: Sequence[CommittedResult]) -> list[Check]:
    """A check for each committed snapshot; `path` begins with the folder of the snapshot."""
    checks = []
    for result in results:
        lines = [str(finding) for finding in result.findings]
        if lines:
            path = f"{result.snapshot}/{result.findings[0].path}"
            checks.append(_failed("committed", result.snapshot, lines, path=path))
        else:
            checks.append(Check("committed", result.snapshot, State.PASSED))
    return checks


def error_check(error: SnapseedError) -> Check:
    """The failed check of a command that failed before it had a report."""
    return _ended("snapseed", "configuration", error)


def _ended(group: str, name: str, error: SnapseedError, seconds: float = 0.0) -> Check:
    """The check in which the run ended."""
    return Check(group, name, State.FAILED, seconds, error.summary, str(error))


def _failed(group: str, name: str, lines: Sequence[str], seconds: float = 0.0, path: str | None = None) -> Check:
    return Check(group, name, State.FAILED, seconds, lines[0], "\n".join(lines), path)


def _reached(report: CiReport, step: Step) -> State:
    """Passed if the run got past this step, otherwise skipped."""
    steps = list(Step)
    done, last = steps.index(step), steps.index(report.step)
    return State.PASSED if done < last or (done == last and report.error is None) else State.SKIPPED


def _error_in(report: CiReport, step: Step) -> SnapseedError | None:
    return report.error if report.step is step else None


def _step(report: CiReport, step: Step, group: str, name: str) -> Check:
    seconds = report.steps.get(step, 0.0)
    if error := _error_in(report, step):
        return _ended(group, name, error, seconds)
    return Check(group, name, _reached(report, step), seconds)


def _database(report: CiReport) -> Iterator[Check]:
    """Whether the database could be reached, and whether a guard allowed it."""
    error = _error_in(report, Step.WAIT)
    if isinstance(error, RefusedError):
        yield Check("database", "reachable", State.PASSED)
        yield _ended("database", "guard", error, report.steps.get(Step.WAIT, 0.0))
    else:
        yield _step(report, Step.WAIT, "database", "reachable")
        yield Check("database", "guard", _reached(report, Step.WAIT))


def _files(report: CiReport, manifest: Manifest) -> Iterator[Check]:
    load = report.load
    if load is None or load.files is None:
        yield from (Check("files", entity.name, State.SKIPPED) for entity in manifest.entities)
    else:
        yield from _file_checks(manifest, load.files, load.phases.get("checking files", 0.0))


def _load(report: CiReport, manifest: Manifest) -> Iterator[Check]:
    """Each entity, and the transaction: it is at fault if no entity is, unless the files are."""
    load, error, reached = report.load, _error_in(report, Step.LOAD), _reached(report, Step.LOAD)
    copied = {copy.entity: copy.seconds for copy in load.entities} if load else {}
    at_fault = _entities_at_fault(load) if error and load else set()
    for entity in manifest.entities:
        seconds = copied.get(entity.name, 0.0)
        if error is not None and entity.name in at_fault:
            yield _ended("load", entity.name, error, seconds)
        else:
            yield Check("load", entity.name, reached, seconds)
    if error is not None and not at_fault and not (load and load.files):
        yield _ended("load", "transaction", error, load.seconds if load else 0.0)
    else:
        yield Check("load", "transaction", reached)


def _entities_at_fault(load: LoadReport) -> set[str]:
    """Those whose rows differed before the commit, or else the one that was being copied when the load failed."""
    differing = {result.entity for result in load.verified if not result.agrees}
    return differing or ({load.copying} if load.copying else set())


def _rows(report: CiReport, manifest: Manifest) -> Iterator[Check]:
    if report.verify is not None:
        yield from _table_checks(report.verify)
        yield from _row_checks(manifest, report.verify)
    elif error := _error_in(report, Step.VERIFY):
        yield _ended("rows", "verification", error, report.steps.get(Step.VERIFY, 0.0))
    else:
        yield from (Check("rows", entity.name, State.SKIPPED) for entity in manifest.entities)


def _file_checks(manifest: Manifest, findings: Sequence[FileFinding], seconds: float) -> Iterator[Check]:
    """A check for each entity, which gets its share of the time, and for each file that belongs to none."""
    for entity in manifest.entities:
        found = [finding for finding in findings if finding.entity == entity.name]
        share = seconds * entity.bytes / max(1, manifest.bytes)
        if found:
            yield _failed("files", entity.name, [str(finding) for finding in found], share, found[0].path)
        else:
            yield Check("files", entity.name, State.PASSED, share)
    for finding in findings:
        if finding.entity is None:
            yield _failed("files", finding.path, [str(finding)], path=finding.path)


def _table_checks(report: VerifyReport) -> Iterator[Check]:
    for problem in report.tables:
        yield _failed("tables", problem.split(":")[0], [problem])


def _row_checks(manifest: Manifest, report: VerifyReport) -> Iterator[Check]:
    results = {result.entity: result for result in report.entities}
    for entity in manifest.entities:
        result = results.get(entity.name)
        if result is None:
            yield Check("rows", entity.name, State.SKIPPED)
        elif result.agrees:
            yield Check("rows", entity.name, State.PASSED, result.seconds)
        else:
            yield _failed("rows", entity.name, result.lines(), result.seconds)
