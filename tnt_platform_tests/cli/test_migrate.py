"""`tnt migrate` on a real PostgreSQL: its output, its changes and its exit code."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import URL

from tnt_platform.cli.main import main
from tnt_platform.directory.postgres.migrations import migrate, revisions
from tnt_platform.services.postgres import Database
from tnt_platform_tests.directory.postgres.postgres_queries import rows, statement

pytest_plugins = ("tnt_platform_tests.postgres_fixtures",)


@pytest.fixture
def database(empty_database_url: URL, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("DATABASE_URL", empty_database_url.render_as_string(hide_password=False))
    return Database(empty_database_url, application_name="tests")


def tnt(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_an_empty_database_gets_the_newest_schema_and_both_steps_are_named(database: Database) -> None:
    target = revisions(database).target
    result = tnt("migrate")
    assert result.exit_code == 0, result.output
    assert result.output.count(target) == 2
    assert rows(database, "SELECT version_num FROM alembic_version") == [(target,)]
    assert rows(database, "SELECT count(*) FROM shops") == [(0,)]


def test_a_database_at_the_newest_step_is_left_alone(database: Database) -> None:
    migrate(database)
    before = rows(database, "SELECT xmin::text, * FROM alembic_version")
    result = tnt("migrate")
    assert result.exit_code == 0
    assert result.output.count(revisions(database).target) == 1
    assert rows(database, "SELECT xmin::text, * FROM alembic_version") == before


def test_check_fails_on_a_database_that_is_behind_and_changes_nothing(database: Database) -> None:
    result = tnt("migrate", "--check")
    assert result.exit_code == 1
    assert result.output.count(revisions(database).target) == 1
    assert revisions(database).current is None


def test_check_passes_on_a_database_at_the_newest_step(database: Database) -> None:
    migrate(database)
    assert tnt("migrate", "--check").exit_code == 0


def test_a_schema_of_a_newer_version_is_not_behind_so_that_an_older_image_can_be_deployed(
    database: Database,
) -> None:
    migrate(database)
    statement(database, "UPDATE alembic_version SET version_num = '9999'")
    for arguments in (["migrate"], ["migrate", "--check"]):
        result = tnt(*arguments)
        assert result.exit_code == 0, result.output
        assert {"9999", revisions(database).target} <= set(re.findall(r"\w+", result.output))
    assert rows(database, "SELECT version_num FROM alembic_version") == [("9999",)]


def test_the_way_back_is_a_step_that_exists_and_never_the_loss_of_every_table(database: Database) -> None:
    migrate(database)
    below = revisions(database).below
    for step in ("base", "0000", revisions(database).target):
        result = tnt("migrate", "--down-to", step)
        assert result.exit_code == 1
        assert f"'{step}'" in result.stderr
    if below:
        assert tnt("migrate", "--down-to", below[-1]).exit_code == 0
        assert revisions(database).current == below[-1]
        assert tnt("migrate", "--check").exit_code == 1


def test_a_password_is_not_shown(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    url = database.engine.url.set(password="hunter2")
    monkeypatch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
    assert "hunter2" not in tnt("migrate").output


def test_a_database_that_is_away_is_one_line_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    result = tnt("migrate")
    assert result.exit_code == 1
    assert "127.0.0.1" in result.stderr
    assert "Traceback" not in result.output
