"""Dates that their column decides: one fineness, one order, one century, one epoch and one zone."""

from datetime import date, timedelta

import pytest

from tnt_platform_tests.series.transforms.test_observations import normalize, published


def dated(*texts, frequency, **conventions):
    """Normalize one value for each date."""
    return normalize(
        *((text, str(at)) for at, text in enumerate(texts, 1)), frequency=frequency, **conventions
    )


def periods(found):
    return [period for period, _ in published(found)]


def refused(found):
    return found.rejected.select("raw", "reason_code").rows()


MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
MIXED = [
    *("2023", "2024", "2025"),
    *(f"{year} Q{quarter}" for year in (2024, 2025) for quarter in (1, 2, 3, 4)),
    *(f"2025 {month}" for month in MONTHS),
    "2026 JAN",
]


@pytest.mark.parametrize("rule", ["refuse", "first", "last"])
def test_a_month_is_no_observation_of_a_yearly_series_whatever_is_done_with_duplicates(rule):
    found = dated(*MIXED, frequency="A", duplicates=rule)
    assert published(found) == [("2023-01-01", 1.0), ("2024-01-01", 2.0), ("2025-01-01", 3.0)]
    assert {code for _, code in refused(found)} == {"finer_date"}
    assert "duplicates" not in "".join(found.rejected["reason"])
    assert found.rejected["period"].null_count() == found.rejected.height


def test_a_month_is_no_quarter_beside_quarters():
    found = dated(*MIXED, frequency="Q")
    assert periods(found) == [
        f"{year}-{month}-01" for year in (2024, 2025) for month in ("01", "04", "07", "10")
    ]
    assert ("2026 JAN", "finer_date") in refused(found)


def test_a_lone_month_below_years_is_refused():
    found = dated("2024", "2025", "2026 JAN", frequency="A")
    assert (periods(found), refused(found)) == (["2024-01-01", "2025-01-01"], [("2026 JAN", "finer_date")])


def test_months_alone_are_no_yearly_series_even_in_the_year_that_has_one():
    found = dated(*(f"2025-{month:02d}" for month in range(1, 13)), "2026-01", frequency="Q")
    assert (periods(found), found.rejected.height) == ([], 13)


@pytest.mark.parametrize(
    ("frequency", "texts"),
    [
        ("A", ["2023-12-31", "2024-12-31", "2025-12-31"]),
        ("A", ["dic-23", "dic-24", "dic-25"]),
        ("Q", ["mar-25", "jun-25", "sep-25"]),
        ("Q", ["2025-03-31", "2025-06-30", "2025-09-30"]),
        ("M", ["2025-01-31", "2025-02-28", "2025-03-31"]),
        ("M", ["ene-25", "2025-02-01", "mar-25"]),
        ("W", ["2025-01-03", "2025-01-10", "2025-01-16", "2025-01-24"]),
    ],
)
def test_one_finer_date_a_period_at_one_place_in_it_stands_for_the_period(frequency, texts):
    assert len(periods(dated(*texts, frequency=frequency))) == len(texts)


def test_a_year_to_date_is_no_year():
    found = dated("dic-23", "dic-24", "dic-25", "mar-26", frequency="A")
    assert (len(periods(found)), refused(found)) == (3, [("mar-26", "finer_date")])


def test_a_month_to_date_is_no_month_beside_ends_of_months():
    ends = [str(date(2025 + month // 12, month % 12 + 1, 1) - timedelta(days=1)) for month in range(1, 13)]
    found = dated(*ends, "2026-01-14", frequency="M")
    assert (len(periods(found)), refused(found)) == (12, [("2026-01-14", "finer_date")])


def test_days_that_follow_the_month_are_not_weekly():
    texts = [f"2025-{month:02d}-{day:02d}" for month in range(1, 7) for day in (1, 8, 15, 22)]
    found = dated(*texts, frequency="W")
    assert periods(found) == []
    assert {code for _, code in refused(found)} <= {"not_weekly", "finer_date"}


@pytest.mark.parametrize("frequency", ["M", "Q", "A"])
@pytest.mark.parametrize("mark", "-/")
def test_fiscal_years_are_refused_and_not_months(frequency, mark):
    texts = [f"{year}{mark}{(year + 1) % 100:02d}" for year in range(2004, 2015)]
    found = dated(*texts, frequency=frequency)
    assert (periods(found), {code for _, code in refused(found)}) == ([], {"fiscal_year"})


def test_months_among_which_one_looks_like_a_fiscal_year_are_months():
    assert len(periods(dated("2004-04", "2004-05", "2004-06", frequency="M"))) == 3


MIDNIGHTS = [f"{day}.000Z" for day in ("2024-01-31T23:00:00", "2024-02-29T23:00:00", "2024-03-31T22:00:00")]


def test_local_midnights_that_are_written_in_utc_are_the_days_that_they_begin():
    found = dated(*MIDNIGHTS, frequency="M", timezone="Europe/Madrid")
    assert periods(found) == ["2024-02-01", "2024-03-01", "2024-04-01"]
    days = dated(*MIDNIGHTS, frequency="D", timezone="Europe/Madrid")
    assert periods(days) == ["2024-02-01", "2024-03-01", "2024-04-01"]


def test_midnights_of_a_zone_that_nobody_declared_are_asked_for():
    found = dated(*MIDNIGHTS, frequency="M", timezone="UTC")
    assert (periods(found), {code for _, code in refused(found)}) == ([], {"unknown_zone"})
    assert "`timezone`" in found.rejected["reason"][0]


def test_days_with_a_midnight_in_utc_are_the_days_that_they_name():
    texts = ["2024-03-01T00:00:00Z", "2024-04-01T00:00:00Z"]
    found = dated(*texts, frequency="M", timezone="America/Argentina/Buenos_Aires")
    assert periods(found) == ["2024-03-01", "2024-04-01"]


def test_a_moment_on_two_days_is_refused_and_one_on_a_single_day_is_read():
    texts = ["2024-03-01T01:10:00Z", "2024-03-02T15:20:00Z"]
    found = dated(*texts, frequency="D", timezone="America/Argentina/Buenos_Aires")
    assert (periods(found), refused(found)) == (["2024-03-02"], [(texts[0], "unknown_zone")])


def test_two_digit_years_are_not_in_the_future():
    texts = [f"{month.title()}-{year}" for year in range(66, 71) for month in MONTHS]
    found = dated(*texts, frequency="M")
    assert (periods(found)[0], periods(found)[-1], len(periods(found))) == ("1966-01-01", "1970-12-01", 60)


@pytest.mark.parametrize("step", [1, -1])
def test_the_order_of_the_rows_decides_the_century(step):
    texts = [f"dic-{year % 100:02d}" for year in range(1920, 2026)][::step]
    found = dated(*texts, frequency="A")
    assert (periods(found)[0], periods(found)[-1], len(periods(found))) == ("1920-01-01", "2025-01-01", 106)


def test_serial_dates_need_an_epoch():
    found = dated("45292", "45323", frequency="M")
    assert (periods(found), {code for _, code in refused(found)}) == ([], {"serial_date"})
    assert periods(dated("45292", "45323", frequency="M", epoch=1900)) == ["2024-01-01", "2024-02-01"]
    assert periods(dated("43830", "43861", frequency="M", serial_epoch=1904)) == ["2024-01-01", "2024-02-01"]
    assert periods(dated("43830", "43861", frequency="M", epoch=1904)) == ["2024-01-01", "2024-02-01"]


def test_a_column_in_two_orders_keeps_only_what_both_read_alike():
    found = dated("31/12/2024", "12/30/2024", "05/06/2024", frequency="D")
    assert (periods(found), {code for _, code in refused(found)}) == ([], {"mixed_order"})
    found = dated("31/12/2024", "12/30/2024", "05/06/2024", "05/05/2024", frequency="D", date_order="dmy")
    assert periods(found) == ["2024-05-05", "2024-12-31"]
    assert refused(found) == [("12/30/2024", "bad_date"), ("05/06/2024", "mixed_order")]


def test_cells_whose_day_and_month_a_spreadsheet_swapped_are_refused():
    days = [date(2024, 2, 1) + timedelta(days=at) for at in range(40)]
    texts = [f"{d.year}-{d.day:02d}-{d.month:02d}" if d.day <= 12 else f"{d:%d/%m/%Y}" for d in days]
    found = dated(*texts, frequency="D")
    assert periods(found) == [str(d) for d in days if d.day > 12 or d.day == d.month]
    assert {code for _, code in refused(found)} == {"swapped_date"}


def test_periods_after_the_capture_are_observations_only_where_forecasts_are_declared():
    texts = ["2026-02", "2026-03", "2026-04"]
    found = dated(*texts, frequency="M")
    assert (len(periods(found)), refused(found)) == (2, [("2026-04", "future_period")])
    assert len(periods(dated(*texts, frequency="M", forecasts=True))) == 3
    assert periods(dated("2026", "2027", frequency="A")) == ["2026-01-01"]


def test_a_future_period_without_a_value_is_not_available():
    found = normalize(("2026-03", "1"), ("2026-04", None))
    assert (found.filtered, found.rejected.height) == (1, 0)
