import json

import pytest

from tnt_platform.errors import InvalidInput
from tnt_platform.series.readers.layouts import LongLayout, LongSeries, LongTable
from tnt_platform.series.readers.table_series import read_long

CSV = (
    "Date,Country,Kind,Unit,Rate\n"
    "2024-01-01,South Korea,avg,KRW,1300.5\n"
    "2024-01-01,Perú,avg,PEN,\n"
    "2024-02-01,South Korea,avg,KRW, 1310 \n"
    "2024-02-01,South Korea,end,KRW,1320\n"
    ",Perú,avg,PEN,\n"
)


def long(text: str, *, footer: str | None = None, series: dict[str, str] | None = None, **options):
    places = {"date_column": "Date", "value_column": "Rate", "code": "FX_{Country}_M", "unit": "u"} | options
    own = tuple(LongSeries(code=code, unit=unit) for code, unit in (series or {}).items())
    return read_long(text.encode(), LongLayout(table=LongTable(**places), series=own, footer=footer))


def fault_of(text: str, **options) -> InvalidInput:
    with pytest.raises(InvalidInput) as fault:
        long(text, **options)
    return fault.value


def test_each_row_is_a_cell_of_the_series_it_names():
    found = long(CSV, where={"Kind": "avg"}, unit="{Unit} per USD")
    assert found.cells.drop("scale").rows() == [
        ("FX_SOUTH_KOREA_M", "2024-01-01", "1300.5", "line 2", 2),
        ("FX_PERU_M", "2024-01-01", None, "line 3", 3),
        ("FX_SOUTH_KOREA_M", "2024-02-01", "1310", "line 4", 4),
    ]
    assert found.codes.rows() == [
        ("FX_SOUTH_KOREA_M", "KRW per USD", None),
        ("FX_PERU_M", "PEN per USD", None),
    ]
    assert found.rejected.is_empty()


def test_a_code_can_name_several_columns():
    found = long(CSV, code="FX_{Country}_{Kind}")
    assert found.codes["series_code"].to_list() == ["FX_SOUTH_KOREA_AVG", "FX_PERU_AVG", "FX_SOUTH_KOREA_END"]


def test_single_series_can_have_a_unit_of_their_own():
    found = long(CSV, unit="x", series={"FX_PERU_M": "PEN"})
    assert found.codes["unit"].to_list() == ["x", "PEN"]


def test_a_row_without_a_name_is_rejected_and_a_blank_one_is_none():
    found = long(CSV + "2024-03-01, ,avg,KRW,5\n,,,,\n")
    assert found.rejected.select("line_no", "raw", "reason_code").rows() == [
        (7, "2024-03-01 |  | avg | KRW | 5", "no_code")
    ]


def test_a_footer_ends_the_rows():
    found = long(CSV + "Source: Fed,,,,\n2024-03-01,Perú,avg,PEN,1\n", footer="^Source")
    assert found.cells["line_no"].max() == 5


def test_json_of_the_world_bank_is_flattened_by_its_path():
    pages = [
        {"page": 1},
        [
            {"country": {"id": "AR"}, "date": "2024", "value": 219.88},
            {"country": {"id": "AR"}, "date": "2025", "value": None},
        ],
    ]
    path = "[1][].{Country: country.id, Date: date, Rate: value}"
    found = long(json.dumps(pages), format="json", records=path)
    assert found.cells.drop("scale").rows() == [
        ("FX_AR_M", "2024", "219.88", "record 1", 1),
        ("FX_AR_M", "2025", None, "record 2", 2),
    ]


@pytest.mark.parametrize(
    ("text", "options", "code"),
    [
        (CSV + "2024-03-01,PERU,avg,PEN,5\n", {}, "duplicate_series"),
        (
            CSV.replace("2024-02-01,South Korea,avg,KRW", "2024-02-01,South Korea,avg,USD"),
            {"unit": "{Unit}"},
            "mixed_units",
        ),
        (CSV, {"where": {"Kind": "median"}}, "no_rows"),
        (CSV, {"where": {"Sort": "avg"}}, "missing_column"),
        (CSV, {"code": "FX_{Pais}_M"}, "missing_column"),
        (CSV, {"value_column": "rate"}, "missing_column"),
    ],
)
def test_series_that_cannot_be_distinguished_reject_the_file(text, options, code):
    assert fault_of(text, **options).reason_code == code


PARTS = "year,period,place,value\n2024,M01,AR,1.5\n2024,M02,AR,2.5\n,M03,AR,3.5\n2024,,AR,\n"


def test_a_date_in_several_columns_is_put_together_by_a_template():
    found = long(PARTS, date_column="{year}{period}", value_column="value", code="X_{place}")
    assert found.cells.select("date_text", "value_text", "line_no").rows() == [
        ("2024M01", "1.5", 2),
        ("2024M02", "2.5", 3),
        (None, "3.5", 4),
    ]


def test_a_part_of_a_date_that_is_not_there_is_a_missing_column():
    fault = fault_of(PARTS, date_column="{year}-{month}", value_column="value", code="X_{place}")
    assert fault.reason_code == "missing_column"
    assert "'month'" in str(fault)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            {"status": "REQUEST_NOT_PROCESSED", "message": ["daily threshold"], "Results": {}},
            "daily threshold",
        ),
        ([{"message": [{"id": "120", "value": "The parameter is not valid"}]}], "parameter is not valid"),
        ({"Results": {"series": [{"data": []}]}, "message": ["No data for 2026"]}, "No data for 2026"),
    ],
)
def test_an_error_with_status_200_is_refused_with_what_it_says(answer, says):
    table = {"format": "json", "records": "Results.series[0].data", "date_column": "d", "value_column": "v"}
    layout = LongLayout.model_validate({"table": {**table, "code": "X", "unit": "u"}})
    with pytest.raises(InvalidInput, match=says) as refused:
        read_long(json.dumps(answer).encode(), layout)
    assert refused.value.reason_code in ("no_records", "no_rows")


def test_a_code_without_columns_is_one_series():
    table = {"date_column": "d", "value_column": "v", "code": "ONE_SERIES_M", "unit": "u"}
    found = read_long(b"d,v\n2024-01,1\n2024-02,2\n", LongLayout.model_validate({"table": table}))
    assert found.codes["series_code"].to_list() == ["ONE_SERIES_M"]
    assert found.cells["value_text"].to_list() == ["1", "2"]
