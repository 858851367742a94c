"""What publishers get wrong, through the whole chain: a clear error or quarantine, and the old version stays."""

from __future__ import annotations

import gzip
import io
import json
import multiprocessing
import resource
import time
import zipfile
from calendar import monthrange
from collections.abc import Callable, Sequence
from datetime import date, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import xlsxwriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from tnt_platform.errors import CheckFailed, InvalidInput
from tnt_platform.lake.guard_rails import Overrides
from tnt_platform.series.normalized import REJECTED_CELLS
from tnt_platform.series.reading import read_capture
from tnt_platform.series.spec import NEWEST, SeriesSpec
from tnt_platform_tests.rounds import tries
from tnt_platform_tests.series.scene import SeriesScene, csv_of, prices, with_url

# Polars' threads don't survive a fork.
SPAWN = multiprocessing.get_context("spawn")
MONTHS = [date(2010 + number // 12, 1 + number % 12, 1) for number in range(190)]
HEADER_ROW, SKIPPED = 8, 2
A_SERIES = {
    "code": "A_M",
    "sheet": "Data",
    "header_row": HEADER_ROW,
    "skip_rows_after_header": SKIPPED,
    "date_column": "A",
    "value_column": "C",
    "unit": "EUR",
}


def workbook_spec(**changes: Any) -> SeriesSpec:
    spec = prices(reader="date_column", table=None, series=[{**A_SERIES, **changes}])
    return with_url(spec, "prices.xlsx")


def workbook(
    months: Sequence[object] = MONTHS,
    values: Sequence[object] | None = None,
    *,
    sheet: str = "Data",
    header_row: int = HEADER_ROW,
    column: int = 3,
) -> bytes:
    """A sheet as central banks lay it out: titles, a header, units, dates in A and values in `column`."""
    book = Workbook()
    page = book.active
    page.title = sheet
    page.cell(1, 1, "Monthly prices")
    page.cell(header_row, 1, "Month")
    page.cell(header_row, column, "Price")
    page.cell(header_row + 1, column, "in EUR")
    for at, month in enumerate(months):
        page.cell(header_row + 1 + SKIPPED + at, 1, month)
        page.cell(header_row + 1 + SKIPPED + at, column, at + 0.5 if values is None else values[at])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def deliver(scene: SeriesScene, body: bytes, **options: Any) -> dict[str, Any]:
    scene.raw.put(scene.spec.source.url, body)
    return scene.run(**options)


def rejected(scene: SeriesScene) -> list[tuple[str, str]]:
    """(place, reason_code) of the newest reading."""
    series = scene.workspace.store.current("prices/series")
    assert series is not None
    rows = pl.concat(
        [pl.DataFrame(schema=REJECTED_CELLS), series.quarantine([NEWEST])], how="diagonal_relaxed"
    )
    return rows.sort("line_no").select("place", "reason_code").rows()


@pytest.fixture
def published(tmp_path: Path) -> SeriesScene:
    """A dataset whose workbook was read well once."""
    scene = SeriesScene(tmp_path, spec=workbook_spec())
    deliver(scene, workbook())
    assert len(scene.values()) == len(MONTHS)
    return scene


def unharmed(scene: SeriesScene, body: bytes, code: str | None, *names: str) -> InvalidInput | CheckFailed:
    """Deliver `body`, which must fail with a reason code (or a failed check) and names; what was published stays."""
    series = scene.workspace.store.current("prices/series")
    before, version = scene.published, scene.current.version
    assert series is not None
    with pytest.raises((InvalidInput, CheckFailed)) as caught:
        deliver(scene, body)
    error = caught.value
    if isinstance(error, CheckFailed):
        assert [outcome.name for outcome in error.outcomes if not outcome.passed and outcome.blocking] == [
            code
        ]
    elif code is not None:
        assert error.reason_code == code
    assert [name for name in names if name not in str(error)] == []
    assert scene.current.version == version
    assert scene.published.equals(before)
    assert scene.workspace.store.verify(scene.current) == []
    return error


def recovers(scene: SeriesScene, body: bytes) -> None:
    version = scene.current.version
    deliver(scene, body)
    assert scene.current.version == version


# --- workbooks ---------------------------------------------------------------------------------------


def test_a_sheet_that_is_gone_is_named_with_those_there_are(published: SeriesScene) -> None:
    unharmed(published, workbook(sheet="Data 2026"), "missing_sheet", "'Data'", "'Data 2026'")
    recovers(published, workbook())


def test_a_column_that_is_gone_is_named_with_those_there_are(published: SeriesScene) -> None:
    unharmed(published, workbook(column=2), "missing_column", "column C", "A to B")


@pytest.mark.parametrize("moved", [-1, 1])
def test_a_declared_header_that_moved_is_found_again_for_the_reader_of_the_message(
    tmp_path: Path, moved: int
) -> None:
    scene = SeriesScene(tmp_path, spec=workbook_spec(header="price"))
    deliver(scene, workbook())
    now = HEADER_ROW + moved
    unharmed(scene, workbook(header_row=now), "header_moved", "Data!C8", "'price'", f"row {now}")
    recovers(scene, workbook())


def test_an_undeclared_header_that_moved_down_loses_and_invents_nothing(published: SeriesScene) -> None:
    before = published.published.drop("place", "line_no", "capture", "collection_date")
    version = published.current.version
    deliver(published, workbook(header_row=HEADER_ROW + 1))
    assert published.published.drop("place", "line_no", "capture", "collection_date").equals(before)
    assert published.current.version == version


def test_an_undeclared_header_that_moved_up_loses_no_month(published: SeriesScene) -> None:
    """The first month then stands where a row is to be skipped; a row with a date and a number is not skipped."""
    values = published.values()
    done = deliver(published, workbook(header_row=HEADER_ROW - 1))
    assert published.values() == values
    assert done["series"].counts.published == len(values)
    assert rejected(published) == []


def test_an_undeclared_header_that_moved_into_the_data_is_quarantined(published: SeriesScene) -> None:
    values = published.values()
    deliver(published, workbook(header_row=HEADER_ROW + 3))
    assert ("Data!C11", "bad_date") in rejected(published)
    assert published.values() == values


def test_text_among_the_values_is_quarantined_by_cell_and_the_old_values_stay(published: SeriesScene) -> None:
    values: list[object] = [at + 0.5 for at in range(len(MONTHS))]
    values[3], values[5], values[7] = "s/d (1)", "n.d.?", "12.5 p"
    before = published.values()
    done = deliver(published, workbook(values=values))
    assert rejected(published) == [(f"Data!C{row}", "bad_value") for row in (14, 16, 18)]
    assert published.values() == before
    counts = done["series"].counts
    assert (counts.rows_in, counts.published, counts.quarantined) == (190, 187, 3)
    reason = done["series"].snapshot.quarantine([NEWEST])["reason"][0]
    assert "'s/d (1)'" in reason
    assert "`not_available:`" in reason  # as the YAML calls it


def test_a_column_of_nothing_but_text_is_blocked_and_accepted_publishes_nothing_of_it(
    published: SeriesScene,
) -> None:
    before = published.values()
    text = workbook(values=["see note"] * len(MONTHS))
    with pytest.raises(CheckFailed):
        deliver(published, text)
    done = published.run(overrides=Overrides(accept_rejected=True))
    assert done["series"].counts.quarantined == len(MONTHS)
    warned = {check.name: check.passed for check in done["series"].checks}
    assert warned["series_have_observations"] is False
    assert published.values() == before


PAGES = [
    b"<!DOCTYPE html><html><head><title>Mantenimiento</title></head></html>",
    b"\xef\xbb\xbf\r\n<html><head><TITLE>Mantenimiento</TITLE></head></html>",
    b"<?xml version='1.0' encoding='utf-8'?>\n<!DOCTYPE html PUBLIC 'x'><html><title>Mantenimiento</title></html>",
    b"<!-- cached -->\n<html lang='es'><title>Mantenimiento</title></html>",
    b"<script>location='/'</script><html><head><title>Mantenimiento</title></head></html>",
]


@pytest.mark.parametrize("page", PAGES, ids=["doctype", "bom", "xhtml", "comment", "script"])
def test_a_web_page_is_never_read_as_data(published: SeriesScene, page: bytes) -> None:
    unharmed(published, page, "html_page", "Mantenimiento")
    recovers(published, workbook())


@pytest.mark.parametrize("page", PAGES, ids=["doctype", "bom", "xhtml", "comment", "script"])
def test_a_web_page_is_never_read_as_a_table(tmp_path: Path, page: bytes) -> None:
    scene = SeriesScene(tmp_path)
    scene.publish(csv_of({"2025-01": (1, 10)}))
    unharmed(scene, page, "html_page", "Mantenimiento")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.999])
def test_a_truncated_workbook_is_rejected(published: SeriesScene, share: float) -> None:
    whole = workbook()
    unharmed(published, whole[: int(len(whole) * share)], "truncated_workbook")
    recovers(published, whole)


@pytest.mark.parametrize("at", [0.1, 0.4, 0.8])
def test_a_workbook_with_damaged_bytes_is_rejected_or_reads_the_same(
    published: SeriesScene, at: float
) -> None:
    body = bytearray(workbook())
    start = int(len(body) * at)
    body[start : start + 40] = bytes(40)
    before, reasons = published.published, ["corrupt_workbook", "truncated_workbook", "missing_sheet"]
    try:
        deliver(published, bytes(body))
    except InvalidInput as error:
        reasons.remove(error.reason_code)
    assert published.published.equals(before)


def bomb_workbook() -> bytes:
    """A workbook whose sheet unpacks to 300 MB of blanks."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(workbook())) as plain,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in plain.namelist():
            if name == "xl/worksheets/sheet1.xml":
                with archive.open(name, "w", force_zip64=True) as member:
                    for _ in range(300):
                        member.write(b" " * (1 << 20))
            else:
                archive.writestr(name, plain.read(name))
    return out.getvalue()


def test_a_workbook_that_is_a_bomb_is_rejected_before_it_is_unpacked(published: SeriesScene) -> None:
    body = bomb_workbook()
    started_s = time.monotonic()
    unharmed(published, body, "suspicious_ratio")
    assert time.monotonic() - started_s < 10


@pytest.mark.parametrize("wrapping", ["gzip", "zip"])
def test_a_table_that_is_a_bomb_is_rejected(tmp_path: Path, wrapping: str) -> None:
    plain = csv_of({"2025-01": (1, 10)})
    spec = prices(source={"url": "prices.csv", "member": "*.csv"}) if wrapping == "zip" else prices()
    scene = SeriesScene(tmp_path, spec=spec)

    def wrapped(data: bytes) -> bytes:
        if wrapping == "gzip":
            return gzip.compress(data)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("folder/prices.csv", data)
        return out.getvalue()

    scene.publish(wrapped(plain))
    unharmed(scene, wrapped(plain + b"\n" * (64 << 20)), "suspicious_ratio")


@pytest.mark.heavy
def test_a_workbook_of_a_million_empty_rows_is_read_in_bounded_time_and_memory(tmp_path: Path) -> None:
    """Some editors save a format for every row there is."""
    path = tmp_path / "million.xlsx"
    book = xlsxwriter.Workbook(str(path), {"constant_memory": True})
    sheet, bold, day = (
        book.add_worksheet("Data"),
        book.add_format({"bold": True}),
        book.add_format({"num_format": 14}),
    )
    for row in range(1_048_576):
        at = row - HEADER_ROW - SKIPPED
        if row == HEADER_ROW - 1:
            sheet.write_row(row, 0, ["Month", None, "Price"])
        elif 0 <= at < len(MONTHS):
            sheet.write_datetime(row, 0, datetime.combine(MONTHS[at], datetime.min.time()), day)
            sheet.write_number(row, 2, at + 0.5)
        else:
            sheet.write_blank(row, 0, None, bold)
            sheet.write_blank(row, 2, None, bold)
    book.close()
    parent, child = SPAWN.Pipe()
    process = SPAWN.Process(target=_read_apart, args=(path, child))
    process.start()
    assert parent.poll(120), "still reading after two minutes"
    seconds, peak_mb, grown_mb, observations = parent.recv()
    process.join(20)
    assert observations == len(MONTHS)
    assert seconds < 45, f"{seconds:.1f} s"
    assert grown_mb < 900, f"{peak_mb:.0f} MB, {grown_mb:.0f} of them for the file"


def _read_apart(path: Path, parent: Connection) -> None:
    body = path.read_bytes()
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started_s = time.perf_counter()
    read = read_capture(workbook_spec(), body)
    seconds = time.perf_counter() - started_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    parent.send((seconds, peak_mb, peak_mb - before_mb, read.normalized.observations.height))


def test_a_publisher_that_drops_ten_years_is_not_followed(published: SeriesScene) -> None:
    body = workbook(MONTHS[120:], [at + 0.5 for at in range(120, 190)])
    error = unharmed(published, body, "history_not_shrinking", "120", "A_M", "2010-01-01", "2019-12-01")
    assert isinstance(error, CheckFailed)
    (evidence,) = [outcome for outcome in error.outcomes if not outcome.passed]
    assert evidence.sample.rows() == [("A_M", 120, date(2010, 1, 1), date(2019, 12, 1))]
    recovers(published, workbook())


# --- one series, one month ---------------------------------------------------------------------------


def test_two_series_with_one_code_are_rejected_where_the_yaml_is_loaded() -> None:
    with pytest.raises(ValueError, match="A_M"):
        prices(series=[{"code": "A_M", "column": name, "unit": "EUR"} for name in "ab"])


def test_two_columns_whose_labels_give_one_code_are_rejected(tmp_path: Path) -> None:
    table = {"date_column": "date", "code": "P_{column}_M", "unit": "EUR"}
    scene = SeriesScene(tmp_path, spec=prices(table=table, series=[]))
    scene.publish(csv_of({"2025-01": (1, 10)}, header="date,Perú,Chile"))
    unharmed(scene, csv_of({"2025-01": (1, 10)}, header="date,Perú,PERU"), "duplicate_series", "P_PERU_M")


@st.composite
def days_of_months(draw: st.DrawFn) -> list[date]:
    return [day.replace(day=draw(st.integers(1, monthrange(day.year, day.month)[1]))) for day in MONTHS[:24]]


FORMS: Sequence[Callable[[date], object]] = (
    lambda day: datetime.combine(day, datetime.min.time()),
    lambda day: f"{day:%d/%m/%Y}",
    lambda day: f"{day:%Y-%m}",
    lambda day: f"{day:%Y-%m-%d}",
    lambda day: (day - date(1899, 12, 30)).days,
)


@settings(max_examples=tries(12), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(days=days_of_months(), form=st.sampled_from(range(len(FORMS))))
def test_a_month_typed_as_any_of_its_days_is_that_month_and_never_a_second_one(
    tmp_path_factory: pytest.TempPathFactory, days: list[date], form: int
) -> None:
    expected = [(f"{day:%Y-%m}-01", at + 0.5) for at, day in enumerate(MONTHS[:24])]
    spec = prices(reader="date_column", table=None, series=[A_SERIES], date_order="dmy")
    rows = read_capture(spec, workbook([FORMS[form](day) for day in days])).normalized
    assert rows.rejected.is_empty()
    found = rows.observations.select(pl.col("period").cast(pl.String), "value").rows()
    assert found == expected


def test_a_day_corrected_a_month_later_makes_no_second_observation(published: SeriesScene) -> None:
    typed = [day.replace(day=28) for day in MONTHS]
    version = published.current.version
    deliver(published, workbook(typed))
    assert published.current.version == version
    deliver(published, workbook([*typed[:-1], MONTHS[-1]]))
    assert published.current.version == version
    assert len(published.values()) == len(MONTHS)


# --- tables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["workbook", "csv", "json"])
def test_a_file_of_no_bytes_is_rejected(tmp_path: Path, kind: str) -> None:
    good = {
        "workbook": workbook(),
        "csv": csv_of({"2025-01": (1, 10)}),
        "json": b'[{"date": "2025-01", "a": 1, "b": 2}]',
    }
    json_spec = prices(table={"format": "json", "date_column": "date"})
    spec = {"workbook": workbook_spec(), "csv": prices(), "json": json_spec}[kind]
    scene = SeriesScene(tmp_path, spec=spec)
    deliver(scene, good[kind])
    unharmed(scene, b"", {"workbook": "empty_file", "csv": "empty_file", "json": "not_json"}[kind])
    recovers(scene, good[kind])


LONG = {"date_column": "Mes", "value_column": "Valor", "code": "P_{País}_M", "unit": "EUR", "separator": ";"}
SPANISH = "Mes;País;Valor\r\n2025-01;Perú;1,5\r\n2025-01;España;2,25\r\n2025-02;Perú;1.234,5\r\n"


def spanish(**table: object) -> SeriesSpec:
    return prices(reader="long", table={**LONG, **table}, series=[], decimal=",", thousands=".")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8", "utf-8-sig", "utf-16"])
def test_a_table_in_latin_1_or_any_other_encoding_reads_the_same(tmp_path: Path, encoding: str) -> None:
    declared = {} if encoding.startswith("utf") else {"encoding": encoding}
    scene = SeriesScene(tmp_path, spec=spanish(**declared))
    scene.publish(SPANISH.encode(encoding))
    assert scene.values("P_PERU_M") == {"2025-01-01": 1.5, "2025-02-01": 1234.5}
    assert scene.values("P_ESPANA_M") == {"2025-01-01": 2.25}


def test_a_table_that_turns_to_latin_1_unannounced_is_rejected_and_its_encoding_not_guessed(
    tmp_path: Path,
) -> None:
    scene = SeriesScene(tmp_path, spec=spanish())
    scene.publish(SPANISH.encode())
    unharmed(scene, SPANISH.encode("latin-1"), "malformed_header", "`encoding:`")
    recovers(scene, SPANISH.encode())


def test_lines_in_latin_1_below_a_plain_header_are_quarantined_and_their_old_values_stay(
    tmp_path: Path,
) -> None:
    scene = SeriesScene(tmp_path, spec=spanish(code="P_{Pais}_M"))
    text = SPANISH.replace("País", "Pais") + "2025-01;Chile;7\r\n"
    scene.publish(text.encode())
    # Nobody knows whose line it was, so the months it held are missing: nothing is published.
    unharmed(scene, text.encode("latin-1"), "history_not_shrinking")
    series = scene.workspace.store.current("prices/series")
    assert series is not None
    assert series.quarantine([NEWEST])["reason_code"].unique().to_list() == ["undecodable"]
    recovers(scene, text.encode())


def test_an_undeclared_decimal_comma_is_quarantined_and_never_read_as_a_thousandfold(
    tmp_path: Path,
) -> None:
    scene = SeriesScene(tmp_path)
    scene.publish(csv_of({"2025-01": ("1.5", "1"), "2025-02": ("1.234", "2")}))
    before = scene.values()
    scene.publish(csv_of({"2025-01": ('"1,5"', "1"), "2025-02": ('"1,234"', "2")}))
    assert rejected(scene) == [("line 2, column a", "bad_value"), ("line 3, column a", "bad_value")]
    assert scene.values() == before


@pytest.mark.parametrize(
    ("text", "decimal", "thousands", "value"),
    [
        ("1.234.567,5", ",", ".", 1_234_567.5),
        ("1,234,567.5", ".", ",", 1_234_567.5),
        ("1 234 567,5", ",", " ", 1_234_567.5),
        ("1\N{NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567,5", ",", " ", 1_234_567.5),
        ("1'234'567.5", ".", "'", 1_234_567.5),
        ("1.23.4567,5", ",", ".", None),  # marks where no thousands end
        ("0.123", ",", ".", None),  # somebody's decimal point
        ("1,5,0", ",", None, None),
    ],
)
def test_thousands_marks_are_read_as_declared_or_quarantined(
    tmp_path: Path, text: str, decimal: str, thousands: str | None, value: float | None
) -> None:
    scene = SeriesScene(tmp_path, spec=prices(decimal=decimal, thousands=thousands))
    scene.publish(csv_of({"2025-01": (f'"{text}"', "1")}))
    assert scene.values() == ({"2025-01-01": value} if value is not None else {})
    assert len(rejected(scene)) == (value is None)


JSON_SPEC = prices(table={"format": "json", "date_column": "date", "records": "data"})
RECORDS = [{"date": "2025-01", "a": 1.5, "b": 10}, {"date": "2025-02", "a": 2.5, "b": 20}]


@pytest.mark.parametrize(
    ("body", "reason_code"),
    [
        (b'{"data": [', "not_json"),
        (b"date,a,b\r\n2025-01,1,2\r\n", "not_json"),
        (b'{"data": [{"date": "2025-01", "a": 1}]}{}', "not_json"),
        (b'{"error": "quota exceeded"}', "no_records"),
        (b'{"data": {"date": "2025-01"}}', "no_records"),
        (b'{"data": []}', None),
        (b'{"data": [{"day": "2025-01", "a": 1, "b": 2}]}', "missing_column"),
        (b"[" * 100_000, "not_json"),
    ],
)
def test_an_answer_that_is_not_the_json_that_was_described_is_rejected(
    tmp_path: Path, body: bytes, reason_code: str | None
) -> None:
    scene = SeriesScene(tmp_path, spec=JSON_SPEC)
    scene.publish(json.dumps({"data": RECORDS}).encode())
    unharmed(scene, body, reason_code)
    scene.publish(json.dumps({"data": [*RECORDS, {"date": "2025-03", "a": 3, "b": 30}]}).encode())
    assert scene.values("A_M")["2025-03-01"] == 3


def test_records_that_are_not_objects_are_quarantined_one_by_one(tmp_path: Path) -> None:
    scene = SeriesScene(tmp_path, spec=JSON_SPEC)
    scene.publish(json.dumps({"data": RECORDS}).encode())
    before = scene.values("A_M")
    malformed = [
        RECORDS[0],
        ["2025-02", 2.5, 20],
        None,
        "2025-02",
        {"date": "2025-02", "a": {"value": 2.5}, "b": 20},
    ]
    # Nobody knows their value for February: the month is missing, so nothing is published.
    unharmed(scene, json.dumps({"data": malformed}).encode(), "history_not_shrinking", "2025-02-01")
    series = scene.workspace.store.current("prices/series")
    assert series is not None
    codes = series.quarantine([NEWEST]).sort("line_no").select("line_no", "reason_code").rows()
    assert codes == [(2, "not_an_object"), (3, "not_an_object"), (4, "not_an_object"), (5, "nested_value")]
    assert scene.values("A_M") == before


def test_nothing_but_records_that_are_no_objects_is_rejected(tmp_path: Path) -> None:
    scene = SeriesScene(tmp_path, spec=JSON_SPEC)
    scene.publish(json.dumps({"data": RECORDS}).encode())
    unharmed(scene, b'{"data": [["2025-01", 1, 2], ["2025-02", 2, 3]]}', "missing_column", "'date'")
