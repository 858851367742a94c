"""Frames of pages that are kept: read once, within a bound, and again only where files changed."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tnt_platform.storage.objects import Objects
from tnt_platform.web.catalog import Catalog
from tnt_platform.web.frames import FrameCache
from tnt_platform_tests.web.scene import Lake


def test_a_partition_that_a_newer_version_took_over_is_not_read_again(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    days = {f"2026-11-0{n}": pl.DataFrame({"n": [n]}) for n in range(1, 6)}
    cache, scanned = FrameCache(Catalog(Objects.open(lake.url))), []
    first = lake.publish("report", days, ["n"])

    def shown(snapshot: object) -> list[int]:
        def scan(day: str) -> pl.LazyFrame:
            scanned.append(day)
            return snapshot.scan([day])  # type: ignore[attr-defined, no-any-return]

        found = cache.of_partitions(snapshot, "n", list(days), scan)  # type: ignore[arg-type]
        return [frame["n"][0] for frame in found]

    assert shown(first) == shown(first) == [1, 2, 3, 4, 5]
    assert scanned == list(days)
    second = lake.publish("report", {"2026-11-03": pl.DataFrame({"n": [33]})}, ["n"])
    assert shown(second) == [1, 2, 33, 4, 5]
    assert scanned == [*days, "2026-11-03"]
    assert shown(first) == [1, 2, 3, 4, 5]


def test_what_is_kept_stays_within_its_bound_and_the_oldest_goes_first(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    snapshot = lake.publish("report", {"whole": pl.DataFrame({"n": [1]})}, ["n"])
    cache, read = FrameCache(Catalog(Objects.open(lake.url)), max_bytes=100_000), []

    def shown(what: int) -> int:
        def make() -> pl.DataFrame:
            read.append(what)
            return pl.DataFrame({"n": pl.int_range(4_000, eager=True) + what})

        return int(cache.of_version(snapshot, what, make)["n"][0])

    # 32 kB each: the third drives out the one that was not used since.
    assert [shown(what) for what in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 2]
    assert read == [1, 2, 3, 2]
