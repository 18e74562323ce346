"""`load --only` as a process: what it says if other tables refer to the entity, or it refers to others."""

from __future__ import annotations

import json

from tests.conftest import Sandbox


def test_one_entity_alone(shop: Sandbox) -> None:
    """Exit code 2 and the option that helps, for parents and for children. With the option, exit code 0."""
    schema = shop.project.schema
    assert schema is not None
    with shop.connect() as connection:
        connection.execute(schema.read_bytes())
    shown = shop.run("load", "dev", "--only", "invoices", "--format", "json")
    error = json.loads(shown.stdout)["error"]
    assert shown.returncode == 2
    assert error["summary"].endswith("; nothing was changed")
    assert "invoices refers to public.orders, which has no rows" in error["observed"]
    assert "--with-parents" in error["next"]
    shown = shop.run("load", "dev", "--only", "invoices", "--with-parents", check=True)
    for name in ("customers", "categories", "orders", "invoices"):
        assert f"\n  {name} " in shown.stdout
    shown = shop.run("load", "dev", "--only", "orders")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "rows of public.invoices refer to public.orders" in shown.stderr
    assert "--with-children" in shown.stderr
    shown = shop.run("load", "dev", "--only", "orders", "--with-children", check=True)
    with shop.connect() as connection:
        assert connection.execute("SELECT count(*) FROM invoices").fetchone() == (0,)
