"""A bad file never takes the place of good series, and a person can decide otherwise once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tnt_platform.errors import CheckFailed, InvalidInput
from tnt_platform.lake.guard_rails import REJECTED_SHARE, REVISED_SHARE, Overrides
from tnt_platform.lake.publishing import CheckOutcome, Published
from tnt_platform.series.spec import NEWEST
from tnt_platform_tests.series.scene import SeriesScene, csv_of, prices

Rows = dict[str, tuple[object, object]]


def months(first: int = 1990, years: int = 4, factor: float = 1.0) -> Rows:
    """Four years of monthly values of two series."""
    days = [f"{year}-{month:02d}" for year in range(first, first + years) for month in range(1, 13)]
    return {day: (round((at + 10) * factor, 6), at + 100) for at, day in enumerate(days)}


def spoilt(rows: Rows, count: int) -> Rows:
    """The same rows, the first `count` values of the first series being no numbers."""
    return {
        day: (("about", values[1]) if at < count else values) for at, (day, values) in enumerate(rows.items())
    }


@pytest.fixture
def scene(tmp_path: Path) -> SeriesScene:
    made = SeriesScene(tmp_path)
    made.publish(csv_of(months()))
    return made


def outcome(found: Published | CheckFailed, name: str) -> CheckOutcome:
    checks = found.checks if isinstance(found, Published) else found.outcomes
    [one] = [check for check in checks if isinstance(check, CheckOutcome) and check.name == name]
    return one


def versions(scene: SeriesScene) -> list[str]:
    found = [scene.workspace.store.current(scene.spec.dataset(step)) for step in ("series", "observations")]
    return [snapshot.version for snapshot in found if snapshot]


def test_a_share_of_rejected_cells_beyond_the_limit_blocks_the_publish(scene: SeriesScene):
    before = versions(scene)
    with pytest.raises(CheckFailed) as blocked:
        scene.publish(csv_of(spoilt(months(), 20)))
    check = outcome(blocked.value, REJECTED_SHARE)
    assert (check.passed, check.blocking) == (False, True)
    assert "20 of 96 cells" in check.description
    assert "bad_value 20" in check.description
    assert "tnt run prices --accept-rejected" in check.description
    assert check.sample is not None
    assert check.sample.height == 10
    assert versions(scene) == before
    assert scene.values()["1990-01-01"] == 10.0


def test_a_share_of_rejected_cells_below_the_limit_is_published_beside_the_old_values(scene: SeriesScene):
    done = scene.publish(csv_of(spoilt(months(years=5), 19)))
    assert outcome(done["series"], REJECTED_SHARE).passed
    assert scene.values()["1990-01-01"] == 10.0
    assert scene.values()["1994-01-01"] == 58.0


def test_cells_without_a_value_do_not_water_the_share_down(scene: SeriesScene):
    rows = {day: (None, value[1]) for day, value in months(first=1950, years=40).items()}
    body = csv_of({**rows, **spoilt(months(), 48)})
    scene.spec = prices(series=[{"code": "A_M", "column": "a", "unit": "EUR"}])
    with pytest.raises(CheckFailed) as blocked:
        scene.publish(body)
    assert "48 of 48 cells" in outcome(blocked.value, REJECTED_SHARE).description


def test_an_override_publishes_the_rest_once_and_both_versions_record_it(scene: SeriesScene):
    scene.publish(csv_of(spoilt(months(years=5), 30)), overrides=Overrides(accept_rejected=True))
    assert scene.values()["1994-01-01"] == 58.0
    series = scene.workspace.store.current("prices/series")
    assert series is not None
    assert series.manifest.about["overrides"] == ["accept_rejected"]
    assert scene.current.manifest.about["overrides"] == ["accept_rejected"]
    assert series.quarantine([NEWEST]).height == 30
    assert not any(step.changed for step in scene.run().values())
    with pytest.raises(CheckFailed):
        scene.publish(csv_of(spoilt(months(years=6), 30)))


def test_the_advice_names_the_file_that_was_taken_instead_of_the_source(scene: SeriesScene, tmp_path: Path):
    file = tmp_path / "from the mail.csv"
    file.write_bytes(csv_of(spoilt(months(), 40)))
    with pytest.raises(CheckFailed) as blocked:
        scene.load(file)
    assert (
        f"tnt run prices --file '{file}' --accept-rejected"
        in outcome(blocked.value, REJECTED_SHARE).description
    )
    file.write_bytes(csv_of(months(first=1991, years=3)))
    with pytest.raises(CheckFailed) as shrunk:
        scene.load(file)
    check = outcome(shrunk.value, "history_not_shrinking")
    assert f"tnt run prices --file '{file}' --accept-vanished" in check.description


def test_a_file_that_is_rejected_whole_leaves_what_was_accepted(scene: SeriesScene):
    before = versions(scene)
    for _ in range(2):
        with pytest.raises(InvalidInput):
            scene.publish(b"day,c\n1990-01,1\n")
        assert versions(scene) == before
    scene.publish(csv_of(months(years=5)))
    assert scene.values()["1994-01-01"] == 58.0


def test_a_series_that_is_rebased_blocks_the_publish_with_the_factor(scene: SeriesScene):
    before = versions(scene)[1]
    with pytest.raises(CheckFailed) as blocked:
        scene.publish(csv_of(months(factor=0.5)))
    check = outcome(blocked.value, REVISED_SHARE)
    assert (check.passed, check.blocking) == (False, True)
    assert "A_M" in check.description
    assert "0.5" in check.description
    assert "--accept-revised" in check.description
    assert check.sample is not None
    row = check.sample.row(0, named=True)
    assert (row["internal_series_code"], row["revised"], row["published"]) == ("A_M", 48, 48)
    assert versions(scene)[1] == before


def test_an_accepted_revision_is_published_and_recorded(scene: SeriesScene):
    body = csv_of(months(factor=0.5))
    with pytest.raises(CheckFailed):
        scene.publish(body)
    scene.publish(body, overrides=Overrides(accept_revised=True))
    assert scene.values()["1990-01-01"] == 5.0
    assert scene.current.manifest.about["overrides"] == ["accept_revised"]


@pytest.mark.parametrize(("revised", "blocked"), [(24, False), (25, True)])
def test_half_of_a_series_may_be_revised_at_once(scene: SeriesScene, revised: int, blocked: bool):
    days = list(months())[:revised]
    body = csv_of({day: (v[0] + 0.25 if day in days else v[0], v[1]) for day, v in months(years=6).items()})
    if blocked:
        with pytest.raises(CheckFailed, match=REVISED_SHARE):
            scene.publish(body)
    else:
        scene.publish(body)
        assert scene.values()["1990-01-01"] == 10.25


def test_a_short_series_is_blocked_only_if_all_of_it_changes(tmp_path: Path):
    scene = SeriesScene(tmp_path)
    short = dict(list(months().items())[:10])
    scene.publish(csv_of(short))
    nine = {
        day: ((values[0] * 2 if at else values[0]), values[1])
        for at, (day, values) in enumerate(short.items())
    }
    scene.publish(csv_of(nine))
    with pytest.raises(CheckFailed, match=REVISED_SHARE):
        scene.publish(csv_of({day: (values[0] * 3, values[1]) for day, values in short.items()}))


def test_revised_values_of_a_window_are_compared_with_the_whole_series(tmp_path: Path):
    scene = SeriesScene(tmp_path, spec=prices(history="window"))
    scene.publish(csv_of(months()))
    last = dict(list(months().items())[-3:])
    scene.publish(csv_of({day: (values[0] * 2, values[1]) for day, values in last.items()}))
    assert scene.values()["1993-12-01"] == 114.0
    many = dict(list(months().items())[-30:])
    with pytest.raises(CheckFailed, match=REVISED_SHARE):
        scene.publish(csv_of({day: (values[0] * 3, values[1]) for day, values in many.items()}))


def test_the_limits_are_settings_of_the_dataset(tmp_path: Path):
    scene = SeriesScene(tmp_path, spec=prices(max_revised_share=1, max_rejected_share=0.9))
    scene.publish(csv_of(months()))
    scene.publish(csv_of(spoilt(months(factor=0.5), 40)))
    assert scene.values()["1993-12-01"] == 28.5


def test_a_file_that_differs_in_its_bytes_alone_updates_nothing(scene: SeriesScene):
    done = scene.publish(csv_of(months()) + b"\r\n")
    changes = done["series"].snapshot.manifest.changelog
    assert done["series"].changed
    assert (changes.added, changes.updated, changes.removed) == (0, 0, 0)
    done = scene.publish(csv_of({**months(), "1994-01": (60, 150)}))
    changes = done["series"].snapshot.manifest.changelog
    assert (changes.added, changes.updated, changes.removed) == (2, 0, 0)


@pytest.mark.parametrize("strategy", ["year", "date"])
def test_only_series_with_changed_values_are_called_updated(tmp_path: Path, strategy: str):
    scene = SeriesScene(tmp_path, spec=prices(partition_strategy=strategy))
    scene.publish(csv_of(months()))
    scene.publish(csv_of({**months(), "1990-03": (12.5, 102)}))
    assert scene.current.manifest.about["changelog"]["updated_series"] == ["A_M"]


def test_a_warning_stands_as_long_as_its_version_is_the_newest(tmp_path: Path):
    scene = SeriesScene(tmp_path)
    gap = {day: values for day, values in months().items() if day != "1991-05"}
    assert not outcome(scene.publish(csv_of(gap))["series"], "no_gaps").passed
    again = scene.run()["series"]
    assert not again.changed
    assert not outcome(again, "no_gaps").passed
    assert outcome(scene.publish(csv_of(months()))["series"], "no_gaps").passed
    assert scene.run()["series"].checks == ()


def with_column(rows: Rows, name: str, header: str = "date,a,b") -> bytes:
    return csv_of({day: (*values, 7) for day, values in rows.items()}, header=f"{header},{name}")


def test_a_new_column_that_no_series_names_is_said_once(scene: SeriesScene):
    check = outcome(scene.publish(with_column(months(), "c"))["series"], "columns_are_named")
    assert (check.passed, check.blocking) == (False, False)
    assert "'c' (48 values)" in check.description
    assert not outcome(scene.run()["series"], "columns_are_named").passed
    check = outcome(scene.publish(with_column(months(years=5), "c"))["series"], "columns_are_named")
    assert check.passed
    assert "'c' (60 values)" in check.description


def test_a_column_that_was_left_out_from_the_start_is_no_news(tmp_path: Path):
    scene = SeriesScene(tmp_path)
    assert outcome(scene.publish(with_column(months(), "c"))["series"], "columns_are_named").passed
    scene.spec = prices(table={"date_column": "{date}"})
    assert outcome(scene.publish(with_column(months(), "c"))["series"], "columns_are_named").passed


def test_content_that_stays_the_same_becomes_stale_though_runs_succeed(tmp_path: Path):
    scene = SeriesScene(tmp_path)
    body = csv_of(months(first=2023))
    done = scene.publish(body)["observations"]
    assert done.facts["newest_period"] == "2026-11-01"
    assert outcome(done, "content_is_fresh").passed
    changed = done.facts["content_changed_at"]
    scene.now += timedelta(days=120)
    done = scene.run()["observations"]
    assert not done.changed
    assert outcome(done, "content_is_fresh").passed
    scene.now += timedelta(days=60)
    done = scene.run()["observations"]
    check = outcome(done, "content_is_fresh")
    assert (check.passed, check.blocking) == (False, False)
    assert done.facts["content_changed_at"] == changed
    scene.spec = prices(newest_within_days=365)
    assert outcome(scene.run()["observations"], "content_is_fresh").passed
