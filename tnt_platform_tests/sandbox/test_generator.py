"""Sample files are the same for the same seed, and their summary is exact."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import time
from collections import Counter
from pathlib import Path

import pytest

from tnt_platform.errors import NotFound
from tnt_platform.sandbox.generator import (
    SPECIAL_FILES,
    SamplePlan,
    made_files,
    reference_data,
    summarize,
    write_samples,
)
from tnt_platform.sandbox.reference import HEADER
from tnt_platform.sandbox.shipper_rows import BAD_ROW_KINDS, GOOD_ROW_KINDS, OTHER_ROW_KINDS
from tnt_platform.sandbox.zones import ground_days, region_of

DATES = (dt.date(2026, 11, 18), dt.date(2026, 11, 19))
PLAN = SamplePlan(dates=DATES, files=40, dirt_rate=0.2, seed=5)


def kind_of(line: str, seen: set[str]) -> str:
    """What a line is, told without the generator."""
    fields = line.split("|")
    if not line:
        return "blank_line"
    if "\0" in line:
        return "nul_in_row"
    if len(fields) < 4:
        return "too_few_columns"
    if fields[3].startswith("-") and fields[3][1:].isdigit():
        return "negative_days"
    if not fields[3].isdigit():
        return "words_in_days"
    if len(fields[1]) == 4:
        return "four_digit_postal_code"
    if line in seen:
        return "repeated_row"
    seen.add(line)
    days = ground_days(fields[0], fields[1])
    if days is None:
        return "no_ground"
    return "passes" if int(fields[3]) == days else "fails"


def test_the_summary_counts_exactly_what_is_in_the_files() -> None:
    for made in made_files(PLAN):
        if made.kind not in ("ordinary", "unknown_shipper"):
            continue
        seen: set[str] = set()
        lines = made.data.decode().removesuffix("\n").split("\n")
        assert Counter(kind_of(line, seen) for line in lines) == made.rows
        assert made.rows.total() == PLAN.rows_per_file
    assert {kind for kind, rows in summarize(PLAN).rows.items() if rows} == {
        *GOOD_ROW_KINDS,
        *BAD_ROW_KINDS,
        *OTHER_ROW_KINDS,
    }


def test_every_special_file_is_there_once_and_is_what_it_says() -> None:
    made = {file.kind: file for file in made_files(PLAN) if file.kind != "ordinary"}
    assert set(made) == set(SPECIAL_FILES)
    assert b"\r\n" in made["crlf"].data
    assert b"\r" in made["bare_cr"].data
    assert b"\n" not in made["bare_cr"].data
    assert made["bom"].data.startswith(b"\xef\xbb\xbf")
    assert len(gzip.decompress(made["gzip"].data).splitlines()) == PLAN.rows_per_file
    with pytest.raises(EOFError):
        gzip.decompress(made["truncated_gzip"].data)
    assert made["empty"].data == b""
    table = list(csv.DictReader(io.StringIO(made["headed_csv"].data.decode())))
    assert len(table) == PLAN.rows_per_file
    assert None not in table[0]
    assert all(row["flag_2"] is not None for row in table)
    known = {row["shipper_id"] for row in csv.DictReader(io.StringIO(reference_data(PLAN).decode()))}
    shipper_ids = {kind: Path(file.key).name.split(".")[0] for kind, file in made.items()}
    assert {kind for kind, shipper_id in shipper_ids.items() if shipper_id not in known} == {
        "unknown_shipper"
    }
    summary = summarize(PLAN)
    assert summary.unreadable_files == [made["truncated_gzip"].key]
    assert summary.empty_files == [made["empty"].key]
    assert summary.rows_without_reference == PLAN.rows_per_file


def test_a_known_share_of_the_promises_is_wrong_and_never_by_accident_right() -> None:
    rows = summarize(SamplePlan(dates=DATES, files=200, wrong_share=0.25, dirt_rate=0.0)).rows
    assert 0.22 < rows["fails"] / (rows["fails"] + rows["passes"]) < 0.28
    assert summarize(SamplePlan(dates=DATES, files=50, wrong_share=0.0)).rows["fails"] == 0


def test_a_second_run_writes_nothing_and_touches_nothing(tmp_path: Path) -> None:
    first = write_samples(PLAN, tmp_path)
    before = {path: path.stat() for path in tmp_path.rglob("*") if path.is_file()}
    again = write_samples(PLAN, tmp_path)
    after = {path: path.stat() for path in tmp_path.rglob("*") if path.is_file()}
    assert first.written == first.files + 1 == 2 * 40 + len(SPECIAL_FILES) + 1
    assert again.written == 0
    assert {p: (s.st_mtime_ns, s.st_ino) for p, s in before.items()} == {
        p: (s.st_mtime_ns, s.st_ino) for p, s in after.items()
    }
    assert (again.rows, again.files) == (first.rows, first.files)


def test_a_file_depends_on_seed_date_and_shipper_alone() -> None:
    small = {file.key: file.data for file in made_files(PLAN)}
    more_dates = (*DATES, dt.date(2026, 11, 20))
    large = {f.key: f.data for f in made_files(SamplePlan(dates=more_dates, files=60, dirt_rate=0.2, seed=5))}
    assert large | small == large
    other = {f.key: f.data for f in made_files(SamplePlan(dates=DATES, files=40, dirt_rate=0.2, seed=6))}
    assert all(other[key] != data for key, data in small.items() if data)


def test_keys_and_codes_keep_their_zeros() -> None:
    files = list(made_files(SamplePlan(dates=DATES[:1], files=3, special_files=False)))
    assert [file.key for file in files] == [
        "transit/2026-11-18/000011.txt",
        "transit/2026-11-18/000018.txt",
        "transit/2026-11-18/000025.txt",
    ]
    destinations = [
        line.split("|")[1]
        for file in made_files(SamplePlan(dates=DATES, files=100, dirt_rate=0, special_files=False))
        for line in file.data.decode().splitlines()
    ]
    assert all(len(code) == 5 and region_of(code) for code in destinations)
    assert sum(code.startswith("0") for code in destinations) > 100


def test_the_reference_has_one_row_a_shipper_and_readable_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(reference_data(PLAN).decode())))
    assert tuple(rows[0]) == HEADER
    assert len({row["shipper_id"] for row in rows}) == len(rows) == PLAN.files + len(SPECIAL_FILES) - 1
    assert all(float(row[name]) > 0 for row in rows for name in ("weight", "length", "width", "height"))
    assert any("," in row["address1"] for row in rows)
    origins = {
        Path(file.key).name.split(".")[0]: file.data.decode()[:5]
        for file in made_files(
            SamplePlan(dates=DATES[:1], files=40, dirt_rate=0, special_files=False, seed=5)
        )
    }
    assert all(origins.get(row["shipper_id"], row["postal_code"]) == row["postal_code"] for row in rows)


def test_any_object_store_will_do() -> None:
    class Memory:
        def __init__(self) -> None:
            self.objects: dict[str, bytes] = {}
            self.puts = 0

        def get(self, key: str) -> bytes:
            if key not in self.objects:
                raise NotFound(key)
            return self.objects[key]

        def put(self, key: str, data: bytes) -> None:
            self.puts += 1
            self.objects[key] = data

    memory = Memory()
    assert write_samples(PLAN, memory).written == memory.puts == len(memory.objects)
    memory.objects["transit/2026-11-18/000011.txt"] = b"changed by hand"
    assert write_samples(PLAN, memory).written == 1


def test_a_thousand_files_take_about_a_second(tmp_path: Path) -> None:
    started_s = time.process_time()
    summary = write_samples(SamplePlan(dates=DATES[:1], files=1000), tmp_path)
    assert summary.files == 1000 + len(SPECIAL_FILES)
    assert time.process_time() - started_s < 3
