"""A publisher's site over real HTTP, well behaved and not, through the whole chain."""

from __future__ import annotations

import gzip
import io
import os
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tnt_platform.errors import CheckFailed, InvalidInput, NotFound, TntError, Unavailable
from tnt_platform.lake.guard_rails import Overrides
from tnt_platform.sandbox.downloads import RunningDownloads, running_downloads
from tnt_platform.series import chain
from tnt_platform.services.download import DownloadLimits
from tnt_platform_tests.series.scene import SeriesScene, csv_of, prices, with_url
from tnt_platform_tests.series.test_bad_input import workbook, workbook_spec

FIRST = {"2025-01": (1, 10), "2025-02": (2, 20), "2025-03": (3, None)}
SECOND = {**FIRST, "2025-02": (2.5, 20), "2025-04": (4, 40)}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[RunningDownloads]:
    folder = tmp_path / "site"
    folder.mkdir()
    with running_downloads(folder) as running:
        yield running


@pytest.fixture
def scene(tmp_path: Path, site: RunningDownloads) -> SeriesScene:
    """A dataset whose source is the site's prices.csv, published once."""
    scene = SeriesScene(tmp_path, spec=with_url(prices(), f"{site.url}/prices.csv"))
    put(scene, "prices.csv", csv_of(FIRST))
    scene.run()
    return scene


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts as many as always, with hardly a pause between them."""
    quick = partial(DownloadLimits, backoff_initial_s=0.01, retry_after_max_s=0.01, stall_timeout_s=1.0)
    monkeypatch.setattr(chain, "DownloadLimits", quick)


def put(scene: SeriesScene, name: str, body: bytes) -> None:
    (scene.folder / "site" / name).write_bytes(body)


def written_by(scene: SeriesScene, **options: Any) -> tuple[Mapping[str, Any], int, int]:
    """What a run did, and how many objects it wrote and how many bytes it read."""
    assert scene.lake is not None
    before = replace(scene.lake.requests)
    done = scene.run(**options)
    after = scene.lake.requests
    return done, after.writes - before.writes, after.bytes_read - before.bytes_read


# --- nothing new -------------------------------------------------------------------------------------


def test_an_unchanged_file_is_answered_by_304_and_nothing_at_all_is_written(
    scene: SeriesScene, site: RunningDownloads
) -> None:
    version = scene.current.version
    done, writes, bytes_read = written_by(scene)
    assert (site.answers["prices.csv", 200], site.answers["prices.csv", 304]) == (1, 1)
    assert writes == 0
    assert not any(step.changed for step in done.values())
    assert scene.current.version == version
    assert bytes_read < 120_000  # the manifests and lists of three steps


def test_the_same_bytes_under_another_etag_are_not_captured_again(
    scene: SeriesScene, site: RunningDownloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tnt_platform.sandbox import downloads

    answer = downloads._file_answer

    def with_a_new_etag(*of: Any) -> Any:
        response = answer(*of)
        response.headers["ETag"] = f'"{time.monotonic_ns()}"'
        return response

    monkeypatch.setattr(downloads, "_file_answer", with_a_new_etag)
    put(scene, "other.csv", csv_of(FIRST))
    scene.spec = with_url(scene.spec, f"{site.url}/other.csv")
    done, writes, _ = written_by(scene)
    assert site.answers["other.csv", 200] == 1
    assert writes == 0
    assert not done["capture"].changed


def test_a_file_that_changed_is_fetched_though_it_was_known(
    scene: SeriesScene, site: RunningDownloads
) -> None:
    put(scene, "prices.csv", csv_of(SECOND))
    done, writes, _ = written_by(scene)
    assert writes > 0
    assert done["observations"].facts["data_points_updated"] == 1
    assert scene.values()["2025-02-01"] == 2.5
    assert site.answers["prices.csv", 200] == 2


def test_a_touched_file_with_the_same_content_is_answered_by_its_etag(
    scene: SeriesScene, site: RunningDownloads
) -> None:
    os.utime(scene.folder / "site" / "prices.csv", (2_000_000_000, 2_000_000_000))
    _, writes, _ = written_by(scene)
    assert writes == 0
    assert site.answers["prices.csv", 304] == 1


def test_another_yaml_reads_the_capture_again_and_not_the_site(
    scene: SeriesScene, site: RunningDownloads
) -> None:
    only_a = prices(series=[{"code": "A_M", "column": "a", "unit": "USD"}])
    scene.spec = with_url(only_a, scene.spec.source.url)
    done, _, _ = written_by(scene, overrides=Overrides(accept_vanished=True))
    assert not done["capture"].changed
    assert site.answers["prices.csv", 200] == 1
    assert scene.published["unit"].unique().to_list() == ["USD"]


# --- the newest month --------------------------------------------------------------------------------


def test_months_that_are_not_there_yet_are_walked_over(tmp_path: Path, site: RunningDownloads) -> None:
    spec = with_url(prices(), f"{site.url}/cpi_{{MM}}_{{YY}}.csv", months_back=3)
    scene = SeriesScene(tmp_path, spec=spec)
    put(scene, "cpi_09_26.csv", csv_of(FIRST))
    scene.run()
    asked = [("cpi_11_26.csv", 404), ("cpi_10_26.csv", 404), ("cpi_09_26.csv", 200)]
    assert {key: site.answers[key] for key in asked} == dict.fromkeys(asked, 1)
    _, writes, _ = written_by(scene)
    assert writes == 0
    assert site.answers["cpi_09_26.csv", 304] == 1
    put(scene, "cpi_10_26.csv", csv_of(SECOND))
    scene.run()
    assert scene.values()["2025-04-01"] == 4
    assert ("cpi_08_26.csv", 404) not in site.answers


def test_a_newest_month_that_goes_away_brings_no_older_one_back(
    tmp_path: Path, site: RunningDownloads
) -> None:
    spec = with_url(prices(), f"{site.url}/cpi_{{MM}}_{{YY}}.csv", months_back=3)
    scene = SeriesScene(tmp_path, spec=spec)
    put(scene, "cpi_09_26.csv", csv_of(FIRST))
    put(scene, "cpi_10_26.csv", csv_of(SECOND))
    scene.run()
    version = scene.current.version
    (tmp_path / "site" / "cpi_10_26.csv").unlink()
    with pytest.raises(Unavailable, match=r"cpi_10_26.csv.*cpi_11_26.csv"):
        scene.run()
    assert scene.current.version == version


def test_a_template_without_a_file_for_any_month_is_rejected_with_the_urls_that_were_tried(
    tmp_path: Path, site: RunningDownloads
) -> None:
    scene = SeriesScene(tmp_path, spec=with_url(prices(), f"{site.url}/x_{{YYYY}}-{{MM}}.csv", months_back=2))
    with pytest.raises(NotFound, match=r"x_2026-11.csv.*x_2026-10.csv.*x_2026-09.csv.*`source.url`"):
        scene.run()
    assert scene.workspace.store.datasets() == []


# --- a site with faults ------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["server_error", "throttle", "truncated"])
def test_a_request_that_fails_is_retried_and_read_whole(
    scene: SeriesScene, site: RunningDownloads, kind: str
) -> None:
    put(scene, "prices.csv", csv_of(SECOND))
    site.faults.kind, site.faults.first = kind, 3  # the first request of all was the first run's
    scene.run()
    assert scene.values()["2025-04-01"] == 4
    assert sum(count for (name, _), count in site.answers.items() if name == "prices.csv") == 4


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("kind", "error", "named"),
    [
        ("server_error", Unavailable, r"500.* 5 "),
        ("throttle", Unavailable, r"429.* 5 "),
        ("truncated", Unavailable, r" 5 "),
        ("slow", Unavailable, r" 5 "),
        ("html", InvalidInput, r"'Mantenimiento'"),
        ("endless", InvalidInput, r"2,000,000.*max_size_mb"),
    ],
)
def test_a_site_that_stays_broken_leaves_what_was_published(
    scene: SeriesScene, site: RunningDownloads, kind: str, error: type[TntError], named: str
) -> None:
    put(scene, "prices.csv", csv_of(SECOND))
    scene.spec = with_url(scene.spec, scene.spec.source.url, max_size_mb=2)
    site.faults.kind, site.faults.slow_s = kind, 5.0
    version = scene.current.version
    assert scene.lake is not None
    before = scene.lake.requests.writes
    with pytest.raises(error, match=f"(?s){named}"):
        scene.run()
    assert scene.lake.requests.writes == before
    assert scene.current.version == version
    site.faults.kind = None
    scene.run()
    assert scene.values()["2025-04-01"] == 4


def test_half_a_table_that_looks_whole_does_not_shrink_the_history(
    scene: SeriesScene, site: RunningDownloads
) -> None:
    rows = {f"{year}-01": (year, year) for year in range(1990, 2026)}
    put(scene, "prices.csv", csv_of(FIRST | rows))
    scene.run()
    version = scene.current.version
    put(scene, "prices.csv", csv_of(SECOND | rows))
    site.faults.kind = "lying_length"
    with pytest.raises(CheckFailed, match="history_not_shrinking"):
        scene.run()
    assert scene.current.version == version
    site.faults.kind = None
    scene.run()
    assert scene.values()["2025-04-01"] == 4


def test_half_a_workbook_that_looks_whole_is_rejected(tmp_path: Path, site: RunningDownloads) -> None:
    scene = SeriesScene(tmp_path, spec=with_url(workbook_spec(), f"{site.url}/prices.xlsx"))
    put(scene, "prices.xlsx", workbook())
    site.faults.kind = "lying_length"
    with pytest.raises(InvalidInput) as rejected:
        scene.run()
    assert rejected.value.reason_code == "truncated_workbook"
    site.faults.kind = None
    scene.run()
    assert len(scene.values()) == 190


# --- wrapped files -----------------------------------------------------------------------------------


def zipped(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["table in zip", "table in gzip", "workbook in zip", "workbook in gzip"])
def test_a_wrapped_file_is_read_as_the_file_itself(tmp_path: Path, site: RunningDownloads, kind: str) -> None:
    what, _, wrapping = kind.partition(" in ")
    spec, body = (prices(), csv_of(FIRST)) if what == "table" else (workbook_spec(), workbook())
    name = "archive.zip" if wrapping == "zip" else "file.gz"
    member = "data_*" if wrapping == "zip" else None
    scene = SeriesScene(tmp_path, spec=with_url(spec, f"{site.url}/{name}", member=member))
    wrapped = zipped({"read.me": b"?", "2026/data_1": body}) if wrapping == "zip" else gzip.compress(body)
    put(scene, name, wrapped)
    done = scene.run()
    assert done["series"].counts.quarantined == 0
    plain = SeriesScene(tmp_path / "plain", spec=spec)
    plain.raw.put(spec.source.url, body)
    plain.run()
    columns = ["internal_series_code", "period", "value", "place"]
    assert scene.published.select(columns).equals(plain.published.select(columns))
    assert written_by(scene)[1] == 0


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"a.csv": b"1", "b.csv": b"2"}, r"'\*.csv'.*a.csv, b.csv"),
        ({"a.txt": b"1"}, r"'\*.csv'.*a.txt"),
    ],
)
def test_a_missing_or_ambiguous_member_is_rejected_by_name(
    scene: SeriesScene, site: RunningDownloads, members: Mapping[str, bytes], named: str
) -> None:
    version = scene.current.version
    scene.spec = with_url(scene.spec, f"{site.url}/archive.zip", member="*.csv")
    put(scene, "archive.zip", zipped(members))
    with pytest.raises(InvalidInput, match=named):
        scene.run()
    assert scene.current.version == version
