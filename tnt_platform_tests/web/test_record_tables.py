"""Tables of records: made ready before somebody asks, and only what changed is read anew."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tnt_platform.storage.objects import Objects
from tnt_platform.web import app
from tnt_platform.web.catalog import Catalog
from tnt_platform.web.records import tables
from tnt_platform.web.records.tables import RecordTables
from tnt_platform_tests.web.running import running
from tnt_platform_tests.web.scene import Lake, by_bucket, posts, users
from tnt_platform_tests.web.waiting import eventually


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every part that is written from now on."""
    found: list[object] = []
    real = tables.write_part

    def noting(rows: object, folder: Path) -> object:
        found.append(rows)
        return real(rows, folder)  # type: ignore[arg-type]

    monkeypatch.setattr(tables, "write_part", noting)
    return found


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path)
    lake.publish("posts", by_bucket(posts(60)), ["id"])
    lake.publish("users", {"bucket=00": users()}, ["id"])
    return lake


def test_a_server_writes_the_parts_before_somebody_asks(
    lake: Lake, written: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "PREPARE_AFTER_S", 0.0)
    with running(lake.environment) as url:
        eventually(lambda: len(written) == 17)
        assert len(httpx.get(f"{url}/records?limit=500").json()["items"]) == 63
    assert len(written) == 17, "the reader needed no more"


def test_what_was_prepared_serves_a_newer_version_but_for_what_changed(
    lake: Lake, written: list[object], tmp_path: Path
) -> None:
    catalog = Catalog(Objects.open(lake.url))
    made = RecordTables(catalog, tmp_path / "scratch")
    try:
        made.prepare()
        eventually(lambda: len(written) == 17)
        changed = lake.publish("posts", by_bucket(posts(60, changed={3: "new"})), ["id"])
        table = made.table(catalog.snapshot("posts", changed.version))
        assert table.rows == 60
        assert len(written) == 18
    finally:
        made.close()


def test_a_lake_that_cannot_be_read_stops_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "PREPARE_AFTER_S", 0.0)
    nowhere = {
        "TNT_LAKE_URL": "s3://lake",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_REGION": "us-east-1",
    }
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    with running({"TNT_HOME": str(tmp_path), **nowhere, **keys}) as url:
        assert httpx.get(f"{url}/health/live").status_code == 200
