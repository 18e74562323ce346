"""A capture that masks values or leaves rows out never replaces its own source, whatever is consented to."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from snapseed import LoadRequest, load_snapshot
from snapseed.capture.request import subset_request
from snapseed.config.settings import variable_of
from snapseed.diff.repair import RepairRequest, repair_snapshot
from snapseed.errors import RefusedError
from snapseed.load.request import Mode
from tests.capture.conftest import Captured, filled, project_in
from tests.capture.mask.conftest import SECRET

TABLE = "CREATE TABLE people (id int PRIMARY KEY, mail text); INSERT INTO people VALUES (1, 'canary@x.org'), (2, NULL)"
RULES = '[environments.dev]\n[mask]\n"people.mail" = "email"\n'


@pytest.fixture
def own(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Captured:
    """A project with a rule for a column of the database that it captures."""
    monkeypatch.setenv(variable_of("mask_secret"), SECRET)
    return project_in(tmp_path, filled(database, TABLE), RULES)


@pytest.mark.parametrize("kind", ["masked", "subset", "whole"])
def test_a_lossy_capture_never_replaces_its_source(own: Captured, kind: str) -> None:
    """In no mode that removes or changes rows, nor with --yes, nor under another user or in a dry run."""
    subset = subset_request(where=["people: id = 1"]) if kind == "subset" else None
    own.capture(unmasked=kind != "masked", subset=subset)
    environment = own.project.environment("dev", {"source": own.url, "database": own.url})
    if kind == "whole":
        load_snapshot(own.project, environment, LoadRequest(consent=True))
        return
    for named in (environment, environment.changed(source=make_conninfo(own.url, user="reader"))):
        for mode in (Mode.REPLACE, Mode.UPSERT):
            with pytest.raises(RefusedError):
                load_snapshot(own.project, named, LoadRequest(consent=True, mode=mode))
        with pytest.raises(RefusedError):
            repair_snapshot(own.project, named, RepairRequest(consent=True))
    with psycopg.connect(own.url) as connection:
        assert connection.execute(
            "SELECT count(*) FROM people WHERE mail = 'canary@x.org' OR mail IS NULL"
        ).fetchone() == (2,)
    load_snapshot(
        own.project, environment.changed(source=make_conninfo(own.url, dbname="other")), LoadRequest(consent=True)
    )
