"""Never run, only type-checked: the public API as its users write it."""

from datetime import UTC, datetime

import numpy as np
import polars as pl

from snapseed import (
    CaptureRequest,
    FanOut,
    HashingEmbedder,
    Items,
    LoadRequest,
    Rhythm,
    Rows,
    SnapseedDatabase,
    as_decimals,
    capture_snapshot,
    check_snapshot,
    counted,
    delete_state,
    entity,
    exactly,
    fan_out,
    filled,
    find_project,
    generate_snapshot,
    json_array,
    json_object,
    json_raw,
    list_states,
    load_snapshot,
    reset_environment,
    reset_to_state,
    resolve_request,
    save_state,
    scale,
    slug,
    spread,
    subset_request,
    verify_snapshot,
)

few: FanOut = exactly(2)
many: FanOut = spread([0, 1, 1, 2, 40], among=None)
two_or_three = FanOut(3, lambda bits, parents: 2 + (bits % 2).astype(np.int64) * parents["id"].is_not_null().to_numpy())


@entity(key="id", columns={"id": "uuid", "at": "timestamptz"}, rows=scale(0.5), table="people", schema="app")
def people(rows: Rows) -> pl.DataFrame:
    """Typed."""
    return pl.DataFrame({"id": rows.key(), "at": rows.timestamps("at", datetime(2020, 1, 1, tzinfo=UTC))})


@entity(key="id", columns={"id": "bigint", "data": "jsonb"}, parent=people, per_parent=fan_out(mean=2, maximum=9))
def things(rows: Rows, people: pl.DataFrame) -> pl.DataFrame:
    """Typed."""
    items: Items = rows.items("items", rows.integers("number", 0, 3))
    inner = json_array(items.lists(json_object(price=as_decimals(items.integers("price", 1, 99), 2))))
    return pl.DataFrame({"id": rows.key(), "data": json_object(inner=json_raw(inner), at=people["at"].dt.year())})


@entity(
    key=("thing", "person"),
    columns={"thing": "bigint", "person": "uuid"},
    parent=things,
    per_parent=fan_out(mean=2, maximum=9, among=people),
)
def links(rows: Rows, things: pl.DataFrame) -> pl.DataFrame:
    """Typed."""
    person = rows.reference("person", people, distinct=True)
    return pl.DataFrame({"thing": things["id"], "person": rows.ascending(person)})


@entity(key="id", columns={"id": "uuid", "name": "text", "at": "timestamptz", "on": "date", "size": "bigint"})
def draws(rows: Rows) -> pl.DataFrame:
    """Typed."""
    size = rows.zipf("size", rows.log_normal("most", 100, "2.5", maximum=10**6), exponent=1.5)
    name = filled(rows.choice("name", {"{a} of {b}": 1, "{b}": 2}), a=slug(rows.code("code", 4)), b="b")
    return pl.DataFrame(
        {
            "id": rows.uuids("token"),
            "name": rows.unique("name", name, separator=".", longest=30),
            "at": rows.timestamps("at", rows.now.replace(year=2020), growth=2, rhythm=Rhythm(days=[1] * 7)),
            "on": rows.dates("on", datetime(2020, 1, 1, tzinfo=UTC).date()),
            "size": size + rows.normal("more", mean=size, deviation=5),
        }
    )


@entity(key="id", columns={"id": "uuid"}, parent=things, per_parent=counted(pl.col("id") % 2, maximum=1))
def rest(rows: Rows) -> pl.DataFrame:
    """Typed."""
    vectors: pl.Series = HashingEmbedder().embed(pl.Series(["a"]))
    return pl.DataFrame({"id": rows.key().head(len(vectors))})


project = find_project()
environment = project.environment("dev", {"database": "postgresql:///app"})
request = resolve_request(project, environment, scale=100, seed=None)
same: bool = check_snapshot(project, request).same_rows
identity: str = generate_snapshot(project, request, jobs=2).manifest.identity
captured: int = capture_snapshot(project, environment, CaptureRequest(jobs=2)).manifest.rows
some = CaptureRequest(subset=subset_request("people", 10, sample=7, where=["people: id > 5"]))
seconds: float = load_snapshot(project, environment, LoadRequest(only=["people"], consent=True)).seconds
agrees: bool = verify_snapshot(project, environment, offline=True).agrees
ended: int = reset_environment(project, environment, consent=True, fresh=False).sessions
size: int = save_state(project, environment, "before", consent=True).state.size
cleared: list[str] = reset_to_state(project, environment, "before", consent=True).cleared
states: list[str] = [state.name for state in list_states(project, environment).states]
snapshot: str | None = delete_state(project, environment, "before").snapshot


def test_something(snapseed_database: SnapseedDatabase) -> None:
    """Typed."""
    address: tuple[str, int, str, str | None] = (
        snapseed_database.host,
        snapseed_database.port,
        snapseed_database.user,
        snapseed_database.password,
    )
    assert address
    assert snapseed_database.url
