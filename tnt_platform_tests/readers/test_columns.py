import json
from datetime import date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from tnt_platform.errors import ConfigError, InvalidInput
from tnt_platform.readers import columns as columns_module
from tnt_platform.readers.column import Column
from tnt_platform.readers.columns import DTYPES, EXPECTED, PARSERS, output_schema
from tnt_platform_tests.paths import SHARED
from tnt_platform_tests.rounds import tries


def table(*rows: tuple[str | None, ...]) -> pl.DataFrame:
    width = max(map(len, rows))
    frame = pl.DataFrame(rows, schema=[(f"c{i}", pl.String) for i in range(width)], orient="row")
    raw = ["|".join(cell or "" for cell in row) for row in rows]
    return pl.DataFrame({"file_key": "a", "line_no": range(1, len(rows) + 1), "raw": raw}).hstack(frame)


def parse_columns(rows: pl.DataFrame, columns: list[Column]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Few rows are typed in one pass and many in two; every test here takes both ways, and they agree."""
    good, bad = columns_module.parse_columns(rows, columns)
    for one, other in zip((good, bad), columns_module.parse_columns(rows, columns, few=True), strict=True):
        assert_frame_equal(one, other)
    return good, bad


def parse_one(*cells: str | None, **options: Any) -> list[Any]:
    """Each cell's value, or the reason code of its rejection."""
    column = Column(name="x", source=0, **options)
    good, bad = parse_columns(table(*((cell,) for cell in cells)), [column])
    assert good.schema == {"file_key": pl.String, "line_no": pl.Int64} | output_schema([column])
    assert sorted([*good["line_no"], *bad["line_no"]]) == list(range(1, len(cells) + 1))
    found = dict(zip(good["line_no"], good["x"], strict=True)) | dict(
        zip(bad["line_no"], bad["reason_code"], strict=True)
    )
    return [found[i + 1] for i in range(len(cells))]


def test_days_are_whole_numbers_from_zero_and_nothing_else():
    assert parse_one("0", "3", "03", " 3 ", type="days") == [0, 3, 3, 3]
    for cell in [
        "abc",
        "-1",
        "3.0",
        "3.5",
        "1e1",
        "1,000",
        "$3",
        "three",
        "3d",
        "0x3",
        "٣",
        "99999999999999999999",
    ]:
        assert parse_one(cell, type="days") == ["invalid_days"], cell


def test_a_rejected_value_is_named_with_its_column():
    _, bad = parse_columns(
        table(("abc",)), [Column(name="expected_days", source=0, type="days", required=True)]
    )
    assert bad.drop("reason").rows() == [("a", 1, "abc", "invalid_days")]
    assert bad["reason"][0].startswith("expected_days: 'abc'")


def test_all_faults_of_a_row_are_listed_and_the_first_gives_the_code():
    columns = [
        Column(name="origin", source=0, type="postal_code", required=True),
        Column(name="days", source=1, type="days", required=True, maximum=30),
        Column(name="flag", source=2, type="boolean"),
    ]
    good, bad = parse_columns(table(("501", "", "?"), ("00501", "31", "Y"), ("00501", "3", "N")), columns)
    assert bad["reason_code"].to_list() == ["invalid_postal_code", "out_of_range"]
    first, second = (reason.split("; ") for reason in bad["reason"])
    assert [reason.split()[0].strip(":") for reason in first] == ["origin", "days", "flag"]
    assert ["'31'" in second[0], "30" in second[0], len(second)] == [True, True, 1]
    assert good.rows() == [("a", 3, "00501", 3, False)]


def test_postal_codes_keep_their_zeros_and_their_shape():
    codes = ["00501", "12345-6789", "K1A 0B1"]
    assert parse_one(*codes, type="postal_code") == codes
    for cell in [
        "501",
        "1002A",
        "123456",
        "12345-",
        "12345 6789",
        "k1a 0b1",
        "K1A0B1",
        "D1A 1A1",
        "+1234",
        "１２３４５",
    ]:
        assert parse_one(cell, type="postal_code") == ["invalid_postal_code"], cell
    assert parse_one("75008", "7500", type="postal_code", pattern="[0-9]{4}") == [
        "invalid_postal_code",
        "7500",
    ]


def test_numbers_are_finite_and_plain_unless_declared_otherwise():
    assert parse_one("1", "-2.5", ".5", "1e3", "", type="number") == [1.0, -2.5, 0.5, 1000.0, None]
    for cell in ["nan", "inf", "-Infinity", "1,000", "$5", "5%", "1.2.3", "0,5", "1 000"]:
        assert parse_one(cell, type="number") == ["invalid_number"], cell


def test_declared_thousands_and_currency_come_off_where_they_belong():
    money = {"type": "number", "thousands": ",", "currency": "$"}
    assert parse_one("$1,234,567.50", "$ 5", "1234", "1,234", "-1,234", **money) == [
        1234567.5,
        5.0,
        1234.0,
        1234.0,
        -1234.0,
    ]
    for cell in ["1,23", "12,34,567", "1234,567", ",123", "1,2345", "1,234,56", "1.5,000", "$"]:
        assert parse_one(cell, **money) == ["invalid_number"], cell
    assert parse_one("1.234,5", "0,61", "1.5", type="number", thousands=".", decimal=",") == [
        1234.5,
        0.61,
        "invalid_number",
    ]
    assert parse_one("0,61", "0.61", type="number", decimal=",") == [0.61, "invalid_number"]


def test_whole_numbers_may_be_negative_and_have_bounds():
    assert parse_one("-3", "7", "8", "x", type="integer", minimum=-3, maximum=7) == [
        -3,
        7,
        "out_of_range",
        "invalid_integer",
    ]


def test_dates_of_several_formats_live_in_one_column():
    formats = ("%d-%b-%y", "%m/%d/%y")
    found = parse_one(
        "2-Jun-06", "11/13/09", "31-Feb-06", "2006-06-02", "13/1/09", type="date", formats=formats
    )
    assert found == [date(2006, 6, 2), date(2009, 11, 13), "invalid_date", "invalid_date", "invalid_date"]


def test_a_date_that_two_formats_read_differently_is_rejected():
    found = parse_one("01/02/2026", "02/02/2026", "13/02/2026", type="date", formats=("%m/%d/%Y", "%d/%m/%Y"))
    assert found == ["invalid_date", date(2026, 2, 2), date(2026, 2, 13)]


@pytest.mark.parametrize("year", range(100))
def test_two_digit_years_turn_where_python_turns_them(year):
    text = f"01-Mar-{year:02d}"
    assert parse_one(text, type="date", formats=("%d-%b-%y",)) == [datetime.strptime(text, "%d-%b-%y").date()]  # noqa: DTZ007


def test_a_four_digit_year_needs_four_digits():
    assert parse_one("09-01-05", "2009-01-05", type="date") == ["invalid_date", date(2009, 1, 5)]


def test_dates_have_bounds():
    bounds = {"type": "date", "minimum": date(2026, 1, 1), "maximum": date(2026, 12, 31)}
    assert parse_one("2025-12-31", "2026-01-01", "2027-01-01", **bounds) == [
        "out_of_range",
        date(2026, 1, 1),
        "out_of_range",
    ]


def test_booleans_and_categories_know_their_words_only():
    assert parse_one("Y", "N", "", "y", type="boolean") == [True, False, None, "invalid_boolean"]
    assert parse_one("Yes", "No", "Y", type="boolean", true_values=("Yes",), false_values=("No",)) == [
        True,
        False,
        "invalid_boolean",
    ]
    assert parse_one("Air", "Sea", "", type="category", values=("Air", "Truck")) == [
        "Air",
        "invalid_category",
        None,
    ]


def test_text_may_have_a_pattern_for_the_whole_cell():
    assert parse_one("ab12", "ab1", "xab12", " ab12 ", pattern="[a-z]{2}[0-9]{2}") == [
        "ab12",
        "invalid_text",
        "invalid_text",
        "ab12",
    ]


def test_white_space_around_a_cell_does_not_count():
    assert parse_one(" x ", "\t", "\u00a0N/A", "a b", nulls=("N/A",)) == ["x", None, None, "a b"]


def test_null_tokens_are_null_silently_and_missing_only_where_required():
    assert parse_one("N/A", "-", "", None, "3", type="days", nulls=("N/A", "-")) == [
        None,
        None,
        None,
        None,
        3,
    ]
    assert parse_one("N/A", "", "3", type="days", nulls=("N/A",), required=True) == [
        "missing_value",
        "missing_value",
        3,
    ]


NOTES = (
    {"equals": "Weight Captured Separately", "code": "separate"},
    {"matches": r"See (ASN|DN)-\d+ \(ID#:\d+\)", "code": "see_reference"},
)


def test_declared_texts_become_notes_and_unknown_ones_reject_the_row():
    column = Column(name="weight", source=0, type="number", required=True, notes=NOTES)
    rows = table(
        ("13",),
        ("Weight Captured Separately",),
        (" See ASN-93 (ID#:1281)",),
        ("unknown",),
        ("See ASN-x",),
        ("",),
    )
    good, bad = parse_columns(rows, [column])
    assert good.select("weight", "weight_note").rows() == [
        (13.0, None),
        (None, "separate"),
        (None, "see_reference"),
    ]
    assert bad["reason_code"].to_list() == ["invalid_number", "invalid_number", "missing_value"]


def test_a_note_wins_over_a_value():
    good, _ = parse_columns(
        table(("999",)),
        [Column(name="x", source=0, type="days", maximum=30, notes=({"equals": "999", "code": "none"},))],
    )
    assert good.select("x", "x_note").rows() == [(None, "none")]


def test_rows_fixed_by_stripping_keep_their_place():
    good, bad = parse_columns(
        table(("1",), (" 2",), ("x",), ("3",), ("4 ",)), [Column(name="x", source=0, type="days")]
    )
    assert good.select("line_no", "x").rows() == [(1, 1), (2, 2), (4, 3), (5, 4)]
    assert bad["line_no"].to_list() == [3]


def test_header_names_match_in_any_case_and_white_space():
    rows = table(("1",)).rename({"c0": "Weight  (Kilograms)"})
    good, _ = parse_columns(rows, [Column(name="x", source=" weight (KILOGRAMS)", type="number")])
    assert good["x"].to_list() == [1.0]


def test_a_missing_source_names_what_there_is():
    rows = table(("1",)).rename({"c0": "Mass"})
    with pytest.raises(InvalidInput, match=r"'Weight'.*'Mass'") as fault:
        parse_columns(rows, [Column(name="x", source="Weight")])
    assert fault.value.reason_code == "missing_column"
    good, _ = parse_columns(rows, [Column(name="x", source="Weight", type="days", optional=True)])
    assert good["x"].to_list() == [None]


def test_no_rows_keep_the_schema():
    columns = [
        Column(name="x", source=0, type="date"),
        Column(name="y", source=0, type="number", notes=NOTES),
    ]
    good, bad = parse_columns(table(("1",)).clear(), columns)
    assert dict(good.schema) == {"file_key": pl.String, "line_no": pl.Int64} | output_schema(columns)
    assert bad.columns == ["file_key", "line_no", "raw", "reason_code", "reason"]


def test_names_must_differ():
    with pytest.raises(ConfigError):
        output_schema([Column(name="x", source=0), Column(name="x", source=1)])
    with pytest.raises(ConfigError):
        output_schema([Column(name="x", source=0, notes=NOTES), Column(name="x_note", source=1)])
    with pytest.raises(ConfigError):
        output_schema([])


def test_every_type_has_a_parser_a_dtype_and_words():
    types = Column.model_fields["type"].annotation
    assert set(PARSERS) == set(DTYPES) == set(EXPECTED) == set(types.__args__)


@pytest.mark.parametrize(
    "options",
    [
        {"nmae": "y"},
        {"name": "Bad Name"},
        {"name": "raw"},
        {"source": -1},
        {"type": "money"},
        {"type": "category"},
        {"type": "days", "formats": ("%Y",)},
        {"type": "days", "pattern": "x"},
        {"type": "days", "minimum": "2026-01-01"},
        {"type": "date", "minimum": 3},
        {"type": "date", "formats": ("%H:%M",)},
        {"type": "number", "thousands": "."},
        {"type": "boolean", "true_values": ("Y",), "false_values": ("Y",)},
        {"pattern": "(["},
        {"pattern": "(?=x)"},
        {"notes": ({"code": "x"},)},
        {"notes": ({"code": "x", "equals": "a", "matches": "b"},)},
        {"required": True, "optional": True},
    ],
)
def test_a_column_that_makes_no_sense_is_rejected(options):
    with pytest.raises(ValidationError):
        Column(**({"name": "x", "source": 0} | options))


@settings(max_examples=tries(150), deadline=None)
@given(
    st.lists(st.text(st.sampled_from("0123456789-+.,eE $ xNAinf/"), max_size=6), min_size=1, max_size=20),
    st.sampled_from(sorted(PARSERS)),
)
def test_every_row_is_typed_or_rejected_with_a_reason(cells, kind):
    column = Column(name="x", source=0, type=kind, **({"values": ("x",)} if kind == "category" else {}))
    rows = table(*((cell,) for cell in cells))
    good, bad = parse_columns(rows, [column])
    assert sorted([*good["line_no"], *bad["line_no"]]) == rows["line_no"].to_list()
    assert good["line_no"].is_sorted()
    assert bad.null_count().sum_horizontal().item() == 0
    empty = {i for i, cell in enumerate(cells, 1) if not cell.strip()}
    assert set(good.filter(pl.col("x").is_null())["line_no"]) == empty


@settings(max_examples=tries(100), deadline=None)
@given(
    st.lists(
        st.sampled_from(["", " ", "1", " 2 ", "50", "-1", "none", "N/A ", "see 3", "x"]),
        min_size=1,
        max_size=12,
    ),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "days", "number", "integer"]), "required": st.booleans()},
        optional={"nulls": st.just(("N/A",)), "notes": st.just(({"equals": "none", "code": "none"},))},
    ),
    st.booleans(),
)
def test_options_together_still_type_or_reject_every_row(cells, options, bounded):
    bounds = {"minimum": 1, "maximum": 10} if bounded and options["type"] != "text" else {}
    column = Column(name="x", source=0, **options, **bounds)
    good, bad = parse_columns(table(*((cell,) for cell in cells)), [column])
    assert sorted([*good["line_no"], *bad["line_no"]]) == list(range(1, len(cells) + 1))
    assert bad.null_count().sum_horizontal().item() == 0
    assert set(bad["reason"].str.len_chars() > 0) <= {True}
    if options["required"]:
        noted = (
            good["x_note"].is_not_null() if "notes" in options else pl.repeat(False, good.height, eager=True)
        )
        assert (good["x"].is_not_null() | noted).all()


@settings(max_examples=tries(100), deadline=None)
@given(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.dates(min_value=date(1000, 1, 1)),
)
def test_a_value_written_plainly_is_read_back(whole, real, day):
    assert parse_one(str(whole), type="integer") == [whole]
    assert parse_one(repr(real), type="number") == [real]
    assert parse_one(day.isoformat(), type="date") == [day]


SCMS = SHARED / "scms_delivery_history"
REFERENCE = {"matches": r"See .*\(ID#:\d+\)", "code": "see_reference"}
TWO_FORMATS = ("%d-%b-%y", "%m/%d/%y")
NOT_CAPTURED = {"equals": "Date Not Captured", "code": "not_captured"}
DELIVERIES = [
    Column(name="id", source="ID", type="integer", required=True),
    Column(
        name="mode",
        source="shipment mode",
        type="category",
        values=("Air", "Truck", "Air Charter", "Ocean"),
        nulls=("N/A",),
    ),
    Column(
        name="quoted_on",
        source="PQ First Sent to Client Date",
        type="date",
        formats=TWO_FORMATS,
        notes=({"equals": "Pre-PQ Process", "code": "pre_pq"}, NOT_CAPTURED),
    ),
    Column(
        name="ordered_on",
        source="PO Sent to Vendor Date",
        type="date",
        formats=TWO_FORMATS,
        notes=({"equals": "N/A - From RDC", "code": "from_rdc"}, NOT_CAPTURED),
    ),
    Column(
        name="scheduled_on", source="Scheduled Delivery Date", type="date", formats=TWO_FORMATS, required=True
    ),
    Column(
        name="delivered_on",
        source="Delivered to Client Date",
        type="date",
        formats=TWO_FORMATS,
        required=True,
    ),
    Column(name="quantity", source="Line Item Quantity", type="integer", required=True, minimum=0),
    Column(name="value_usd", source="Line Item Value", type="number", required=True),
    Column(
        name="first_line",
        source="First Line Designation",
        type="boolean",
        true_values=("Yes",),
        false_values=("No",),
    ),
    Column(
        name="weight_kg",
        source="Weight (Kilograms)",
        type="number",
        required=True,
        notes=(REFERENCE, {"equals": "Weight Captured Separately", "code": "separate"}),
    ),
    Column(
        name="freight_usd",
        source="Freight Cost (USD)",
        type="number",
        required=True,
        notes=(
            REFERENCE,
            {"equals": "Freight Included in Commodity Cost", "code": "included"},
            {"equals": "Invoiced Separately", "code": "invoiced"},
        ),
    ),
    Column(name="insurance_usd", source="Line Item Insurance (USD)", type="number"),
]


@pytest.mark.skipif(not SCMS.is_dir(), reason="no shared data")
def test_the_delivery_history_has_its_published_figures():
    from tnt_platform.readers.delimited import DelimitedLayout, RawFile, read_rows

    path = SCMS / "SCMS_Delivery_History_Dataset.csv"
    facts = json.loads((SCMS / "EXPECTED.json").read_text())["expected"][path.name]
    wanted = tuple(column.source for column in DELIVERIES)
    layout = DelimitedLayout(separator=",", header=True, columns=wanted)
    good, bad = parse_columns(read_rows([RawFile("scms", path.read_bytes())], layout).good, DELIVERIES)
    assert (good.height, bad.height) == (facts["records"], 0)

    def notes(name: str) -> dict[str, int]:
        return dict(good.filter(pl.col(f"{name}_note").is_not_null()).group_by(f"{name}_note").len().rows())

    assert good["weight_kg"].count() == facts["weight"]["numeric"]
    assert good["weight_kg"].sum() == facts["weight"]["sum_numeric"]
    assert notes("weight_kg") == {"see_reference": 2445, "separate": 1507}
    assert good["freight_usd"].count() == facts["freight"]["numeric"]
    assert good["freight_usd"].sum() == pytest.approx(facts["freight"]["sum_numeric"], abs=0.005)
    assert notes("freight_usd") == {"see_reference": 2445, "included": 1442, "invoiced": 239}
    assert good["insurance_usd"].null_count() == facts["insurance_empty"]
    assert good["insurance_usd"].sum() == pytest.approx(facts["insurance_sum"], abs=0.005)
    assert good["quantity"].sum() == facts["sum_line_item_quantity"]
    assert good["value_usd"].sum() == pytest.approx(facts["sum_line_item_value"], abs=0.005)
    assert good["mode"].null_count() == facts["shipment_mode"]["N/A"]
    assert good["first_line"].sum() == facts["first_line_designation"]["Yes"]
    assert (good["quoted_on"].count(), notes("quoted_on")) == (7643, {"pre_pq": 2476, "not_captured": 205})
    assert (good["ordered_on"].count(), notes("ordered_on")) == (
        4592,
        {"not_captured": 328, "from_rdc": 5404},
    )
    assert good["quoted_on"].min() == date.fromisoformat(facts["pq first sent to client date"]["min"])
    lag = (good["delivered_on"] - good["scheduled_on"]).dt.total_days()
    assert ((lag > 0).sum(), (lag == 0).sum(), (lag < 0).sum(), lag.sum()) == (1186, 6324, 2814, -62187)
