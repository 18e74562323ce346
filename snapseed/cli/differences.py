"""`snapseed diff`: what differs between two sides, as people, programs and reviewers read it."""

from __future__ import annotations

import html
import shlex
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snapseed.cli import console
from snapseed.cli.documents import document
from snapseed.cli.formats import cell
from snapseed.cli.layout import cut, table, width_of, wrapped
from snapseed.cli.options import Call, Only, entity_names, environment_names, in_project
from snapseed.cli.progress import Meter
from snapseed.errors import UsageError
from snapseed.printable import printable

if TYPE_CHECKING:
    from snapseed.diff.compare import DiffReport, EntityDiff
    from snapseed.diff.repair import RepairReport
    from snapseed.diff.sides import Side

_SIDE = "An environment, the name, folder or URL of a snapshot, REVISION:FOLDER, or the URL of a database"
# GitHub takes 65,536 in a comment.
_MOST_CHARACTERS = 65_000


@in_project("allow_host", "yes", "database", "snapshot", "differences", "quiet")
def diff(
    call: Call,
    left: Annotated[
        str | None,
        typer.Argument(metavar="A", help=f"{_SIDE} (default: default_environment).", autocompletion=environment_names),
    ] = None,
    right: Annotated[
        str | None,
        typer.Argument(
            metavar="B",
            help="What to compare it with, named like A. Without it, A is an environment: its database is compared with"
            " its snapshot. Or A is COMMIT..COMMIT: all snapshots of both.",
            autocompletion=environment_names,
        ),
    ] = None,
    only: Only = None,
    columns: Annotated[
        list[str] | None, "COLUMN", "Compare only this column (repeat, or separate with commas)."
    ] = None,
    where_key: Annotated[list[str] | None, "KEY", "Only this key, or a range FIRST..LAST (repeat)."] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, metavar="NUMBER", help="Floats that differ by no more than this are equal.")
    ] = 0.0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Rows of each kind to show per entity (default: 20).")
    ] = None,
    summary: Annotated[bool, "Show only how many rows differ, and in which columns."] = False,
    repair: Annotated[bool, "Change the rows that differ, so that the database holds the snapshot of A again."] = False,
    dry_run: Annotated[bool, "With --repair: count the rows to change; change nothing."] = False,
    script: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --repair: write the SQL to this file; change nothing.")
    ] = None,
) -> None:
    """Show which rows differ between two sides, or repair them.

    Without B: between the snapshot of an environment and its database.
    """
    if repair:
        others: dict[str, object] = {"B": right, "--columns": columns, "--where-key": where_key, "--limit": limit}
        others |= {"--tolerance": tolerance, "--summary": summary, "--dry-run with --script": dry_run and script}
        others[f"--format {call.output}"] = call.output not in {"text", "json"}
        if wrong := [name for name, value in others.items() if value]:
            raise UsageError(
                "--repair makes the database of one environment equal to its snapshot, or writes a script that does",
                observed=", ".join(wrong),
                expected="one environment; --only to choose entities; --dry-run or --script FILE",
                next_step=call.of(left).again("diff", "--repair", only=only),
            )
        _repair(call.of(left), only, dry_run=dry_run, script=script)
        return
    if dry_run or script or call.options.yes or call.options.allow_host:
        raise UsageError("--dry-run, --script, --yes and --allow-host are for --repair", next_step="add --repair")
    if summary and call.output == "csv":
        raise UsageError("--summary counts rows, and CSV has their cells", next_step="use --format json")
    from snapseed.diff.compare import DiffRequest, compare

    request = DiffRequest(
        only=entity_names(only),
        columns=entity_names(columns),
        keys=tuple(where_key or ()),
        tolerance=tolerance,
        limit=0 if summary else limit or DiffRequest.limit,
    )
    with Meter(quiet=call.options.quiet) as meter:
        report = compare(*_sides(call, left, right), request, meter)
    if call.output in {"github", "html", "csv"}:
        render = {"github": as_markdown, "html": as_html, "csv": as_csv}[call.output]
        console.to_stdout(render(report).rstrip("\n"))
    else:
        lines = list(_summary(report) if summary else as_text(report))
        is_database = right is None and ".." not in (left or "")
        if is_database and not all(entity.agrees for entity in report.entities):
            lines.append(f"next: {call.of(left).again('diff', '--repair', '--dry-run', only=only)}")
        elif is_database and not report.entities:
            lines.append(f"next: {call.of(left).again('load', only=only)}")
        call.show(lines, document(report))
    raise typer.Exit(0 if report.agrees else 1)


def _repair(call: Call, only: list[str] | None, *, dry_run: bool, script: Path | None) -> None:
    from snapseed.diff.repair import RepairRequest, repair_snapshot
    from snapseed.servers.targets import EMBEDDED

    request = RepairRequest(entity_names(only), dry_run=dry_run, script=script, consent=call.options.yes)
    with Meter(quiet=call.options.quiet) as meter:
        report = repair_snapshot(call.project, call.environment, request, meter)
    by_psql = ["-X", "-f", str(script)]
    is_own = call.options.database in {None, EMBEDDED}
    step = call.again("db psql", *by_psql) if is_own else shlex.join(["psql", *by_psql, report.load.target])
    step = call.again("diff", "--repair", "--yes", only=only) if dry_run else step
    call.show(as_repaired(report, step), document(report))
    raise typer.Exit(1 if dry_run and report.rows else 0)


def _sides(call: Call, left: str | None, right: str | None) -> tuple[Side, Side]:
    from snapseed.diff.sides import DatabaseSide, SnapshotSide, commit_side, find_side
    from snapseed.servers.targets import resolve_target
    from snapseed.snapshot.store import snapshot_of

    if right is None and ".." in (left or ""):
        first, _, last = (left or "").partition("..")
        if last.startswith("."):
            step = call.of(f"{first}..{last.removeprefix('.')}").again("diff")
            raise UsageError("two commits have two dots between them", observed=str(left), next_step=step)
        return commit_side(call.project, first), commit_side(call.project, last or "HEAD")
    if right is None and left and not left.isidentifier() and left not in call.project.environments:
        raise UsageError(
            "without B, A is an environment", observed=left, next_step=f"name B: {call.of(left).again('diff', 'B')}"
        )
    if left is None or right is None:
        environment = call.of(left).environment
        return SnapshotSide.of(snapshot_of(environment)), DatabaseSide(resolve_target(call.project, environment))
    if call.options.database or call.options.snapshot:
        step = "name the database or the snapshot as A or B"
        raise UsageError("--database and --snapshot are for one environment, not for A and B", next_step=step)
    return find_side(call.project, left), find_side(call.project, right)


def as_text(report: DiffReport) -> Iterator[str]:
    """Lines for people: for each entity what differs, with some rows."""
    from snapseed.diff.compare import key_text

    yield from _head(report)
    for entity in report.entities:
        if entity.agrees:
            yield f"{entity.entity}: no difference"
            continue
        columns = ", ".join(f"{name} {count:,}" for name, count in entity.columns.items())
        yield from wrapped(f"{entity.entity}: {entity.counts}" + (f" ({columns})" if columns else ""))
        for sign, rows in (("-", entity.removed), ("+", entity.added)):
            for row in rows:
                values = (f"{name} {_quoted(row.values[name])}" for name in row.values if name not in entity.key)
                yield cut(f"  {sign} {': '.join(filter(None, [key_text(row.key), ', '.join(values)]))}")
        for changed in entity.changed:
            yield f"  ~ {key_text(changed.key)}"
            for column, (before, after) in changed.columns.items():
                yield cut(f"      {column} - {_quoted(before)}")
                yield cut(f"      {' ' * width_of(column)} + {_quoted(after)}")
        if entity.hidden:
            yield f"  … {entity.hidden:,} more"


def as_repaired(report: RepairReport, step: str) -> Iterator[str]:
    """What a repair has changed, or would change; `step` runs its script, or does what a dry run counted."""
    yield from wrapped(f"target   {report.load.target} ({report.load.source})", " " * 9)
    counts = [[each.entity, each.deleted, each.updated, each.inserted] for each in report.entities]
    if report.load.schema_created:
        yield "schema   created, because no table existed"
    if not counts:
        yield "nothing to repair: the tables hold the rows of the snapshot"
        return
    yield from table(["entity", "deleted", "updated", "inserted"], counts)
    if report.load.dry_run or report.script:
        yield f"{'dry run: ' * report.load.dry_run}nothing was changed"
        yield f"next: {step}"
    else:
        rows = "1 row" if report.rows == 1 else f"{report.rows:,} rows"
        yield f"repaired {rows} in {report.load.seconds:.2f} s, verified before the commit"


def _summary(report: DiffReport) -> Iterator[str]:
    yield from _head(report)
    rows = [
        [each.entity, each.removed_count, each.added_count, each.changed_count, ", ".join(each.columns) or "-"]
        for each in report.entities
    ]
    if rows:
        yield from table(["entity", "removed", "added", "changed", "columns"], rows)


def _head(report: DiffReport) -> Iterator[str]:
    yield from wrapped(f"left   - {report.left}", " " * 9)
    yield from wrapped(f"right  + {report.right}", " " * 9)
    for difference in report.schema:
        yield from wrapped(f"finding: {difference}")


def _quoted(text: str | None) -> str:
    return "NULL" if text is None else repr(text)


def as_csv(report: DiffReport) -> str:
    """A line for each cell that differs, among the rows that the report names. NULL is empty, text is in quotes."""
    rows: list[tuple[str | None, ...]] = [("entity", "kind", "key", "column", "left", "right")]
    rows += [(entity.entity, *values) for entity in report.entities for values in entity.cells()]
    rows += [(each.entity, "schema", "", each.what, each.left, each.right) for each in report.schema]
    # As PostgreSQL's COPY writes it: a text in quotes is never NULL.
    quoted = [
        ["" if value is None else '"' + printable(value).replace('"', '""') + '"' for value in row] for row in rows
    ]
    return "\n".join(",".join(row) for row in quoted)


def as_markdown(report: DiffReport, most: int = _MOST_CHARACTERS) -> str:
    """A comment on GitHub: a table of counts, and the rows of each entity to unfold, as many as there is room for."""
    different = [each for each in report.entities if not each.agrees]
    lines = [f"### snapseed diff: {'no difference' if report.agrees else 'different'}", ""]
    lines += [f"- left: {_code(report.left)}", f"- right: {_code(report.right)}"]
    if same := len(report.entities) - len(different):
        lines.append(f"- {same:,} {'entity has' if same == 1 else 'entities have'} the same rows on both sides")
    lines += ["", "| entity | removed | added | changed | columns |", "|---|--:|--:|--:|---|"] if different else []
    found = []
    for each in different:
        counts = f"{each.removed_count:,} | {each.added_count:,} | {each.changed_count:,}"
        found.append(f"| {_code(each.entity)} | {counts} | {', '.join(map(_code, each.columns))} |")
    found += [f"- {_code(str(difference))}" for difference in report.schema]
    # With room for the last line.
    room = most - sum(len(line) + 1 for line in lines) - 100
    lines += _fitting(found, room)
    left_out = len(found) - len(_fitting(found, room))
    room -= sum(len(line) + 1 for line in found)
    for each in different:
        rows = [f"| {' | '.join(_code(cut(text)) for text in texts)} |" for texts in _cells(each)]
        head = f"\n<details><summary><code>{html.escape(printable(each.entity))}</code></summary>\n\n"
        head += "| | key | column | left | right |\n|---|---|---|---|---|"
        more = f"\n{each.hidden:,} more rows differ.\n" if each.hidden else ""
        fitting = _fitting(rows, room - len(head) - len(more) - 20)
        left_out += len(rows) - len(fitting)
        if fitting:
            lines.append("\n".join([head, *fitting, more, "</details>"]))
            room -= len(lines[-1]) + 1
    if left_out:
        lines += ["", f"There is no room for {left_out:,} more differences: `snapseed diff` shows them."]
    return "\n".join([*lines, ""])


def _fitting(lines: list[str], room: int) -> list[str]:
    """The first lines, as many as there is room for."""
    sizes = accumulate(len(line) + 1 for line in lines)
    return lines[: sum(size <= room for size in sizes)]


def _code(text: str) -> str:
    """Text as code on GitHub, which finds names of people and numbers of issues in any other text, also if escaped."""
    return f"<code>{cell(text)}</code>" if text else ""


def _cells(entity: EntityDiff) -> Iterator[tuple[str, ...]]:
    """The cells that differ as texts, NULL included; a side that does not have the row has none."""
    for kind, key, column, *values in entity.cells():
        left, right = ("NULL" if value is None else value for value in values)
        yield kind, key, column, "" if kind == "added" else left, "" if kind == "removed" else right


def as_html(report: DiffReport) -> str:
    """A page that needs nothing else."""
    from jinja2 import Environment

    templates = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    templates.filters["printable"] = printable
    template = templates.from_string(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    return template.render(report=report, cells=_cells)
