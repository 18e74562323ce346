"""Rows fit together: parents, lookup tables, grandchildren, and root entities with their own growth."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from snapseed import resolve_request
from snapseed.errors import UsageError
from tests.generate.making import copy_shop, frame_of, make_snapshot, write_project

NAMES = ["categories", "customers", "orders", "invoices", "notes", "shops"]
Frames = dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    """All rows of the shop at scale 250, in three parts."""
    snapshot = make_snapshot(copy_shop(tmp_path_factory.mktemp("relations") / "shop"))
    return {name: frame_of(snapshot, name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_keys_are_unique_and_ascend(shop: Frames, name: str) -> None:
    """Over all parts of an entity."""
    key = shop[name].to_series(0)
    assert key.n_unique() == len(key)
    assert key.is_sorted()
    assert key.null_count() == 0


@pytest.mark.parametrize(
    ("child", "column", "parent", "key"),
    [
        ("orders", "customer_id", "customers", "id"),
        ("orders", "category", "categories", "code"),
        ("invoices", "order_id", "orders", "id"),
        ("notes", "customer_id", "customers", "id"),
        ("shops", "owner", "customers", "id"),
    ],
)
def test_every_foreign_key_names_a_row(shop: Frames, child: str, column: str, parent: str, key: str) -> None:
    """None is null, none refers to a missing row."""
    assert shop[child][column].null_count() == 0
    assert shop[child].join(shop[parent], left_on=column, right_on=key, how="anti").is_empty()


def test_children_are_in_the_order_of_their_parents(shop: Frames) -> None:
    """Keys ascend with the root row, so foreign keys do too."""
    assert shop["orders"]["customer_id"].is_sorted()
    assert shop["invoices"]["order_id"].is_sorted()
    assert shop["notes"]["customer_id"].is_sorted()


def test_two_child_entities_of_one_parent_are_independent(shop: Frames) -> None:
    """Each customer has two notes, numbered from zero, however many orders it has."""
    notes = shop["notes"].group_by("customer_id", maintain_order=True).agg("number")
    assert notes["customer_id"].equals(shop["customers"]["id"].alias("customer_id"))
    assert set(map(tuple, notes["number"])) == {(0, 1)}
    assert shop["orders"]["customer_id"].value_counts()["count"].n_unique() > 5


def test_a_counted_child_exists_for_each_row_that_counts(shop: Frames) -> None:
    """One invoice for each paid order, and no other."""
    paid = shop["orders"].filter("paid")["id"]
    assert shop["invoices"]["order_id"].equals(paid.alias("order_id"))


def test_a_grandchild_gets_its_parents_parent(shop: Frames) -> None:
    """The name on an invoice is that of the customer who ordered."""
    joined = shop["invoices"].join(shop["orders"], left_on="order_id", right_on="id")
    joined = joined.join(shop["customers"], left_on="customer_id", right_on="id")
    assert len(joined) == len(shop["invoices"])
    assert (joined["customer_name"] == joined["name"]).all()


def test_a_lookup_table_is_the_same_at_every_scale(shop: Frames) -> None:
    """Three categories, all of them used."""
    assert shop["categories"]["code"].to_list() == ["books", "music", "tools"]
    assert set(shop["orders"]["category"]) == {"books", "music", "tools"}


def test_a_second_root_entity_has_its_own_growth(shop: Frames) -> None:
    """One shop for every ten customers."""
    assert len(shop["shops"]) == 25


def test_self_references_point_backwards(shop: Frames) -> None:
    """Only the first customer was referred by nobody."""
    customers = shop["customers"]
    assert customers["referred_by"].is_null().to_list() == [True] + [False] * 249
    assert customers.filter(pl.col("referred_by") >= pl.col("id")).is_empty()
    assert customers.join(customers, left_on="referred_by", right_on="id", how="anti")["id"].to_list() == [1]


def test_the_smallest_scale_works(tmp_path: Path) -> None:
    """One customer, and a shop that it owns."""
    snapshot = make_snapshot(copy_shop(tmp_path / "shop"), 1)
    assert frame_of(snapshot, "shops")["owner"].to_list() == frame_of(snapshot, "customers")["id"].to_list()


def test_an_entity_may_have_no_rows(tmp_path: Path) -> None:
    """It is in the manifest without a file, and so are its descendants."""
    module = ""
    for name, arguments in {
        "roots": "",
        "nobody": ", parent=roots, per_parent=0",
        "nothing": ", parent=nobody, per_parent=3",
    }.items():
        module += f'@entity(key="id", columns={{"id": "bigint"}}{arguments})\ndef {name}(rows):\n'
        module += '    return pl.DataFrame({"id": rows.key()})\n\n'
    manifest = make_snapshot(write_project(tmp_path / "project", module), 5).manifest
    assert [(record.name, record.rows, len(record.files)) for record in manifest.entities] == [
        ("roots", 5, 1),
        ("nobody", 0, 0),
        ("nothing", 0, 0),
    ]


def test_a_request_takes_flags_before_the_environment_before_the_snapshot(tmp_path: Path) -> None:
    """Scale and seed."""
    project = copy_shop(tmp_path / "shop")
    environment = project.environment()
    resolved = resolve_request(project, environment, scale=None, seed=None)
    assert (resolved.scale, resolved.seed) == (250, 7)
    resolved = resolve_request(project, environment, scale=9, seed=0)
    assert (resolved.scale, resolved.seed) == (9, 0)
    make_snapshot(project, 5)
    assert resolve_request(project, environment, scale=None, seed=None).scale == 250


def test_a_request_for_what_does_not_exist_is_refused(tmp_path: Path) -> None:
    """An unknown entity, and no scale at all."""
    project = copy_shop(tmp_path / "shop")
    with pytest.raises(UsageError, match="no such entity") as caught:
        resolve_request(project, project.environment(), scale=1, seed=None, only=["order"])
    assert caught.value.expected == "one of: categories, customers, shops, orders, notes, invoices"
    bare = write_project(tmp_path / "bare", (project.generators / "shop.py").read_text())
    with pytest.raises(UsageError, match="there is no scale"):
        resolve_request(bare, bare.environment(), scale=None, seed=None)
