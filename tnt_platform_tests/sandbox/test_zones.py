"""The made-up zone table is whole, plausible and the same as its CSV."""

from __future__ import annotations

import csv

import pytest

from tnt_platform.sandbox.zones import (
    WITHOUT_GROUND,
    ZONES_CSV,
    ground_days,
    lane,
    region_of,
    regions,
    zone_table_csv,
)


def test_the_csv_is_what_the_distances_give() -> None:
    assert ZONES_CSV.read_text() == zone_table_csv()


def test_zones_run_from_2_to_8_and_days_from_1_to_6() -> None:
    with ZONES_CSV.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["zone"] for row in rows} == {"", *"2345678"}
    assert {row["ground_days"] for row in rows} == {"", *"123456"}
    assert all((row["zone"] == "") == (row["ground_days"] == "") for row in rows)


def test_ranges_do_not_overlap_and_codes_keep_their_zeros() -> None:
    ends = [end for region in regions() for end in (region.first, region.last)]
    assert ends == sorted(ends)
    assert len({region.first for region in regions()}) == len(regions())
    assert ZONES_CSV.read_text().splitlines()[1].startswith("005,005,")


@pytest.mark.parametrize(
    ("origin", "destination", "days"),
    [
        ("10022", "00501", 1),
        ("10022", "10022", 1),
        ("10022", "90210", 6),
        ("00501", "90210", 6),
        ("10022-1234", "60601", 3),
        ("10022", "00601", None),
        ("96701", "96701", None),
        ("99501", "10022", None),
        ("10022", "0501", None),
        ("10022", "00000", None),
        ("10022", "ABCDE", None),
        ("10022", "١٠٠٢٢", None),
    ],
)
def test_days_between_postal_codes(origin: str, destination: str, days: int | None) -> None:
    assert ground_days(origin, destination) == days


def test_farther_is_never_faster_and_both_ways_take_the_same() -> None:
    for origin in regions():
        served = [lane(origin, destination) for destination in regions()]
        by_zone = sorted(found for found in served if found)
        assert [days for _, days in by_zone] == sorted(days for _, days in by_zone)
        assert served == [lane(destination, origin) for destination in regions()]


def test_no_ground_to_or_from_islands_and_alaska() -> None:
    for first, last in WITHOUT_GROUND:
        for zip3 in range(first, last + 1):
            assert region_of(f"{zip3:03d}01") is not None
            assert ground_days("10022", f"{zip3:03d}01") is None
