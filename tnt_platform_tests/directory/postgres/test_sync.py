"""The rules of a directory sync, one by one, on a real PostgreSQL."""

from __future__ import annotations

import json
import random
import time
from datetime import UTC, date, datetime, timedelta
from threading import Event, Thread, Timer
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tnt_platform.directory.postgres import sync as directory_sync
from tnt_platform.directory.postgres.sync import DirectorySync
from tnt_platform.directory.postgres.upsert import SyncCounts
from tnt_platform.errors import CheckFailed, ConfigError, PermanentError, Unavailable
from tnt_platform.services.postgres import Database
from tnt_platform_tests.directory.postgres.frames import CATEGORIES, FLOORS, issues, tenant, tenants, unmapped
from tnt_platform_tests.directory.postgres.postgres_queries import rows, statement
from tnt_platform_tests.rounds import rounds, tries

pytest_plugins = ("tnt_platform_tests.postgres_fixtures",)

TABLES = ("shops", "dinings", "categories", "floors")


def synced(
    database: Database, *records: dict[str, Any], complete: bool = True, owner: str = "test", **inputs: Any
) -> SyncCounts:
    given = {"categories": CATEGORIES, "floors": FLOORS, "issues": issues(), "unmapped": unmapped(), **inputs}
    with DirectorySync(database, owner=owner) as sync:
        return sync.apply(tenants(*records), complete=complete, **given)


def counts(**given: int) -> SyncCounts:
    return SyncCounts(**given)


def one(database: Database, unique_id: str, columns: str, table: str = "shops") -> tuple:
    [row] = rows(database, f"SELECT {columns} FROM {table} WHERE unique_id = :id", id=unique_id)
    return row


def slugs(database: Database) -> dict[str, str]:
    return dict(
        rows(database, "SELECT unique_id, slug FROM shops UNION ALL SELECT unique_id, slug FROM dinings")
    )


def row_versions(database: Database) -> dict[str, list[tuple]]:
    return {
        table: rows(database, f"SELECT xmin::text, ctid::text FROM {table} ORDER BY 2") for table in TABLES
    }


def newest_log(database: Database, columns: str) -> tuple:
    [row] = rows(database, f"SELECT {columns} FROM sync_logs ORDER BY id DESC LIMIT 1")
    return row


LAST_UPDATE = datetime(2026, 11, 20, 3, 4, 5, 678901, tzinfo=UTC)
FULL_RECORD = tenant(
    "s1",
    title_th="ชื่อ \\N \t tab",
    description_zh="two\nlines\r\n",
    category="FASHION",
    floor="1F",
    zone="",
    gallery=["https://a/1,2.png", 'quote " and \\ back', "{}", ""],
    opening_hours='[{"days": ["mon"], "open": "10:00"}]',
    source_active=False,
    starts_on=date(1, 1, 1),
    ends_on=date(9999, 12, 31),
    tenant_last_update=LAST_UPDATE,
    attributes='{"attribute1": "x\\ty", "ü": "\\u4e2d"}',
)


def test_new_records_are_created_in_the_table_of_their_kind_with_all_their_columns(
    directory: Database,
) -> None:
    found = synced(
        directory,
        FULL_RECORD,
        tenant("d1", kind="dining"),
    )
    assert found == counts(created=2, shops=1, dinings=1)
    columns = "status, is_featured, sort_order, zone, unit, gallery, opening_hours, source_active, starts_on"
    assert one(directory, "s1", f"{columns}, ends_on, tenant_last_update, attributes, withdrawn_at") == (
        "INACTIVE",
        False,
        0,
        "",
        None,
        ["https://a/1,2.png", 'quote " and \\ back', "{}", ""],
        [{"days": ["mon"], "open": "10:00"}],
        False,
        date(1, 1, 1),
        date(9999, 12, 31),
        LAST_UPDATE,
        {"attribute1": "x\ty", "ü": "中"},
        None,
    )
    joined = "SELECT c.code, f.code FROM shops JOIN categories c ON c.id = category_id JOIN floors f ON f.id = floor_id"
    assert rows(directory, joined) == [("FASHION", "1F")]
    assert rows(directory, "SELECT locale, title, description FROM shop_translations ORDER BY locale") == [
        ("en", "Name of s1", None),
        ("th", "ชื่อ \\N \t tab", None),
        ("zh", None, "two\nlines\r\n"),
    ]
    assert rows(directory, "SELECT unique_id FROM dinings") == [("d1",)]


def test_an_unchanged_second_sync_writes_no_row_but_its_log(directory: Database) -> None:
    records = [
        tenant("a", category="FASHION", floor="GF"),
        tenant("b", kind="dining"),
        tenant("c", title_th="ค"),
    ]
    issue = {"unique_id": "a", "field": "tel", "issue_code": "not_a_number", "value": "x", "message": "no"}
    inputs = {"issues": issues([issue]), "unmapped": unmapped([UNMAPPED_FLOOR])}
    synced(directory, *records, **inputs)
    before = row_versions(directory)
    details = (
        rows(directory, "SELECT xmin::text, * FROM sync_issues"),
        rows(directory, "SELECT * FROM sync_unmapped"),
    )
    assert synced(directory, *records, **inputs) == counts(unchanged=3, shops=2, dinings=1)
    assert row_versions(directory) == before
    assert details == (
        rows(directory, "SELECT xmin::text, * FROM sync_issues"),
        rows(directory, "SELECT * FROM sync_unmapped"),
    )
    assert newest_log(directory, "id, status, details_sync_id, validation_issues") == (2, "COMPLETED", 1, 1)


def test_only_the_rows_that_differ_are_written(directory: Database) -> None:
    synced(directory, tenant("a"), tenant("b"), tenant("c"))
    before = dict(rows(directory, "SELECT unique_id, xmin::text FROM shops"))
    assert synced(directory, tenant("a"), tenant("b", unit="12"), tenant("c")) == counts(
        updated=1, unchanged=2, shops=3
    )
    after = dict(rows(directory, "SELECT unique_id, xmin::text FROM shops"))
    assert {name for name in after if after[name] != before[name]} == {"b"}
    assert one(directory, "b", "unit, updated_at > created_at") == ("12", True)


def test_editors_columns_are_never_overwritten(directory: Database) -> None:
    synced(directory, tenant("a", slug_base="first"))
    statement(
        directory, "UPDATE shops SET slug = 'mine', status = 'ACTIVE', is_featured = true, sort_order = 7"
    )
    synced(directory, tenant("a", slug_base="second", title_en="Renamed"))
    assert one(directory, "a", "slug, status, is_featured, sort_order") == ("mine", "ACTIVE", True, 7)
    assert rows(directory, "SELECT title FROM shop_translations") == [("Renamed",)]


@pytest.mark.parametrize(("before", "after"), [("shop", "dining"), ("dining", "shop")])
def test_a_record_that_changes_kind_moves_with_its_slug_and_editors_columns(
    directory: Database, before: str, after: str
) -> None:
    synced(directory, tenant("a", kind=before, slug_base="mover"), tenant("b"))
    statement(
        directory,
        f"UPDATE {before}s SET status = 'ACTIVE', is_featured = true, sort_order = 3 WHERE unique_id = 'a'",
    )
    born = one(directory, "a", "created_at", f"{before}s")
    found = synced(directory, tenant("a", kind=after, slug_base="other", title_th="ก"), tenant("b"))
    assert (found.moved, found.unchanged, found.created, found.withdrawn) == (1, 1, 0, 0)
    assert rows(directory, f"SELECT * FROM {before}s WHERE unique_id = 'a'") == []
    columns = "slug, status, is_featured, sort_order"
    assert one(directory, "a", columns, f"{after}s") == ("mover", "ACTIVE", True, 3)
    assert one(directory, "a", "created_at", f"{after}s") == born
    assert rows(directory, f"SELECT locale FROM {after}_translations JOIN {after}s ON id = {after}_id"
                " WHERE unique_id = 'a' ORDER BY 1") == [("en",), ("th",)]  # fmt: skip
    assert rows(directory, f"SELECT * FROM {before}_translations t LEFT JOIN {before}s ON id = {before}_id"
                " WHERE id IS NULL") == []  # fmt: skip


def test_two_records_that_swap_kinds_move_in_one_sync(directory: Database) -> None:
    synced(directory, tenant("a", slug_base="x"), tenant("b", kind="dining", slug_base="y"))
    found = synced(directory, tenant("a", kind="dining"), tenant("b", kind="shop"))
    assert found == counts(moved=2, shops=1, dinings=1)
    assert rows(directory, "SELECT unique_id, slug FROM shops") == [("b", "y")]
    assert rows(directory, "SELECT unique_id, slug FROM dinings") == [("a", "x")]


def test_a_missing_record_is_withdrawn_once_and_returns_as_an_update(directory: Database) -> None:
    synced(directory, tenant("a"), tenant("b", slug_base="b"))
    assert synced(directory, tenant("a")) == counts(unchanged=1, withdrawn=1, shops=1)
    [withdrawn_at] = one(directory, "b", "withdrawn_at")
    assert withdrawn_at is not None
    assert synced(directory, tenant("a")) == counts(unchanged=1, shops=1)
    assert one(directory, "b", "withdrawn_at") == (withdrawn_at,)
    assert synced(directory, tenant("a"), tenant("b", slug_base="b")) == counts(
        unchanged=1, updated=1, shops=2
    )
    assert one(directory, "b", "withdrawn_at, slug") == (None, "b")


def test_a_withdrawn_record_that_comes_back_as_the_other_kind_moves(directory: Database) -> None:
    synced(directory, tenant("a"), tenant("b", slug_base="b"))
    synced(directory, tenant("a"))
    assert synced(directory, tenant("a"), tenant("b", kind="dining")).moved == 1
    assert one(directory, "b", "slug, withdrawn_at", "dinings") == ("b", None)


def test_an_incomplete_input_withdraws_nothing_and_is_partial(directory: Database) -> None:
    synced(directory, tenant("a"), tenant("b"))
    assert synced(directory, tenant("a", unit="1"), complete=False) == counts(updated=1, shops=1)
    assert one(directory, "b", "withdrawn_at") == (None,)
    assert newest_log(directory, "status") == ("PARTIAL",)


def test_a_quarantined_record_is_neither_changed_nor_withdrawn(directory: Database) -> None:
    synced(directory, tenant("a"), tenant("b"), tenant("c"))
    found = synced(directory, tenant("a"), held_back=["b", "never-seen"], records_failed=2)
    assert (found.withdrawn, found.records) == (1, 1)
    assert one(directory, "b", "withdrawn_at") == (None,)
    assert newest_log(directory, "status, records_processed, records_failed") == ("PARTIAL", 3, 2)


def test_a_complete_input_without_records_is_refused_when_it_would_withdraw_everything(
    directory: Database,
) -> None:
    assert synced(directory) == counts()
    synced(directory, tenant("a"))
    with pytest.raises(PermanentError, match="all 1 rows"):
        synced(directory)
    assert one(directory, "a", "withdrawn_at") == (None,)


def test_translations_that_disappear_are_removed_and_others_kept(directory: Database) -> None:
    synced(directory, tenant("a", title_th="ก", description_zh="中"))
    synced(directory, tenant("a", title_th="ก", title_zh=None))
    assert rows(directory, "SELECT locale, title, description FROM shop_translations ORDER BY locale") == [
        ("en", "Name of a", None),
        ("th", "ก", None),
    ]


def test_unusual_keys_and_slugs_are_read_back_unchanged(directory: Database) -> None:
    unusual = [
        "",
        " ",
        "\\.",
        "\\N",
        'quote " and, comma',
        "two\r\nlines",
        "NULL",
        "ร้าน",
        "tab\t",
        "'",
        "\u2028",
    ]
    records = [tenant(name, slug_base=name or "none") for name in unusual]
    assert synced(directory, *records).created == len(unusual)
    assert synced(directory, *records) == counts(unchanged=len(unusual), shops=len(unusual))
    found = synced(directory, *(tenant(name, kind="dining", unit="1") for name in unusual[1:]))
    assert (found.moved, found.withdrawn) == (len(unusual) - 1, 1)
    assert slugs(directory) == {name: name or "none" for name in unusual}


def test_an_invalid_value_far_down_is_named_too(directory: Database) -> None:
    records = [tenant(f"u{number}") for number in range(5000)]
    records[4321] = tenant("far down", attributes="{nothing")
    with pytest.raises(PermanentError, match=r"'far down' .*: attributes: invalid input"):
        synced(directory, *records)
    synced(directory, tenant("far down", unit="1"), *records[:4300])
    with pytest.raises(PermanentError, match=r"'far down' .*: attributes: invalid input"):
        synced(directory, *records)
    assert one(directory, "far down", "unit") == ("1",)


def test_new_slugs_are_unique_over_both_tables_in_the_order_of_unique_id(directory: Database) -> None:
    synced(directory, tenant("z", slug_base="cafe", kind="dining"), tenant("y", slug_base="cafe-2"))
    synced(
        directory,
        tenant("z", slug_base="cafe", kind="dining"),
        tenant("y", slug_base="cafe-2"),
        *(tenant(name, slug_base="cafe") for name in ("c", "a")),
        tenant("b", slug_base="cafe", kind="dining"),
        tenant("d", slug_base="cafe-4"),
        tenant("e", slug_base="cafe-4"),
        tenant("f", slug_base="7-11"),
        tenant("g", slug_base="7-11", kind="dining"),
    )
    assert slugs(directory) == {
        "z": "cafe",
        "y": "cafe-2",
        "a": "cafe-3",
        "b": "cafe-5",  # cafe-4 is the base of d
        "c": "cafe-6",
        "d": "cafe-4",
        "e": "cafe-4-2",
        "f": "7-11",
        "g": "7-11-2",
    }


def test_new_slugs_do_not_depend_on_the_order_of_the_frame(directory: Database) -> None:
    records = [
        tenant(f"u{number:03}", slug_base="same", kind=("shop", "dining")[number % 2])
        for number in range(300)
    ]
    synced(directory, *reversed(records))
    assert slugs(directory) == {f"u{n:03}": "same" if n == 0 else f"same-{n + 1}" for n in range(300)}


def test_a_withdrawn_row_and_an_editors_slug_stay_taken(directory: Database) -> None:
    synced(directory, tenant("a", slug_base="x"), tenant("b", slug_base="y"))
    statement(directory, "UPDATE shops SET slug = 'z-2' WHERE unique_id = 'b'")
    synced(
        directory,
        tenant("b", slug_base="y"),
        tenant("c", slug_base="x"),
        tenant("d", slug_base="y"),
        *(tenant(name, slug_base="z") for name in ("e", "f")),
    )
    assert slugs(directory) == {"a": "x", "b": "z-2", "c": "x-2", "d": "y", "e": "z", "f": "z-3"}


def test_very_long_texts_are_stored_and_very_long_slugs_cut(directory: Database) -> None:
    long = "".join(chr(0x4E00 + number % 5000) for number in range(400_000))
    synced(
        directory,
        tenant("a", slug_base="s" * 5000, description_en=long, attributes=json.dumps({"x": long})),
        tenant("b", slug_base="s" * 4000),
    )
    assert rows(
        directory, "SELECT description = :long FROM shop_translations WHERE description <> ''", long=long
    ) == [(True,)]
    assert slugs(directory) == {"a": "s" * 200, "b": "s" * 200 + "-2"}


def test_lookups_are_added_and_renamed_but_never_removed(directory: Database) -> None:
    synced(directory, tenant("a", category="FASHION", floor="1F"))
    renamed = CATEGORIES.head(1).with_columns(name_en=pl.lit("Clothes"))
    before = row_versions(directory)["floors"]
    synced(directory, tenant("a", category="FASHION", floor="1F"), categories=renamed)
    assert rows(directory, "SELECT code, name_en FROM categories ORDER BY code") == [
        ("FASHION", "Clothes"),
        ("RESTAURANT", "Restaurants"),
    ]
    assert row_versions(directory)["floors"] == before


UNMAPPED_FLOOR = {
    "kind": "floor",
    "value": "9X",
    "records": 3,
    "candidates": '[{"code": "1F", "score": 50.0}]',
}


def test_the_log_row_counts_what_happened_and_keeps_the_details(directory: Database) -> None:
    synced(directory, tenant("a"), tenant("b"), tenant("gone"))
    found = [
        {"unique_id": "a", "field": "tel", "issue_code": "not_a_number", "value": "call us", "message": "no"},
        {"unique_id": None, "field": "page", "issue_code": "odd", "value": None, "message": "seen"},
    ]
    other = {"kind": "category", "value": "Tab\t", "records": 1, "candidates": "[]"}
    with DirectorySync(directory, owner="run 7") as sync:
        sync.apply(
            tenants(tenant("a", kind="dining"), tenant("b", unit="2"), tenant("c")),
            categories=CATEGORIES,
            floors=FLOORS,
            issues=issues(found),
            unmapped=unmapped([UNMAPPED_FLOOR, other]),
            complete=True,
            pages=20,
        )
        sync.finish(timings={"capture_s": 1.5})
    columns = "pages, records_processed, records_created, records_updated, records_unchanged, records_moved,"
    columns += " records_withdrawn, records_failed, shops_processed, dinings_processed, unmapped_floors,"
    assert newest_log(directory, columns + " unmapped_categories, validation_issues") == (
        20, 3, 1, 1, 0, 1, 1, 0, 2, 1, 1, 1, 2,
    )  # fmt: skip
    status, owner, error, timings, memory_mb = newest_log(
        directory, "status, owner, error, timings, memory_mb"
    )
    assert (status, owner, error) == ("COMPLETED", "run 7", None)
    assert timings["capture_s"] == 1.5
    assert set(timings) == {"capture_s", "rows_s", "details_s"}
    assert memory_mb > 10
    assert rows(directory, "SELECT sync_id, unique_id, field, value FROM sync_issues ORDER BY field") == [
        (2, None, "page", None),
        (2, "a", "tel", "call us"),
    ]
    assert rows(directory, "SELECT kind, value, records, candidates FROM sync_unmapped ORDER BY kind") == [
        ("category", "Tab\t", 1, []),
        ("floor", "9X", 3, [{"code": "1F", "score": 50.0}]),
    ]


@pytest.mark.parametrize(
    ("records", "names"),
    [
        ([tenant("a"), tenant("a", unit="2")], "^2 records .* unique_id .*'a'$"),
        ([tenant("a", kind="kiosk")], "kind .* shop, dining, .*'a'$"),
        ([tenant("a", category="TOYS")], " category .*'a'$"),
        ([tenant("a", floor="99")], " floor .*'a'$"),
        ([tenant("ok"), tenant("a", description_th="x\x00y")], "description_th .* NUL .*'a'$"),
        ([tenant("ok"), tenant("a", gallery=["x", "y\x00"])], "gallery .* NUL .*'a'$"),
        ([tenant("ok"), tenant("a", attributes='{"x": "\\u0000"}')], "'a' .*: attributes: unsupported"),
        ([tenant("o\nk"), tenant("a", attributes="{nothing")], "'a' .*: attributes: invalid input"),
        ([tenant("ok"), tenant("a", opening_hours="[")], "'a' .*: opening_hours: invalid input"),
        ([tenant("a", tenant_id=None)], "tenant_id is null, .*'a'$"),
        ([{**tenant("a"), "unique_id": None}], "unique_id is null, .*row 1$"),
        ([{**tenant("a"), "slug_base": ""}], "slug_base is empty, .*'a'$"),
        ([tenant("é" * 501)], "unique_id .* 1,000 bytes"),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_stored_is_named_and_nothing_is_changed(
    directory: Database, records: list[dict[str, Any]], names: str
) -> None:
    synced(directory, tenant("before"))
    versions = row_versions(directory)
    with pytest.raises(PermanentError, match=names):
        synced(directory, *records)
    assert row_versions(directory) == versions
    status, error = newest_log(directory, "status, error")
    assert status == "FAILED"
    assert "PermanentError" in error


def test_a_frame_with_a_wrong_column_is_refused(directory: Database) -> None:
    with (
        DirectorySync(directory, owner="test") as sync,
        pytest.raises(PermanentError, match="starts_on Date"),
    ):
        sync.apply(
            tenants(tenant("a")).with_columns(starts_on=pl.lit("2026-01-01")),
            categories=CATEGORIES,
            floors=FLOORS,
            issues=issues(),
            unmapped=unmapped(),
            complete=True,
        )


def test_a_moved_record_whose_slug_was_taken_by_hand_fails_and_names_both(directory: Database) -> None:
    synced(directory, tenant("a", slug_base="x"), tenant("b", kind="dining", slug_base="y"))
    statement(directory, "UPDATE dinings SET slug = 'x'")
    versions = row_versions(directory)
    with pytest.raises(PermanentError, match=r"'a' .* dinings .*'x'.*'b'"):
        synced(directory, tenant("a", kind="dining"), tenant("b", kind="dining", slug_base="y"))
    assert row_versions(directory) == versions


def test_an_edit_made_during_a_sync_waits_for_it_and_neither_is_lost(
    directory: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced(directory, tenant("a", slug_base="x"))
    chosen = directory_sync.upsert.__globals__["_take_out_moved"]
    edit = Thread(target=statement, args=(directory, "UPDATE shops SET slug = 'mine' WHERE unique_id = 'a'"))

    def edited_meanwhile(*given: Any) -> Any:
        edit.start()
        return chosen(*given)

    monkeypatch.setitem(directory_sync.upsert.__globals__, "_take_out_moved", edited_meanwhile)
    synced(directory, tenant("a", slug_base="x", unit="2"), tenant("b", slug_base="y"))
    edit.join(timeout=30)
    assert slugs(directory) == {"a": "mine", "b": "y"}
    assert rows(directory, "SELECT unit FROM shops WHERE unique_id = 'a'") == [("2",)]


def test_a_sync_waits_for_an_editor_a_few_seconds_at_a_time(
    directory: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_sync, "TABLE_LOCK_TIMEOUT_S", 0.2)
    synced(directory, tenant("a"))
    with directory.engine.connect() as editor:
        editor.execute(text("UPDATE shops SET sort_order = 7"))
        attempts = directory_sync.LOCK_ATTEMPTS
        monkeypatch.setattr(directory_sync, "LOCK_ATTEMPTS", 2)
        with pytest.raises(Unavailable):
            synced(directory, tenant("a", unit="2"))
        assert newest_log(directory, "status") == ("FAILED",)
        monkeypatch.setattr(directory_sync, "LOCK_ATTEMPTS", attempts)
        saves = Timer(0.7, editor.commit)
        saves.start()
        synced(directory, tenant("a", unit="2"))
        saves.join()
    assert rows(directory, "SELECT unit, sort_order FROM shops") == [("2", 7)]


@pytest.mark.heavy
def test_syncs_beside_editors_lose_no_edit_and_keep_nobody_waiting(directory: Database) -> None:
    names = [f"t{n:05}" for n in range(rounds(15_000))]
    given = [tenant(name, slug_base=name) for name in names]
    synced(directory, *given)
    stop, slowest = Event(), [0.0] * 4
    edits: list[dict[str, int]] = [{}, {}, {}, {}]

    def keep_editing(editor: int) -> None:
        chance = random.Random(editor)
        while not stop.is_set():
            # Two rows in one transaction, in any order: this is what deadlocked with a sync.
            chosen = chance.sample(names[editor::4], 2)
            started = time.monotonic()
            with directory.transaction() as connection:
                for name in chosen:
                    edits[editor][name] = edits[editor].get(name, 0) + 1
                    connection.execute(
                        text("UPDATE shops SET sort_order = :n WHERE unique_id = :name"),
                        {"n": edits[editor][name], "name": name},
                    )
            slowest[editor] = max(slowest[editor], time.monotonic() - started)
            time.sleep(0.01)

    editors = [Thread(target=keep_editing, args=(number,)) for number in range(4)]
    for editor in editors:
        editor.start()
    ends, syncs = time.monotonic() + rounds(120), 0
    while time.monotonic() < ends:
        syncs += 1
        synced(directory, *({**one, "unit": str(syncs), "fingerprint": str(syncs)} for one in given))
    stop.set()
    for editor in editors:
        editor.join()
    wanted = {name: number for of_editor in edits for name, number in of_editor.items()}
    stored = dict(rows(directory, "SELECT unique_id, sort_order FROM shops WHERE sort_order <> 0"))
    assert stored == wanted
    assert len(wanted) > 100
    assert max(slowest) < 5


def test_a_record_that_is_in_both_tables_is_refused_by_name(directory: Database) -> None:
    synced(directory, tenant("a"))
    statement(directory, "INSERT INTO dinings SELECT * FROM shops")
    with pytest.raises(PermanentError, match=r"'a' .*shops and dinings"):
        synced(directory, tenant("a"))


def test_counts_that_do_not_add_up_to_the_input_are_rolled_back(
    directory: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = directory_sync.upsert
    monkeypatch.setattr(
        directory_sync, "upsert", lambda *frames, **given: real(*frames, **{**given, "records": 2})
    )
    with pytest.raises(CheckFailed, match="2 records"):
        synced(directory, tenant("a"))
    assert slugs(directory) == {}


@pytest.mark.parametrize("error", [ValueError("page 7: 500\x00"), KeyboardInterrupt(), SystemExit(143)])
def test_a_sync_left_by_an_exception_ends_as_failed(directory: Database, error: BaseException) -> None:
    with pytest.raises(type(error)), DirectorySync(directory, owner="test"):
        raise error
    status, message, ended = newest_log(directory, "status, error, completed_at IS NOT NULL")
    assert (status, ended) == ("FAILED", True)
    assert message.startswith(type(error).__name__)
    synced(directory, tenant("a"))  # the lock is free


def test_a_sync_without_apply_ends_as_failed(directory: Database) -> None:
    with DirectorySync(directory, owner="test"):
        pass
    assert newest_log(directory, "status, error IS NOT NULL") == ("FAILED", True)


def test_an_exception_after_the_commit_is_noted_in_a_completed_row(directory: Database) -> None:
    with pytest.raises(ZeroDivisionError), DirectorySync(directory, owner="test") as sync:  # noqa: PT012
        sync.apply(tenants(tenant("a")), categories=CATEGORIES, floors=FLOORS, issues=issues(),
                   unmapped=unmapped(), complete=True)  # fmt: skip
        raise ZeroDivisionError("later")
    assert newest_log(directory, "status, error") == ("COMPLETED", "ZeroDivisionError: later")
    assert slugs(directory) == {"a": "slug-of-a"}


def test_apply_works_once_and_only_inside_the_block(directory: Database) -> None:
    inputs = {"categories": CATEGORIES, "floors": FLOORS, "issues": issues(), "unmapped": unmapped()}
    sync = DirectorySync(directory, owner="test")
    with pytest.raises(PermanentError, match="with block"):
        sync.apply(tenants(tenant("a")), complete=True, **inputs)
    with sync:
        sync.apply(tenants(tenant("a")), complete=True, **inputs)
        with pytest.raises(PermanentError, match="once"):
            sync.apply(tenants(tenant("a")), complete=True, **inputs)


def test_a_sync_waits_for_the_one_before_it(directory: Database) -> None:
    with DirectorySync(directory, owner="first") as first:
        second = Thread(target=lambda: synced(directory, tenant("b"), owner="second"))
        second.start()
        second.join(timeout=0.5)
        assert second.is_alive()
        first.apply(tenants(tenant("a")), categories=CATEGORIES, floors=FLOORS, issues=issues(),
                    unmapped=unmapped(), complete=True)  # fmt: skip
        assert slugs(directory) == {"a": "slug-of-a"}
    second.join(timeout=60)
    assert rows(directory, "SELECT owner, status, records_withdrawn FROM sync_logs ORDER BY id") == [
        ("first", "COMPLETED", 0),
        ("second", "COMPLETED", 1),
    ]


def test_a_sync_that_waits_too_long_names_the_holder_of_the_lock(directory: Database) -> None:
    with (
        DirectorySync(directory, owner="the slow one"),
        pytest.raises(Unavailable, match=r"the slow one, .*[0-9]+, since 2"),
        DirectorySync(directory, owner="test", lock_timeout_s=0.3),
    ):
        pass
    assert rows(directory, "SELECT count(*) FROM sync_logs") == [(1,)]


def test_a_running_row_of_a_dead_process_is_closed_by_the_next_sync(directory: Database) -> None:
    statement(
        directory,
        "INSERT INTO sync_logs (status, started_at, owner, backend_pid) VALUES ('RUNNING', now(), 'dead', 1)",
    )
    synced(directory, tenant("a"))
    found = rows(
        directory, "SELECT owner, status, completed_at IS NOT NULL, error FROM sync_logs ORDER BY id"
    )
    assert found[0][:3] == ("dead", "FAILED", True)
    assert found[0][3]
    assert found[1][1] == "COMPLETED"


def test_a_sync_before_the_migrations_is_a_config_error(empty_database_url: Any) -> None:
    database = Database(empty_database_url, application_name="tests")
    with pytest.raises(ConfigError, match="migrations"), DirectorySync(database, owner="test"):
        pass
    assert rows(database, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
    database.close()


def test_times_come_from_the_given_clock(directory: Database) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    ticks = iter(moment + timedelta(seconds=number) for number in range(100))
    with DirectorySync(directory, owner="test", clock=lambda: next(ticks)) as sync:
        sync.apply(tenants(tenant("a")), categories=CATEGORIES, floors=FLOORS, issues=issues(),
                   unmapped=unmapped(), complete=True)  # fmt: skip
    assert newest_log(directory, "started_at, completed_at") == (moment, moment + timedelta(seconds=2))
    assert one(directory, "a", "created_at, updated_at") == (moment + timedelta(seconds=1),) * 2


# --- random histories against a dict -----------------------------------------------------------------

NAMES = st.sampled_from([f"u{number}" for number in range(8)])
BASES = st.sampled_from(["x", "x-2", "x-2-2", "y", "7-11"])
RECORD = st.tuples(st.sampled_from(["shop", "dining"]), BASES, st.integers(0, 2))
STEP = st.tuples(st.dictionaries(NAMES, RECORD), st.booleans(), st.sets(NAMES), st.sets(NAMES))


class Model:
    """What the tables should hold: unique_id -> kind, slug, version, status, withdrawn."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def sync(self, state: dict[str, tuple], complete: bool, held_back: set[str]) -> SyncCounts:
        seen = dict.fromkeys(("created", "updated", "unchanged", "moved", "withdrawn"), 0)
        new = self._new_slugs({name: state[name][1] for name in sorted(state) if name not in self.rows})
        for name, (kind, _, _) in state.items():
            row = self.rows.get(name)
            content = {"kind": kind, "content": state[name], "withdrawn": False}
            if row is None:
                seen["created"] += 1
                self.rows[name] = {"slug": new[name], "status": "INACTIVE", **content}
                continue
            action = "unchanged" if {**row, **content} == row else "updated"
            seen["moved" if row["kind"] != kind else action] += 1
            row.update(content)
        for name, row in self.rows.items():
            if complete and name not in state and name not in held_back and not row["withdrawn"]:
                row["withdrawn"] = True
                seen["withdrawn"] += 1
        kinds = [kind for kind, _, _ in state.values()]
        return SyncCounts(**seen, shops=kinds.count("shop"), dinings=kinds.count("dining"))

    def _new_slugs(self, bases: dict[str, str]) -> dict[str, str]:
        taken = {row["slug"] for row in self.rows.values()}
        chosen: dict[str, str] = {}
        for name, base in bases.items():
            if base not in taken:
                chosen[name] = base
                taken.add(base)
        for name, base in bases.items():
            number = 2
            while name not in chosen:
                if f"{base}-{number}" not in taken:
                    chosen[name] = f"{base}-{number}"
                    taken.add(chosen[name])
                number += 1
        return chosen


def stored(database: Database) -> dict[str, dict[str, Any]]:
    found = {}
    for kind in ("shop", "dining"):
        columns = (
            f"unique_id, slug, status, withdrawn_at IS NOT NULL, attributes, t.title, t.locale FROM {kind}s"
        )
        for name, slug, status, withdrawn, attributes, title, locale in rows(
            database, f"SELECT {columns} LEFT JOIN {kind}_translations t ON {kind}_id = id"
        ):
            assert name not in found
            content = tuple(attributes["content"])
            assert (title, locale) == (f"{name} {content[2]}", "en")
            found[name] = {
                "slug": slug, "status": status, "kind": kind, "content": content, "withdrawn": withdrawn,
            }  # fmt: skip
    return found


SLOW = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


@pytest.mark.heavy
@settings(max_examples=tries(15), **SLOW)
@given(history=st.lists(STEP, min_size=1, max_size=5))
def test_after_any_history_the_tables_equal_a_dict(directory: Database, history: list[tuple]) -> None:
    follow(directory, history)


@pytest.mark.heavy
@pytest.mark.timeout(900)
@settings(max_examples=rounds(150), **SLOW)
@given(history=st.lists(STEP, min_size=2, max_size=12))
def test_after_any_long_history_the_tables_equal_a_dict(directory: Database, history: list[tuple]) -> None:
    follow(directory, history)


def follow(directory: Database, history: list[tuple]) -> None:
    statement(directory, "TRUNCATE shops, dinings, sync_logs CASCADE")
    model = Model()
    for state, complete, held_back, published in history:
        records = [
            tenant(name, kind=kind, slug_base=base, title_en=f"{name} {version}",
                   attributes=json.dumps({"content": [kind, base, version]}))
            for name, (kind, base, version) in state.items()
        ]  # fmt: skip
        live = [row for name, row in model.rows.items() if not row["withdrawn"] and name not in held_back]
        if complete and not state and live:
            with pytest.raises(PermanentError, match="would withdraw all"):
                synced(directory, held_back=list(held_back))
            continue
        expected = model.sync(state, complete, held_back)
        found = synced(directory, *records, complete=complete, held_back=list(held_back))
        assert found == expected
        assert found.records == len(state)
        assert stored(directory) == model.rows
        for name in published & set(model.rows):  # editors publish some of them
            model.rows[name]["status"] = "ACTIVE"
            for table in ("shops", "dinings"):
                statement(
                    directory, f"UPDATE {table} SET status = 'ACTIVE' WHERE unique_id = :name", name=name
                )
