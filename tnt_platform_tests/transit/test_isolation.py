"""A file that breaks the reader costs that file, not the date."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from tnt_platform.errors import ConfigError, InvalidInput
from tnt_platform.services import reader_process
from tnt_platform.services.reader_process import READER_CRASHED
from tnt_platform.storage.objects import Objects
from tnt_platform.transit.layouts import FileKind
from tnt_platform.transit.parsing import ParsedFiles, parse_files
from tnt_platform.transit.shipments import crashed_files, publish_shipments
from tnt_platform.transit.spec import TransitSpec
from tnt_platform_tests.transit.scenes import DAY, Scene, parcels

ROWS = b"parcel,due,came\na,2026-01-05,2026-01-06\n"


@dataclass(frozen=True)
class FragileKind(FileKind):
    """A layout whose code has a bug that shows with some files only, named after what it does."""

    def fits(self, key: str) -> bool:
        name = key.rpartition("/")[2].removesuffix(".csv")
        match name:
            case "fails":
                raise ZeroDivisionError("a bug in the reader")
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "panics":
                raise pl.exceptions.PanicException("a bug in the engine")
            case "hangs":
                time.sleep(3_600)
            case "unreadable":
                raise InvalidInput("odd_layout", "this file has a layout nobody knows")
            case "misconfigured":
                raise ConfigError("the YAML is wrong")
        return super().fits(key)


@pytest.fixture
def fragile(tmp_path: Path) -> TransitSpec:
    spec = parcels(tmp_path)
    (kind,) = spec.file_kinds
    return spec.model_copy(update={"file_kinds": (FragileKind(kind.files, kind.layout, kind.columns),)})


@pytest.fixture(autouse=True)
def no_child_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


def read(spec: TransitSpec, scratch: Path, *names: str) -> ParsedFiles:
    contents = [(f"in/{DAY}/{name}.csv", ROWS) for name in names]
    return parse_files(spec, contents, scratch, isolate=True)


def test_a_file_that_breaks_the_reader_is_quarantined_whole_and_the_others_go_through(
    fragile: TransitSpec, tmp_path: Path
) -> None:
    parsed = read(fragile, tmp_path, "anna", "fails", "killed", "panics", "unreadable", "bert")
    good = pl.concat(map(pl.read_parquet, parsed.data))
    assert good["sender"].to_list() == ["anna", "bert"]
    rejected = pl.concat(map(pl.read_parquet, parsed.quarantine))
    assert rejected.select("line_no", "reason_code").rows() == [
        (0, READER_CRASHED),
        (0, READER_CRASHED),
        (0, READER_CRASHED),
        (0, "odd_layout"),
    ]
    assert "ZeroDivisionError: a bug in the reader" in rejected["reason"][0]
    assert "killed" in rejected["reason"][1]
    assert parsed.files["rows_in"].to_list() == [1] * 6
    assert parsed.files["rows_out"].to_list() == [1, 0, 0, 0, 0, 1]
    assert parsed.files["sha256"].null_count() == 0


def test_a_file_that_hangs_the_reader_is_quarantined_after_a_time(
    fragile: TransitSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def contents() -> Iterator[tuple[str, bytes]]:
        yield f"in/{DAY}/anna.csv", ROWS
        # By now the child has started, which takes the longest.
        monkeypatch.setattr(reader_process, "TIMEOUT_S", 2)
        yield f"in/{DAY}/hangs.csv", ROWS

    parsed = parse_files(fragile, contents(), tmp_path, isolate=True)
    assert parsed.files["rows_out"].to_list() == [1, 0]
    assert "more than 2 s" in pl.read_parquet(parsed.quarantine[0])["reason"][0]


def test_a_wrong_setting_is_nobodys_file_and_stops_the_run(fragile: TransitSpec, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        read(fragile, tmp_path, "misconfigured")


def test_reading_alone_gives_the_same_rows_as_reading_together(tmp_path: Path) -> None:
    spec = parcels(tmp_path)
    contents = [
        (f"in/{DAY}/{name}.csv", ROWS + extra)
        for name, extra in (("anna", b""), ("bert", b"b,soon,2026-01-01\n\n"), ("carl", b"\0"))
    ]
    parsed = []
    for isolate in (False, True):
        folder = tmp_path / str(isolate)
        folder.mkdir()
        parsed.append(parse_files(spec, contents, folder, isolate=isolate))
    together, alone = parsed
    assert together.files.equals(alone.files)
    for parts in ("data", "quarantine"):
        one, other = (pl.concat(map(pl.read_parquet, getattr(p, parts))) for p in parsed)
        assert one.sort("file_key", "line_no").equals(other)


def test_a_poison_file_is_published_as_such_and_read_again_once_it_is_replaced(
    fragile: TransitSpec, tmp_path: Path
) -> None:
    made = Scene(fragile, Objects.open((tmp_path / "raw").as_uri()), tmp_path)
    for name in ("anna", "fails"):
        made.raw.put(f"in/{DAY}/{name}.csv", ROWS)
    with pytest.raises(ZeroDivisionError):
        made.tick()
    assert [each.partition for each in made.survey().differences] == [DAY]

    made.tick(isolate=True)
    assert made.survey().differences == []
    assert made.rows().height == 1
    assert made.rejected() == [("fails.csv", 0, READER_CRASHED)]
    assert crashed_files(made.run()["shipments"]) == [f"in/{DAY}/fails.csv"]
    made.check_conservation()

    made.described_by(parcels(tmp_path))
    published = publish_shipments(made.spec, DAY, made.workspace, "", force=True)
    assert published.counts.published == 2
    assert crashed_files(published) == []
