"""Which database and which Redis an environment uses, and the connection to that Redis: guarded, errors translated."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from snapseed.config import Environment, Project
from snapseed.errors import ConfigurationError, RefusedError, ServerError, SnapseedError, extra
from snapseed.postgres.connect import Target, target_of
from snapseed.postgres.guard import looks_like_production
from snapseed.redaction import redacted, redacted_quotes
from snapseed.servers.postgres import EmbeddedPostgres
from snapseed.servers.valkey import EmbeddedRedis

if TYPE_CHECKING:
    import redis

EMBEDDED = "embedded"
# A server that is up answers at once. A claim that waits for jobs waits for less than a reply may take.
_CONNECT_SECONDS = 10
_REPLY_SECONDS = 60
# URLs with a single meaning: redis-py would cut a password at /, ? or #, and take the parts for host, port and options.
_LOGIN = r"(?:(?:[^/?#%\r\n\t]|%[0-9a-f]{2})*@)?"
_REDIS = re.compile(
    rf"(?:rediss?://{_LOGIN}(?:\[[^]/?#@]*]|[^/?#@:]*)(?::\d*)?(?:/\d*)?|unix://{_LOGIN}/[^?#]*)(?:\?(?:\w+=[^&#@]*(?:&\w+=[^&#@]*)*)?)?",
    re.IGNORECASE,
)
# What redis-py calls the parts of a URL. Options about certificates, `ssl_…`, are allowed too.
_URL_PARTS = {"connection_class", "db", "host", "password", "path", "port", "username"}


@dataclass(frozen=True)
class RedisTarget:
    """A Redis to connect to: its URL, the same without its password, and where the setting came from."""

    url: str
    described: str
    source: str
    host: str
    embedded: EmbeddedRedis | None


def resolve_target(project: Project, environment: Environment) -> Target:
    """The database of `environment`; touches nothing.

    Raises `ConfigurationError` for a URL that does not parse or whose variable is not set.
    """
    setting, source = environment.database, environment.sources.get("database", "")
    if setting == EMBEDDED:
        server = EmbeddedPostgres(project.folder)
        name = f"snapseed_{environment.name.replace('-', '_')}"
        described = f"embedded PostgreSQL, database {name}"
        return Target(server.url(name), described, source, server, name, environment.lock_timeout)
    return replace(target_of(setting, source), lock_timeout=environment.lock_timeout)


def resolve_source(environment: Environment) -> Target:
    """The database that the environment's snapshot is captured from; touches nothing.

    Raises `ConfigurationError` if there is none, for a URL that does not parse or whose variable is not set.
    """
    if environment.source is None:
        raise ConfigurationError(
            "there is no database to capture",
            where=f"environment {environment.name!r}",
            expected="its URL",
            next_step=f"add --from URL, or `source` to [environments.{environment.name}]",
        )
    return replace(target_of(environment.source, environment.sources["source"]), lock_timeout=environment.lock_timeout)


def resolve_redis(project: Project, environment: Environment) -> RedisTarget:
    """The Redis of `environment`; touches nothing. Raises `ConfigurationError` as `resolve_target` does."""
    source = environment.sources.get("redis", "")
    if environment.redis == EMBEDDED:
        server = EmbeddedRedis(project.folder)
        return RedisTarget(server.url(), "embedded Valkey", source, "", server)
    try:
        if not _REDIS.fullmatch(environment.redis):
            raise ValueError("not a URL of this form, or with a character that has to be escaped")  # noqa: TRY301
        parts = _library().connection.parse_url(environment.redis)
        if unknown := [name for name in parts if name not in _URL_PARTS and not name.startswith("ssl_")]:
            raise ValueError(f"unknown options: {', '.join(unknown)}")  # noqa: TRY301
    except ValueError as exc:
        raise ConfigurationError(
            "the Redis URL cannot be used",
            where=source,
            observed=redacted_quotes(str(exc), environment.redis),
            expected="redis://USER:PASSWORD@HOST:PORT/NUMBER, rediss://…, unix:///PATH?db=NUMBER, or `embedded`",
            next_step="in a password, write / as %2F, # as %23, ? as %3F, @ as %40 and % as %25",
        ) from None
    return RedisTarget(environment.redis, redacted(environment.redis), source, str(parts.get("host", "")), None)


@contextmanager
def redis_connected(target: RedisTarget, environment: Environment, *, consent: bool = False) -> Iterator[redis.Redis]:
    """A client whose server has answered, closed at the end. Starts the embedded server where that is the target.

    Raises `RefusedError` for a server that the environment does not allow, `ServerError` where it does not answer.
    """
    require_redis_allowed(target, environment, consent=consent)
    library = _library()
    if target.embedded is not None:
        target.embedded.start()
    client = library.Redis.from_url(
        target.url,
        socket_connect_timeout=_CONNECT_SECONDS,
        socket_timeout=_REPLY_SECONDS,
        client_name="snapseed",
        # No retries by the library: when the answer to a claim is lost, the retry would claim other jobs, and those
        # of the first claim would stay claimed.
        retry=library.retry.Retry(library.backoff.NoBackoff(), 0),
    )
    try:
        with redis_translated("connecting to Redis", target):
            client.ping()
        yield client
    finally:
        client.close()


@contextmanager
def redis_translated(doing: str, target: RedisTarget) -> Iterator[None]:
    """Turn the client's errors into `ServerError`; wrong credentials and missing rights into `ConfigurationError`."""
    errors = _library().exceptions
    try:
        yield
    except errors.RedisError as exc:
        kind: type[SnapseedError] = ServerError
        summary, expected = f"Redis failed while {doing}", None
        next_step = "run the same command again; the server's log says more"
        if isinstance(exc, (errors.AuthenticationError, errors.NoPermissionError)):
            kind, summary = ConfigurationError, "Redis refused us"
            next_step = "check user, password and the privileges of the user"
        elif isinstance(exc, errors.OutOfMemoryError):
            summary, expected = (
                f"Redis has no memory left for {doing}",
                "room for all jobs, and maxmemory-policy noeviction",
            )
            next_step = "raise maxmemory, or wait until workers have done some of the jobs; then run the command again"
        where = f"{target.described} ({target.source})"
        raise kind(summary, where=where, observed=redacted(str(exc)), expected=expected, next_step=next_step) from exc


def require_redis_allowed(target: RedisTarget, environment: Environment, *, consent: bool) -> None:
    """Raise `RefusedError` unless this server may be used: the rules are those for databases."""
    place = f"[environments.{environment.name}]"
    if not (target.embedded or _is_local(target.host) or target.host in environment.allow_hosts):
        raise RefusedError(
            "this Redis is not one that the environment allows",
            where=f"{target.described} ({target.source})",
            expected=f"a Unix socket, loopback, or a host in allow_hosts = {list(environment.allow_hosts)}",
            next_step=f"if it is the right one, add --allow-host {target.host}, or add it to allow_hosts of {place}",
        )
    if looks_like_production(target.described) and not (consent and environment.replace_existing):
        raise RefusedError(
            "a name looks like production",
            where=f"{target.described} ({target.source})",
            next_step=f"if it is not, add both --yes and replace_existing = true to {place}",
        )


def _is_local(host: str) -> bool:
    """Whether the host is this machine."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host in {"", "localhost"}


def _library() -> Any:  # noqa: ANN401 - a module
    """The client library. Raises `ConfigurationError` if it is not installed."""
    with extra("queue", "the client for Redis is"):
        import redis  # noqa: PLC0415 - an extra
    return redis
