"""From a paginated directory API to rows in PostgreSQL, over real HTTP and a real server."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tnt_platform.directory.chain import DirectoryChain
from tnt_platform.directory.spec import DirectorySource, DirectorySpec
from tnt_platform.errors import CheckFailed, InvalidInput, TntError, Unavailable
from tnt_platform.kinds import DEFS
from tnt_platform.lake.guard_rails import Overrides
from tnt_platform.lake.publishing import Published, open_workspace
from tnt_platform.sandbox.directory_api import (
    APP_CODE,
    PATH,
    DirectoryApi,
    DirectoryFaults,
    running_directory,
)
from tnt_platform.sandbox.directory_records import directory_records, next_month
from tnt_platform.services.postgres import Database, open_database
from tnt_platform.settings import Settings
from tnt_platform_tests.paths import SHARED

TABLES = ("shops", "dinings")


@dataclass
class DirectoryScene:
    """A directory API that the test can change, with a lake and a database of its own."""

    api: DirectoryApi
    settings: Settings
    database: Database
    spec: DirectorySpec
    runs: int = field(default=0)

    def sync(self, only: Sequence[str] = (), **options: Any) -> dict[str, Published]:
        """Run all steps, or only some."""
        self.runs += 1
        workspace = open_workspace(self.settings)
        with DirectoryChain(self.spec, workspace, self.settings, run_id=f"r{self.runs}", **options) as chain:
            return {step: chain.publish(step) for step in only or self.spec.steps}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.database.transaction() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    @property
    def content(self) -> dict[str, list[tuple[Any, ...]]]:
        """Read the tables, with the transaction that wrote each row."""
        return {table: self.rows(f"select xmin::text, * from {table} order by 1, 2, 3") for table in TABLES}

    @property
    def last_sync(self) -> Mapping[str, Any]:
        with self.database.transaction() as connection:
            found = connection.execute(text("select * from sync_logs order by id desc limit 1"))
            return dict(found.mappings().one())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with open_database(None, folder=tmp_path_factory.mktemp("postgres")) as database:
        yield database


@pytest.fixture
def scene(server: Database, tmp_path: Path) -> Iterator[DirectoryScene]:
    name = f"mall_{abs(hash(tmp_path)):x}"
    with server.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"create database {name}"))
    url = server._url.set(database=name)
    api = DirectoryApi(directory_records(60, random.Random(3), dirt=0))
    with (
        running_directory(api) as running,
        open_database(url.render_as_string(hide_password=False), folder=tmp_path) as database,
    ):
        environment = {"TNT_HOME": str(tmp_path), "DATABASE_URL": url.render_as_string(hide_password=False)}
        source = DirectorySource(
            url=running.url.removesuffix(PATH) + PATH,
            headers={"X-Apig-AppCode": APP_CODE},
            page_size=20,
            pause_s=0,
            attempts=2,
            timeout_s=5,
        )
        spec = DirectorySpec(source=source, lock_timeout_s=5).placed_in(DEFS / "mall_directory")
        yield DirectoryScene(api, Settings.from_environment(environment), database, spec)


def test_a_second_sync_writes_no_rows_and_publishes_no_version(scene):
    scene.sync()
    before = scene.content
    done = scene.sync()
    assert scene.content == before
    assert not any(step.changed for step in done.values())
    log = scene.last_sync
    assert (log["status"], log["records_unchanged"], log["records_created"]) == ("COMPLETED", 60, 0)


def test_the_database_step_alone_joins_tenants_with_what_was_quarantined_with_them(scene):
    scene.sync()
    good = scene.api.records
    scene.api.serve([{**good[0], "tenantId": None}, *good[1:]])
    scene.sync()
    scene.api.serve(good)
    scene.sync(only=("pages",))
    scene.sync(only=("database",))
    assert scene.last_sync["records_withdrawn"] == 0
    assert scene.rows("select count(*) from shops where withdrawn_at is not null") == [(0,)]
    assert scene.sync()["tenants"].counts.quarantined == 0


def test_every_record_is_created_updated_moved_or_withdrawn(scene):
    scene.sync()
    after = next_month(scene.api.records, random.Random(4))
    scene.api.serve(after)
    done = scene.sync()
    log = scene.last_sync
    handled = sum(log[f"records_{what}"] for what in ("created", "updated", "unchanged", "moved"))
    assert handled == log["records_processed"] == len(after) == done["tenants"].counts.published
    live = scene.rows(
        "select count(*) from (select withdrawn_at from shops union all select withdrawn_at from dinings) t "
        "where withdrawn_at is null"
    )
    assert live == [(len(after),)]
    facts = done["tenants"].facts
    assert facts["tenants_opened"] == log["records_created"] > 0
    assert facts["tenants_closed"] == log["records_withdrawn"] > 0


def test_changes_of_the_editors_are_never_overwritten(scene):
    scene.sync()
    with scene.database.transaction() as connection:
        connection.execute(
            text(
                "update shops set status = 'ACTIVE', is_featured = true, sort_order = 7, slug = 'ours-' || id"
            )
        )
    columns = "select unique_id, status, is_featured, sort_order, slug from shops where withdrawn_at is null order by 1"
    before = {row[0]: row for row in scene.rows(columns)}
    scene.api.serve(next_month(scene.api.records, random.Random(4)))
    scene.sync()
    after = {row[0]: row for row in scene.rows(columns)}
    assert {key: after[key] for key in before if key in after} == {
        key: before[key] for key in before if key in after
    }


FAILURES: Sequence[tuple[str, DirectoryFaults, type[TntError]]] = [
    ("page 2 always answers 500", DirectoryFaults(kind="server_error", page=2), Unavailable),
    ("page 2 is not JSON", DirectoryFaults(kind="invalid_json", page=2), InvalidInput),
    ("page 3 is a web page", DirectoryFaults(kind="html", page=3), TntError),
    ("totalPages is wrong", DirectoryFaults(total_pages_off=-1), TntError),
    ("totalRecord is wrong", DirectoryFaults(total_records_off=5), TntError),
    ("the credentials are rejected", DirectoryFaults(kind="unauthorized"), TntError),
]


@pytest.mark.parametrize(("what", "faults", "error"), FAILURES, ids=[what for what, _, _ in FAILURES])
def test_a_directory_that_cannot_be_read_whole_fails_the_sync_and_leaves_the_database_unchanged(
    scene, what, faults, error
):
    scene.sync()
    before = scene.content
    scene.api.serve(next_month(scene.api.records, random.Random(4)))
    scene.api.faults = faults
    with pytest.raises(error):
        scene.sync()
    assert scene.content == before
    log = scene.last_sync
    assert log["status"] == "FAILED"
    assert log["error"]
    scene.api.faults = DirectoryFaults()
    scene.sync()
    assert scene.last_sync["status"] == "COMPLETED"


def test_pages_that_change_while_they_are_read_are_read_again(scene):
    scene.api.faults = DirectoryFaults(shift="insert", shift_readings=1)
    done = scene.sync()
    assert done["pages"].facts["readings"] == 2
    assert done["tenants"].counts.rows_in == len(scene.api.records)


def test_an_unusable_record_makes_the_sync_partial_and_keeps_its_row(scene):
    scene.sync()
    records = [dict(record) for record in scene.api.records]
    lost = records[0]["uniqueId"]
    records[0]["tenantId"] = ""
    scene.api.serve(records)
    done = scene.sync()
    assert done["tenants"].counts.quarantined == 1
    log = scene.last_sync
    assert (log["status"], log["records_failed"], log["records_withdrawn"]) == ("PARTIAL", 1, 0)
    union = "select unique_id, withdrawn_at from shops union all select unique_id, withdrawn_at from dinings"
    assert scene.rows(f"select withdrawn_at from ({union}) t where unique_id = '{lost}'") == [(None,)]


def test_a_directory_that_loses_most_tenants_is_blocked_unless_overridden(scene):
    scene.sync()
    before = scene.content
    scene.api.serve(scene.api.records[:20])
    with pytest.raises(CheckFailed, match="--accept-vanished"):
        scene.sync()
    assert scene.content == before
    scene.sync(overrides=Overrides(accept_vanished=True))
    assert scene.last_sync["records_withdrawn"] == 40


def test_new_records_start_inactive_with_a_slug_of_their_own(scene):
    scene.sync()
    union = (
        "select slug, status, is_featured from shops union all select slug, status, is_featured from dinings"
    )
    rows = scene.rows(
        f"select count(*), count(distinct slug), bool_and(status = 'INACTIVE'), bool_or(is_featured) from ({union}) t"
    )
    assert rows == [(60, 60, True, False)]


@pytest.mark.skipif(not (SHARED / "mall_thai_branches").is_dir(), reason="the shared data is not available")
def test_real_branch_lists_are_accounted_for_record_by_record(scene):
    """Serve names and addresses of four Thai chains through the API, in its own format."""
    from tnt_platform_tests.directory.transforms.test_branches import branch_records

    expected = json.loads((SHARED / "mall_thai_branches" / "EXPECTED.json").read_text())["expected"]
    records = branch_records()
    assert len(records) == sum(chain["records"] for chain in expected.values())
    scene.api.serve(records)
    done = scene.sync()
    assert done["tenants"].counts.rows_in == done["tenants"].counts.published == len(records) == 269
    log = scene.last_sync
    assert (log["records_created"], log["shops_processed"] + log["dinings_processed"]) == (269, 269)
    assert log["records_failed"] == 0
