"""A bad upload never takes the place of good results, and a person can decide otherwise once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tnt_platform.errors import CheckFailed
from tnt_platform.lake.guard_rails import Overrides
from tnt_platform.storage.objects import Objects
from tnt_platform_tests.transit.scenes import DAY, Scene, parcels

HEADER = "parcel,due,came\n"
PAGE = "<!DOCTYPE html><html><title>502 Bad Gateway</title><body>no</body></html>"


def rows(count: int, *, bad: int = 0, first: int = 0) -> str:
    good = [f"p{n},2026-01-12,2026-01-13\n" for n in range(first, first + count - bad)]
    return "".join([*good, *(f"b{n},2026-01-12,soon\n" for n in range(bad))])


def scene(folder: Path, **changes: object) -> Scene:
    raw = Objects.open((folder / "raw").as_uri())
    return Scene(parcels(folder, **changes), raw, folder / "home")


def put(made: Scene, name: str, content: str) -> None:
    made.raw.put(f"in/{DAY}/{name}", content.encode())


@pytest.fixture
def published(tmp_path: Path) -> Scene:
    made = scene(tmp_path)
    put(made, "anna.csv", HEADER + rows(24))
    put(made, "bert.csv", HEADER + rows(3, first=24))
    made.run()
    return made


def ledger(made: Scene, name: str) -> dict[str, object]:
    [row] = made.snapshot("shipments").inputs(DAY).filter(key=f"in/{DAY}/{name}").to_dicts()
    return row


@pytest.mark.parametrize("content", [PAGE, HEADER + rows(24, bad=24), "", "a,b\n1,2\n"])
def test_content_that_is_rejected_whole_does_not_replace_accepted_content(published: Scene, content: str):
    accepted = ledger(published, "anna.csv")["etag"]
    put(published, "anna.csv", content)
    published.run()

    assert published.rows("results").height == 27
    row = ledger(published, "anna.csv")
    assert (row["status"], row["accepted_etag"], row["rows_out"]) == ("content_rejected", accepted, 24)
    assert row["etag"] != accepted
    [refused] = published.snapshot("shipments").quarantine([DAY]).to_dicts()
    assert (refused["file_key"], refused["line_no"], refused["reason_code"]) == (
        f"in/{DAY}/anna.csv",
        0,
        "content_rejected",
    )
    published.check_conservation()
    assert published.survey().differences == []
    assert not any(outcome.changed for outcome in published.run().values())


def test_a_copy_of_content_that_stays_is_still_a_copy(tmp_path: Path):
    made = scene(tmp_path, source={"same_file_again": "skip"})
    put(made, "anna.csv", HEADER + rows(24))
    made.run()
    put(made, "anna.csv", PAGE)
    put(made, "bert.csv", HEADER + rows(24))
    made.run()
    assert made.rows("shipments").height == 24
    made.check_conservation()
    assert not any(outcome.changed for outcome in made.run().values())


def test_the_check_says_that_the_content_was_not_accepted(published: Scene):
    put(published, "anna.csv", PAGE)
    [outcome] = [
        c
        for c in published.run(steps=["shipper_files", "shipments"])["shipments"].checks
        if c.name == "new_content_accepted"
    ]
    assert not outcome.passed
    assert not outcome.blocking
    assert outcome.sample is not None
    assert outcome.sample["key"].to_list() == [f"in/{DAY}/anna.csv"]


def test_a_second_bad_content_is_still_measured_against_the_accepted_one(published: Scene):
    accepted = ledger(published, "anna.csv")["etag"]
    for content in [PAGE, HEADER + rows(24, bad=24)]:
        put(published, "anna.csv", content)
        published.run()
    assert ledger(published, "anna.csv")["accepted_etag"] == accepted
    assert published.snapshot("shipments").quarantine([DAY]).height == 1
    published.check_conservation()


def test_good_content_replaces_what_was_kept_and_clears_the_quarantine(published: Scene):
    put(published, "anna.csv", PAGE)
    published.run()
    put(published, "anna.csv", HEADER + rows(23))
    published.run()
    assert published.rows("results").height == 26
    assert ledger(published, "anna.csv")["status"] == "accepted"
    assert ledger(published, "anna.csv")["accepted_etag"] is None
    assert published.snapshot("shipments").quarantine([DAY]).is_empty()


def test_an_override_publishes_the_rejected_content_and_the_version_records_it(published: Scene):
    put(published, "anna.csv", PAGE)
    published.run()
    both = Overrides(accept_rejected=True, accept_vanished=True)
    published.run(overrides=both)
    assert published.rows("results").height == 3
    assert published.snapshot("shipments").manifest.about == {
        "overrides": ["accept_rejected", "accept_vanished"]
    }
    published.check_conservation()


def test_a_share_of_rejected_rows_beyond_the_limit_blocks_the_publish(tmp_path: Path):
    made = scene(tmp_path)
    put(made, "anna.csv", HEADER + rows(100, bad=21))
    with pytest.raises(CheckFailed, match="max_rejected_share"):
        made.run()
    assert made.versions()["shipments"] is None
    put(made, "anna.csv", HEADER + rows(100, bad=20))
    made.run()
    assert made.rows("results").height == 80


def test_a_share_of_removed_rows_beyond_the_limit_blocks_the_publish(published: Scene):
    put(published, "anna.csv", HEADER + rows(6))
    before = published.snapshot("shipments").version
    with pytest.raises(CheckFailed, match="max_removed_share"):
        published.run()
    assert published.snapshot("shipments").version == before
    published.run(overrides=Overrides(accept_vanished=True))
    assert published.rows("results").height == 9
    assert published.snapshot("shipments").manifest.about == {"overrides": ["accept_vanished"]}


def test_limits_are_settings_of_the_dataset(tmp_path: Path):
    made = scene(tmp_path, max_rejected_share=0.5)
    put(made, "anna.csv", HEADER + rows(100, bad=50))
    made.run()
    assert made.rows("results").height == 50
