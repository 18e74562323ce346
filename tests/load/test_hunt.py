from __future__ import annotations
import pytest
from tests.capture.conftest import difference, project_in, restored
from tests.conftest import new_database
from tests.load.test_schemas import CASES, skip_without

@pytest.mark.parametrize("name", CASES)
def test_hunt(shapes, name, tmp_path, server):
    case = CASES[name]
    skip_without(shapes, case)
    shapes.create(case.ddl)
    shapes.load()
    c = project_in(tmp_path, shapes.url)
    r = c.capture()
    with new_database(server) as url:
        restored(c, url)
        d = difference(shapes.url, url)
        assert d == "", str(r.notes) + d
