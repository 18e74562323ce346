"""A run of the CI process, or a verification, as checks: each passed, failed with a reason, or was not reached."""

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
    """What became of a check."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One thing that was to hold. `group` and `name` say which; `path` is the file at fault, inside the snapshot.

    `message` is one line, `details` all that is known, both empty unless it failed.
    """

    group: str
    name: str
    state: State
    seconds: float = 0.0
    message: str = ""
    details: str = ""
    path: str | None = None


def checks_of(report: CiReport) -> list[Check]:
    """The checks of a run in their order: configuration, database, guard, files, load, verification, speed."""
    return list(_Checks(report).all())


def verify_checks(report: VerifyReport) -> list[Check]:
    """The checks of a verification: the files, the tables and the rows of each entity."""
    checks = [*_file_checks(report.manifest, report.files, 0.0), *_table_checks(report)]
    return [*checks, *_row_checks(report.manifest, report)] if report.target else checks


def committed_checks(results: list[CommittedResult]) -> list[Check]:
    """A check for each committed snapshot; `path` begins with the folder of the snapshot."""
    checks = []
    for result in results:
        lines = [str(finding) for finding in result.findings]
        state = State.FAILED if lines else State.PASSED
        path = f"{result.snapshot}/{result.findings[0].path}" if lines else None
        message = lines[0] if lines else ""
        checks.append(Check("committed", result.snapshot, state, 0.0, message, "\n".join(lines), path))
    return checks


def error_check(error: SnapseedError) -> Check:
    """The failed check that stands for a command that ended by an error before it had a report."""
    return _failed("snapseed", "configuration", error)


class _Checks:
    """The checks of one run, as far as it has come."""

    def __init__(self, report: CiReport) -> None:
        self.report = report
        self.steps = list(Step)

    def all(self) -> Iterator[Check]:
        """In the order of the steps; those of a snapshot only where its manifest could be read."""
        report = self.report
        yield self._step("snapshot and settings", Step.PREPARE)
        yield self._step("reachable", Step.WAIT, refused=False)
        yield self._step("guard", Step.WAIT, refused=True)
        if report.manifest is not None:
            yield from self._files(report.manifest)
            yield from self._load(report.manifest)
            if report.embedding is not None or report.step is Step.EMBED:
                yield self._step("complete", Step.EMBED)
            yield from self._verify(report.manifest)
        for slowdown in report.slowdowns:
            yield Check("speed", slowdown.what, State.FAILED, slowdown.seconds, str(slowdown), str(slowdown))
        if report.baseline and not report.slowdowns:
            yield self._step("as fast as the baseline allows", Step.COMPARE)

    def _step(self, name: str, step: Step, *, refused: bool | None = None) -> Check:
        """Whether a step was done; with `refused`, whether it failed by a guard's no or by anything else."""
        report, seconds = self.report, self.report.steps.get(step, 0.0)
        group = {Step.WAIT: "database", Step.EMBED: "embeddings", Step.COMPARE: "speed"}.get(step, "configuration")
        if report.error is not None and report.step is step:
            if refused is None or isinstance(report.error, RefusedError) is refused:
                return _failed(group, name, report.error, seconds)
            return Check(group, name, State.SKIPPED if refused else State.PASSED)
        return Check(group, name, State.PASSED if self._is_past(step) else State.SKIPPED, 0.0 if refused else seconds)

    def _is_past(self, step: Step) -> bool:
        done = self.steps.index(self.report.step)
        return self.steps.index(step) < done or (self.report.error is None and self.steps.index(step) == done)

    def _files(self, manifest: Manifest) -> Iterator[Check]:
        load = self.report.load
        if load is None or load.files is None:
            yield from (Check("files", entity.name, State.SKIPPED) for entity in manifest.entities)
        else:
            yield from _file_checks(manifest, load.files, load.phases.get("checking files", 0.0))

    def _load(self, manifest: Manifest) -> Iterator[Check]:
        report, load = self.report, self.report.load
        error = report.error if report.step is Step.LOAD else None
        copied = {copy.entity: copy.seconds for copy in load.entities} if load else {}
        at_fault = _entities_at_fault(load) if error and load else set()
        for entity in manifest.entities:
            seconds = copied.get(entity.name, 0.0)
            if error is not None and entity.name in at_fault:
                yield _failed("load", entity.name, error, seconds)
            else:
                done = self._is_past(Step.LOAD)
                yield Check("load", entity.name, State.PASSED if done else State.SKIPPED, seconds)
        if error is not None and load is not None and not load.files:
            name = "transaction"
            yield _failed("load", name, error, load.seconds) if not at_fault else Check("load", name, State.SKIPPED)
        else:
            done = self._is_past(Step.LOAD)
            yield Check("load", "transaction", State.PASSED if done else State.SKIPPED)

    def _verify(self, manifest: Manifest) -> Iterator[Check]:
        report = self.report
        if report.verify is not None:
            yield from _table_checks(report.verify)
            yield from _row_checks(manifest, report.verify)
        elif report.error is not None and report.step is Step.VERIFY:
            yield _failed("rows", "verification", report.error, report.steps.get(Step.VERIFY, 0.0))
        else:
            yield from (Check("rows", entity.name, State.SKIPPED) for entity in manifest.entities)


def _entities_at_fault(load: LoadReport) -> set[str]:
    """Those whose rows differed before the commit, or were on their way when the load failed."""
    differing = {result.entity for result in load.verified if not result.agrees}
    return differing or ({load.copying} if load.copying else set())


def _file_checks(manifest: Manifest, findings: Sequence[FileFinding], seconds: float) -> Iterator[Check]:
    for entity in manifest.entities:
        found = [finding for finding in findings if finding.entity == entity.name]
        share = seconds * entity.bytes / max(1, manifest.bytes)
        if found:
            lines = [str(finding) for finding in found]
            yield Check("files", entity.name, State.FAILED, share, lines[0], "\n".join(lines), found[0].path)
        else:
            yield Check("files", entity.name, State.PASSED, share)
    for finding in findings:
        if finding.entity is None:
            yield Check("files", finding.path, State.FAILED, 0.0, str(finding), str(finding), finding.path)


def _table_checks(report: VerifyReport) -> Iterator[Check]:
    for problem in report.tables:
        yield Check("tables", problem.split(":")[0], State.FAILED, 0.0, problem, problem)


def _row_checks(manifest: Manifest, report: VerifyReport) -> Iterator[Check]:
    results = {result.entity: result for result in report.entities}
    for entity in manifest.entities:
        result = results.get(entity.name)
        if result is None:
            yield Check("rows", entity.name, State.SKIPPED)
        elif result.agrees:
            yield Check("rows", entity.name, State.PASSED, result.seconds)
        else:
            lines = result.lines()
            yield Check("rows", entity.name, State.FAILED, result.seconds, lines[0], "\n".join(lines))


def _failed(group: str, name: str, error: SnapseedError, seconds: float = 0.0) -> Check:
    return Check(group, name, State.FAILED, seconds, error.summary, str(error))
