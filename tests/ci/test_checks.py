"""A run as checks: which entity failed, and what was not reached."""

from __future__ import annotations

import pytest

from snapseed import verify_snapshot
from snapseed.ci.checks import CheckResult, State, checks_of, verify_checks
from snapseed.ci.process import run_ci
from tests.conftest import Sandbox

ENTITIES = {"categories", "customers", "orders", "invoices", "notes", "shops"}


def states(checks: list[CheckResult], group: str) -> dict[str, State]:
    """The states of the checks of a group, by name."""
    return {check.name: check.state for check in checks if check.group == group}


def test_every_entity_has_a_check_of_files_load_and_rows(shop: Sandbox) -> None:
    """All pass if nothing is wrong, with the time each took."""
    checks = checks_of(run_ci(shop.project, shop.environment()))
    assert {check.state for check in checks} == {"passed"}
    assert [check.name for check in checks[:3]] == ["snapshot and settings", "reachable", "guard"]
    assert set(states(checks, "files")) == set(states(checks, "rows")) == ENTITIES
    assert set(states(checks, "load")) == {*ENTITIES, "transaction"}
    assert sum(check.seconds for check in checks) > 0


def test_a_damaged_file_is_a_failed_check_of_its_entity(shop: Sandbox) -> None:
    """With its path. Neither the load nor the rows are reached."""
    path = shop.project.snapshots.folder / "dev/orders/part-00001.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    checks = checks_of(run_ci(shop.project, shop.environment()))
    (failed,) = (check for check in checks if check.state == "failed")
    assert (failed.group, failed.name, failed.path) == ("files", "orders", "orders/part-00001.parquet")
    assert "bytes" in failed.message
    assert set(states(checks, "load").values()) == set(states(checks, "rows").values()) == {"skipped"}
    assert states(verify_checks(verify_snapshot(shop.project, shop.environment(), offline=True)), "files") == (
        states(checks, "files")
    )


@pytest.mark.parametrize(
    ("harm", "name", "word"),
    [
        ("TRUNCATE orders CASCADE; CREATE UNIQUE INDEX once ON orders ((true))", "orders", "once"),
        ("ALTER TABLE orders ADD CONSTRAINT odd CHECK (id < 0) NOT VALID", "orders", "odd"),
        ("ALTER TABLE orders RENAME COLUMN total TO sum", "transaction", "total"),
    ],
    ids=["by an index", "by a check", "before anything is changed"],
)
def test_a_load_that_fails_is_a_failed_check(shop: Sandbox, harm: str, name: str, word: str) -> None:
    """Of the entity that was being copied, otherwise of the transaction."""
    run_ci(shop.project, shop.environment())
    with shop.connect() as connection:
        connection.execute(harm.encode())
    checks = checks_of(run_ci(shop.project, shop.environment()))
    (failed,) = (check for check in checks if check.state == "failed")
    assert (failed.group, failed.name) == ("load", name)
    assert word in failed.details
    assert states(checks, "files")["orders"] == "passed"
    assert set(states(checks, "rows").values()) == {"skipped"}


def test_rows_that_differ_before_the_commit_are_a_failed_check_of_their_entity(shop: Sandbox) -> None:
    """A trigger in the database changes them. The other entities are rolled back too, but have not failed."""
    run_ci(shop.project, shop.environment())
    with shop.connect() as connection:
        connection.execute("""
            CREATE FUNCTION louder() RETURNS trigger LANGUAGE plpgsql AS
              $$ BEGIN NEW.name = upper(NEW.name); RETURN NEW; END $$;
            CREATE TRIGGER louder BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION louder();
            CREATE ROLE checks_loader LOGIN;
            GRANT USAGE ON SCHEMA public, snapseed TO checks_loader;
            GRANT ALL ON ALL TABLES IN SCHEMA public, snapseed TO checks_loader;
            GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO checks_loader;
        """)
    try:
        report = run_ci(shop.project, shop.environment(database=f"{shop.url} user=checks_loader"))
    finally:
        with shop.connect() as connection:
            connection.execute("DROP OWNED BY checks_loader; DROP ROLE checks_loader")
    assert report.exit_code == 1
    (failed,) = (check for check in checks_of(report) if check.state == "failed")
    assert (failed.group, failed.name) == ("load", "customers")


@pytest.mark.parametrize(
    ("database", "name"),
    [("postgresql://127.0.0.1:1/none", "reachable"), ("postgresql://prod.internal:1/none", "reachable")],
)
def test_an_unreachable_database_leaves_everything_else_unreached(shop: Sandbox, database: str, name: str) -> None:
    """Only the check of the database fails."""
    checks = checks_of(run_ci(shop.project, shop.environment(database=database, retries=0)))
    assert [(check.group, check.name) for check in checks if check.state == "failed"] == [("database", name)]
    assert {check.state for check in checks[2:]} == {"skipped"}


def test_missing_tables_are_failed_checks_of_a_verification(shop: Sandbox) -> None:
    """Each by its name. Rows that cannot be read are not reached."""
    run_ci(shop.project, shop.environment())
    with shop.connect() as connection:
        connection.execute("DROP TABLE notes; DELETE FROM invoices")
    checks = verify_checks(verify_snapshot(shop.project, shop.environment()))
    failed = {(check.group, check.name) for check in checks if check.state == "failed"}
    assert ("rows", "invoices") in failed
    assert any(group == "tables" and "notes" in name for group, name in failed)
    assert states(checks, "rows")["notes"] == "skipped"
