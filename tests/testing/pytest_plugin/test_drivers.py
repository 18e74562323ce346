"""What applications connect with: SQLAlchemy, asyncpg, Alembic's migrations, and Django with its own test runner."""

from __future__ import annotations

from tests.testing.pytest_plugin.conftest import Suite, outcomes

_SQLALCHEMY = """
from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool

def test_sqlalchemy(snapseed_url):
    engine = create_engine(snapseed_url.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=QueuePool)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM members")).scalar_one() == 40
        connection.execute(text("DELETE FROM loans"))
    engine.dispose()
"""
_ASYNCPG = """
import asyncio
import asyncpg

def test_asyncpg(snapseed_url):
    async def main():
        connection = await asyncpg.connect(snapseed_url)
        assert await connection.fetchval("SELECT count(*) FROM members") == 40
        await connection.close()

    asyncio.run(main())
"""
# A database is dropped although a test forgot to close its session.
_FORGOTTEN = """
import psycopg
forgotten = []

def test_forgotten(snapseed_url):
    forgotten.append(psycopg.connect(snapseed_url))
"""
_ALEMBIC = """
import pytest
from alembic import command
from alembic.config import Config

@pytest.fixture(scope="session")
def snapseed_schema():
    def migrate(url):
        config = Config()
        config.set_main_option("script_location", "migrations")
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
        config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
        command.upgrade(config, "head")

    return migrate
"""
_ALEMBIC_ENV = """
from alembic import context
from sqlalchemy import create_engine

engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
with engine.begin() as connection:
    context.configure(connection=connection)
    context.run_migrations()
engine.dispose()
"""
_REVISION = """
from pathlib import Path
from alembic import op

revision = "one"
down_revision = None

def upgrade():
    op.execute(Path("schema.sql").read_text())
"""
_SECOND = """
from alembic import op

revision = "two"
down_revision = "one"

def upgrade():
    op.execute("ALTER TABLE members ADD COLUMN email text")
"""
_MIGRATED = """
def test_migrated(snapseed_connection):
    assert snapseed_connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("{}",)
    assert snapseed_connection.execute("SELECT count(*) FROM members").fetchone() == (40,)
"""
_DJANGO_SETTINGS = """
import os
from psycopg.conninfo import conninfo_to_dict

parts = conninfo_to_dict(os.environ["DATABASE_URL"])
SECRET_KEY = "tests"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["library_app"]
TEST_RUNNER = "snapseed.testing.django.SnapshotRunner"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "library",
        "USER": parts.get("user"),
        "PASSWORD": parts.get("password", ""),
        "HOST": parts.get("host"),
        "PORT": parts.get("port", ""),
        "TEST": {"NAME": "test_library_" + str(os.getppid())},
    }
}
"""
_DJANGO_MODELS = """
from django.db import models

class Member(models.Model):
    name = models.TextField()
    joined = models.DateTimeField()

    class Meta:
        db_table = "members"

class Loan(models.Model):
    member = models.ForeignKey(Member, models.CASCADE)
    title = models.TextField()
    taken = models.DateTimeField()
    returned = models.BooleanField()

    class Meta:
        db_table = "loans"
"""
_DJANGO_TESTS = """
from django.test import TestCase
from library_app.models import Member

class Members(TestCase):
    def test_first(self):
        assert Member.objects.count() == 40
        Member.objects.all().delete()

    def test_second(self):
        assert Member.objects.count() == 40
        Member.objects.create(name="Zoe", joined="2026-01-01T00:00:00Z")
"""


def test_other_drivers_take_the_url(suite: Suite) -> None:
    """The URL works as it is, or with the driver's name in it. A connection that a test leaves open does no harm."""
    suite.write(test_sqlalchemy=_SQLALCHEMY, test_asyncpg=_ASYNCPG, test_forgotten=_FORGOTTEN)
    before = suite.clones()
    said = suite.run("-q", "-W", "default")
    assert outcomes(said)["passed"] == 3, said
    assert suite.clones() <= before


def test_tables_may_come_from_migrations(suite: Suite) -> None:
    """They run once per template. A new migration is noticed by its file, and without any file it is an error."""
    versions = suite.folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    (suite.folder / "migrations" / "env.py").write_text(_ALEMBIC_ENV, encoding="utf-8")
    (versions / "one.py").write_text(_REVISION, encoding="utf-8")
    suite.write(conftest=_ALEMBIC, test_migrated=_MIGRATED.format("one"))
    assert "snapseed_schema_files" in suite.run("-q", "-W", "default")
    (suite.folder / "pytest.ini").write_text("[pytest]\nsnapseed_schema_files = migrations/**/*.py\n", encoding="utf-8")
    said = suite.run("-q")
    assert outcomes(said)["passed"] == 1, said
    (versions / "two.py").write_text(_SECOND, encoding="utf-8")
    suite.write(test_migrated=_MIGRATED.format("two"))
    said = suite.run("-q")
    assert outcomes(said)["passed"] == 1, said


def test_django_tests_begin_with_the_snapshot(suite: Suite) -> None:
    """Its own test runner, its migrations, and its copies for parallel processes."""
    application = suite.folder / "library_app"
    (application / "migrations").mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "models": _DJANGO_MODELS,
        "tests": _DJANGO_TESTS,
        "tests_more": _DJANGO_TESTS.replace("Members", "More"),
        "migrations/__init__": "",
    }.items():
        (application / f"{name}.py").write_text(text, encoding="utf-8")
    suite.write(settings=_DJANGO_SETTINGS)
    variables = {"DJANGO_SETTINGS_MODULE": "settings"}
    suite.run("makemigrations", "library_app", module="django", **variables)
    said = suite.run("test", "--noinput", "--parallel=2", module="django", **variables)
    assert "Ran 4 tests" in said, said
    assert "\nOK\n" in said, said
