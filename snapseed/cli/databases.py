"""The commands for whole databases: `snapseed db` and its embedded servers, `reset`, `save` and `states`."""

from __future__ import annotations

import os
import re
import shutil
from argparse import ArgumentParser
from typing import Annotated

import typer

from snapseed.cli import embeddings, text
from snapseed.cli.documents import document
from snapseed.cli.options import WRITES, Call, LongVerbose, in_project, state_names
from snapseed.cli.progress import Meter
from snapseed.errors import UsageError
from snapseed.redaction import redacted

db = typer.Typer(
    help="The embedded servers: start, stop, drop, logs, URLs, and psql.", no_args_is_help=True, rich_markup_mode=None
)

# psql's flags in front of the option -d, all in one argument.
_FLAGS_AND_DATABASE = re.compile(r"(-[aAbeEHlnqsStwWxXz01]+)(d.*)")


@db.command()
@in_project("environment", "results")
def start(call: Call) -> None:
    """Start the servers of the environment; create its database."""
    environment = call.environment
    from snapseed.postgres.connect import connected
    from snapseed.servers import EmbeddedRedis
    from snapseed.servers.targets import EMBEDDED, resolve_target

    urls = {}
    target = resolve_target(call.project, environment)
    if target.embedded is not None:
        with connected(target):
            urls["postgres"] = target.conninfo
    if environment.redis == EMBEDDED and call.project.embeddings:
        redis = EmbeddedRedis(call.project.folder)
        redis.start()
        urls["redis"] = redis.url()
    if not urls:
        raise UsageError(f"environment {environment.name!r} uses no embedded server", observed=target.described)
    _show(call, urls)


@db.command()
@in_project("results")
def stop(call: Call) -> None:
    """Stop the project's embedded servers. Their data stays."""
    from snapseed.servers import EmbeddedPostgres, EmbeddedRedis

    folder = call.project.folder
    stopped = {"postgres": EmbeddedPostgres(folder).stop(), "redis": EmbeddedRedis(folder).stop()}
    if not (call.project.embeddings or stopped["redis"]):
        del stopped["redis"]
    _show(call, {name: "stopped" if was_running else "was not running" for name, was_running in stopped.items()})


@db.command()
@in_project("environment", "allow_host", "yes", "database", "results")
def drop(call: Call) -> None:
    """Drop the environment's database. Its saved states stay."""
    from snapseed.load.recreate import drop_database
    from snapseed.testing.states import list_states

    environment = call.environment
    name = drop_database(call.project, environment, consent=call.options.yes)
    saved = [state.name for state in list_states(call.project, environment).states]
    stay = [f"its states stay: {', '.join(saved)} (see `snapseed states {environment.name}`)"] if saved else []
    call.show([f"dropped database {name}", *stay], {"dropped": name, "states": saved})


@db.command()
@in_project("environment", "results")
def logs(
    call: Call, lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 40
) -> None:
    """Print the end of the log of the embedded PostgreSQL."""
    from snapseed.servers import EmbeddedPostgres
    from snapseed.servers.account import read_end
    from snapseed.servers.targets import resolve_target

    target, log = resolve_target(call.project, call.environment), EmbeddedPostgres(call.project.folder).log_file
    if target.embedded is None or not log.exists():
        raise UsageError("there is no log of an embedded server", where=str(log), observed=target.described)
    last = read_end(log).splitlines()[-lines:]
    call.show([f"log: {log}", *last], {"log": str(log), "lines": last})


@db.command()
@in_project("environment", "results")
def url(
    call: Call,
    show_password: Annotated[bool, "Include the password, if there is one."] = False,
) -> None:
    """Print the URL of the environment's database."""
    from snapseed.servers.targets import resolve_target

    target = resolve_target(call.project, call.environment)
    shown = target.conninfo if show_password else redacted(target.conninfo)
    call.show([shown], {"url": shown})


@db.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
@in_project("environment", "database", verbose=LongVerbose)
def psql(call: Call, context: typer.Context) -> None:
    """Open psql on the environment's database. Further arguments are passed to psql; -d names another one."""
    arguments = context.args
    if (first := call.options.environment) and (first.startswith("-") or " " in first):
        call, arguments = call.of(None), [first, *arguments]
    if arguments and not arguments[0].startswith("-"):
        raise UsageError("psql takes SQL after -c", observed=arguments[0])
    from psycopg.conninfo import conninfo_to_dict

    from snapseed.postgres.connect import connected, for_program
    from snapseed.servers.targets import resolve_target

    target = resolve_target(call.project, call.environment)
    if target.embedded is None:
        program = shutil.which("psql")
    else:
        # Starts it.
        with connected(target):
            program = str(target.embedded.psql())
    if program is None:
        raise UsageError("psql is not on the PATH", next_step="install PostgreSQL's client programs")
    # psql would take only the first of two databases, on the server that it finds by itself.
    split = ((given, _FLAGS_AND_DATABASE.fullmatch(given)) for given in arguments)
    arguments = [part for given, found in split for part in ((found[1], f"-{found[2]}") if found else (given,))]
    parser = ArgumentParser("snapseed db psql", add_help=False, allow_abbrev=False)
    parser.add_argument("-d", "--dbname", default=conninfo_to_dict(target.conninfo).get("dbname"))
    chosen, arguments = parser.parse_known_args(arguments)
    conninfo, variables = for_program(target, dbname=chosen.dbname)
    os.execve(program, [program, conninfo, *arguments], variables)  # noqa: S606 - psql replaces us, without a shell


def _show(call: Call, values: dict[str, str]) -> None:
    call.show((f"{name}: {value}" for name, value in values.items()), dict(values))


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
            next_step = "leave out --fresh, --recreate and --snapshot"
            raise UsageError("a state is not made from a snapshot", next_step=next_step)
        from snapseed.testing.states import reset_to_state

        with Meter(quiet=call.options.quiet) as meter:
            done = reset_to_state(call.project, environment, state, consent=consent, listener=meter)
        call.show(text.state(done, quiet=call.options.quiet), document(done))
        return
    from snapseed.testing.reset import reset_environment

    with embeddings.jobs_of_load(call, environment):
        with Meter(quiet=call.options.quiet) as meter:
            report = reset_environment(
                call.project, environment, consent=consent, fresh=fresh, recreate=recreate, listener=meter
            )
        call.show(text.reset(report, quiet=call.options.quiet), document(report))


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
    call.show(text.state(done, quiet=call.options.quiet), document(done))


@in_project("environment", "allow_host", "yes", "database", "results")
def states(
    call: Call,
    delete: Annotated[
        str | None, typer.Option("--delete", metavar="STATE", help="Delete this state.", autocompletion=state_names)
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
