"""What was found and done in databases, as lines of text for people: one function for each report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from snapseed.cli.documents import one_line
from snapseed.cli.layout import Bytes, cut, padded, paragraphs, table, width_of, wrapped
from snapseed.units import size

if TYPE_CHECKING:
    from snapseed.ci.doctor import Requirement
    from snapseed.ci.report import CiReport, EntityMetrics
    from snapseed.embeddings.queue import DeadJob, QueueStatus
    from snapseed.embeddings.search import Hit
    from snapseed.load.copy import EntityLoad
    from snapseed.load.outcome import LoadReport
    from snapseed.load.plan import LoadPlan
    from snapseed.snapshot.manifest import Manifest
    from snapseed.testing.reset import ResetReport
    from snapseed.testing.states import SavedStates, StateReport
    from snapseed.verify.database import VerifyReport
    from snapseed.verify.files import CommittedResult
    from snapseed.verify.status import EnvironmentStatus

    _OnDatabase = LoadReport | ResetReport | SavedStates | StateReport | VerifyReport | CiReport

_AGREES = {True: "same", False: "DIFFERS", None: "-"}
# A phase that takes less would show as 0.00 s.
_SHOWN_SECONDS = 0.005
_SHOWN_COLUMNS = 5
# Of loads that take longer, the phases that take more than this share are named.
_LONG_SECONDS, _LONG_SHARE = 1.0, 0.02


def _findings(lines: Iterable[object]) -> Iterator[str]:
    for line in lines:
        yield from wrapped(f"finding: {line}")


def _times(header: str, seconds: Mapping[str, float]) -> list[str]:
    return table([header, "time"], [row for row in seconds.items() if row[1] >= _SHOWN_SECONDS])


def _target(report: _OnDatabase) -> list[str]:
    """Which database it was, and what says so."""
    return wrapped(f"target   {report.target} ({report.source})", " " * 9)


def _snapshot(manifest: Manifest) -> str:
    return f"snapshot {manifest.name} (identity {manifest.identity[:16]}…)"


def loaded(report: LoadReport, *, quiet: bool = False, verbose: bool = False) -> Iterator[str]:
    """What was loaded, or with --dry-run what would be: `quiet` leaves only the result, `verbose` adds all phases."""
    if not quiet:
        yield from _target(report)
        if verbose or report.dry_run:
            yield from wrapped(f"server   {report.server}", " " * 9)
            yield _snapshot(report.manifest)
        if report.schema_created:
            how = (
                "recreated, after dropping all schemas" if report.plan.recreate else "created, because no table existed"
            )
            yield f"schema   {'would be ' if report.dry_run else ''}{how}"
        yield from _plan(report.plan) if report.dry_run else _entity_times(report, verbose=verbose)
        if verbose:
            yield from _times("phase", report.phases)
        elif not report.dry_run:
            yield from _long_phases(report)
    yield from _other_tables(report)
    if report.verified and not quiet:
        yield from _not_compared({table.entity.name: table.not_compared for table in report.plan.tables})
    if report.already_loaded:
        yield f"already loaded and unchanged since (checked in {report.seconds:.3f} s)"
    elif report.dry_run:
        yield "dry run: nothing was changed"
    else:
        total = sum(copy.rows for copy in report.entities)
        verified = "verified before the commit" if report.verified else "NOT verified (--no-verify)"
        yield f"loaded {total:,} rows in {report.seconds:.2f} s{f', {verified}' if report.entities else ''}"


def _other_tables(report: LoadReport) -> Iterator[str]:
    """The tables that are dropped, left as they are, and emptied."""
    would_be = "would be " if report.dry_run else ""
    yield from _dropped(report.plan.dropped, would_be)
    for left in report.plan.left:
        done = "left as it is" if left.agrees else "NOT upserted"
        yield from wrapped(f"{done}: {left.entity}: {left.reason}", " " * 4)
    if emptied := [str(child) for child in report.plan.children if child.rows != 0]:
        yield from wrapped(f"{would_be}emptied: {', '.join(emptied)}")


def _not_compared(columns: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The first columns of tables that no entity has, so that nothing is known about what they should hold."""
    if names := [f"{entity}.{name}" for entity, lacking in columns.items() for name in lacking]:
        more = f" and {len(names) - _SHOWN_COLUMNS} more (--format json lists all)" * (len(names) > _SHOWN_COLUMNS)
        yield from wrapped(f"not compared, as no entity has them: {', '.join(names[:_SHOWN_COLUMNS])}{more}")


def _dropped(tables: Iterable[object], would_be: str = "") -> Iterator[str]:
    """The tables outside the snapshot that --recreate dropped."""
    if names := [str(table).removeprefix("public.") for table in tables]:
        yield from wrapped(f"{would_be}dropped: {', '.join(names)}")


def _entity_times(report: LoadReport, *, verbose: bool) -> Iterator[str]:
    if not report.entities:
        return
    if not verbose:
        times = [[copy.entity, copy.rows, copy.seconds] for copy in report.entities]
        yield from table(["entity", "rows", "time"], times)
        return
    header = ["entity", "rows", "sent", "time", "rows/s", "read", "encode", "send", "server"]
    rows = [[*_copied(copy.entity, copy), copy.read, copy.encode, copy.send, copy.server] for copy in report.entities]
    yield from table(header, rows)
    slowest, share = report.bottleneck
    yield f"bottleneck: {slowest} ({share:.0%} of COPY time)"


def _long_phases(report: LoadReport) -> Iterator[str]:
    """Where the time of a load went that took more than a moment: all phases that took a share of it worth naming."""
    if report.seconds >= _LONG_SECONDS:
        named = {name: spent for name, spent in report.phases.items() if spent >= _LONG_SHARE * report.seconds}
        named["the rest"] = report.seconds - sum(named.values())
        yield from wrapped(f"time: {', '.join(f'{name} {spent:.2f} s' for name, spent in named.items())}", " " * 6)


def _copied(name: str, copy: EntityLoad | EntityMetrics) -> list[object]:
    """What the COPY of an entity sent, and how fast."""
    speed = f"{copy.rows / copy.seconds:,.0f}" if copy.seconds > 0 else "-"
    return [name, copy.rows, Bytes(copy.bytes), copy.seconds, speed]


def _plan(plan: LoadPlan) -> Iterator[str]:
    """The load plan, with a reason for each choice."""
    for number, step in enumerate(plan.tables, 1):
        entity = step.entity
        yield f"{number}. {entity.name} -> {step.table}: {entity.rows:,} rows, {size(entity.bytes)}"
        yield from _reasons(step.reasons)
    for child in plan.children:
        yield f"also emptied: {child}"
        yield from _reasons(child.reasons)
    for setting in plan.settings:
        yield from wrapped(f"setting {setting.name} = {setting.value}: {setting.reason}")
    for stages in dict.fromkeys(map(str, plan.stages)):
        yield from wrapped(f"left by a load that did not finish, and taken over or dropped: {stages}")
    for view in plan.restoration.unfilled:
        yield f"materialized view {view}: filled at the end"


def _reasons(reasons: Iterable[str]) -> Iterator[str]:
    for reason in reasons:
        yield from wrapped(f"   - {reason}", " " * 5)


def status(states: Sequence[EnvironmentStatus]) -> Iterator[str]:
    """What is loaded where: a few lines for each environment."""
    width = max(width_of(item.environment) for item in states)
    for item in states:
        indent = " " * (width + 2)
        yield from wrapped(f"{padded(item.environment, width)}  {item.state}", indent)
        if record := item.loaded:
            yield from wrapped(
                f"{indent}{record.snapshot} {record.identity[:12]}…, {record.rows:,} rows,"
                f" {record.loaded_at:%Y-%m-%d %H:%M:%S} UTC, snapseed {record.version}",
                indent,
            )
        yield from wrapped(f"{indent}{item.target}", indent)
        for stages in item.unfinished:
            yield from wrapped(f"{indent}left by a load that did not finish, for the next one: {stages}", indent)


def reset(report: ResetReport, *, quiet: bool = False) -> Iterator[str]:
    """What was done to the database, and how long it took: `quiet` leaves out where."""
    if not quiet:
        yield from _target(report)
        yield from wrapped(f"server   {report.server}", " " * 9)
        yield _snapshot(report.manifest)
    yield from _ended_and_cleared(report)
    yield from _dropped(report.dropped)
    done = "loaded the snapshot and made the template from it:" if report.loaded else "reset to the template:"
    yield f"{done} {report.manifest.rows:,} rows in {report.seconds:.2f} s"


def state(report: StateReport, *, quiet: bool = False) -> Iterator[str]:
    """What was saved, or what the database was put back to: `quiet` leaves out where."""
    yield from () if quiet else _target(report)
    yield from _ended_and_cleared(report)
    if report.replaced:
        yield from wrapped(f"replaced {report.replaced}", " " * 9)
    done = "reset to " if report.done == "reset" else ""
    yield from wrapped(f"{done}{report.state}: {size(report.state.size)} in {report.seconds:.2f} s")


def states(found: SavedStates) -> Iterator[str]:
    """The states of a database."""
    yield from _target(found)
    rows = [[s.name, Bytes(s.size), f"{s.saved_at:%Y-%m-%d %H:%M:%S} UTC", s.snapshot or "-"] for s in found.states]
    yield from table(["state", "size", "saved", "snapshot"], rows) if rows else ["no state is saved"]


def _ended_and_cleared(report: ResetReport | StateReport) -> Iterator[str]:
    if report.ended:
        yield from wrapped(f"sessions {len(report.ended)} ended: {'; '.join(report.ended)}", " " * 9)
    if report.cleared:
        yield f"cleared  {len(report.cleared)} databases that are no longer needed"


def verified(report: VerifyReport, again: Callable[..., str], *, quiet: bool = False) -> Iterator[str]:
    """What was compared, and everything that differs: `quiet` leaves only what differs, and the result."""
    if report.target and not quiet:
        yield from _target(report)
    files = sum(len(entity.files) for entity in report.manifest.entities)
    if report.file_check != "skip" and not quiet:
        what = "SHA-256 and rows" if report.file_check == "rows" else "SHA-256"
        yield f"files    {files} checked ({what}), " + (f"{len(report.files)} differ" if report.files else "all intact")
    rows = [
        [entity.entity, entity.observed.rows, entity.observed, _AGREES[entity.agrees], entity.seconds]
        for entity in report.entities
    ]
    if not quiet:
        yield from table(["entity", "rows", "fingerprint", "manifest", "time"], rows) if rows else ()
        yield from _not_compared({entity.entity: entity.not_compared for entity in report.entities})
    yield from _findings(
        [*report.files, *report.tables, *(line for entity in report.entities for line in entity.lines())]
    )
    if not report.agrees:
        yield "NOT verified: see the findings"
        if report.tables:
            yield f"next: {again('doctor', only=()) if report.entities else again('load')}"
        if not all(entity.agrees for entity in report.entities):
            yield f"next: {again('diff', '--summary')}"
    elif report.target:
        yield "verified: the files and the database match the manifest"
    elif report.file_check == "rows":
        yield "verified: the files and the rows in them match the manifest"
    else:
        yield "verified: the files match the manifest by SHA-256 (--rows also reads the rows)"


def committed(results: Sequence[CommittedResult]) -> Iterator[str]:
    """Each snapshot that git tracks, and everything that is wrong with it."""
    if not results:
        yield "no snapshot is committed"
        return
    rows = [
        [result.snapshot, f"{result.rows:,} rows", "DIFFERS" if result.findings else "intact"] for result in results
    ]
    yield from table(["snapshot", "", "files"], rows)
    yield from _findings(f"{result.snapshot}: {finding}" for result in results for finding in result.findings)
    if any(result.findings for result in results):
        yield "NOT verified: see the findings"
        yield "next: `snapseed generate` regenerates a snapshot, `git restore` restores it"
    else:
        yield "verified: every committed snapshot matches its manifest"


def doctor(requirements: Sequence[Requirement]) -> Iterator[str]:
    """Each thing that a load needs with what was found, and how to fix what is missing."""
    states = {item.name: "PROBLEM" if item.error else "SKIPPED" if item.skipped else "ok" for item in requirements}
    yield from table(["", "check", "found"], [[states[item.name], item.name, item.found] for item in requirements])
    for item in requirements:
        if item.error:
            yield from paragraphs(f"{item.name}: {item.error}")


def ci(report: CiReport, again: Callable[..., str]) -> Iterator[str]:
    """Where it ran, findings, and two tables: entities, and where the time went."""
    metrics = report.metrics
    if report.target:
        yield from _target(report)
    if report.server:
        yield from wrapped(f"server   {report.server.version}, {report.server.identity}", " " * 9)
    if report.manifest:
        yield _snapshot(report.manifest)
    if report.verify and not report.verify.agrees:
        yield from verified(report.verify, again)
    yield from _findings(report.slowdowns)
    results = {entity.entity: entity.agrees for entity in report.verify.entities} if report.verify else {}
    entities = [[*cells, _AGREES[results.get(str(cells[0]))]] for cells in entity_cells(report)]
    if entities:
        yield from table(["entity", "rows", "sent", "copy", "rows/s", "verify", "manifest"], entities)
    times: dict[str, float] = {}
    for step, seconds in metrics.steps.items():
        times[step] = seconds
        if step == "loading":
            times |= {f"  {phase}": value for phase, value in metrics.phases.items()}
    if any(seconds >= _SHOWN_SECONDS for seconds in times.values()):
        yield from _times("step", times)
    outcome = "passed" if report.outcome == "passed" else report.outcome.upper()
    yield (
        f"ci {report.environment}: {outcome} in {report.seconds:.1f} s: {metrics.rows:,} rows,"
        f" {metrics.retries} {'retry' if metrics.retries == 1 else 'retries'},"
        f" peak memory {size(metrics.peak_memory_bytes)}"
    )


def entity_cells(report: CiReport) -> list[list[object]]:
    """What was measured of each entity: name, rows, bytes sent, time of the COPY, rows per second, verification."""
    return [[*_copied(name, measured), measured.verify_seconds] for name, measured in report.metrics.entities.items()]


def queue(name: str, numbers: QueueStatus, dead: Sequence[DeadJob]) -> Iterator[str]:
    """The numbers of a queue, and the errors of the oldest dead jobs."""
    age = "" if numbers.oldest_seconds is None else f", the oldest for {numbers.oldest_seconds:.0f} s"
    yield f"queue       {name}"
    yield f"waiting     {numbers.waiting:,}{age}"
    yield f"in progress {numbers.in_flight:,}, by {numbers.workers:,} workers"
    yield f"done        {numbers.done:,}, {numbers.done_last_minute:,} in the last full minute"
    yield f"dead        {numbers.dead:,}"
    for job in dead:
        yield from wrapped(f"  {cut(job.payload.decode('utf-8', 'replace'))}: {one_line(job.error)}", "    ")


def search(hits: Sequence[Hit]) -> Iterator[str]:
    """How near each chunk is, the text it is from, and how it begins."""
    for hit in hits:
        yield cut(f"{hit.similarity:6.3f}  {hit.title or hit.key}, chunk {hit.number}")
        yield cut(f"        {one_line(hit.content or '')}")
