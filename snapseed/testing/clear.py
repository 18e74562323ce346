"""Drop what is no longer of use: clones whose process is gone, and templates by age and number. Never one in use."""

from __future__ import annotations

import time
from contextlib import suppress

import psycopg

from snapseed.testing.names import KeptMark, TemplateMark, is_template, lock_key, run_of
from snapseed.testing.server import DatabaseFacts, Server

# A branch that nobody has tested for a week is made again in the time of a load.
MAX_AGE_SECONDS = 7 * 24 * 3600
# A template takes the room of a snapshot with its indexes; this many branches and environments can take turns.
MAX_TEMPLATES = 8


def clear(server: Server, *, max_age: float = MAX_AGE_SECONDS, max_templates: int = MAX_TEMPLATES) -> list[str]:
    """Drop databases of this role that are no longer of use, and return their names.

    What others use is told by their locks. Those of the caller's own connection do not keep itself out: it releases
    them before, and its clones go with the rest. A clone that was kept stays until it is older than `max_age`.
    """
    cleared = []
    complete = sorted(_complete(server), key=lambda facts: facts[1].used, reverse=True)
    too_many = {facts.name for facts, _ in complete[max_templates:]}
    for facts in server.own_databases():
        run = run_of(facts.name)
        if run is not None:
            cleared += _drop_clone(server, facts, run, max_age)
        elif is_template(facts.name):
            cleared += _drop_template(server, facts, max_age, unwanted=facts.name in too_many)
    return cleared


def _complete(server: Server) -> list[tuple[DatabaseFacts, TemplateMark]]:
    return [
        (facts, facts.mark)
        for facts in server.own_databases()
        if is_template(facts.name) and isinstance(facts.mark, TemplateMark)
    ]


def _drop_clone(server: Server, facts: DatabaseFacts, run: str, max_age: float) -> list[str]:
    if isinstance(facts.mark, KeptMark):
        return _drop(server, facts.name) if time.time() - facts.mark.used > max_age else []
    if not server.try_lock(lock_key(run)):
        return []
    try:
        return _drop(server, facts.name)
    finally:
        server.unlock(lock_key(run))


def _drop_template(server: Server, facts: DatabaseFacts, max_age: float, *, unwanted: bool) -> list[str]:
    key = lock_key(facts.name)
    if not server.try_lock(key):
        return []
    try:
        # Read again under the lock: it may have been completed, or used, since the list was made.
        mark = server.mark(facts.name)
        old = isinstance(mark, TemplateMark) and time.time() - mark.used > max_age
        return _drop(server, facts.name) if unwanted or old or mark is None else []
    finally:
        server.unlock(key)


def _drop(server: Server, name: str) -> list[str]:
    # Somebody may be copying it by hand; a later run finds it again.
    with suppress(psycopg.errors.ObjectInUse):
        server.drop(name)
        return [name]
    return []
