"""Geometry of the charts, and texts mapped from files."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tnt_platform.web.charts import HEIGHT, MAX_POINTS, column_plot, line_plot, months_of, scale_of, thinned
from tnt_platform.web.records.table import RecordFilters, RecordTable, write_part
from tnt_platform_tests.web.scene import posts

NUMBERS = st.floats(-1e12, 1e12)


@given(NUMBERS, NUMBERS)
def test_a_scale_holds_its_values_and_its_marks_are_in_order(a: float, b: float) -> None:
    scale = scale_of(min(a, b), max(a, b))
    assert -1e-6 <= scale.y(max(a, b)) <= scale.y(min(a, b)) <= HEIGHT + 1e-6
    places = [tick.y for tick in scale.ticks]
    assert places == sorted(places, reverse=True)
    assert (places[0], places[-1]) == (HEIGHT, 0)
    assert 2 <= len(places) <= 12


def test_marks_are_round_numbers() -> None:
    assert [tick.label for tick in scale_of(0, 23).ticks] == ["0", "10", "20", "30"]
    assert [tick.label for tick in scale_of(0.1, 0.32).ticks] == ["0.1", "0.2", "0.3", "0.4"]
    assert [tick.label for tick in scale_of(5, 5).ticks] == ["4.5", "5.0", "5.5"]


def test_a_line_breaks_where_a_period_is_missing() -> None:
    points = [(date(2026, month, 1), float(month)) for month in (1, 2, 4, 5)]
    plot = line_plot({"a": points}, longest_gap_days=45)
    assert plot is not None
    assert [step[0] for step in plot.lines[0].path.split() if step[0] in "ML"] == ["M", "L", "M", "L"]


def test_a_long_line_is_thinned_and_keeps_its_ends() -> None:
    points = [(date(1990, 1, 1) + timedelta(days=n), float(n)) for n in range(5 * MAX_POINTS + 3)]
    kept = thinned(points)
    assert len(kept) <= MAX_POINTS + 1
    assert (kept[0], kept[-1]) == (points[0], points[-1])


def test_nothing_to_draw_is_no_plot() -> None:
    assert line_plot({"a": []}) is None
    assert column_plot([]) is None


def test_bars_reach_from_zero_and_low_ones_stand_out() -> None:
    plot = column_plot([("a", 50.0, "a"), ("b", 100.0, "b")], highest=100, marked_below=95)
    assert plot is not None
    assert [(bar.height, bar.marked) for bar in plot.columns] == [(HEIGHT / 2, True), (HEIGHT, False)]


def test_a_calendar_has_each_day_once_in_weeks_from_monday() -> None:
    months = months_of({date(2026, 1, 31): 1, date(2026, 3, 1): 1})
    assert [month.name for month in months] == ["March 2026", "February 2026", "January 2026"]
    days = [day for week in months[1].weeks for day in week if day]
    assert days == [date(2026, 2, 1) + timedelta(days=n) for n in range(28)]
    assert all(
        day.weekday() == n for month in months for week in month.weeks for n, day in enumerate(week) if day
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> RecordTable:
    folder = tmp_path_factory.mktemp("parts")
    rows = posts(700)
    return RecordTable("posts", "v", [write_part(rows[n::3].lazy(), folder) for n in range(3)])


def test_a_part_leaves_no_file_behind(tmp_path: Path) -> None:
    part = write_part(posts(5).lazy(), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert part.batches[0].num_rows == 5


@given(
    after=st.one_of(st.none(), st.integers(0, 800).map("posts:{}".format), st.text(max_size=9)),
    limit=st.integers(1, 90),
)
def test_a_page_is_what_sorting_all_ids_gives(table: RecordTable, after: str | None, limit: int) -> None:
    ids = sorted(posts(700)["id"])
    rest = [
        i
        for i in ids
        if after is None or i.encode("utf-8", "surrogatepass") > after.encode("utf-8", "surrogatepass")
    ]
    page = table.page(after, limit, RecordFilters())
    found = [pl.Series([bytes(body).decode()]).str.json_path_match("$.id")[0] for body in page.bodies]
    assert found == rest[:limit]
    assert page.more == (len(rest) > limit)
    assert page.last_id == (found[-1] if found else None)


@given(st.text(max_size=12))
def test_only_ids_that_are_there_are_found(table: RecordTable, text: str) -> None:
    assert table.find(text) is None
    assert table.find("posts:77") is not None
    assert table.find("posts:") is None


def test_a_table_without_a_row_answers(tmp_path: Path) -> None:
    table = RecordTable("posts", "v", [write_part(posts(1).clear().lazy(), tmp_path)])
    assert table.page(None, 5, RecordFilters()).bodies == []
    assert table.page("a", 5, RecordFilters(text="x")).bodies == []
    assert table.find("posts:1") is None
