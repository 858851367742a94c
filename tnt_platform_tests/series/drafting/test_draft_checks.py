"""What a draft asks of a person: whatever the file alone can't decide, and every number that it leaves out."""

import json

import pytest

from tnt_platform.errors import InvalidInput
from tnt_platform.series.drafting.files import draft_layout
from tnt_platform_tests.series.drafting.test_drafts import drafted, months, workbook
from tnt_platform_tests.series.test_scales import percents, unstored

ROWS = [f"2024-{month:02d}" for month in range(1, 13)]


def csv(header, *columns):
    """Make a CSV file of months and columns of texts."""
    lines = [",".join([month, *cells]) for month, *cells in zip(ROWS, *columns, strict=False)]
    return "\n".join([header, *lines]).encode()


def check_of(draft, *words):
    return [check for check in draft.check if all(word in check for word in words)]


def test_dashes_are_asked_for_since_they_may_be_zeros():
    draft, _ = drafted(csv("Mes,V", ["1", "-", "3", "4"]))
    assert check_of(draft, "'-'", "zeros:")


def test_two_digit_years_serial_numbers_and_zones_are_to_be_compared():
    draft, read = drafted(b"d,v\n" + b"".join(f"Jan-{year},{year}\n".encode() for year in range(61, 81)))
    assert check_of(draft, "'Jan-61'", "'Jan-80'")
    assert str(read.normalized.observations["period"].min()) == "1961-01-01"
    draft, read = drafted(b"d,v\n45292,1.5\n45323,2.5\n45352,3.5\n45383,4.5\n")
    assert (draft.options["serial_epoch"], len(check_of(draft, "1904")), read.counts.published) == (
        1900,
        1,
        4,
    )
    draft, _ = drafted(b"d,v\n2024-01-31T23:00Z,1\n2024-02-29T23:00Z,2\n2024-03-31T22:00Z,3\n")
    assert check_of(draft, "timezone")


def test_columns_with_numbers_that_are_left_out_are_named():
    few = ["N/A", "N/A", "x", "y", "z", "7"]
    draft, _ = drafted(
        csv("Mes,V,Pocos,Vol", ["1", "2", "3", "4", "5", "6"], few, ["1.25M", "850K", "1B", "-", "2K", "3M"])
    )
    assert len(draft.series) == 1
    assert check_of(draft, "'Pocos'", "1 of 6")
    assert check_of(draft, "'Vol'", "5 of 6", "1.25M")


def test_columns_of_formulas_without_results_are_named():
    draft, _ = drafted(unstored("=C2*2", "=C3*2", "=C4*2", "=C5*2"))
    assert check_of(draft, "column B", "formulas")
    draft, _ = drafted(unstored(1, 2, 3, "=C5*2"))
    assert check_of(draft, "1 values are formulas")


def test_rows_and_sheets_with_numbers_that_are_left_out_are_named():
    head = months(6)
    across = [["Serie", *head], ["A", 1, 2, 3, 4, 5, 6], ["B", "x", "y", "z", "x", "y", 6]]
    draft, _ = drafted(workbook({"S": across, "otros": [["x", 5], ["y", 6]]}))
    assert check_of(draft, "row 3", "1 of 7")
    assert [line for line in draft.detected if "'otros'" in line and "2 of 4" in line]


def test_cells_that_are_shown_as_percentages_are_named():
    draft, _ = drafted(percents((0.25, "0%"), (0.26, "0%"), (0.27, "0%"), (0.28, "0%")))
    assert check_of(draft, "'S'", "column B", "0.25")


def test_a_footer_that_a_row_of_data_begins_with_is_not_proposed():
    rows = ["*2024-01,1", "*2024-02,2", "*2024-03,3", "2024-04,4", "* provisional,", "Fuente: x,"]
    draft, read = drafted("\n".join(["Mes,V", *rows]).encode())
    assert draft.footer == "^Fuente"
    assert read.counts.published == 4


def test_days_that_follow_the_month_are_not_drafted_as_weeks():
    days = [f"2024-{month:02d}-{day:02d}" for month in range(1, 7) for day in (1, 8, 15, 22)]
    draft, _ = drafted(("d,v\n" + "".join(f"{day},{at}\n" for at, day in enumerate(days))).encode())
    assert (draft.frequency, len(check_of(draft, "irregular"))) == ("D", 1)


YEARS_AND_VALUES = "Year,GDP\n" + "".join(
    f"{year},{40_000 + 1_400 * at}\n" for at, year in enumerate(range(2010, 2022))
)
FISCAL = "FY,V\n" + "".join(f"{year}-{(year + 1) % 100:02d},{year}\n" for year in range(2004, 2020))
DDMMYY = "d,v\n" + "".join(f"{day:02d}0124,{day}\n" for day in range(1, 28))
TWO_NAMES = "Mes,A,A\n" + "".join(f"2024-{month:02d},{month},{month}.5\n" for month in range(1, 13))
LIKE_SERIALS = "Mes,A,B\n" + "".join(
    f"{year},{21_000 + year},{65_000 - year}\n" for year in range(2001, 2016)
)


@pytest.mark.parametrize(("text", "observations"), [(YEARS_AND_VALUES, 12), (LIKE_SERIALS, 30)])
def test_values_that_look_like_serial_dates_are_values(text, observations):
    _, read = drafted(text.encode())
    assert read.counts.published == observations


@pytest.mark.parametrize(
    ("text", "code"),
    [(FISCAL, "nothing_recognised"), (DDMMYY, "nothing_recognised"), (TWO_NAMES, "duplicate_column")],
)
def test_what_cannot_be_drafted_is_refused_with_what_it_is(text, code):
    with pytest.raises(InvalidInput) as refused:
        draft_layout(text.encode(), "x")
    assert refused.value.reason_code == code


def test_a_name_that_occurs_twice_in_an_object_is_refused():
    body = b'[{"d": "2024-01", "v": 1, "v": 2}, {"d": "2024-02", "v": 1}, {"d": "2024-03", "v": 1}]'
    with pytest.raises(InvalidInput) as refused:
        draft_layout(body, "x")
    assert refused.value.reason_code == "duplicate_name"


def test_a_list_inside_the_only_object_of_a_list_is_found():
    data = [{"fecha": f"{day:02d}/01/2024", "dato": f"17.{day:02d}"} for day in range(1, 28)]
    body = json.dumps({"bmx": {"series": [{"idSerie": "SF43718", "datos": data}]}}).encode()
    draft, read = drafted(body)
    assert draft.table is not None
    assert (draft.table["records"], read.counts.published) == ("bmx.series[0].datos", 27)
