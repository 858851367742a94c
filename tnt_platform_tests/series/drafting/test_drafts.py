"""Drafts, checked by reading the file with them and comparing the observations with what was written into it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.cli.new import draft_text
from tnt_platform.errors import InvalidInput
from tnt_platform.series.drafting.draft import Draft
from tnt_platform.series.drafting.files import draft_layout
from tnt_platform.series.readers.cells import NotInFile
from tnt_platform.series.reading import NormalizedCapture, read_capture
from tnt_platform.series.spec import SeriesSpec
from tnt_platform.series.transforms.periods import period_of
from tnt_platform_tests.rounds import tries
from tnt_platform_tests.series.dataset_files import days, months, workbook

STEPS = {"D": 1, "W": 7, "M": 1, "Q": 3, "A": 12}


def drafted(data: bytes, name: str = "prices", sheet: str | None = None) -> tuple[Draft, NormalizedCapture]:
    """Draft a file, and read it with the draft."""
    found = draft_layout(data, name, sheet)
    attributes = yaml.safe_load(draft_text(found, Path("/file")))["attributes"]
    return found, read_capture(SeriesSpec.model_validate(attributes).placed_in(Path(name)), data)


def values(read: NormalizedCapture) -> dict[str, list[tuple[dt.date, float]]]:
    assert read.counts.quarantined == 0, read.normalized.rejected
    rows = read.normalized.observations.sort("internal_series_code", "period")
    found: dict[str, list[tuple[dt.date, float]]] = {}
    for code, period, value in rows.select("internal_series_code", "period", "value").iter_rows():
        found.setdefault(code, []).append((period, value))
    return found


def dates_of_frequency(frequency: str, count: int) -> list[dt.date]:
    if frequency == "D":
        return days(count)
    if frequency == "W":
        return [dt.date(2020, 1, 3) + dt.timedelta(weeks=n) for n in range(count)]
    return months(count * STEPS[frequency], dt.date(1990, 1, 1))[:: STEPS[frequency]]


@pytest.mark.heavy
@settings(deadline=None, max_examples=tries(40))
@given(
    st.sampled_from("DWMQA"),
    st.integers(5, 30),
    st.integers(1, 5),
    st.integers(0, 6),
    st.integers(0, 2),
    st.integers(0, 3),
    st.booleans(),
    st.data(),
)
def test_every_value_of_a_generated_sheet_is_found_wherever_its_table_stands(
    frequency: str,
    count: int,
    width: int,
    above: int,
    skipped: int,
    left: int,
    across: bool,
    data: st.DataObject,
) -> None:
    dates = dates_of_frequency(frequency, count)
    numbers = st.integers(-100_000, 100_000).map(lambda number: number + 0.5)
    columns = [data.draw(st.lists(numbers, min_size=count, max_size=count)) for _ in range(width)]
    rows: list[list[object]] = [[None] * left + ["Fecha", *(f"Serie {n}" for n in range(width))]]
    rows += [[None] * left + [None] * (width + 1) for _ in range(skipped)]
    rows += [[None] * left + [date, *(column[at] for column in columns)] for at, date in enumerate(dates)]
    if across:
        height = max(map(len, rows))
        rows = [[row[at] if at < len(row) else None for row in rows] for at in range(height)]
    sheet = [["Un título"], *([] for _ in range(above)), *rows]
    if not across and above == 0:
        sheet = [["Un título"], [], *rows]
    found, read = drafted(workbook({"Hoja 1": sheet}))
    assert found.reader == ("date_row" if across else "date_column")
    assert found.frequency == frequency
    periods = pl.Series(dates).to_frame("d").select(period_of(pl.col("d"), frequency)).to_series().to_list()
    expected = {
        f"PRICES_SERIE_{n}_{frequency}": list(zip(periods, column, strict=True))
        for n, column in enumerate(columns)
    }
    assert values(read) == expected


def test_rows_of_units_footers_and_numbers_like_dates_are_not_data() -> None:
    dates = days(30)
    reserves = [
        *[["Banco"], [], [], [], [], [], []],
        ["Fecha", "Nota", "Reservas", "Tipo de cambio"],
        [None, None, "millones", "pesos"],
        [],
        *[[day, None, 40_000 + at, 1000.5 + at] for at, day in enumerate(dates)],
        ["Fuente: el banco."],
    ]
    base = [
        ["Base"],
        ["Fecha", "Total"],
        *[[day, 45_000 + at] for at, day in enumerate(dates)],
        ["* provisorio"],
    ]
    found, read = drafted(workbook({"RESERVAS": reserves, "BASE": base, "NOTAS": [["nada"]]}))
    places = [
        (one["sheet"], one["header_row"], one["skip_rows_after_header"], one["value_column"])
        for one in found.series
    ]
    assert places == [("RESERVAS", 8, 2, "C"), ("RESERVAS", 8, 2, "D"), ("BASE", 2, 0, "B")]
    assert [one["code"] for one in found.series] == [
        "PRICES_RESERVAS_D",
        "PRICES_RESERVAS_TIPO_DE_CAMBIO_D",
        "PRICES_BASE_TOTAL_D",
    ]
    assert {code: len(of) for code, of in values(read).items()} == dict.fromkeys(
        (o["code"] for o in found.series), 30
    )
    assert ["'NOTAS'" in line for line in found.detected] == [False, False, True]


def test_blocks_of_rows_below_each_other_become_a_series_for_each_labelled_row() -> None:
    head = months(20)
    sheet: list[list[Any]] = [["Índices"], []]
    for region in ("Total nacional", "Región GBA"):
        sheet += [[region, *head], [], ["Nivel general y divisiones"]]
        sheet += [[f"División {n}", *(n + at / 10 for at in range(20))] for n in range(9)]
        sheet += [[], ["Categorías"], ["División 3", *range(20)], []]
    found, read = drafted(workbook({"IPC": sheet}), "ipc")
    assert [one["code"] for one in found.series] == [
        "IPC_TOTAL_NACIONAL_{label}_M",
        "IPC_TOTAL_NACIONAL_2_{label}_M",
        "IPC_REGION_GBA_{label}_M",
        "IPC_REGION_GBA_2_{label}_M",
    ]
    read_values = values(read)
    assert len(read_values) == 20
    assert read_values["IPC_REGION_GBA_DIVISION_4_M"] == [(day, 4 + at / 10) for at, day in enumerate(head)]


def test_one_sheet_can_be_drafted_alone_and_sheets_whose_dates_run_the_other_way_are_listed() -> None:
    down = [["Fecha", "A"], *[[day, 1.5] for day in months(12)]]
    across = [["Serie", *months(30)], ["B", *[2.5] * 30]]
    book = workbook({"abajo": down, "al lado": across})
    found, _ = drafted(book)
    assert found.reader == "date_row"
    assert ["'abajo'" in line and "--sheet" in line for line in found.detected] == [False, True]
    alone, _ = drafted(book, sheet="abajo")
    assert alone.reader == "date_column"
    with pytest.raises(NotInFile, match="arriba") as missing:
        draft_layout(book, "x", "arriba")
    assert (missing.value.reason_code, missing.value.name) == ("missing_sheet", "arriba")
    with pytest.raises(InvalidInput) as rejected:
        draft_layout(b"d,v\n2020-01,1\n2020-02,2\n2020-03,3\n", "x", "abajo")
    assert rejected.value.reason_code == "not_a_workbook"


def test_a_header_that_names_a_moment_is_not_required_of_the_next_file() -> None:
    found, _ = drafted(
        workbook({"A": [["Fecha", "A marzo de 2024", "Total"], *[[d, 1.5, 2.5] for d in months(9)]]})
    )
    assert [one.get("header") for one in found.series] == [None, "Total"]


CSVS: Sequence[tuple[str, str, str, dict[str, Any], int]] = [
    ("Fecha;Valor\n01/02/2024;1.234,5\n01/03/2024;1.300,25\n01/04/2024;900,1\nFuente: INDEC;\n", "wide", "M",
        {"decimal": ",", "thousands": ".", "date_order": "dmy"}, 3),
    ("fecha,indice\nEnero-2020,1.5\nFebrero-2020,2\nMarzo-2020,s/d\n", "wide", "M", {}, 2),
    ("periodo\tpib\n1T2020\t1\n2T2020\t2\n3T2020\t3\n", "wide", "Q", {}, 3),
    ("date,close,note\n2024-03-29,5,x\n2024-03-28,4,x\n2024-03-27,4,x\n2024-03-26,3,x\n", "wide", "D", {}, 4),
    ("Country,Code,1960,1961,1962,\nAruba,ABW,,1,2,\nBrazil,BRA,1,2,3,\n", "wide", "A", {}, 5),
    ("Country,Date,Value\nA,2020,1.5\nA,2021,2\nA,2022,2\nB,2020,3\nB,2021,1.5\nB,2022,7\n", "long", "A", {}, 6),
    ("d,area,sex,v\n" + "".join(f"2020-0{m},{a},{x},{m}.5\n" for m in (1, 2, 3) for a in "NS" for x in "FM"),
        "long", "M", {}, 12),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reader", "frequency", "options", "observations"), CSVS)
def test_tables_of_text_are_recognised_and_read_whole(
    text: str, reader: str, frequency: str, options: dict[str, Any], observations: int
) -> None:
    found, read = drafted(text.encode())
    assert (found.reader, found.frequency, dict(found.options)) == (reader, frequency, options)
    assert read.counts.published == observations
    assert read.counts.quarantined == 0


def test_records_of_an_api_give_a_series_for_each_country() -> None:
    records = [
        {
            "country": {"id": code, "value": name},
            "date": str(year),
            "value": None if year == 2003 else year / 7,
        }
        for code, name in (("AR", "Argentina"), ("BR", "Brazil"))
        for year in range(2010, 1999, -1)
    ]
    found, read = drafted(json.dumps([{"page": 1}, records]).encode(), "cpi")
    assert (found.reader, found.frequency) == ("long", "A")
    assert {code: len(of) for code, of in values(read).items()} == {"CPI_AR_A": 10, "CPI_BR_A": 10}


def test_a_unit_column_gives_the_units() -> None:
    text = "Date,Item,Unit,Value\n" + "".join(
        f"2020-0{m},{i},{u},1.5\n" for m in range(1, 7) for i, u in (("A", "kg"), ("B", "m"))
    )
    found, read = drafted(text.encode())
    assert found.table is not None
    assert found.table["unit"] == "{Unit}"
    assert dict(read.cells.codes.select("series_code", "unit").iter_rows()) == {
        "PRICES_A_M": "kg",
        "PRICES_B_M": "m",
    }


def test_values_that_are_not_numbers_and_irregular_dates_are_to_be_checked() -> None:
    text = "d,v\n2020-01-01,1.5\n2020-01-02,pendiente\n2020-01-03,2.5\n2020-01-09,4.5\n2020-02-21,5.5\n2021-02-21,5.5\n"
    checks = draft_layout(text.encode(), "x").check
    assert len(checks) == 2
    assert any("'pendiente'" in check for check in checks)
    assert any("column d:" in check for check in checks)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (workbook({"A": [["x", "y"], [1, 2]], "B": []}), ("'A'", "'x'", "'B'")),
        (b"name,size\na,1\nb,2\nc,3\n", ("'name', 'size'", "3 lines")),
        (b'[{"name": "a", "size": 1}, {"name": "b", "size": 2}]', ("'name', 'size'", "2 records")),
    ],
)
def test_a_file_in_which_nothing_is_recognised_is_rejected_with_what_it_holds(
    data: bytes, named: Sequence[str]
) -> None:
    with pytest.raises(InvalidInput) as rejected:
        draft_layout(data, "x")
    assert rejected.value.reason_code == "nothing_recognised"
    assert all(name in str(rejected.value) for name in named)


QUARTERS = [(year, quarter) for year in range(2019, 2025) for quarter in (1, 2, 3, 4)]
ROMAN = ("I", "II", "III", "IV")


@pytest.mark.parametrize(
    "form",
    [
        "{q}T{y}",
        "{y}Q{q}",
        "{y}-T{q}",
        "{r} Trim. {y}",
        "{r} trim {s:02d}",
        "{r}/{y}",
        "{y} - {r}",
        "{q}º trimestre {y}",
    ],
)
def test_quarters_are_recognised_as_publishers_print_them(form: str) -> None:
    texts = [form.format(q=quarter, y=year, s=year % 100, r=ROMAN[quarter - 1]) for year, quarter in QUARTERS]
    rows = [["Trimestre", "PIB"], *[[text, 100.5 + at] for at, text in enumerate(texts)]]
    draft, read = drafted(workbook({"Datos": rows}))
    assert draft.frequency == "Q"
    wanted = [(dt.date(year, 3 * quarter - 2, 1), 100.5 + at) for at, (year, quarter) in enumerate(QUARTERS)]
    assert values(read) == {"PRICES_PIB_Q": wanted}


@pytest.mark.parametrize("form", ["{}.0", "{}"])
def test_years_are_recognised_whether_they_are_numbers_or_strings(form: str) -> None:
    rows = [["Año", "Valor"], *[[form.format(year), year + 0.5] for year in range(1990, 2024)], ["Total", 5]]
    draft, read = drafted(workbook({"Datos": rows}))
    assert (draft.frequency, draft.footer) == ("A", "^Total")
    assert values(read) == {
        "PRICES_VALOR_A": [(dt.date(year, 1, 1), year + 0.5) for year in range(1990, 2024)]
    }


@pytest.mark.parametrize(
    ("header", "part", "template", "frequency"),
    [
        ("anio,trimestre", "{q}", "{anio}-T{trimestre}", "Q"),
        ("Year,Quarter", "Q{q}", "{Year} {Quarter}", "Q"),
        ("year,period", "M{m:02d}", "{year}{period}", "M"),
        ("Año,Mes", "{m}", "{Año}-{Mes}", "M"),
        ("Año,Mes", "{n}", "{Año} {Mes}", "M"),
    ],
)
def test_a_year_and_a_part_of_it_in_two_columns_are_one_date(
    header: str, part: str, template: str, frequency: str
) -> None:
    dates = dates_of_frequency(frequency, 24)
    names = [
        "Enero",
        "Febrero",
        "Marzo",
        "Abril",
        "Mayo",
        "Junio",
        "Julio",
        "Agosto",
        "Setiembre",
        "Octubre",
        "Noviembre",
        "Diciembre",
    ]
    lines = [
        f"{day.year},{part.format(q=(day.month + 2) // 3, m=day.month, n=names[day.month - 1])},{at}.5"
        for at, day in enumerate(dates)
    ]
    draft, read = drafted("\n".join([f"{header},valor", *lines]).encode())
    assert draft.table is not None
    assert (draft.frequency, draft.table["date_column"]) == (frequency, template)
    assert list(values(read).values()) == [[(day, at + 0.5) for at, day in enumerate(dates)]]


MONTHS_ACROSS = ["Año,Ene,Feb,Mar,Abr", *(f"{year},1.5,2.5,3.5,4.5" for year in range(2015, 2025))]


def test_months_across_years_are_not_yearly_series() -> None:
    with pytest.raises(InvalidInput, match="Ene, Feb, Mar, Abr") as rejected:
        drafted("\n".join(MONTHS_ACROSS).encode())
    assert rejected.value.reason_code == "months_across_years"
    with pytest.raises(InvalidInput) as rejected:
        drafted(workbook({"Datos": [line.split(",") for line in MONTHS_ACROSS]}))
    assert rejected.value.reason_code == "nothing_recognised"


def test_an_encoding_that_cannot_be_detected_is_assumed_and_is_to_be_checked() -> None:
    lines = [f"{day:%d-%m-%Y};{at},5" for at, day in enumerate(days(40))]
    draft, read = drafted("\n".join(["Serie histórica;", "Fecha;Tasa de interés", *lines]).encode("cp1252"))
    assert any("cp1252" in check for check in draft.check)
    assert list(values(read)) == ["PRICES_TASA_DE_INTERES_D"]


@pytest.mark.parametrize(
    ("texts", "numbers", "marks"),
    [
        (["1.5 (p)", "2.5", "3.5*"], [1.5, 2.5, 3.5], {"(p)", "*"}),
        (["1,5%", "2,5 %", "3,5%"], [1.5, 2.5, 3.5], {"%"}),
        (["$ 1.200,50", "$ 2.200,50", "$ 900,00"], [1200.5, 2200.5, 900.0], {"$"}),
        (["2.5 p", "1.5 e", "7.5"], [2.5, 1.5, 7.5], {"p", "e"}),
        (["(2.5)", "1.5", "(7.5)"], [-2.5, 1.5, -7.5], set()),
    ],
)
def test_marks_beside_numbers_are_declared_and_are_to_be_checked(
    texts: list[str], numbers: list[float], marks: set[str]
) -> None:
    lines = [f"{day:%Y-%m};{texts[at % len(texts)]}" for at, day in enumerate(months(12))]
    draft, read = drafted("\n".join(["Mes;Valor", *lines]).encode())
    assert set(draft.options.get("marks", ())) == marks
    assert draft.check
    assert [value for _, value in values(read)["PRICES_VALOR_M"]] == numbers * 4


@pytest.mark.parametrize("across", [False, True])
def test_marks_beside_dates_are_declared_and_are_to_be_checked(across: bool) -> None:
    years = [f"{year} (p)" if year > 2021 else year for year in range(2000, 2025)]
    rows = [["Año", *years], ["Valor", *[1.5] * 25]]
    if not across:
        rows = [list(row) for row in zip(*rows, strict=True)]
    draft, read = drafted(workbook({"Datos": rows}))
    assert draft.options["marks"] == ["(p)"]
    assert any("'(p)'" in check for check in draft.check)
    assert values(read)["PRICES_VALOR_A"] == [(dt.date(year, 1, 1), 1.5) for year in range(2000, 2025)]


YEARS_APART = [["Año", "Mes", "Valor"], [2023, "Nov.", 1.5], [None, "Dic.", 2.5], ["2024 (p)", "Ene.", 3.5]]
NAMED = {"provider": "x", "timezone": "UTC", "frequency": "M", "source": {"url": "x.xlsx"}}


@pytest.mark.parametrize(
    ("reader", "series"),
    [
        (
            "date_column",
            {"header_row": 1, "date_column": "B", "value_column": "C", "year_column": "A", "header": "Valor"},
        ),
        (
            "date_row",
            {"dates_row": 2, "years_row": 1, "first_column": "B", "values_row": 3, "label": "Valor"},
        ),
        ("date_row", {"dates_row": 2, "years_row": 1, "first_column": "B", "first_row": 3, "last_row": 9}),
    ],
)
def test_years_printed_once_for_their_months_are_read_where_the_yaml_declares_them(
    reader: str, series: dict[str, object]
) -> None:
    rows = YEARS_APART if reader == "date_column" else [list(row) for row in zip(*YEARS_APART, strict=True)]
    code = "X_{label}_M" if "first_row" in series else "X_VALOR_M"
    yaml = {**NAMED, "reader": reader, "series": [{"code": code, "unit": "x", "sheet": "Datos", **series}]}
    data = workbook({"Datos": rows})
    found = values(read_capture(SeriesSpec.model_validate(yaml).placed_in(Path("x")), data))
    assert found == {
        "X_VALOR_M": [(dt.date(2023, 11, 1), 1.5), (dt.date(2023, 12, 1), 2.5), (dt.date(2024, 1, 1), 3.5)]
    }


def test_counts_that_could_be_the_serial_numbers_of_days_years_apart_are_not_dates() -> None:
    counts = [3035, 522, 24620, 66730, 5740, 53642]
    text = "data,region,casos\n" + "".join(f"2020-03-21T17:00,R{at},{n}\n" for at, n in enumerate(counts))
    draft = draft_layout(text.encode(), "x")
    assert draft.table is not None
    assert (draft.reader, draft.frequency) == ("long", "D")
    assert (draft.table["date_column"], draft.table["value_column"]) == ("data", "casos")
