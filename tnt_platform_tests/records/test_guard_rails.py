"""Invalid items never take the place of good records; how many may be left out is declared, or said once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tnt_platform.lake.guard_rails import REJECTED_SHARE, Overrides
from tnt_platform.lake.publishing import CheckOutcome, Published
from tnt_platform.sandbox.records_api import RecordsApi, RecordsFaults, running_records_api
from tnt_platform_tests.paged_site import running_pages
from tnt_platform_tests.records.scene import RecordsScene, records_spec

ACCEPTED = Overrides(accept_rejected=True)


@pytest.fixture
def api() -> Iterator[tuple[str, RecordsApi]]:
    with running_records_api() as running:
        yield running


@pytest.fixture
def scene(tmp_path: Path, api: tuple[str, RecordsApi]) -> RecordsScene:
    made = RecordsScene(tmp_path, api[0])
    made.run()
    return made


def rejected_share(published: Published) -> CheckOutcome:
    [one] = [check for check in published.checks if check.name == REJECTED_SHARE]
    return one


def test_one_invalid_item_rejects_the_capture_and_the_check_says_why(
    scene: RecordsScene, api: tuple[str, RecordsApi]
):
    before = scene.rows()
    api[1].faults = RecordsFaults("missing_ids")
    check = rejected_share(scene.run()["records"])
    assert not check.passed
    assert "100 of 100 items" in check.description
    assert "missing_id" in check.description
    assert "tnt run posts --accept-rejected" in check.description
    assert check.sample is not None
    assert set(check.sample["reason_code"]) == {"missing_id"}
    assert scene.rows().equals(before)


def test_an_override_takes_the_valid_items_of_the_capture_that_was_rejected(
    scene: RecordsScene, api: tuple[str, RecordsApi]
):
    api[1].faults = RecordsFaults("missing_ids")
    scene.run()
    invalid = int((scene.current().quarantine()["reason_code"] == "missing_id").sum())
    assert 0 < invalid < 100
    done = scene.run(overrides=ACCEPTED)["records"]
    assert (done.counts.published, done.counts.quarantined) == (100 - invalid, invalid)
    assert rejected_share(done).passed
    assert scene.current().manifest.about["overrides"] == ["accept_rejected"]
    assert scene.current().quarantine().height == invalid
    assert scene.rows().height == 100
    assert not scene.run(overrides=ACCEPTED)["records"].changed


def test_an_override_takes_new_content_at_once(scene: RecordsScene, api: tuple[str, RecordsApi]):
    api[1].faults = RecordsFaults("missing_ids")
    done = scene.run(overrides=ACCEPTED)["records"]
    assert done.counts.published > 0
    assert scene.rows("capture").sort("captured_at")["status"].to_list() == ["captured", "captured"]


def test_an_override_cannot_accept_an_answer_without_items(scene: RecordsScene, api: tuple[str, RecordsApi]):
    before = scene.rows()
    api[1].faults = RecordsFaults("error_page")
    check = rejected_share(scene.run(overrides=ACCEPTED)["records"])
    assert not check.passed
    assert scene.rows().equals(before)


def test_a_declared_share_of_invalid_items_is_left_out(tmp_path: Path, api: tuple[str, RecordsApi]):
    scene = RecordsScene(tmp_path, api[0], spec=records_spec(max_rejected_share=0.5))
    scene.run()
    api[1].faults = RecordsFaults("missing_ids")
    done = scene.run()["records"]
    assert rejected_share(done).passed
    assert done.counts.balanced
    assert scene.rows("capture").sort("captured_at")["status"].to_list() == ["captured", "captured"]


def test_all_pages_of_a_response_are_one_capture(tmp_path: Path):
    with running_pages() as site:
        posts = [{"id": number, "userId": 1, "title": "t", "body": "b"} for number in range(1, 5)]
        site.pages = {
            "1": {"all": 4, "pages": 2, "found": posts[:2]},
            "2": {"all": 4, "pages": 2, "found": posts[2:]},
        }
        declared = {"items": "found", "count": "all", "pages": "pages"}
        spec = records_spec(source={"url": site.url, "page_parameter": "page"}, **declared)
        scene = RecordsScene(tmp_path, site.url, spec=spec)
        scene.run()
        assert scene.rows()["item_id"].sort().to_list() == ["1", "2", "3", "4"]
        assert not scene.run()["records"].changed
        scene.spec = records_spec(source={"url": site.url}, **declared)
        done = scene.run()["records"]
        assert scene.rows().height == 4
        assert scene.current().quarantine()["reason_code"].to_list() == ["missing_pages"]
        assert not rejected_share(done).passed


def test_not_modified_is_believed_for_a_week_only(tmp_path: Path):
    with running_pages() as site:
        site.etag = '"always the same"'
        site.pages["1"] = [{"id": 1, "userId": 1, "title": "t", "body": "b"}]
        scene = RecordsScene(tmp_path, site.url, spec=records_spec(source={"url": site.url}))
        scene.run()
        site.pages["1"][0]["title"] = "u"
        scene.now += timedelta(days=6)
        scene.run()
        assert scene.rows()["title"].to_list() == ["t"]
        scene.now += timedelta(days=1)
        scene.run()
        assert scene.rows()["title"].to_list() == ["u"]
