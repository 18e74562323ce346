"""Random tables, references, rows and rules: a subset has the rows that the definition says, read one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from snapseed.postgres.connect import Session
from tests.capture.subset.choosing import Options, chosen
from tests.examples import examples

# The columns of each kind of key. Without one, rows are told apart by their place.
KEYS = {"number": ("k integer",), "text": ("k text",), "pair": ("k integer", "l text"), "none": ()}
Row = dict[str, Any]


@dataclass(frozen=True)
class Reference:
    """Columns of a table that refer to columns of another, as a constraint or by convention."""

    child: int
    columns: tuple[str, ...]
    parent: int
    to: tuple[str, ...]
    constraint: str | None

    def refers(self, child: Row, parent: Row) -> bool:
        """Whether the row of the child refers to the row of the parent."""
        values = [child[column] for column in self.columns]
        return None not in values and values == [parent[column] for column in self.to]


@dataclass(frozen=True)
class Case:
    """Tables with the kind of their keys, their references and rows, the rules for children, and the roots."""

    keys: list[str]
    references: list[Reference]
    rows: list[list[Row]]
    rules: list[dict[str, Any]]
    root: tuple[int, int]
    tags: set[int]
    whole: list[int]

    def names(self, table: int) -> list[str]:
        """The columns of a table, those of the key first."""
        own = [name for reference in self.references if reference.child == table for name in reference.columns]
        return [*(column.split()[0] for column in KEYS[self.keys[table]]), "u", "g", "tag", *own]

    def order(self, table: int, row: Row) -> Any:  # noqa: ANN401 - values of any type
        """What the rows of a table are ordered by."""
        names = [column.split()[0] for column in KEYS[self.keys[table]]]
        return [row[name] for name in names] or [(row[name] is None, str(row[name])) for name in self.names(table)]

    @property
    def options(self) -> Options:
        """The options that ask for it."""
        table, rows = self.root
        other = (table + 1) % len(self.keys)
        references = [
            {"table": f"t{found.child}", "columns": found.columns, "to": f"t{found.parent}", "to_columns": found.to}
            for found in self.references
            if found.constraint is None
        ]
        rules = {f"t{number}": rule for number, rule in enumerate(self.rules)}
        where = [f"t{other}: tag = ANY ('{self.tags or '{}'}')"] if other != table else []
        whole = [f"t{number}" for number in self.whole]
        return Options(f"t{table}", rows, None, where, {"children": rules, "references": references, "whole": whole})

    @property
    def schema(self) -> str:
        """The SQL that makes it."""
        statements = []
        for table, kind in enumerate(self.keys):
            typed = [*KEYS[kind], "u integer UNIQUE", "g integer", "tag integer"]
            typed += [
                f"{column} {'text' if to == 'l' or (to == 'k' and self.keys[found.parent] == 'text') else 'integer'}"
                for found in self.references
                if found.child == table
                for column, to in zip(found.columns, found.to, strict=True)
            ]
            key = ", ".join(column.split()[0] for column in KEYS[kind])
            statements.append(
                f"CREATE TABLE t{table} ({', '.join([*typed, *([f'PRIMARY KEY ({key})'] if key else [])])})"
            )
            names = self.names(table)
            for row in self.rows[table]:
                values = ["NULL" if row[name] is None else f"'{row[name]}'" for name in names]
                texts, listed = ", ".join(values), ", ".join(names)
                statements.append(f"INSERT INTO t{table} ({listed}) VALUES ({texts})")  # noqa: S608 - our own
        for found in self.references:
            if found.constraint is not None:
                columns, to = ", ".join(found.columns), ", ".join(found.to)
                constraint = f"FOREIGN KEY ({columns}) REFERENCES t{found.parent} ({to}) {found.constraint}"
                statements.append(f"ALTER TABLE t{found.child} ADD {constraint}")
                if len(self.rows[found.child]) % 2:
                    statements.append(f"CREATE INDEX ON t{found.child} ({columns})")
        return "; ".join(statements)

    def expected(self) -> dict[str, list[int]]:
        """The tags of the rows of each table, in key order."""
        ordered = [sorted(rows, key=lambda row: self.order(table, row)) for table, rows in enumerate(self.rows)]
        table, count = self.root
        other = (table + 1) % len(self.keys)
        roots = {(table, row["tag"]) for row in ordered[table][:count]}
        roots |= {(other, row["tag"]) for row in ordered[other] if row["tag"] in self.tags and other != table}
        followed = set(roots)
        present = roots | {(number, row["tag"]) for number in self.whole for row in ordered[number]}
        before = None
        while before != (present, followed):
            before = set(present), set(followed)
            for found in self.references:
                rule = self.rules[found.child]
                for parent in ordered[found.parent]:
                    children = [child for child in ordered[found.child] if found.refers(child, parent)]
                    if any((found.child, child["tag"]) in present for child in children):
                        present.add((found.parent, parent["tag"]))
                    if (found.parent, parent["tag"]) in (present if rule["of_parents"] else followed):
                        taken = {(found.child, child["tag"]) for child in children[: rule["limit"]]}
                        present |= taken
                        followed |= taken
        tags = {
            f"t{number}": [row["tag"] for row in rows if (number, row["tag"]) in present]
            for number, rows in enumerate(ordered)
        }
        return {name: found for name, found in tags.items() if found}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Up to four tables with up to six references: cycles, to themselves, of several columns, to unique columns."""
    keys = draw(st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=4))
    tables = st.integers(0, len(keys) - 1)
    references = []
    for number in range(draw(st.integers(0, 6))):
        child, parent = draw(tables), draw(tables)
        key = tuple(column.split()[0] for column in KEYS[keys[parent]])
        # `u` is unique; `g` is not, so that only a convention can refer to it.
        to = draw(st.sampled_from([key or ("u",), key or ("u",), ("u",), ("g",)]))
        constraint = draw(st.sampled_from(["", "", "MATCH FULL", None])) if to != ("g",) else None
        references.append(Reference(child, tuple(f"r{number}{name}" for name in to), parent, to, constraint))
    rows = [
        [_row(kind, table * 100 + number) for number in range(draw(st.integers(0, 7)))]
        for table, kind in enumerate(keys)
    ]
    for found in references:
        for row in rows[found.child]:
            target = draw(st.sampled_from([None, *rows[found.parent]]))
            row.update((column, target and target[to]) for column, to in zip(found.columns, found.to, strict=True))
            if found.constraint == "" and draw(st.integers(0, 4)) == 0:
                row[found.columns[0]] = None
    rule = st.fixed_dictionaries(
        {"limit": st.sampled_from([None, None, 0, 1, 2]), "of_parents": st.sampled_from([False, False, True])}
    )
    return Case(
        keys,
        references,
        rows,
        draw(st.lists(rule, min_size=len(keys), max_size=len(keys))),
        (draw(tables), draw(st.integers(1, 3))),
        draw(st.sets(st.integers(0, 302).filter(lambda tag: tag % 100 < 4), max_size=3)),
        draw(st.sampled_from([[], [], [len(keys) - 1]])),
    )


def _row(kind: str, tag: int) -> Row:
    """A row whose key order is not the order of its tags."""
    values: dict[str, Row] = {
        "number": {"k": tag * 7 % 11},
        "text": {"k": f"é{tag * 7 % 11}" if tag % 2 else f"Z{tag * 7 % 11}"},
        "pair": {"k": tag % 2, "l": f"{tag * 7 % 11}"},
        "none": {},
    }
    return {**values[kind], "u": tag, "g": tag % 3, "tag": tag}


@given(case=cases())
@examples(25, suppress=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_subsets_are_what_the_definition_says(session: Session, case: Case) -> None:
    """The rows, their order, and their number by reasons."""
    with chosen(session, case.schema, case.options) as subset:
        names = {f"t{number}": case.names(number).index("tag") for number in range(len(case.keys))}
        found = {name: [row[place] for row in subset.rows(name)] for name, place in names.items()}
        assert {name: tags for name, tags in found.items() if tags} == case.expected()
        assert {name: sum(reasons.values()) for name, reasons in subset.reasons.items()} == {
            name: len(tags) for name, tags in found.items() if tags
        }
