"""The schema goes up, down and up again, for one process at a time, and its roles can do only their part."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from threading import Thread

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import URL, Column, Integer, MetaData, text

from tnt_platform.directory.postgres import migrations
from tnt_platform.directory.postgres.migrations import MIGRATION_LOCK, migrate, migrate_down
from tnt_platform.directory.postgres.tables import metadata
from tnt_platform.errors import Refused
from tnt_platform.services.postgres import Database
from tnt_platform_tests.directory.postgres.frames import tenant
from tnt_platform_tests.directory.postgres.postgres_queries import rows, statement, wait_until
from tnt_platform_tests.directory.postgres.test_sync import synced
from tnt_platform_tests.paths import REPOSITORY

pytest_plugins = ("tnt_platform_tests.postgres_fixtures",)

ROLES = REPOSITORY / "infra" / "postgres" / "roles.sql"
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1"


@pytest.fixture
def empty(empty_database_url: URL) -> Iterator[Database]:
    database = Database(empty_database_url, application_name="tests")
    yield database
    database.close()


def differences(database: Database, tables: MetaData = metadata) -> list[object]:
    with database.transaction() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, tables))


def described(database: Database) -> list[tuple]:
    """Everything that makes up the schema, as the server tells it."""
    columns = rows(
        database,
        "SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity"
        " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, ordinal_position",
    )
    constraints = rows(
        database,
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
        " ORDER BY conrelid::regclass::text, 1",
    )
    return (
        columns
        + constraints
        + rows(database, "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1")
    )


def test_up_down_and_up_again_gives_the_same_schema(empty: Database) -> None:
    migrate(empty)
    first = described(empty)
    assert {row[0] for row in rows(empty, TABLES)} == set(metadata.tables)
    synced(empty, tenant("a"), tenant("b", kind="dining"))
    migrate_down(empty)
    assert rows(empty, TABLES) == []
    migrate(empty)
    assert described(empty) == first
    synced(empty, tenant("a"))


def test_migrating_twice_changes_nothing_and_keeps_the_rows(empty: Database) -> None:
    migrate(empty)
    synced(empty, tenant("a"))
    before = rows(empty, "SELECT xmin::text, * FROM shops")
    migrate(empty)
    assert rows(empty, "SELECT xmin::text, * FROM shops") == before


def test_the_tables_in_the_code_are_the_ones_the_migrations_make(empty: Database) -> None:
    migrate(empty)
    assert differences(empty) == []
    other = MetaData()
    for table in metadata.tables.values():
        table.to_metadata(other)
    other.tables["shops"].append_column(Column("added", Integer))
    assert len(differences(empty, other)) == 1


def test_a_migration_that_fails_leaves_nothing(empty: Database) -> None:
    statement(empty, "CREATE TABLE dinings (id integer)")
    with pytest.raises(Exception, match="dinings"):
        migrate(empty)
    assert rows(empty, TABLES) == [("dinings",)]


COLUMNS = "SELECT unique_id, title_en, title_th, description_en, description_zh FROM shops ORDER BY 1"
TRANSLATED = (
    "SELECT s.unique_id, t.locale, t.title, t.description"
    " FROM {kind}_translations t JOIN {kind}s s ON s.id = {kind}_id ORDER BY 1, 2"
)


def test_translations_survive_the_way_from_rows_to_columns_and_back(empty: Database) -> None:
    migrate(empty)
    synced(
        empty,
        tenant("a", title_th="ก", description_zh="中"),
        tenant("b", title_en=None, description_en=""),
        tenant("c", title_en=None),
        tenant("d", kind="dining", title_zh="中"),
    )
    expected = {
        "shop": [
            ("a", "en", "Name of a", None),
            ("a", "th", "ก", None),
            ("a", "zh", None, "中"),
            ("b", "en", None, ""),
        ],
        "dining": [("d", "en", "Name of d", None), ("d", "zh", "中", None)],
    }
    columns = rows(empty, COLUMNS)

    def translated() -> dict[str, list[tuple]]:
        return {kind: rows(empty, TRANSLATED.format(kind=kind)) for kind in expected}

    assert translated() == expected
    migrate_down(empty, "0001")
    assert ("shop_translations",) in rows(empty, TABLES)
    assert translated() == expected
    migrate(empty)
    assert ("shop_translations",) not in rows(empty, TABLES)
    assert translated() == expected
    assert rows(empty, COLUMNS) == columns


def test_who_could_read_translations_still_can_after_they_become_views(
    empty: Database, empty_database_url: URL
) -> None:
    statement(empty, 'CREATE ROLE "odd-name"')
    try:
        migrate(empty)
        migrate_down(empty, "0001")
        statement(empty, 'GRANT SELECT ON shop_translations, shops TO "odd-name"')
        migrate(empty)
        synced(empty, tenant("a"))
        reader = role(empty_database_url, "odd-name")
        assert rows(reader, "SELECT title FROM shop_translations") == [("Name of a",)]
        with pytest.raises(Refused):
            rows(reader, "SELECT title FROM dining_translations")
        reader.close()
        migrate_down(empty, "0001")
        assert rows(empty, "SELECT has_table_privilege('odd-name', 'shop_translations', 'SELECT')") == [
            (True,)
        ]
    finally:
        statement(empty, 'DROP OWNED BY "odd-name" CASCADE')
        statement(empty, 'DROP ROLE "odd-name"')


MIGRATE = """
import sys
from tnt_platform.directory.postgres.migrations import migrate
from tnt_platform.services.postgres import Database
migrate(Database(sys.argv[1], application_name="child"))
"""


def test_two_processes_migrate_one_after_the_other(empty: Database, empty_database_url: URL) -> None:
    url = empty_database_url.render_as_string(hide_password=False)
    with empty.transaction() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        children = [subprocess.Popen([sys.executable, "-c", MIGRATE, url]) for _ in range(2)]
        waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        wait_until(lambda: connection.execute(waiting).scalar_one() == 2, timeout_s=60)
    assert [child.wait(timeout=60) for child in children] == [0, 0]
    assert differences(empty) == []


def test_a_migration_behind_an_open_transaction_keeps_no_reader_waiting(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(empty)
    migrate_down(empty, "0001")
    monkeypatch.setattr(migrations, "DDL_LOCK_TIMEOUT_S", 1)
    monkeypatch.setattr(migrations, "DDL_PAUSE_S", 0.5)
    with empty.engine.connect() as idle:
        idle.execute(text("SELECT count(*) FROM shops"))
        migration = Thread(target=migrate, args=(empty,))
        migration.start()
        slowest = 0.0
        for _ in range(40):
            started = time.monotonic()
            rows(empty, "SELECT count(*) FROM shops")
            slowest = max(slowest, time.monotonic() - started)
            time.sleep(0.1)
        idle.rollback()
    migration.join(timeout=30)
    assert slowest < 3
    assert differences(empty) == []


def role(url: URL, name: str) -> Database:
    return Database(url.update_query_dict({"options": f"-c role={name}"}), application_name=name)


def test_each_role_can_do_its_part_and_nothing_else(empty: Database, empty_database_url: URL) -> None:
    migrate(empty)
    script = ROLES.read_text()
    for _ in range(2):
        with empty.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.connection.dbapi_connection.cursor().execute(script)
    sync, editor, reader, owner = (
        role(empty_database_url, f"tnt_{name}") for name in ("sync", "editor", "reader", "owner")
    )
    try:
        synced(sync, tenant("a", category="FASHION"), tenant("b"), tenant("gone"))
        statement(editor, "UPDATE shops SET status = 'ACTIVE', is_featured = true, sort_order = 1")
        statement(editor, "UPDATE shops SET slug = 'mine' WHERE unique_id = 'b'")
        synced(sync, tenant("a", kind="dining"), tenant("b"))
        assert rows(reader, "SELECT unique_id, status FROM dinings") == [("a", "ACTIVE")]
        migrate(owner)
        refused = [
            (sync, "DROP TABLE shops"),
            (sync, "TRUNCATE sync_logs"),
            (sync, "DELETE FROM sync_logs"),
            (sync, "CREATE TABLE mine (id integer)"),
            (editor, "UPDATE shops SET fingerprint = ''"),
            (editor, "DELETE FROM shops"),
            (editor, "INSERT INTO categories (code) VALUES ('X')"),
            (reader, "UPDATE shops SET status = 'INACTIVE'"),
            (reader, "SELECT * FROM sync_logs"),
            (reader, "CREATE TEMP TABLE mine (id integer)"),
        ]
        for database, forbidden in refused:
            with pytest.raises(Refused, match=r"roles\.sql"):
                statement(database, forbidden)
    finally:
        for database in (sync, editor, reader, owner):
            database.close()
        statement(empty, "DROP OWNED BY tnt_owner, tnt_sync, tnt_editor, tnt_reader CASCADE")
        statement(empty, "DROP ROLE tnt_owner, tnt_sync, tnt_editor, tnt_reader")
