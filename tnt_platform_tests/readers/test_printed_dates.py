from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.readers.printed_dates import EXPECTED_DATES, DateOrder, dates_of
from tnt_platform.series.transforms.periods import FREQUENCIES


def read(*texts: str, frequency: str, order: DateOrder | None = None) -> list[str | None]:
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    dates = frame.select(dates_of(pl.col("text"), frequency, order)).to_series()
    assert dates.dtype == pl.Date
    return dates.dt.to_string("%Y-%m-%d").to_list()


READ = [
    # days
    ("D", "2017-01-01", "2017-01-01"),
    ("D", "2017-1-5", "2017-01-05"),
    ("D", "2017/01/05", "2017-01-05"),
    ("D", "2017.01.05", "2017-01-05"),
    ("D", "20170105", "2017-01-05"),
    ("D", "2017-01-01 10:30:00", "2017-01-01"),
    ("D", "2017-01-01T10:30", "2017-01-01"),
    ("D", "2017-01-01T23:59:59.999Z", "2017-01-01"),
    ("D", "2017-01-01T23:30:00-03:00", "2017-01-01"),
    ("D", "2017-01-01 00:30:00+0530", "2017-01-01"),
    ("D", "2017-01-01 00:00:00 UTC", "2017-01-01"),
    ("D", "15-mar-24", "2024-03-15"),
    ("D", "15-mar.-2024", "2024-03-15"),
    ("D", "1-ene-69", "1969-01-01"),
    ("D", "1-ene-68", "2068-01-01"),
    ("D", "15MAR2024", "2024-03-15"),
    ("D", "15 de marzo de 2024", "2024-03-15"),
    ("D", "1º de Septiembre del 2024", "2024-09-01"),
    ("D", "March 15, 2024", "2024-03-15"),
    ("D", "Mar 1st, 2024", "2024-03-01"),
    ("D", "Sept. 3 2024", "2024-09-03"),
    ("D", "2024-dic-31", "2024-12-31"),
    ("D", "31/12/2024", "2024-12-31"),
    ("D", "12/31/2024", "2024-12-31"),
    ("D", "31.12.2024 00:00", "2024-12-31"),
    ("D", "12/31/2024 12:00:00 AM", "2024-12-31"),
    ("D", "05/05/2024", "2024-05-05"),
    ("D", "13/01/99", "1999-01-13"),
    ("D", "42736", "2017-01-01"),
    ("D", "42736.0", "2017-01-01"),
    ("D", "42736.99", "2017-01-01"),
    ("D", " 2017-01-01\u00a0", "2017-01-01"),
    # weeks
    ("W", "2024-W05", "2024-01-29"),
    ("W", "2024W05", "2024-01-29"),
    ("W", "2024-w06", "2024-02-05"),
    ("W", "2020-W53", "2020-12-28"),
    ("W", "2018-08-10", "2018-08-10"),
    # months
    ("M", "1997-01", "1997-01-01"),
    ("M", "1997-1", "1997-01-01"),
    ("M", "1997/01", "1997-01-01"),
    ("M", "1997:12", "1997-12-01"),
    ("M", "199701", "1997-01-01"),
    ("M", "199712.0", "1997-12-01"),
    ("M", "1997M01", "1997-01-01"),
    ("M", "1997-M1", "1997-01-01"),
    ("M", "01/1997", "1997-01-01"),
    ("M", "1/1997", "1997-01-01"),
    ("M", "11.1997", "1997-11-01"),
    ("M", "1997-01-15", "1997-01-15"),
    ("M", "42750", "2017-01-15"),
    ("M", "Enero-09", "2009-01-01"),
    ("M", "ene-2009", "2009-01-01"),
    ("M", "ene.09", "2009-01-01"),
    ("M", "ene. 2009", "2009-01-01"),
    ("M", "Ene'09", "2009-01-01"),
    ("M", "septiembre 2009", "2009-09-01"),
    ("M", "Setiembre de 2009", "2009-09-01"),
    ("M", "set-09", "2009-09-01"),
    ("M", "Sept 2009", "2009-09-01"),
    ("M", "SEP-70", "1970-09-01"),
    ("M", "agosto   2009", "2009-08-01"),
    ("M", "Jan 2020", "2020-01-01"),
    ("M", "January, 2020", "2020-01-01"),
    ("M", "Apr-20", "2020-04-01"),
    ("M", "abr-20", "2020-04-01"),
    ("M", "dic/21", "2021-12-01"),
    ("M", "2009 Mayo", "2009-05-01"),
    ("M", "2009-may", "2009-05-01"),
    # quarters
    ("Q", "1997-Q1", "1997-01-01"),
    ("Q", "1997Q4", "1997-10-01"),
    ("Q", "1997:2Q", "1997-04-01"),
    ("Q", "Q1 1997", "1997-01-01"),
    ("Q", "T3-24", "2024-07-01"),
    ("Q", "1T1997", "1997-01-01"),
    ("Q", "2T 24", "2024-04-01"),
    ("Q", "1º trimestre 2024", "2024-01-01"),
    ("Q", "3er trim. de 2024", "2024-07-01"),
    ("Q", "2nd quarter 2024", "2024-04-01"),
    ("Q", "I-1997", "1997-01-01"),
    ("Q", "IV 1997", "1997-10-01"),
    ("Q", "III trimestre de 1997", "1997-07-01"),
    ("Q", "1997-II", "1997-04-01"),
    ("Q", "III/2024", "2024-07-01"),
    ("Q", "2024 III", "2024-07-01"),
    ("Q", "2024.III", "2024-07-01"),
    ("Q", "2024 - IV", "2024-10-01"),
    ("Q", "IIIT 2024", "2024-07-01"),
    ("Q", "IT24", "2024-01-01"),
    ("Q", "I Trim. 2024", "2024-01-01"),
    ("Q", "IV trim 24", "2024-10-01"),
    ("Q", "Trim. II 2024", "2024-04-01"),
    ("Q", "Trimestre 3 2024", "2024-07-01"),
    ("Q", "1er. trim. 2024", "2024-01-01"),
    ("Q", "4to. trimestre de 2024", "2024-10-01"),
    ("Q", "Primer trimestre 2024", "2024-01-01"),
    ("Q", "tercer trimestre de 2024", "2024-07-01"),
    ("Q", "Fourth quarter 2024", "2024-10-01"),
    ("Q", "2024 Q2", "2024-04-01"),
    ("Q", "2024 - T2", "2024-04-01"),
    ("Q", "ene-mar 2024", "2024-01-01"),
    ("Q", "Abr.-Jun. 24", "2024-04-01"),
    ("Q", "Julio-Septiembre 2024", "2024-07-01"),
    ("Q", "Oct-Dec 2024", "2024-10-01"),
    ("Q", "enero a marzo de 2024", "2024-01-01"),
    ("Q", "1997-04", "1997-04-01"),
    ("Q", "mar-97", "1997-03-01"),
    # years
    ("A", "1997", "1997-01-01"),
    ("A", "1997.0", "1997-01-01"),
    ("A", "1997-12-31", "1997-12-31"),
    ("A", "dic-97", "1997-12-01"),
    ("A", "1997-Q4", "1997-10-01"),
]


@pytest.mark.parametrize(("frequency", "text", "day"), READ)
def test_a_date_reads_as_it_is_meant_in_spanish_and_english(frequency, text, day):
    assert read(text, text.upper(), text.lower(), frequency=frequency) == [day] * 3


MONTHS = [
    "enero ene january jan",
    "febrero feb february",
    "marzo mar march",
    "abril abr april apr",
    "mayo may",
    "junio jun june",
    "julio jul july",
    "agosto ago august aug",
    "septiembre setiembre sept set sep september",
    "octubre oct october",
    "noviembre nov november",
    "diciembre dic december dec",
]


@pytest.mark.parametrize(("month", "names"), list(enumerate(MONTHS, 1)))
def test_every_month_is_known_by_its_names(month, names):
    for name in names.split():
        spellings = [f"{name}-09", f"{name.title()} 2009", f"{name.upper()}. 09", f"2009/{name}"]
        assert read(*spellings, frequency="M") == [f"2009-{month:02d}-01"] * 4


REFUSED = [
    # no such day, or no date
    ("D", "2023-02-29"),
    ("D", "31/04/2024"),
    ("D", "2024-13-01"),
    ("D", "2024/31/01"),
    ("D", "20241301"),
    ("D", "2017-01-01 25:00"),
    ("D", "2017-01-01 10:61"),
    ("D", "1799-12-31"),
    ("D", "2201-01-01"),
    ("D", "0024-01-01"),
    ("D", "-2024-01-01"),
    ("D", "15-foo-24"),
    ("D", "30 de febrero de 2024"),
    ("D", "15-mar"),
    ("D", "Fuente: INDEC"),
    ("D", "hoy"),
    ("D", ""),
    ("D", "2017-01-01*"),
    ("D", "=2017-01-01"),
    ("D", "\u0662\u0660\u0661\u0667-01-01"),
    # two readings
    ("D", "01/02/2024"),
    ("D", "01-02-03"),
    ("D", "31/12/24"),
    ("D", "1/2-2024"),
    ("M", "01/02/2024"),
    ("M", "01/24"),
    ("M", "2024.1"),
    ("M", "2024.08"),
    ("Q", "1997-2"),
    ("A", "2001-02"),
    ("A", "2001/02"),
    # too coarse for the frequency
    ("D", "2024-01"),
    ("D", "Enero-09"),
    ("D", "2024-W05"),
    ("D", "199701"),
    ("D", "1997"),
    ("W", "ene-2009"),
    ("M", "1997"),
    ("M", "1997-Q1"),
    ("M", "I-1997"),
    ("M", "2024-W05"),
    ("Q", "1997"),
    ("Q", "2024-W05"),
    # numbers that are no days
    ("D", "19999"),
    ("D", "73051"),
    ("D", "1.5"),
    ("D", "-42736"),
    ("A", "42736"),
    ("W", "2024-W53"),
    ("W", "2024-W00"),
    ("M", "1997-13"),
    ("M", "199713"),
    ("M", "marzoo 2024"),
    ("M", "octobre 2024"),
    ("Q", "1997-Q5"),
    ("Q", "V-1997"),
    ("Q", "IV-24"),
    ("Q", "feb-abr 2024"),
    ("Q", "ene-jun 2024"),
    ("M", "III/2024"),
    ("M", "ene-mar 2024"),
    ("M", "Trim. II 2024"),
    ("A", "97"),
    ("A", "3000"),
]


@pytest.mark.parametrize(("frequency", "text"), REFUSED)
def test_a_text_without_exactly_one_reading_is_rejected(frequency, text):
    assert read(text, frequency=frequency) == [None]


@pytest.mark.parametrize(
    ("order", "texts"),
    [
        ("dmy", ["01/02/2024", "1-2-24", "01.02.24 10:30"]),
        ("mdy", ["02/01/2024", "2-1-24", "02.01.24 10:30"]),
        ("ymd", ["2024/02/01", "24-02-01", "24.02.01 10:30"]),
    ],
)
def test_a_declared_order_reads_what_is_ambiguous_without(order, texts):
    assert read(*texts, frequency="D", order=order) == ["2024-02-01"] * 3
    assert read(*texts[1:], frequency="D") == [None] * 2


@pytest.mark.parametrize(
    ("order", "text"), [("dmy", "12/31/2024"), ("mdy", "31/12/2024"), ("ymd", "31/12/2024")]
)
def test_a_date_in_another_order_than_declared_is_rejected(order, text):
    assert read(text, frequency="D", order=order) == [None]
    assert read(text, frequency="D") == ["2024-12-31"]


@pytest.mark.parametrize("order", ["dmy", "mdy", "ymd"])
def test_dates_that_begin_with_the_year_or_name_the_month_need_no_order(order):
    assert (
        read("2024-02-01", "2024/02/01", "1-feb-24", "Feb 1, 2024", frequency="D", order=order)
        == ["2024-02-01"] * 4
    )


def test_what_is_said_to_be_expected_is_understood():
    assert EXPECTED_DATES.keys() == FREQUENCIES.keys()
    for frequency, words in EXPECTED_DATES.items():
        examples = words.split(" such as ")[1].replace(" or ", ", ").split(", ")
        assert None not in read(*examples, frequency=frequency), frequency


DAYS = st.dates(date(1800, 1, 1), date(2200, 12, 31))


@settings(deadline=None)
@given(DAYS, st.sampled_from(list(FREQUENCIES)))
def test_every_iso_day_is_itself_at_every_frequency(day, frequency):
    assert read(day.isoformat(), f"{day}T12:00:00Z", f"{day:%Y%m%d}", frequency=frequency) == [str(day)] * 3


@settings(deadline=None)
@given(st.integers(20_000, 73_050))
def test_a_serial_number_counts_days_as_spreadsheets_do(serial):
    day = date(1899, 12, 30) + timedelta(serial)
    assert read(str(serial), f"{serial}.5", frequency="M") == [str(day)] * 2


@settings(deadline=None)
@given(DAYS)
def test_undeclared_orders_never_pick_one_of_two_days(day):
    text = f"{day:%d/%m/%Y}"
    assert read(text, frequency="D") == [None if day.day <= 12 and day.day != day.month else str(day)]


@settings(deadline=None)
@given(st.text(max_size=20), st.sampled_from(list(FREQUENCIES)), st.sampled_from([None, "dmy", "mdy", "ymd"]))
def test_no_text_breaks_the_reading(text, frequency, order):
    [found] = read(text, frequency=frequency, order=order)
    assert found is None or any(char.isdigit() for char in text)
