"""Every result as text for people: the layout, then one function for each report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snapseed.ci.doctor import Requirement
    from snapseed.ci.report import CiReport
    from snapseed.diff.database import DiffReport
    from snapseed.embeddings.queue import DeadJob, QueueStatus
    from snapseed.embeddings.search import Hit
    from snapseed.generate.snapshot import CheckReport, GenerateReport
    from snapseed.load.outcome import LoadReport
    from snapseed.load.plan import LoadPlan
    from snapseed.postgres.rowhash import TextKey
    from snapseed.snapshot.manifest import EntityRecord, Manifest
    from snapseed.testing.reset import ResetReport
    from snapseed.verify.committed import CommittedResult
    from snapseed.verify.database import VerifyReport
    from snapseed.verify.status import EnvironmentStatus

# A phase that takes less would show as 0.00 s.
_SHOWN_SECONDS = 0.005
# Sizes from here on are shown in megabytes.
_MEGABYTES_FROM = 100_000
# Values, jobs and chunks are cut to fit on one or two lines.
_VALUE_CHARACTERS = 100
_LINE_CHARACTERS = 160


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns under a header; a column that holds a number in every row is aligned to the right."""
    cells = [[shown(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    right = [bool(rows) and all(row[column][:1].isdigit() for row in cells) for column in range(len(header))]
    lines = []
    for row in [header, *cells]:
        aligned = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        lines.append("  " + "  ".join(aligned).rstrip())
    return "\n".join(lines)


def shown(value: object) -> str:
    """A cell of a table: counts with separators, floats as seconds."""
    if isinstance(value, float):
        return f"{value:.2f} s"
    return f"{value:,}" if isinstance(value, int) else str(value)


def size(count: float) -> str:
    """A number of bytes."""
    return f"{count / 1e6:,.1f} MB" if count >= _MEGABYTES_FROM else f"{count / 1e3:,.1f} kB"


def rate(rows: int, seconds: float) -> str:
    """Rows per second."""
    return f"{rows / seconds:,.0f}" if seconds > 0 else "-"


def _times(header: str, seconds: Mapping[str, float]) -> str:
    return table([header, "time"], [row for row in seconds.items() if row[1] >= _SHOWN_SECONDS])


def _target(report: DiffReport | LoadReport | ResetReport | VerifyReport | CiReport) -> str:
    return f"target   {report.target} ({report.source})"


def _snapshot(manifest: Manifest) -> str:
    return f"snapshot {manifest.name} (identity {manifest.identity[:16]}…)"


def _headline(manifest: Manifest) -> str:
    counts = f"{manifest.rows:,} rows, {size(manifest.bytes)}"
    return f"snapshot {manifest.name}: {counts}, seed {manifest.seed}, scale {manifest.scale:,}"


def _entities(manifest: Manifest) -> str:
    rows = [
        [entity.name, entity.rows, size(entity.bytes), len(entity.files), len(entity.chunks), entity.fingerprint]
        for entity in manifest.entities
    ]
    return table(["entity", "rows", "size", "files", "chunks", "fingerprint"], rows)


def generated(report: GenerateReport) -> str:
    """What was written."""
    manifest = report.manifest
    same = " (the same as before)" if report.replaced == manifest.identity else ""
    return "\n".join(
        [
            _entities(manifest),
            f"{_headline(manifest)}, in {report.seconds:.1f} s",
            f"identity {manifest.identity}{same}",
            f"written to {report.folder}",
        ]
    )


def regenerated(report: CheckReport) -> str:
    """How a snapshot compares with the same one generated again."""
    if report.different:
        return "\n".join(["regenerated, the snapshot differs:", *(f"  {line}" for line in report.different)])
    versions = ", ".join(f"{name} {version}" for name, version in report.manifest.libraries.items())
    same = "same rows, same bytes" if report.same_bytes else f"same rows, other bytes (written by {versions})"
    return (
        f"snapshot {report.manifest.name} regenerated: {same} ({report.manifest.rows:,} rows, {report.seconds:.1f} s)"
    )


def contents(manifest: Manifest, samples: Sequence[tuple[EntityRecord, list[dict[str, object]]]], width: int) -> str:
    """What is in a snapshot: settings, entities, and sample rows with one column per line."""
    lines = [_headline(manifest), f"identity {manifest.identity}", _entities(manifest)]
    for entity, rows in samples:
        for number, row in enumerate(rows, 1):
            lines.append(f"\n{entity.name}, row {number} of {entity.rows:,}")
            names = max(len(column.name) for column in entity.columns)
            types = max(len(column.type) for column in entity.columns)
            for column in entity.columns:
                line = f"  {column.name:<{names}}  {column.type:<{types}}  {_cell(row[column.name])}"
                lines.append(line if len(line) <= width else line[: width - 1] + "…")
    return "\n".join(lines)


def _cell(value: object) -> str:
    """A value on one line."""
    if value is None:
        return "NULL"
    return f"\\x{value.hex()}" if isinstance(value, bytes) else " ".join(str(value).split())


def loaded(report: LoadReport) -> str:
    """What was loaded, or with --dry-run what would be."""
    lines = [_target(report), f"server   {report.server}", _snapshot(report.manifest)]
    if report.schema_created:
        lines.append("schema   " + ("would be created" if report.dry_run else "created, because no table existed"))
    if report.already_loaded:
        return "\n".join([*lines, f"already loaded and unchanged since (checked in {report.seconds:.3f} s)"])
    if report.dry_run:
        return "\n".join([*lines, _plan(report.plan), "dry run: nothing was changed"])
    times = ("read", "encode", "send", "server")
    rows = []
    for load in report.entities:
        cells = [load.entity, load.rows, size(load.bytes), load.seconds, rate(load.rows, load.seconds)]
        rows.append([*cells, *(getattr(load, name) for name in times)])
    total = sum(load.rows for load in report.entities)
    verified = "verified before the commit" if report.verified else "NOT verified (--no-verify)"
    return "\n".join(
        [
            *lines,
            table(["entity", "rows", "sent", "time", "rows/s", *times], rows),
            _bottleneck(report),
            _times("phase", report.phases),
            f"loaded {total:,} rows in {report.seconds:.2f} s, {verified}",
        ]
    )


def _plan(plan: LoadPlan) -> str:
    """The load plan, with a reason for each choice."""
    lines = []
    for number, step in enumerate(plan.tables, 1):
        entity = step.entity
        lines.append(f"{number}. {entity.name} -> {step.table}: {entity.rows:,} rows, {size(entity.bytes)}")
        lines += [f"   - {reason}" for reason in step.reasons]
    for child in plan.children:
        lines.append(f"also emptied: {child.table}")
        lines += [f"   - {reason}" for reason in child.reasons]
    lines += [f"setting {setting.name} = {setting.value}: {setting.reason}" for setting in plan.settings]
    return "\n".join(lines)


def _bottleneck(report: LoadReport) -> str:
    """What COPY waited for most. Reading and encoding run on a thread of their own, so only `starved` counts."""
    seconds = sum(load.seconds for load in report.entities)
    waits = {
        "the server": sum(load.server for load in report.entities),
        "reading and encoding": sum(load.starved for load in report.entities),
        "sending": sum(load.send for load in report.entities),
    }
    slowest = max(waits, key=lambda name: waits[name])
    return f"bottleneck: {slowest} ({waits[slowest] / max(seconds, 1e-9):.0%} of COPY time)"


def status(states: Sequence[EnvironmentStatus]) -> str:
    """What is loaded where."""
    rows = []
    for item in states:
        record = item.loaded
        holds = f"{record.snapshot} {record.identity[:12]}… ({record.rows:,} rows)" if record else "-"
        when = f"{record.loaded_at:%Y-%m-%d %H:%M:%S} UTC, snapseed {record.version}" if record else "-"
        rows.append([item.environment, item.target, holds, when, item.state])
    return table(["environment", "target", "loaded", "when", "state"], rows)


def reset(report: ResetReport) -> str:
    """What was done to the database, and how long it took."""
    lines = [_target(report), f"server   {report.server}", _snapshot(report.manifest)]
    if report.sessions:
        lines.append(f"sessions {report.sessions} ended")
    if report.cleared:
        lines.append(f"cleared  {len(report.cleared)} databases that are no longer needed")
    done = "loaded, and made the template:" if report.loaded else "reset to the template:"
    return "\n".join([*lines, f"{done} {report.manifest.rows:,} rows in {report.seconds:.2f} s"])


def verified(report: VerifyReport) -> str:
    """What was compared, and everything that differs."""
    lines = [_target(report)] if report.target else []
    files = sum(len(entity.files) for entity in report.manifest.entities)
    lines.append(f"files    {files} checked, " + (f"{len(report.files)} differ" if report.files else "all intact"))
    rows = [
        [entity.entity, entity.observed.rows, entity.observed, _manifest_says(entity.agrees), entity.seconds]
        for entity in report.entities
    ]
    if rows:
        lines.append(table(["entity", "rows", "fingerprint", "manifest", "time"], rows))
    lines += [f"finding: {finding}" for finding in [*map(str, report.files), *report.tables]]
    lines += [f"finding: {line}" for entity in report.entities for line in entity.lines()]
    what = "the files and the database match the manifest" if report.target else "the files match the manifest"
    lines.append(f"verified: {what}" if report.agrees else "NOT verified: see the findings")
    return "\n".join(lines)


def _manifest_says(agrees: bool | None) -> str:
    return {True: "same", False: "DIFFERS", None: "-"}[agrees]


def committed(results: Sequence[CommittedResult]) -> str:
    """Each snapshot that git tracks, and everything that is wrong with it."""
    rows = [
        [result.snapshot, f"{result.rows:,} rows", "DIFFERS" if result.findings else "intact"] for result in results
    ]
    lines = [table(["snapshot", "", "files"], rows)] if rows else ["no snapshot is committed"]
    lines += [f"finding: {result.snapshot}: {finding}" for result in results for finding in result.findings]
    if any(result.findings for result in results):
        lines.append(
            "NOT verified: see the findings; `snapseed generate` regenerates a snapshot, `git restore` restores it"
        )
    elif rows:
        lines.append("verified: every committed snapshot matches its manifest")
    return "\n".join(lines)


def differences(report: DiffReport) -> str:
    """Rows and columns that differ, by entity."""
    lines = [_target(report), *(f"finding: {line}" for line in report.tables)]
    for entity in report.entities:
        if entity.agrees:
            lines.append(f"{entity.entity}: no difference")
            continue
        lines.append(
            f"{entity.entity}: {entity.missing_count:,} missing, {entity.extra_count:,} extra,"
            f" {entity.changed_count:,} changed"
        )
        lines += [f"  - {_key(key)}" for key in entity.missing]
        lines += [f"  + {_key(key)}" for key in entity.extra]
        for row in entity.changed:
            lines.append(f"  ~ {_key(row.key)}")
            for column, (expected, observed) in row.columns.items():
                lines.append(f"      {column}: snapshot {_shortened(expected)}")
                lines.append(f"      {' ' * len(column)}  database {_shortened(observed)}")
    return "\n".join(lines)


def _key(key: TextKey) -> str:
    return key if isinstance(key, str) else f"({', '.join(key)})"


def _shortened(text: str | None) -> str:
    if text is None:
        return "NULL"
    return repr(text if len(text) <= _VALUE_CHARACTERS else text[: _VALUE_CHARACTERS - 1] + "…")


def doctor(requirements: Sequence[Requirement]) -> str:
    """Each thing that a load needs with what was found, and how to fix what is missing."""
    rows = [["MISSING" if item.error else "ok", item.name, item.found] for item in requirements]
    lines = [table(["", "check", "found"], rows)]
    for item in requirements:
        if item.error:
            lines += [f"{item.name}: {line.strip()}" for line in str(item.error).splitlines()]
    return "\n".join(lines)


def ci(report: CiReport) -> str:
    """Where it ran, findings, and two tables: entities, and where the time went."""
    metrics = report.metrics
    lines = [_target(report)] if report.target else []
    if report.server:
        lines.append(f"server   {report.server.version}, {report.server.identity}")
    if report.manifest:
        lines.append(_snapshot(report.manifest))
    if report.verify and not report.verify.agrees:
        lines.append(verified(report.verify))
    lines += [f"finding: {slowdown}" for slowdown in report.slowdowns]
    results = {entity.entity: entity.agrees for entity in report.verify.entities} if report.verify else {}
    entities = [[*cells, _manifest_says(results.get(str(cells[0])))] for cells in entity_cells(report)]
    if entities:
        lines.append(table(["entity", "rows", "sent", "copy", "rows/s", "verify", "manifest"], entities))
    times: dict[str, float] = {}
    for step, seconds in metrics.steps.items():
        times[step] = seconds
        if step == "loading":
            times |= {f"  {phase}": value for phase, value in metrics.phases.items()}
    if any(seconds >= _SHOWN_SECONDS for seconds in times.values()):
        lines.append(_times("step", times))
    retries = f"{metrics.retries} {'retry' if metrics.retries == 1 else 'retries'}"
    outcome = "passed" if report.outcome == "passed" else report.outcome.upper()
    lines.append(
        f"ci {report.environment}: {outcome} in {report.seconds:.1f} s:"
        f" {metrics.rows:,} rows, {retries}, peak memory {size(metrics.peak_memory_bytes)}"
    )
    return "\n".join(lines)


def entity_cells(report: CiReport) -> list[list[object]]:
    """What was measured of each entity: name, rows, bytes sent, time of the COPY, rows per second, verification."""
    return [
        [name, found.rows, size(found.bytes), found.seconds, rate(found.rows, found.seconds), found.verify_seconds]
        for name, found in report.metrics.entities.items()
    ]


def queue(name: str, numbers: QueueStatus, dead: Sequence[DeadJob]) -> str:
    """The numbers of a queue, and the errors of the oldest dead jobs."""
    age = "" if numbers.oldest_seconds is None else f", the oldest for {numbers.oldest_seconds:.0f} s"
    lines = [
        f"queue       {name}",
        f"waiting     {numbers.waiting:,}{age}",
        f"in progress {numbers.in_flight:,}, by {numbers.workers:,} workers",
        f"done        {numbers.done:,}, {numbers.done_last_minute:,} in the last full minute",
        f"dead        {numbers.dead:,}",
    ]
    jobs = [(job.payload.decode("utf-8", "replace"), job.error) for job in dead]
    return "\n".join([*lines, *(f"  {payload[:_LINE_CHARACTERS]}: {error}" for payload, error in jobs)])


def search(hits: Sequence[Hit]) -> str:
    """How near each chunk is, the text it is from, and how it begins."""
    return "\n".join(
        f"{hit.similarity:6.3f}  {hit.title or hit.key}, chunk {hit.number}"
        f"\n        {(hit.content or '')[:_LINE_CHARACTERS]}"
        for hit in hits
    )
