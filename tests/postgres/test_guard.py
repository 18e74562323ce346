"""The guard refuses servers, names and rows that a load must not touch, unless it is told to allow them."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from snapseed import LoadRequest, find_project, load_snapshot
from snapseed.config import Environment
from snapseed.errors import RefusedError
from snapseed.postgres.connect import Target
from snapseed.postgres.guard import Identity, identify, looks_like_production, require_allowed
from snapseed.servers import EmbeddedPostgres
from tests.conftest import PROJECTS, Connection, Sandbox
from tests.projects.proxy import proxied
from tests.projects.state import contents, generated


def environment(*, hosts: tuple[str, ...] = (), replace_existing: bool = False) -> Environment:
    """An environment as the guard sees it."""
    overrides = {"allow_hosts": hosts, "replace_existing": replace_existing}
    return find_project(PROJECTS / "shop").environment("dev", overrides)


def target(embedded: EmbeddedPostgres | None = None) -> Target:
    """The target that the guard names in its errors."""
    return Target("postgresql://somewhere/app", "postgresql://somewhere/app", "--database", embedded, "app")


def identity(address: str | None = None, *, database: str = "app", role: str = "me", host: str = "") -> Identity:
    """What a server says it is, reached directly."""
    return Identity(address, database, role, host, address)


def own_address() -> str:
    """An address of this machine that is not loopback; the test is skipped without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as chosen, suppress(OSError):
        chosen.connect(("192.0.2.1", 9))  # sends nothing
        if not ipaddress.ip_address(chosen.getsockname()[0]).is_loopback:
            return str(chosen.getsockname()[0])
    pytest.skip("this machine has no address but loopback")


def refusal(found: Identity, of: Target, by: Environment) -> RefusedError | None:
    """The refusal of a server without consent, if it is refused."""
    try:
        require_allowed(found, of, by, consent=False)
    except RefusedError as error:
        return error
    return None


@pytest.mark.parametrize("address", [None, "127.0.0.1", "127.8.8.8", "::1"])
def test_local_servers_are_allowed(address: str | None) -> None:
    """A Unix socket and every loopback address need no permission."""
    assert refusal(identity(address, host="localhost"), target(), environment()) is None


@pytest.mark.parametrize("address", ["10.0.0.5", "172.17.0.2", "192.168.1.1", "2001:db8::1", "0.0.0.0"])  # noqa: S104
def test_other_servers_are_refused_with_the_way_to_allow_them(address: str) -> None:
    """Even with consent. The error names the host, and the table and key in the file."""
    with pytest.raises(RefusedError) as caught:
        require_allowed(
            identity(address, host="db.example.com"), target(), environment(replace_existing=True), consent=True
        )
    assert caught.value.exit_code == 3
    assert "add 'db.example.com' to allow_hosts of [environments.dev]" in str(caught.value)
    assert address in str(caught.value)


def test_a_forwarded_port_does_not_make_a_server_local() -> None:
    """The server's own address counts, not the `localhost` that was asked for."""
    with pytest.raises(RefusedError):
        require_allowed(identity("10.1.2.3", host="localhost"), target(), environment(hosts=("db",)), consent=True)


@pytest.mark.parametrize("allowed", ["postgres", "172.17.0.2"])
def test_a_server_in_allow_hosts_is_allowed(allowed: str) -> None:
    """By the host name that was asked for, or by the address that the server reports."""
    assert refusal(identity("172.17.0.2", host="postgres"), target(), environment(hosts=(allowed,))) is None


PRODUCTION = [
    identity(database="prod"),
    identity(database="app_production"),
    identity(database="PROD-2"),
    identity(role="live"),
    identity("10.0.0.5", host="db.prod.example.com"),
]


@pytest.mark.parametrize("looks", PRODUCTION, ids=str)
def test_names_like_production_need_both_consents(looks: Identity) -> None:
    """--yes alone and replace_existing alone are not enough, both together are."""
    hosts = ("db.prod.example.com",)
    for consent, replacing in ((False, False), (True, False), (False, True)):
        with pytest.raises(RefusedError, match="looks like production"):
            require_allowed(looks, target(), environment(hosts=hosts, replace_existing=replacing), consent=consent)
    require_allowed(looks, target(), environment(hosts=hosts, replace_existing=True), consent=True)


def test_the_refusal_of_such_a_name_says_how_to_go_on() -> None:
    """With both consents, after checking twice."""
    with pytest.raises(RefusedError) as caught:
        require_allowed(identity(database="prod"), target(), environment(), consent=False)
    for words in ("twice", "--yes", "replace_existing = true to [environments.dev]"):
        assert words in str(caught.value.next_step)


@pytest.mark.parametrize(
    "looks",
    [
        Identity(None, "app", "me", "", None, session_role="prod"),
        Identity(None, "app", "me", "", None, asked=("live", "me")),
        Identity(None, "app", "me", "", None, asked=("app", "production")),
        Identity("127.0.0.1", "app", "me", "", None, asked=("app", "me", "prod.example.com")),
    ],
    ids=str,
)
def test_every_name_counts_that_the_server_or_the_url_knows(looks: Identity) -> None:
    """Also the role that logged in before SET ROLE, and the names that a pooler replaced."""
    with pytest.raises(RefusedError, match="looks like production") as caught:
        require_allowed(looks, target(), environment(), consent=True)
    assert any(
        word in str(caught.value.observed) for word in ("'prod'", "'production'", "'live'", "'prod.example.com'")
    )


def test_a_host_name_that_was_not_looked_up_allows_nothing() -> None:
    """With `hostaddr`, the name does not say where the server is; the address does."""
    asked = Identity("10.0.0.5", "app", "me", "", "10.0.0.5", asked=("app", "me", "db.example.com"))
    with pytest.raises(RefusedError) as caught:
        require_allowed(asked, target(), environment(hosts=("db.example.com", "")), consent=True)
    assert "--allow-host 10.0.0.5" in str(caught.value)
    require_allowed(asked, target(), environment(hosts=("10.0.0.5",)), consent=False)


# The end of our connection, the server's own address, and what of `allow_hosts` lets it pass; None: nothing is needed.
ENDS = [
    (None, None, None),
    ("127.0.0.1", None, None),
    (None, "::1", None),
    ("127.0.0.1", "127.0.0.1", None),
    # A pooler or proxy there reaches the server by its socket or loopback, or on a third machine.
    ("10.0.0.5", None, {"10.0.0.5", "db"}),
    ("10.0.0.5", "127.0.0.1", {"10.0.0.5", "db"}),
    ("fd00::5", "::1", {"fd00::5", "db"}),
    ("10.0.0.5", "10.0.0.9", {"10.0.0.5", "10.0.0.9", "db"}),
    ("127.0.0.1", "172.17.0.2", {"172.17.0.2", "db"}),
    (None, "172.17.0.2", {"172.17.0.2", "db"}),
]


@pytest.mark.parametrize(("peer", "address", "passes"), ENDS)
def test_both_ends_must_be_local_or_allowed(peer: str | None, address: str | None, passes: set[str] | None) -> None:
    """What the server says does not make a remote one local, and a loopback address in allow_hosts allows none."""
    found = Identity(address, "app", "me", "db", peer)
    for hosts in (("127.0.0.1", "::1", "other"), ("10.0.0.5",), ("10.0.0.9",), ("fd00::5",), ("172.17.0.2",), ("db",)):
        refused = passes is not None and not passes & set(hosts)
        with pytest.raises(RefusedError) if refused else nullcontext():
            require_allowed(found, target(), environment(hosts=hosts), consent=True)


def test_a_proxy_on_another_address_is_no_local_server(shop: Sandbox) -> None:
    """A real one, that reaches the server by its socket: exit 3, until its address is allowed."""
    address = own_address()
    with proxied(shop.url, address=address) as proxy:
        remote = replace(shop, url=proxy.url)
        refused = remote.run("load", "dev")
        assert refused.returncode == 3, refused.stderr
        assert f"--allow-host {address}" in refused.stderr
        remote.run("load", "dev", "--allow-host", address, check=True)


PRODUCTION_NAMES = """
prod production live prd PROD-2 app_production myproddb shopProd prd01 prd-eu-1 db.prod.example.com liveshop shopLive
SHOPLIVE shoplive mylivedb live2 2live prod2024 productionDB myproductiondb goLive autoLive photolive eu1prd
prodproducts productsprod livedelivery delivery_live ProductsLive preprod shopPROD PRODshop livereplica LIVEdb pRoDdb
prod_products
"""
OTHER_NAMES = """
products product products_test productivity productdb myproducts ProductCatalog reproduce reproduction producer
productions produkte produits prodigy prodotti olive olives olivedb delivery deliveries deliverydb deliver alive oliver
clive relive outlive liver liverpool livery lively livelihood livestock lives lived liveness enliven sliver believe
app_test dev shop snapseed_test_0a1b2c
"""


@pytest.mark.parametrize("name", PRODUCTION_NAMES.split())
def test_a_name_may_be_joined_from_words_of_which_one_says_production(name: str) -> None:
    """In any case, with digits or without, as a part of camel case or of one long word."""
    assert looks_like_production("app", name)


@pytest.mark.parametrize("name", OTHER_NAMES.split())
def test_other_words_with_these_letters_say_nothing(name: str) -> None:
    """`products_test` is a name like any other."""
    assert not looks_like_production(name, name.upper(), f"my_{name}_2")


@pytest.mark.parametrize("path", ["/run/shop-prod", "/srv/live/run", "unix:///run/prod/redis.sock", "/srv/Production"])
def test_the_path_of_a_socket_may_say_production(path: str) -> None:
    """By a word of its own."""
    assert looks_like_production("app", path)


@pytest.mark.parametrize(
    "path", ["/run/eprdig1i", "unix:///tmp/snapseed-prodig1i/s?db=0", "/run/xliveprd", "/srv/xprod1"]
)
def test_letters_in_the_path_of_a_socket_say_nothing(path: str) -> None:
    """The names of temporary folders are random."""
    assert not looks_like_production("app", path)


def test_the_embedded_server_is_always_allowed(tmp_path: Path) -> None:
    """It belongs to the project, whatever the environment is called."""
    found = identity(database="snapseed_production")
    assert refusal(found, target(), environment()) is not None
    assert refusal(found, target(EmbeddedPostgres(tmp_path)), environment()) is None


@pytest.mark.parametrize(
    ("address", "peer"), [("10.0.0.5", "10.0.0.5"), ("127.0.0.1", "127.0.0.1"), (None, "10.0.0.5")]
)
def test_a_server_with_an_address_is_not_the_embedded_one(tmp_path: Path, address: str | None, peer: str) -> None:
    """Something redirected the connection; no consent makes that right."""
    found = Identity(address, "snapseed_dev", "postgres", "db", peer)
    with pytest.raises(RefusedError, match="not the embedded one"):
        require_allowed(found, target(EmbeddedPostgres(tmp_path)), environment(hosts=("db",)), consent=True)


def test_a_server_identifies_itself(connection: Connection) -> None:
    """Address, database and role come from the server, not from the URL."""
    found = identify(connection)
    assert found.database == connection.info.dbname
    assert found.role == found.session_role == connection.info.user
    assert found.host == connection.info.host
    where = found.address or "a Unix socket"
    assert str(found) == f"database {found.database!r} at {where} (host {found.host}), role {found.role!r}"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_name_that_psycopg_looks_up_counts(database: str, host: str) -> None:
    """It is passed on to libpq as an address, but the user did not give that address."""
    with proxied(database) as proxy, psycopg.connect(make_conninfo(proxy.url, host=host)) as connection:
        assert identify(connection).host == host


def test_a_server_tells_the_role_that_logged_in(connection: Connection) -> None:
    """In addition to the current role."""
    connection.execute("SET ROLE pg_monitor")
    found = identify(connection)
    assert (found.role, found.session_role) == ("pg_monitor", connection.info.user)
    assert f"role 'pg_monitor' (logged in as {connection.info.user!r})" in str(found)


@pytest.mark.parametrize("by_variable", [False, True])
def test_the_name_of_a_host_counts_only_if_it_was_looked_up(database: str, *, by_variable: bool) -> None:
    """With `hostaddr` or PGHOSTADDR, the host is only for certificates. It still counts as a name."""
    program = """if True:
        import sys, psycopg
        from snapseed.postgres.guard import identify
        with psycopg.connect(sys.argv[1]) as connection:
            found = identify(connection)
        print(repr(found.host), "prod.example.com" in found.asked, found)
    """
    with proxied(database) as proxy:
        url = make_conninfo(proxy.url, host="prod.example.com", **({} if by_variable else {"hostaddr": "127.0.0.1"}))
        # In a process of its own, for the proxy connects, too.
        variables = {**os.environ, **({"PGHOSTADDR": "127.0.0.1"} if by_variable else {})}
        command = [sys.executable, "-c", program, url]
        ended = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=30)
    assert ended.stdout.startswith("'' True database"), ended.stderr
    assert "asked for 'prod.example.com'" in ended.stdout


@pytest.fixture
def production(shop: Sandbox) -> Iterator[Sandbox]:
    """A project bound to an empty database whose name looks like production."""
    name = f"snapseed_{uuid.uuid4().hex[:12]}_production"
    with shop.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield replace(shop, url=make_conninfo(shop.url, dbname=name))
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.mark.parametrize("way", ["variables", "service"])
def test_what_libpq_finds_by_itself_is_guarded_too(production: Sandbox, way: str) -> None:
    """With an empty `database`, PG* variables or a service file name the server, and its answer counts."""
    parts = {name: str(value) for name, value in conninfo_to_dict(production.url).items()}
    file = production.folder / "snapseed.toml"
    file.write_text(file.read_text().replace("${SHOP_DATABASE:-embedded}", ""))
    if way == "variables":
        names = {"dbname": "PGDATABASE"}
        variables = {names.get(name, f"PG{name.upper()}"): value for name, value in parts.items()}
    else:
        services = production.folder / "services.conf"
        services.write_text("\n".join(["[harmless]", *(f"{name}={value}" for name, value in parts.items())]) + "\n")
        variables = {"PGSERVICE": "harmless", "PGSERVICEFILE": str(services)}
    refused = production.run("load", "dev", check=False, SNAPSEED_DATABASE="", **variables)
    assert refused.returncode == 3, refused.stderr
    assert "a name looks like production" in refused.stderr
    assert f"database '{parts['dbname']}' at" in refused.stderr
    assert "PG* variables, service file" in refused.stderr
    with production.connect() as connection:
        assert connection.execute("SELECT count(*) FROM pg_stat_user_tables").fetchone() == (0,)
    production.run("load", "dev", "--yes", check=True, SNAPSEED_DATABASE="", SNAPSEED_REPLACE_EXISTING="1", **variables)


@pytest.fixture
def occupied(make_project: Callable[[str], Sandbox]) -> Sandbox:
    """A shop whose tables hold rows that snapseed did not load."""
    sandbox = generated(make_project("shop"), scale=20)
    schema = sandbox.project.schema
    assert schema is not None
    with sandbox.connect() as connection:
        connection.execute(schema.read_bytes())
        connection.execute("INSERT INTO categories VALUES ('mine', 'precious', 1)")
    return sandbox


def test_rows_that_snapseed_did_not_load_are_not_replaced(occupied: Sandbox) -> None:
    """The error names the table and both ways to allow it, the row stays, and no record of loads is created."""
    with occupied.connect() as connection:
        before = contents(connection)
        with pytest.raises(RefusedError) as caught:
            load_snapshot(occupied.project, occupied.environment())
        assert contents(connection) == before
        assert connection.execute("SELECT to_regnamespace('snapseed')").fetchone() == (None,)
    assert caught.value.summary == "these tables hold rows that snapseed did not load; nothing was changed"
    for words in ("rows in public.categories", "--yes", "replace_existing = true"):
        assert words in str(caught.value)


def test_consent_replaces_them_and_the_next_load_needs_none(occupied: Sandbox) -> None:
    """Rows that snapseed has loaded, snapseed may replace."""
    load_snapshot(occupied.project, occupied.environment(), LoadRequest(consent=True))
    load_snapshot(occupied.project, occupied.environment())
    with occupied.connect() as connection:
        assert connection.execute("SELECT count(*) FROM categories WHERE code = 'mine'").fetchone() == (0,)


def test_replace_existing_is_consent_once_and_for_all(occupied: Sandbox) -> None:
    """As a key of the environment, without --yes."""
    load_snapshot(occupied.project, occupied.environment(replace_existing=True))
    with occupied.connect() as connection:
        assert connection.execute("SELECT count(*) FROM categories WHERE code = 'mine'").fetchone() == (0,)


def test_tables_that_a_load_of_some_left_out_are_still_not_ours(occupied: Sandbox) -> None:
    """Loading one entity does not allow replacing the rows of another."""
    load_snapshot(occupied.project, occupied.environment(), LoadRequest(only=["customers"]))
    with pytest.raises(RefusedError, match="did not load"):
        load_snapshot(occupied.project, occupied.environment())
