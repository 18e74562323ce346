"""The commands that put a database back, to its snapshot or to a saved state: `reset`, `save` and `states`."""

from __future__ import annotations

from typing import Annotated

import typer

from snapseed.cli import embeddings, text
from snapseed.cli.documents import document
from snapseed.cli.options import WRITES, Call, in_project, state_names
from snapseed.cli.progress import Meter
from snapseed.errors import UsageError


@in_project(*WRITES, "results", "quiet")
def reset(
    call: Call,
    state: Annotated[str | None, typer.Argument(help="Back to this saved state.", autocompletion=state_names)] = None,
    fresh: Annotated[bool, "Load the snapshot, and make a new template from it."] = False,
    recreate: Annotated[bool, "Drop all tables first; create them from the schema file."] = False,
) -> None:
    """Put the database back to its snapshot, or to a state. Ends all sessions in it."""
    call, state = call.with_second(state)
    environment, consent = call.environment, call.options.yes
    if state is not None:
        if fresh or recreate or call.options.snapshot:
            raise UsageError(
                "a state is not made from a snapshot", next_step="leave out --fresh, --recreate and --snapshot"
            )
        from snapseed.testing.states import reset_to_state

        with Meter(quiet=call.options.quiet) as meter:
            done = reset_to_state(call.project, environment, state, consent=consent, listener=meter)
        call.show(text.state(done), document(done))
        return
    from snapseed.testing.reset import reset_environment

    with embeddings.jobs_of_load(call, environment):
        with Meter(quiet=call.options.quiet) as meter:
            report = reset_environment(
                call.project, environment, consent=consent, fresh=fresh, recreate=recreate, listener=meter
            )
        call.show(text.reset(report), document(report))


@in_project("environment", "allow_host", "yes", "database", "results", "quiet")
def save(call: Call, state: Annotated[str | None, typer.Argument(help="A name for the state.")] = None) -> None:
    """Save the database as a state for `reset`. Ends all sessions in it. --yes replaces a state of this name."""
    call, state = call.with_second(state)
    if state is None:
        raise UsageError("the state has no name", next_step="snapseed save [ENVIRONMENT] STATE")
    environment = call.environment
    from snapseed.testing.states import save_state

    with Meter(quiet=call.options.quiet) as meter:
        done = save_state(call.project, environment, state, consent=call.options.yes, listener=meter)
    call.show(text.state(done), document(done))


@in_project("environment", "allow_host", "yes", "database", "results")
def listed(
    call: Call,
    delete: Annotated[
        str | None,
        typer.Option("--delete", metavar="STATE", help="Delete this state.", autocompletion=state_names),
    ] = None,
) -> None:
    """Show the saved states of the database, or delete one."""
    environment = call.environment
    from snapseed.testing.states import delete_state, list_states

    if delete is not None:
        state = delete_state(call.project, environment, delete, consent=call.options.yes)
        call.show([f"deleted {state}"], {"deleted": document(state)})
        return
    found = list_states(call.project, environment)
    call.show(text.states(found), document(found))
