"""From a published file to a history of observations: additions, corrections, withdrawals, and what is rejected."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import tnt_platform
from tnt_platform.errors import CheckFailed, InvalidInput, NotFound, Unavailable
from tnt_platform.lake.guard_rails import Overrides
from tnt_platform.series.chain import SeriesChain
from tnt_platform.series.spec import NEWEST, SOURCE
from tnt_platform.services.lease import LeaseLost
from tnt_platform_tests.series.scene import SeriesScene, csv_of, prices, with_url

FIRST = {"2025-01": (1, 10), "2025-02": (2, 20), "2025-03": (3, None)}


@pytest.fixture
def scene(tmp_path: Path) -> SeriesScene:
    return SeriesScene(tmp_path)


def test_a_file_becomes_observations_with_their_place_and_capture(scene):
    done = scene.publish(csv_of(FIRST))
    rows = scene.published
    assert scene.values("A_M") == {"2025-01-01": 1.0, "2025-02-01": 2.0, "2025-03-01": 3.0}
    assert scene.values("B_M") == {"2025-01-01": 10.0, "2025-02-01": 20.0}
    assert rows["place"].to_list()[0].startswith("line 2")
    assert rows["collection_date"].unique().to_list() == [date(2026, 11, 21)]
    assert rows["capture"].unique().to_list() == [done["capture"].facts["capture_sha256"][:16]]
    counts = done["series"].counts
    assert (counts.rows_in, counts.published, counts.filtered) == (6, 5, 1)


def test_a_clock_that_ran_ahead_once_does_not_freeze_the_series(scene):
    scene.now += timedelta(days=40)
    scene.publish(csv_of(FIRST))
    scene.now -= timedelta(days=40)
    done = scene.publish(csv_of({**FIRST, "2025-03": (9, 30)}))
    assert scene.values("A_M")["2025-03-01"] == 9.0
    assert done["capture"].facts["clock_behind_last_capture_s"] > 39 * 86_400


def test_the_same_file_again_changes_nothing(scene):
    scene.publish(csv_of(FIRST))
    before = {
        name: scene.workspace.store.current(name).version
        for name in ("prices", "prices/series", "prices/capture")
    }
    again = scene.publish(csv_of(FIRST))
    assert not any(step.changed for step in again.values())
    after = {name: scene.workspace.store.current(name).version for name in before}
    assert after == before


def test_another_file_with_the_same_content_is_captured_but_makes_no_version(scene):
    scene.publish(csv_of(FIRST))
    version = scene.current.version
    done = scene.publish(csv_of(FIRST) + b"\r\n")
    assert done["capture"].changed
    assert not done["observations"].changed
    assert scene.current.version == version


def test_a_revision_and_an_addition_are_counted_separately_and_leave_the_rest_alone(scene):
    scene.publish(csv_of(FIRST))
    before = scene.published
    done = scene.publish(csv_of({**FIRST, "2025-02": (2.5, 20), "2025-04": (4, 40)}))
    log = scene.current.manifest.about["changelog"]
    assert (log["data_points_added"], log["data_points_updated"], log["data_points_removed"]) == (2, 1, 0)
    assert log["corrections"] == [
        {"internal_series_code": "A_M", "period": "2025-02-01", "before": 2.0, "after": 2.5}
    ]
    assert done["observations"].facts["partitions_written"] == 3
    untouched = before.filter(
        ~((pl.col("internal_series_code") == "A_M") & (pl.col("period") == date(2025, 2, 1)))
    )
    assert (
        scene.published.join(untouched, on=untouched.columns, nulls_equal=True, how="semi").height
        == untouched.height
    )


def test_a_month_typed_as_another_day_is_the_same_month(scene):
    scene.publish(csv_of(FIRST))
    version = scene.current.version
    scene.publish(csv_of({"2025-01-31": (1, 10), "15/02/2025": (2, 20), "Mar-25": (3, None)}))
    assert scene.current.version == version


def test_text_in_a_value_is_quarantined_with_its_line_and_the_old_value_stays(scene):
    scene.publish(csv_of(FIRST))
    done = scene.publish(csv_of({**FIRST, "2025-02": ("about 2", 20), "2025-04": (4, 40)}))
    assert scene.values()["2025-02-01"] == 2.0
    rejected = done["series"].snapshot.quarantine([NEWEST])
    assert rejected.select("line_no", "reason_code").rows() == [(3, "bad_value")]
    assert "about 2" in rejected["raw"][0]
    assert done["series"].counts.balanced


def test_a_publisher_that_drops_years_is_not_followed(scene):
    scene.publish(csv_of({f"{year}-01": (year, year) for year in range(2010, 2026)}))
    version = scene.current.version
    with pytest.raises(CheckFailed, match=r"(?s)A_M from 2010-01-01.*--accept-vanished"):
        scene.publish(csv_of({f"{year}-01": (year, year) for year in range(2020, 2027)}))
    assert scene.current.version == version
    assert len(scene.values()) == 16


def test_an_accepted_withdrawal_is_published(scene):
    scene.publish(csv_of({f"{year}-01": (year, year) for year in range(2020, 2026)}))
    body = csv_of({f"{year}-01": (year, year) for year in range(2022, 2026)})
    scene.publish(body, overrides=Overrides(accept_vanished=True))
    assert list(scene.values()) == [f"{year}-01-01" for year in range(2022, 2026)]
    version = scene.current.version
    scene.publish(body, overrides=Overrides(accept_vanished=True))
    assert scene.current.version == version


def test_a_window_adds_to_the_history_and_forgets_nothing(tmp_path):
    scene = SeriesScene(tmp_path, spec=prices(history="window"))
    scene.publish(csv_of({"2025-01": (1, 1), "2025-02": (2, 2)}))
    scene.publish(csv_of({"2025-02": (2, 2), "2025-03": (3, 3)}))
    assert scene.values() == {"2025-01-01": 1.0, "2025-02-01": 2.0, "2025-03-01": 3.0}
    with pytest.raises(CheckFailed, match="history_not_shrinking"):
        scene.publish(csv_of({"2025-02": (2, 2), "2025-04": (4, 4)}))


@pytest.mark.parametrize("strategy", ["series_year_month", "series_year", "year", "date"])
def test_each_partition_strategy_holds_the_same_observations(tmp_path, strategy):
    scene = SeriesScene(tmp_path, spec=prices(partition_strategy=strategy))
    scene.publish(csv_of(FIRST))
    scene.publish(csv_of({**FIRST, "2026-01": (5, 50)}))
    assert scene.values("B_M") == {"2025-01-01": 10.0, "2025-02-01": 20.0, "2026-01-01": 50.0}
    assert scene.workspace.store.verify(scene.current) == []


def test_another_partition_strategy_moves_every_observation_once(tmp_path):
    scene = SeriesScene(tmp_path)
    scene.publish(csv_of(FIRST))
    before = scene.published
    scene.spec = prices(partition_strategy="year")
    scene.run()
    assert scene.published.equals(before)
    assert scene.current.partitions["partition"].sort().to_list() == [SOURCE, "year=2025"]
    version = scene.current.version
    scene.run()
    assert scene.current.version == version


def test_after_a_rollback_the_dataset_is_paused_until_somebody_materializes_it(scene):
    scene.publish(csv_of(FIRST))
    first = scene.current.version
    scene.publish(csv_of({**FIRST, "2025-04": (4, 40)}))
    scene.workspace.store.rollback("prices", first, reason="wrong file")
    done = scene.run()
    assert "wrong file" in done["observations"].facts["nothing_to_do"]
    assert "2025-04-01" not in scene.values()
    scene.run(by_hand=True)
    assert "2025-04-01" in scene.values()


def test_series_of_an_older_capture_are_not_published(scene):
    scene.publish(csv_of(FIRST))
    old = scene.workspace.store.current("prices/series")
    scene.publish(csv_of({**FIRST, "2025-04": (4, 40)}))
    scene.workspace.store.rollback("prices/series", old.version, reason="as if this run were the slower one")
    chain = SeriesChain(scene.spec, scene.workspace, scene.settings, run_id="slow")
    with chain:
        done = chain.publish("observations")
    assert not done.changed
    assert "newer capture" in done.facts["nothing_to_do"]
    assert "2025-04-01" in scene.values()


def test_a_run_that_lost_its_lease_publishes_nothing(scene):
    scene.publish(csv_of(FIRST))
    version = scene.current.version
    scene.raw.put("prices.csv", csv_of({**FIRST, "2025-04": (4, 40)}))
    scene.now += timedelta(hours=1)
    with SeriesChain(scene.spec, scene.workspace, scene.settings, run_id="paused") as chain:
        chain.publish("capture")
        chain.publish("series")
        assert chain._lease is not None
        chain._lease._store.release(chain._lease.lease)  # as after its timeout, by the next owner
        with pytest.raises(LeaseLost):
            chain.publish("observations")
    assert scene.current.version == version


@pytest.mark.parametrize(
    "body", [b"<!DOCTYPE html><title>Not here</title>", b"\n <html><title>Not here</title></html>"]
)
def test_a_web_page_in_place_of_the_file_is_rejected_and_not_captured(scene, body):
    scene.publish(csv_of(FIRST))
    with pytest.raises(InvalidInput, match="Not here") as rejected:
        scene.publish(body)
    assert rejected.value.reason_code == "html_page"
    assert scene.workspace.store.current("prices/capture").manifest.rows == 1


def test_a_template_takes_the_newest_month_and_never_goes_back(tmp_path):
    scene = SeriesScene(tmp_path)
    scene.spec = with_url(scene.spec, "cpi_{MM}_{YY}.csv", months_back=3)
    scene.raw.put("cpi_09_26.csv", csv_of(FIRST))
    assert scene.run()["capture"].facts["capture_url"] == "cpi_09_26.csv"
    scene.raw.put("cpi_11_26.csv", csv_of({**FIRST, "2025-04": (4, 40)}))
    assert scene.run()["capture"].facts["capture_url"] == "cpi_11_26.csv"
    scene.raw.delete(["cpi_11_26.csv"])
    with pytest.raises(Unavailable, match=r"cpi_11_26\.csv"):
        scene.run()
    scene.spec = with_url(scene.spec, "other_{MM}_{YY}.csv", months_back=1)
    with pytest.raises(NotFound, match="months_back"):
        scene.run()


def test_old_versions_are_read_by_id_tag_and_time(tmp_path):
    scene = SeriesScene(tmp_path)
    scene.publish(csv_of(FIRST))
    first, moment = scene.current.version, scene.current.manifest.created_at
    scene.publish(csv_of({**FIRST, "2025-02": (2.5, 20), "2026-04": (4, 40)}))
    scene.workspace.store.tag("prices", first, "audited")
    environment = {"TNT_HOME": str(tmp_path)}

    def values(**how: object) -> list[float]:
        rows = tnt_platform.read("prices", series="A_M", environment=environment, **how)
        return rows.sort("period").collect()["value"].to_list()

    assert values() == [1.0, 2.5, 3.0, 4.0]
    assert values(version=first) == values(version="audited") == values(as_of=moment) == [1.0, 2.0, 3.0]
    assert values(start=date(2025, 3, 1)) == [3.0, 4.0]
    with pytest.raises(NotFound, match="2020-01-01"):
        values(as_of=datetime(2020, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("name", ["with space.csv", "año.csv"])
def test_a_file_url_may_be_written_with_or_without_percent_signs(tmp_path, name):
    scene = SeriesScene(tmp_path)
    scene.raw.put(name, csv_of(FIRST))
    plain = f"{(tmp_path / 'raw').as_uri()}/{name}"
    for url in (plain, (tmp_path / "raw" / name).as_uri()):
        scene.spec = with_url(scene.spec, url)
        scene.run()
    assert len(scene.values()) == 3


def monthly(factor: float = 1, shift: float = 0) -> dict[str, tuple[float, float]]:
    """Two years of two series."""
    return {
        f"{year}-{month:02}": (100 + year % 10 * 12 + month, (year + month) * factor + shift)
        for year in (2024, 2025)
        for month in range(1, 13)
    }


def test_a_series_that_is_rebased_is_blocked_until_somebody_accepts_it(scene):
    scene.publish(csv_of(monthly()))
    before = scene.values("B_M")
    with pytest.raises(CheckFailed, match=r"(?s)B_M.*--accept-revised"):
        scene.publish(csv_of(monthly(factor=0.1)))
    assert scene.values("B_M") == before
    scene.publish(csv_of(monthly(factor=0.1)), overrides=Overrides(accept_revised=True))
    assert scene.current.manifest.about["overrides"] == ["accept_revised"]
    assert scene.values("B_M") != before


def test_revisions_of_the_last_months_are_published(scene):
    scene.publish(csv_of(monthly()))
    revised = monthly()
    revised |= {period: (a + 1, b) for period, (a, b) in revised.items() if period > "2025-06"}
    scene.publish(csv_of(revised))
    assert scene.current.manifest.about["changelog"]["data_points_updated"] == 6


def test_a_capture_of_which_too_many_cells_are_rejected_is_blocked(scene):
    scene.publish(csv_of(monthly()))
    version = scene.current.version
    bad = {
        period: (f"about {a}", b) if period > "2025-01" else (a, b) for period, (a, b) in monthly().items()
    }
    with pytest.raises(CheckFailed, match="max_rejected_share"):
        scene.publish(csv_of(bad))
    assert scene.current.version == version
