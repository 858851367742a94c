"""Bad input of every kind through the real chain: read right, or in quarantine with the reason."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from tnt_platform.errors import CheckFailed, InvalidInput, NotFound
from tnt_platform.lake.guard_rails import Overrides
from tnt_platform.sandbox.faults import Faults
from tnt_platform.sandbox.reference import reference_csv, shipper
from tnt_platform.sandbox.running import RunningRateApi, running_rate_api
from tnt_platform.storage.objects import Objects
from tnt_platform.transit.spec import Sample
from tnt_platform_tests.transit.quotes import (
    NOON,
    REFERENCE,
    key_of,
    promises,
    put,
    scene,
    transit,
)
from tnt_platform_tests.transit.scenes import DAY, Scene, with_limits

ROW = "52881|10001|NY|3|2|4|A|B"
GOOD = f"{ROW}\n"
HEADER = "origin,destination,state,expected_transit_days,second_transit_days,zone\n"


@dataclass(frozen=True)
class Dropped:
    """A file, how many of its rows are published, and what is rejected: line, reason_code, start of raw."""

    data: bytes
    published: int = 0
    rejected: list[tuple[int, str, str]] = field(default_factory=list)
    filtered: int = 0


def text(content: str, published: int = 0, *rejected: tuple[int, str, str], filtered: int = 0) -> Dropped:
    return Dropped(content.encode(), published, list(rejected), filtered)


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.txt", content)
    return packed.getvalue()


FILES = {
    "few.txt": text(
        f"52881|10001|NY\n{GOOD}52881\n",
        1,
        (1, "too_few_columns", "52881|10001|NY"),
        (3, "too_few_columns", "52881"),
    ),
    "many.txt": text("|".join("x" * 17) + "\n", 0, (1, "too_many_columns", "x|x")),
    "words.txt": text(f"{GOOD}52881|10001|NY|soon\n", 1, (2, "invalid_days", "52881|10001|NY|soon")),
    "negative.txt": text("52881|10001|NY|-1\n", 0, (1, "invalid_days", "52881|10001|NY|-1")),
    "fraction.txt": text("52881|10001|NY|3.0\n", 0, (1, "invalid_days", "52881")),
    "far.txt": text("52881|10001|NY|61\n", 0, (1, "out_of_range", "52881")),
    "noday.txt": text("52881|10001|NY|\n", 0, (1, "missing_value", "52881")),
    "postal.txt": text(
        "5288|10001|NY|3\n52881|1000A|NY|3\n52881-1234|K1A 0B1|ON|3\n52881| |NY|3\n",
        1,
        (1, "invalid_postal_code", "5288|"),
        (2, "invalid_postal_code", "52881|1000A"),
        (4, "missing_value", "52881| |NY"),
    ),
    "state.txt": text("52881|10001|New York|3\n", 0, (1, "invalid_text", "52881|10001|New York")),
    "spaces.txt": text(" 52881 | 10001 |NY | 3 |2|5\n", 1),
    "blank.txt": text(f"\n{GOOD}\n   \n{GOOD}\n", 2, filtered=4),
    "crlf.txt": text(f"{ROW}\r\n{ROW}\r\n", 2),
    "cr.txt": text(f"{ROW}\r{ROW}\r52881|x\r", 2, (3, "too_few_columns", "52881|x")),
    "bom.txt": text(f"\ufeff{GOOD}", 1),
    "utf16.txt": Dropped((GOOD * 3).encode("utf-16"), 3),
    "utf16bare.txt": Dropped((GOOD * 3).encode("utf-16-le"), 3),
    "latin.txt": Dropped(
        f"{GOOD}52881|10001|NY|3|2|4|é|B\n".encode("latin-1"), 1, [(2, "undecodable", "52881")]
    ),
    "nul.txt": text(f"{GOOD}52881|10\x0001|NY|3\n{GOOD}", 2, (2, "nul_bytes", "52881|10\\x0001|NY|3")),
    "long.txt": text("5" * 10_000_000 + f"\n{GOOD}", 1, (1, "line_too_long", "5" * 10_000)),
    "empty.txt": text("", 0, (0, "empty_file", "")),
    "newline.txt": text("\n", 0, filtered=1),
    "header.csv": text(HEADER, 0),
    "headed.csv": text(f"{HEADER.upper()}52881,10001,NY,3,,\n", 1),
    "otherheader.csv": text("from,to\n52881,10001\n", 0, (0, "missing_column", "")),
    "shifted.csv": text(
        f"{HEADER}10022,00501,NY,12,2\n52881,10001,NY,3,2,4\n",
        1,
        (2, "too_few_columns", "10022,00501,NY,12,2"),
    ),
    "renamed.csv": text(
        f"{HEADER.replace('zone', 'area')}52881,10001,NY,3,2,4\n", 0, (0, "missing_column", "")
    ),
    "titled.csv": text(f"Zones of January\n\n{HEADER}52881,10001,NY,3,2,4\n", 1),
    "joined.csv": text(f"{HEADER}52881,10001,NY,3,2,4\n" * 2, 2, (3, "repeated_header", HEADER[:6])),
    "quotes.csv": text(f'{HEADER}52881,"10001,NY,3,,\n', 0, (2, "malformed_quotes", "52881")),
    "good.txt.gz": Dropped(gzip.compress(GOOD.encode()), 1),
    "cut.txt.gz": Dropped(
        gzip.compress(os.urandom(4_000).hex().encode())[:2_000], 0, [(0, "truncated_gzip", "")]
    ),
    "noise.txt.gz": Dropped(b"\x1f\x8b\x08" + bytes(100), 0, [(0, "corrupt_archive", "")]),
    "bomb.txt.gz": Dropped(gzip.compress(bytes(40 << 20), 9), 0, [(0, "suspicious_ratio", "")]),
    "zipbomb.txt": Dropped(zipped(bytes(40 << 20)), 0, [(0, "suspicious_ratio", "")]),
    "zip.txt": Dropped(zipped(GOOD.encode()), 1),
    "excel.csv": Dropped(b"\xd0\xcf\x11\xe0" + bytes(600), 0, [(0, "not_text", "")]),
    "notes.docx": text("hello", 0, (0, "unrecognised_name", "")),
}


@pytest.fixture(scope="module")
def api() -> Iterator[RunningRateApi]:
    with running_rate_api() as server:
        yield server


@pytest.fixture
def well_api(api: RunningRateApi) -> RunningRateApi:
    """The stand-in without faults, and without memory of other tests."""
    api.set_faults(**Faults().as_json())
    api.reset()
    return api


@pytest.fixture(scope="module")
def dropped(tmp_path_factory: pytest.TempPathFactory, api: RunningRateApi) -> Scene:
    """All of FILES on one date, published up to the shipments."""
    made = scene(tmp_path_factory.mktemp("dropped"), transit(), api)
    for name, file in FILES.items():
        put(made, f"{DAY}/{name}", file.data)
    made.run(steps=["shipper_files", "shipments"], overrides=Overrides(accept_rejected=True))
    return made


@pytest.mark.parametrize("name", FILES)
def test_each_row_of_a_bad_file_is_read_right_or_quarantined_with_the_reason(
    dropped: Scene, name: str
) -> None:
    file, key = FILES[name], f"transit/{DAY}/{name}"
    rejected = dropped.snapshot("shipments").quarantine().filter(file_key=key).sort("line_no")

    found = list(rejected.select("line_no", "reason_code").iter_rows())
    assert found == [(line, code) for line, code, _ in file.rejected]
    assert all(
        row["raw"].startswith(raw)
        for row, (*_, raw) in zip(rejected.to_dicts(), file.rejected, strict=True)
        if raw
    )
    assert all(len(reason) > 20 for reason in rejected["reason"])
    assert dropped.rows("shipments").filter(file_key=key).height == file.published
    [ledger] = dropped.snapshot("shipments").inputs(DAY).filter(key=key).to_dicts()
    counted = [ledger[n] for n in ("rows_in", "rows_out", "rows_quarantined", "rows_filtered")]
    sums = [file.published, len(file.rejected), file.filtered]
    assert counted == [sum(sums), *sums]


def test_the_same_row_is_read_alike_in_every_encoding_and_wrapping(dropped: Scene) -> None:
    alike = ["crlf", "cr", "bom", "utf16", "utf16bare", "good", "zip", "blank"]
    rows = dropped.rows("shipments").filter(pl.col("shipper_id").is_in(alike))
    assert set(rows["shipper_id"]) == set(alike)
    assert rows.drop("file_key", "line_no", "shipper_id").unique().rows() == [
        ("52881", "10001", "NY", 3, 2, "4", "A", "B")
    ]


def test_bad_files_leave_the_counts_in_balance(dropped: Scene) -> None:
    dropped.check_conservation()


def test_a_name_that_gives_no_date_is_filed_under_the_day_it_arrived_and_stays_there(
    tmp_path: Path, api: RunningRateApi
) -> None:
    made = scene(tmp_path, transit(), api)
    steps = ["shipper_files", "shipments"]
    put(made, "anna.txt", GOOD)
    put(made, "2026-02-31/bert.txt", GOOD)
    put(made, "minutes.doc", "hello")
    put(made, "otherteam/report.txt", GOOD)

    def work() -> list[str]:
        return [each.partition for each in made.survey().differences]

    assert work() == [DAY]
    made.run(steps=steps)
    assert made.rows("shipments")["file_key"].to_list() == ["transit/anna.txt"]
    assert made.rejected() == [
        ("bert.txt", 0, "unrecognised_name"),
        ("minutes.doc", 0, "unrecognised_name"),
        ("report.txt", 0, "unrecognised_name"),
    ]
    assert "2026-02-31" in made.snapshot("shipments").quarantine()["reason"][0]

    for key in ("anna.txt", "2026-02-31/bert.txt", "minutes.doc", "otherteam/report.txt"):
        put(made, key, f"{GOOD}{GOOD}", at=NOON + timedelta(days=3))
    assert work() == [DAY]
    made.run(steps=steps)
    assert made.rows("shipments").height == 2
    assert len(made.rejected()) == 3
    made.check_conservation()


def test_a_file_too_large_to_be_held_is_not_even_fetched(tmp_path: Path, api: RunningRateApi) -> None:
    made = scene(tmp_path, transit().model_copy(update={"max_file_bytes": 1_000}), api)
    put(made, key_of(0), GOOD)
    put(made, key_of(1), GOOD * 100)
    fetched = made.raw.requests.bytes_read
    made.run(steps=["shipper_files", "shipments"])
    assert made.rejected() == [(key_of(1).rpartition("/")[2], 0, "too_large")]
    assert made.raw.requests.bytes_read - fetched == len(GOOD)
    made.check_conservation()


def test_of_two_files_of_a_shipper_on_a_date_the_newer_wins_row_by_row(
    tmp_path: Path, well_api: RunningRateApi
) -> None:
    made = scene(tmp_path, transit(), well_api)
    put(made, key_of(0), promises(0, 4), at=NOON + timedelta(seconds=1))
    older = promises(0, 6, late_by=1).replace("|", ",").replace(",A,B", "")
    put(made, key_of(0, ".csv"), HEADER + older)
    made.tick()

    results = made.rows()
    assert results.group_by("file_key").len().sort("file_key").rows() == [
        (f"transit/{key_of(0, '.csv')}", 2),
        (f"transit/{key_of(0)}", 4),
    ]
    assert results.filter(pl.col("file_key").str.ends_with(".txt"))["success"].all()
    enriched = made.snapshot("enriched_shipments").partition(DAY)
    assert enriched is not None
    assert (enriched["rows_in"], enriched["deduplicated"]) == (10, 4)
    made.check_conservation()


def test_a_shipper_that_is_not_in_the_reference_is_rejected_until_it_is(
    tmp_path: Path, well_api: RunningRateApi
) -> None:
    made = scene(tmp_path, transit(), well_api)
    made.raw.put(REFERENCE, reference_csv([0], 0))
    put(made, key_of(0), promises(0, 2))
    put(made, key_of(1), promises(1, 3))
    made.tick()
    name = key_of(1).rpartition("/")[2]
    assert made.rejected("enriched_shipments") == [(name, line, "unknown_shipper") for line in (1, 2, 3)]
    assert shipper(1, 0).shipper_id in made.snapshot("enriched_shipments").quarantine()["reason"][0]

    made.raw.put(REFERENCE, reference_csv([0, 1], 0))
    made.run()
    assert made.rejected("enriched_shipments") == []
    assert made.rows().height == 5
    assert well_api.stats()["repeats"] == 0


def test_a_shipper_twice_in_the_reference_is_fine_if_the_rows_agree_and_rejected_if_not(
    tmp_path: Path, well_api: RunningRateApi
) -> None:
    made = scene(tmp_path, transit(), well_api)
    lines = reference_csv([0, 1, 2], 0).decode().splitlines(keepends=True)
    weightless = lines[3].replace(lines[3].split(",")[3], "heavy", 1)
    moved = lines[2].replace("US", "CA")
    made.raw.put(REFERENCE, "".join([*lines[:3], lines[1], moved, weightless]).encode())
    for number in (0, 1, 2):
        put(made, key_of(number), promises(number, 2))
    made.tick()

    assert made.rows()["shipper_id"].unique().to_list() == [shipper(0, 0).shipper_id]
    rejected = made.snapshot("enriched_shipments").quarantine().sort("file_key", "line_no")
    assert rejected["reason_code"].to_list() == ["bad_shipper_reference"] * 4
    assert "lines 3, 5" in rejected["reason"][0]
    assert "heavy" in rejected["reason"][3]
    made.check_conservation()


def test_a_missing_or_unreadable_reference_stops_the_date_and_leaves_what_was_published(
    tmp_path: Path, well_api: RunningRateApi
) -> None:
    made = scene(tmp_path, transit(), well_api)
    put(made, key_of(0), promises(0, 2))
    made.tick()
    before = made.rows()
    put(made, key_of(1), promises(1, 2))
    made.raw.delete([REFERENCE])
    with pytest.raises(NotFound, match=r"dest\.csv"):
        made.run()
    made.raw.put(REFERENCE, b"name\nx\n")
    with pytest.raises(InvalidInput, match="shipper_id"):
        made.run()
    assert made.rows().equals(before)

    made.raw.put(REFERENCE, reference_csv([0, 1], 0))
    assert made.tick() == [DAY]
    assert made.rows().height == 4


ANSWERED_AFTER_RETRY = {
    "500": {"error_rate": 1.0},
    "429": {"throttle_rate": 1.0},
    "429 with Retry-After": {"throttle_rate": 1.0, "retry_after_s": 1},
    "reset": {"reset_rate": 1.0},
    "timeout": {"slow_rate": 1.0, "slow_s": 5.0},
}


@pytest.mark.parametrize("faults", ANSWERED_AFTER_RETRY.values(), ids=ANSWERED_AFTER_RETRY)
def test_what_passes_by_itself_is_answered_after_a_retry(
    tmp_path: Path, well_api: RunningRateApi, faults: dict[str, float]
) -> None:
    spec = transit()
    made = scene(tmp_path, spec, well_api)
    quick = with_limits(spec, timeout_s=1.5 if "slow_rate" in faults else 20)
    made.described_by(quick)
    put(made, key_of(0), promises(0, 4))
    well_api.set_faults(first_attempts=1, **faults)
    made.tick()
    assert made.rows()["attempts"].to_list() == [2] * 4
    assert made.rows()["success"].all()


# Reason of a fault that stays, and whether the next run asks again by itself.
QUARANTINED = {
    "server_error": ({"error_rate": 1.0}, True),
    "throttled": ({"throttle_rate": 1.0}, True),
    "connection": ({"reset_rate": 1.0}, True),
    "timeout": ({"slow_rate": 1.0, "slow_s": 5.0}, True),
    "html_instead_of_json": ({"html_rate": 1.0}, True),
    "invalid_json": ({"malformed_rate": 1.0}, True),
    "no_rates_map": ({"no_rates_map_rate": 1.0}, False),
    "no_ground_rate": ({"missing_ground_rate": 1.0}, False),
    "bad_transit_days": ({"string_days_rate": 1.0}, False),
}


@pytest.mark.parametrize("code", QUARANTINED)
def test_what_stays_is_quarantined_with_the_reason_and_answered_once_it_is_fixed(
    tmp_path: Path, well_api: RunningRateApi, code: str
) -> None:
    faults, asked_by_itself = QUARANTINED[code]
    spec = transit(min_coverage=0.0)
    quick = with_limits(spec, timeout_s=1.5 if "slow_rate" in faults else 20)
    made = scene(tmp_path, quick, well_api)
    put(made, key_of(0), promises(0, 3))
    well_api.set_faults(**faults)
    made.tick()

    name = key_of(0).rpartition("/")[2]
    assert made.rejected("enriched_shipments") == [(name, line, code) for line in (1, 2, 3)]
    rejected = made.snapshot("enriched_shipments").quarantine()
    assert all(len(reason) > 10 for reason in rejected["reason"])
    assert all(shipper(0, 0).postal_code in raw for raw in rejected["raw"])
    assert made.rows().is_empty()
    assert made.rows("daily_summary").filter(pl.col("cases") > 0).is_empty()
    made.check_conservation()

    well_api.set_faults(**Faults().as_json())
    well_api.reset()
    made.run()
    assert well_api.stats()["requests"] == (3 if asked_by_itself else 0)
    made.run(ask_again="quarantined")
    assert well_api.stats()["requests"] == 3
    assert made.rejected("enriched_shipments") == []
    assert made.rows()["success"].to_list() == [True] * 3
    made.check_conservation()


def test_an_outage_publishes_nothing_and_the_answers_it_still_gave_are_answered(
    tmp_path: Path, well_api: RunningRateApi
) -> None:
    made = scene(tmp_path, transit(), well_api)
    put(made, key_of(0), promises(0, 6))
    made.tick()
    before = made.versions()
    put(made, key_of(1), promises(1, 20))
    well_api.set_faults(error_rate=0.5)
    with pytest.raises(CheckFailed, match="answer_coverage") as failure:
        made.run()
    assert [o.name for o in failure.value.outcomes if not o.passed] == ["answer_coverage"]  # type: ignore[attr-defined]
    after = made.versions()
    assert {s: after[s] for s in ("enriched_shipments", "results", "daily_summary")} == {
        s: before[s] for s in ("enriched_shipments", "results", "daily_summary")
    }
    answered = made.rows("answers").height - 6
    assert 0 < answered < 20
    assert [each.partition for each in made.survey().differences] == [DAY]

    well_api.set_faults(error_rate=0.0)
    well_api.reset()
    assert made.tick() == [DAY]
    assert well_api.stats()["requests"] == 20 - answered
    assert made.rows().height == 26
    made.check_at_rest()


def test_a_replay_asks_for_the_quarantined_cases_alone(tmp_path: Path, well_api: RunningRateApi) -> None:
    made = scene(tmp_path, transit(), well_api)
    put(made, key_of(0), promises(0, 30))
    well_api.set_faults(missing_ground_rate=0.3)
    made.tick()
    rejected = len(made.rejected("enriched_shipments"))
    assert 0 < rejected < 30
    well_api.set_faults(missing_ground_rate=0.0)
    well_api.reset()
    outcomes = made.run(ask_again="quarantined")
    assert well_api.stats()["requests"] == rejected
    assert outcomes["enriched_shipments"].facts["answers_reused"] == 30 - rejected
    assert made.rows().height == 30
    made.check_at_rest()


def test_rematerializing_asks_nothing_whatever_was_read_again(
    tmp_path: Path, well_api: RunningRateApi
) -> None:
    made = scene(tmp_path, transit(), well_api)
    put(made, key_of(0), promises(0, 5))
    made.tick()
    first = made.rows()
    made.run()
    made.run(force=True)
    put(made, key_of(1), promises(1, 2))
    made.tick()
    assert well_api.stats()["requests"] == 7
    assert made.rows().filter(pl.col("test_id").is_in(first["test_id"].to_list())).equals(first)
    made.run(ask_again="all")
    assert well_api.stats()["requests"] == 14


def test_identical_requests_are_asked_once_and_answer_every_case(
    tmp_path: Path, well_api: RunningRateApi
) -> None:
    spec = transit()
    made = scene(tmp_path, spec.model_copy(update={"identity": (*spec.identity, "zone")}), well_api)
    rows = promises(0, 4)
    put(made, key_of(0), rows + rows.replace("|5|A", "|6|A") + rows)
    made.tick()
    assert well_api.stats()["requests"] == 4
    assert made.rows().height == 8
    enriched = made.snapshot("enriched_shipments").partition(DAY)
    assert enriched is not None
    assert enriched["deduplicated"] == 4


def test_a_sample_is_seeded_and_what_it_leaves_out_is_counted_as_filtered(
    tmp_path: Path, well_api: RunningRateApi
) -> None:
    chosen = []
    for number, seed in enumerate((7, 7, 8)):
        made = scene(
            tmp_path / str(number),
            transit().model_copy(update={"sample_per_file": Sample(rows=3, seed=seed)}),
            well_api,
        )
        put(made, key_of(0), promises(0, 20))
        put(made, key_of(1), promises(1, 2))
        made.tick()
        chosen.append(made.rows().select("file_key", "line_no").sort("file_key", "line_no").rows())
        enriched = made.snapshot("enriched_shipments").partition(DAY)
        assert enriched is not None
        assert (enriched["published"], enriched["filtered"]) == (5, 17)
    assert chosen[0] == chosen[1] != chosen[2]
    made.described_by(transit())
    well_api.reset()
    made.run()
    assert well_api.stats()["requests"] == 17
    assert made.rows().height == 22


def test_a_corrected_answer_expression_is_applied_to_the_answers_there_are(
    tmp_path: Path, well_api: RunningRateApi
) -> None:
    made = scene(tmp_path, transit(answer="ratesMap[0].value[0].transitDays"), well_api)
    put(made, key_of(0), promises(0, 5))
    made.tick()
    assert set(made.rows()["actual_transit_days"]) == {1}  # next day air
    made.described_by(transit())
    made.run()
    assert made.rows()["success"].all()
    assert well_api.stats()["requests"] == 5


def test_a_dataset_whose_requests_need_no_reference_has_none(
    tmp_path: Path, well_api: RunningRateApi
) -> None:
    spec = transit(reference=None).placed_in(tmp_path / "transit")
    spec.folder.mkdir()
    spec.request_path.write_text(
        '{"method": "POST", "url": "{api_url}/{origin}/rate/qualifiedcarriers",'
        ' "body": {"shipment_info": {"consignee_info": {"postal_code": "{destination}"}}}}'
    )
    made = scene(tmp_path, spec, well_api)
    made.raw.delete([REFERENCE])
    put(made, key_of(0), promises(0, 3))
    made.tick()
    assert made.rows()["success"].to_list() == [True] * 3


def test_a_date_of_which_every_row_is_rejected_is_blocked_and_nothing_is_asked(
    tmp_path: Path, well_api: RunningRateApi
) -> None:
    made = scene(tmp_path, transit(), well_api)
    put(made, key_of(0), "rubbish\n")
    with pytest.raises(CheckFailed):
        made.tick()
    assert made.versions()["shipments"] is None
    assert well_api.stats()["requests"] == 0


def test_a_bucket_that_loses_a_file_between_listing_and_reading_fails_the_date_alone(
    tmp_path: Path, well_api: RunningRateApi
) -> None:
    made = scene(tmp_path, transit(), well_api)
    put(made, key_of(0), promises(0, 2))
    put(made, key_of(1), promises(1, 2))
    made.run(steps=["shipper_files"])
    Objects.open((tmp_path / "raw").as_uri()).delete([f"transit/{key_of(1)}"])
    with pytest.raises(NotFound):
        made.run(steps=["shipments"])
    made.settle()
    assert made.rows().height == 2
