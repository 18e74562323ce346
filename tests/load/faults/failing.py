"""A load that fails, and everything that must hold afterwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from snapseed import LoadRequest, SnapseedError, load_snapshot
from snapseed.events import Listener, ignore
from snapseed.load.outcome import Outcome
from tests.conftest import Sandbox
from tests.projects.state import check_told, whole_state

# A slow check that lets every row pass, so that the load spends seconds in COPY.
SLOW = """
CREATE FUNCTION slowly(bigint) RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_sleep(0.002); RETURN true; END $$;
ALTER TABLE orders ADD CONSTRAINT slow CHECK (slowly(id)) NOT VALID;
"""
# What an administrator may do to the session of a load.
TERMINATE = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = 'snapseed' AND datname = current_database()"""
CANCEL = """SELECT pg_cancel_backend(pid) FROM pg_stat_activity
             WHERE application_name = 'snapseed' AND datname = current_database()"""


def fail(
    sandbox: Sandbox,
    *,
    only: tuple[str, ...] = (),
    listener: Listener = ignore,
    recover: Callable[[], object] = lambda: None,
    **overrides: object,
) -> SnapseedError:
    """The error of a load that must change nothing, leave nothing behind, and say so. First, `recover` is called."""
    before = whole_state(sandbox.url)
    with pytest.raises(SnapseedError) as caught:
        load_snapshot(
            sandbox.project, sandbox.environment(None, **overrides), LoadRequest(only=only), listener=listener
        )
    recover()
    assert caught.value.summary.endswith("; nothing was changed")
    assert check_told(sandbox, before, caught.value.summary) is Outcome.UNCHANGED
    return caught.value
