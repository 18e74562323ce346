"""What columns hold if nothing but their names, types and defaults is known: each fact is a query that finds no row."""

from __future__ import annotations

import psycopg
import pytest

from tests.scaffold.conftest import Init, load, module, said

SCHEMA = """
CREATE TABLE users (
    id serial PRIMARY KEY, email text NOT NULL, invited_at timestamptz, last_sign_in_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(), deleted_at timestamptz, banned_until timestamptz,
    locked_at timestamptz, reset_password_token text, expires_at timestamptz, due_at timestamptz,
    settings jsonb NOT NULL DEFAULT '[]', status integer NOT NULL DEFAULT 0, server_ts bigint NOT NULL,
    updated_ms bigint NOT NULL, seen_ts integer NOT NULL, search tsvector, iso_3166_1_a3 text NOT NULL,
    country_code char(3) NOT NULL, language_code char(2) NOT NULL, city text NOT NULL, state text NOT NULL,
    email_subject text NOT NULL, file_ext text NOT NULL, url_path text NOT NULL);
CREATE TABLE events (
    id serial PRIMARY KEY, user_id integer NOT NULL, editor_user_id integer, starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL, valid_from date NOT NULL, valid_to date NOT NULL, price_min numeric(10, 2) NOT NULL,
    price_max numeric(10, 2) NOT NULL, min_seats integer NOT NULL, max_seats integer NOT NULL,
    total_excl_tax numeric(12, 2) NOT NULL, total_incl_tax numeric(12, 2) NOT NULL, tax numeric(12, 2) NOT NULL,
    owner_id integer NOT NULL, owner_type text NOT NULL);
CREATE TABLE pages (
    id serial PRIMARY KEY, path varchar(255) NOT NULL UNIQUE, depth integer NOT NULL, numchild integer NOT NULL);
CREATE TABLE vehicles (
    id serial PRIMARY KEY, type text, created_at timestamp NOT NULL, updated_at timestamp NOT NULL, parent_id integer);
"""

FACTS = {
    "few are deleted": "SELECT FROM users HAVING count(deleted_at) + count(banned_until) + count(locked_at)"
    " + count(reset_password_token) NOT BETWEEN 1 AND 4 * 0.1 * count(*)",
    "nobody signs in or is invited before the account exists": "SELECT FROM users "
    "WHERE last_sign_in_at < created_at OR invited_at < created_at",
    "what expires has not yet": "SELECT FROM users WHERE expires_at < '2026-01-01'",
    "what is due is so soon": "SELECT FROM users"
    " WHERE due_at NOT BETWEEN created_at AND created_at + interval '31 days'",
    "a default says what a document is": "SELECT FROM users WHERE settings <> '[]'",
    "a status is small": "SELECT FROM users WHERE status NOT BETWEEN 0 AND 3",
    "moments as numbers": "SELECT FROM users"
    " WHERE to_timestamp(server_ts / 1000) NOT BETWEEN '2020-01-01' AND '2026-01-01'"
    " OR to_timestamp(updated_ms / 1000) NOT BETWEEN '2020-01-01' AND '2026-01-01'"
    " OR to_timestamp(seen_ts) NOT BETWEEN '2020-01-01' AND '2026-01-01'",
    "codes by their length": "SELECT FROM users WHERE iso_3166_1_a3 !~ '^[A-Z]{3}$' OR country_code !~ '^[A-Z]{3}$'"
    " OR language_code !~ '^[a-z]{2}$'",
    "an address is in one place": "SELECT FROM users WHERE (city IN ('Austin', 'Denver')) <> (country_code = 'USA')"
    " OR (city = 'Austin') <> (state = 'Texas') UNION ALL SELECT FROM users HAVING count(DISTINCT city) < 20",
    "texts about mails, files and addresses": "SELECT FROM users"
    " WHERE email_subject ~ '@' OR file_ext ~ '/' OR url_path ~ '^http'",
    "starts come before ends": "SELECT FROM events WHERE starts_at > ends_at OR valid_from > valid_to",
    "the least before the most": "SELECT FROM events WHERE price_min > price_max OR min_seats > max_seats",
    "taxes are in proportion": "SELECT FROM events"
    " WHERE total_excl_tax > total_incl_tax OR tax > total_incl_tax HAVING count(*) > 0"
    " UNION ALL SELECT FROM events HAVING max(tax) < 1",
    "a key that nobody declared": "SELECT FROM events e WHERE NOT EXISTS (SELECT FROM users WHERE id = e.user_id)"
    " OR (editor_user_id IS NOT NULL AND NOT EXISTS (SELECT FROM users WHERE id = e.editor_user_id))",
    "a path of a tree": r"SELECT FROM pages WHERE path !~ '^\d{4}$' OR depth <> 1 OR numchild <> 0",
    "a parent of the same table": "SELECT FROM vehicles v WHERE parent_id IS NOT NULL"
    " AND NOT EXISTS (SELECT FROM vehicles WHERE id = v.parent_id)",
    "what the application keeps": "SELECT FROM vehicles WHERE type IS NOT NULL",
}


@pytest.fixture
def loaded(init: Init, database: str) -> tuple[psycopg.Connection[tuple[object, ...]], str, str]:
    """The tables with rows, what init has said, and the module of `events`."""
    project = init(SCHEMA)
    load(project, scale=300)
    return psycopg.connect(database), said(project), module(project, "events")


def test_defaults_by_name(loaded: tuple[psycopg.Connection[tuple[object, ...]], str, str]) -> None:
    """All facts hold, and what was guessed says so."""
    connection, told, events = loaded
    with connection:
        wrong = [fact for fact, query in FACTS.items() if connection.execute(query.encode()).fetchall()]
    assert wrong == []
    assert "a guess" in told
    assert "a guess" in events
    assert "owner_id: a guess" not in events
