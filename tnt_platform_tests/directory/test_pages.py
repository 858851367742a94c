"""A directory is read whole or not at all, from an emulated API over real HTTP into a lake of files."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tnt_platform.directory.pages import PAGE_COLUMNS, page_limits, publish_pages, records_of
from tnt_platform.directory.spec import STEPS, DirectorySource, DirectorySpec
from tnt_platform.errors import ConfigError, InvalidInput, PermanentError, Refused, TntError, Unavailable
from tnt_platform.lake.publishing import Published, Workspace
from tnt_platform.lake.versions import Snapshot, VersionedStore
from tnt_platform.sandbox.directory_api import DirectoryApi, DirectoryFaults, running_directory
from tnt_platform.sandbox.directory_records import directory_records, next_month
from tnt_platform.services.http import HttpClient
from tnt_platform.settings import Settings
from tnt_platform.storage.objects import Objects
from tnt_platform_tests.paths import SHARED

CODE, COOKIE = "app-code-77", "session-cookie-88"
RECORDS = directory_records(95, random.Random(11), dirt=0.3)
PAGES = 10


@dataclass
class Mall:
    """A directory of 95 records on ten pages, and the lake into which it is read."""

    folder: Path
    url: str
    api: DirectoryApi
    source: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=lambda: {"MALL_CODE": CODE, "MALL_COOKIE": COOKIE})
    lake: Objects = field(init=False)
    now: datetime = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def __post_init__(self) -> None:
        self.lake = Objects.open((self.folder / "lake").as_uri())
        self._random = random.Random(5)

    def read(self, faults: DirectoryFaults | None = None, **changes: Any) -> Published:
        """Read the directory an hour after the last time."""
        self.now += timedelta(hours=1)
        self.api.faults = faults or DirectoryFaults()
        self.api.serve(self.api.records)
        defaults = {
            "url": self.url,
            "headers": {"X-Apig-AppCode": "${MALL_CODE}"},
            "cookies": {"lang": "th", "sid": "${MALL_COOKIE}"},
            "page_size": 10,
            "pause_s": 0.0,
            "attempts": 3,
            "timeout_s": 5.0,
        }
        source = DirectorySource(**{**defaults, **self.source, **changes})
        settings = Settings.from_environment({"TNT_HOME": str(self.folder), **self.environment})
        limits = replace(page_limits(source), backoff_initial_s=0.01, breaker_cool_down_s=0.05)
        spec = DirectorySpec(source=source).placed_in(self.folder / "mall")
        with HttpClient(limits, clock=lambda: self.now, uniform=self._random.random) as client:
            return publish_pages(spec, self.workspace, settings, client, run_id="test")

    @property
    def workspace(self) -> Workspace:
        store = VersionedStore(
            self.lake,
            clock=lambda: self.now,
            entropy=self._random.randbytes,
            code_version="test",
            scratch=self.folder / "scratch",
            sleep=lambda _: None,
        )
        return Workspace(
            Objects.open((self.folder / "raw").as_uri()), self.lake, store, self.folder / "scratch"
        )

    @property
    def current(self) -> Snapshot | None:
        return self.workspace.store.current("mall/pages")

    @property
    def captures(self) -> list[str]:
        return self.lake.list("captures/")["key"].to_list()

    def records(self) -> list[object]:
        """Return the records of the published version in the order of its pages."""
        assert self.current is not None
        return [record for _, _, record in records_of(self.current, self.lake)]

    def asked(self, page: int) -> int:
        return sum(count for (number, _), count in self.api.answers.items() if number == page)


@pytest.fixture
def mall(tmp_path: Path) -> Iterator[Mall]:
    api = DirectoryApi(RECORDS, app_code=CODE, cookies={"sid": COOKIE})
    with running_directory(api) as site:
        yield Mall(tmp_path, site.url, api)


def failure(mall: Mall, kind: type[TntError], faults: DirectoryFaults, **changes: Any) -> TntError:
    """Fail to read the directory; nothing is published, and the previous version and the captures are unchanged."""
    before, captures = mall.current, mall.captures
    with pytest.raises(kind) as error:
        mall.read(faults, **changes)
    assert (mall.current and mall.current.version) == (before and before.version)
    assert mall.captures == captures
    assert str(error.value).startswith("mall/pages: ")
    return error.value


def contains(error: TntError, *names: str) -> bool:
    """Tell whether a message has these names, codes and numbers in it."""
    return all(name in str(error) for name in names)


def code_of(error: TntError) -> str:
    assert isinstance(error, InvalidInput)
    return error.reason_code


def test_every_page_is_captured_and_published_with_its_totals(mall):
    done = mall.read()
    rows = done.snapshot.scan().collect()
    assert done.snapshot.schema == PAGE_COLUMNS
    assert rows["page"].to_list() == list(range(1, PAGES + 1))
    assert rows["records"].to_list() == [10] * 9 + [5]
    assert rows.select("total_records", "total_pages").unique().rows() == [(95, PAGES)]
    assert sorted(rows["object_key"]) == mall.captures
    for key, size_bytes, number in rows.select("object_key", "size_bytes", "page").iter_rows():
        body = mall.lake.get(key)
        assert len(body) == size_bytes
        assert json.loads(body)["page"] == number
    assert done.counts.balanced
    facts = dict(done.facts)
    # The empty page that proves the end was read as well.
    assert 50 < facts.pop("bytes_read") - rows["size_bytes"].sum() < 100
    assert facts == {
        "pages": PAGES,
        "records": 95,
        "readings": 1,
        "request_attempts": PAGES + 1,
        "ids_on_two_pages": 0,
    }
    assert all(check.passed for check in done.checks)
    assert mall.workspace.store.verify(done.snapshot) == []


def test_the_ledger_names_every_page_with_its_records(mall):
    ledger = mall.read().snapshot.inputs("newest")
    assert sorted(ledger["key"]) == mall.captures
    assert (ledger["rows_in"].sum(), ledger["rows_out"].sum(), ledger["rows_quarantined"].sum()) == (
        95,
        95,
        0,
    )
    assert set(ledger["status"]) == {"accepted"}


def test_records_are_read_back_with_page_and_position(mall):
    found = records_of(mall.read().snapshot, mall.lake)
    assert [record for _, _, record in found] == RECORDS
    assert [(page, at) for page, at, _ in found[8:12]] == [(1, 9), (1, 10), (2, 1), (2, 2)]


def test_each_page_and_one_beyond_the_last_is_requested_once(mall):
    mall.read()
    assert mall.api.answers == {(number, 200): 1 for number in range(1, PAGES + 2)}


def test_reading_the_same_pages_again_publishes_and_stores_nothing(mall):
    first = mall.read()
    again = mall.read()
    assert (first.changed, again.changed) == (True, False)
    assert again.snapshot.version == first.snapshot.version
    assert again.facts == first.facts
    assert len(mall.captures) == PAGES


def test_a_later_state_becomes_a_version_that_shares_unchanged_pages(mall):
    first = mall.read()
    changed = [*RECORDS[:-1], {**RECORDS[-1], "unit": "9"}]
    mall.api.serve(changed)
    second = mall.read()
    assert second.changed
    assert second.snapshot.version != first.snapshot.version
    assert len(mall.captures) == PAGES + 1
    assert mall.records() == changed
    assert [record for _, _, record in records_of(first.snapshot, mall.lake)] == RECORDS
    mall.api.serve(next_month(changed, random.Random(2)))
    mall.read()
    assert mall.records() == mall.api.records


def test_an_empty_directory_is_one_empty_page(mall):
    mall.api.serve([])
    done = mall.read()
    assert done.snapshot.scan().collect().select("page", "records", "total_pages").rows() == [(1, 0, 0)]
    assert mall.records() == []
    assert mall.api.answers == {(1, 200): 1}


def test_requests_are_spaced(mall):
    assert page_limits(DirectorySource(url="http://x")).rate_per_s == 10
    started = datetime.now(UTC)
    mall.read(pause_s=0.05, concurrency=8)
    assert (datetime.now(UTC) - started).total_seconds() > 0.05 * PAGES * 0.95


def test_a_page_that_fails_temporarily_is_retried(mall):
    done = mall.read(DirectoryFaults("server_error", page=7, first=2))
    assert mall.records() == RECORDS
    assert done.facts["request_attempts"] == PAGES + 3
    assert mall.api.answers[7, 500] == 2
    assert done.facts["readings"] == 1


def test_a_throttled_reading_waits_and_succeeds(mall):
    mall.read(DirectoryFaults("throttle", first=1, retry_after_s=0))
    assert mall.records() == RECORDS


def test_a_page_that_stays_broken_ends_the_reading_and_is_named(mall):
    mall.read()
    error = failure(mall, Unavailable, DirectoryFaults("server_error", page=7))
    assert contains(error, "page 7 of 10", "server_error", "HTTP 500", "3 attempts")
    assert mall.asked(7) == 3
    assert mall.records() == RECORDS


def test_a_first_page_that_stays_broken_is_named(mall):
    assert contains(
        failure(mall, Unavailable, DirectoryFaults("throttle")), "page 1:", "throttled", "HTTP 429"
    )
    assert set(mall.api.answers) == {(1, 429)}


def test_a_page_that_never_arrives_times_out(mall):
    faults = DirectoryFaults("slow", page=3, slow_s=3)
    error = failure(mall, Unavailable, faults, timeout_s=0.2, attempts=2)
    assert contains(error, "page 3 of 10", "timeout")


def test_an_api_that_cannot_be_reached_is_unavailable(mall):
    error = failure(mall, Unavailable, DirectoryFaults(), url="http://127.0.0.1:9/directory")
    assert contains(error, "page 1:", "connection")


def test_a_page_that_is_too_large_is_rejected(mall):
    faults = DirectoryFaults("huge", page=4, huge_bytes=300_000)
    error = failure(mall, InvalidInput, faults, max_page_mb=0.1)
    assert code_of(error) == "too_large"
    assert contains(error, "page 4 of 10", "`source.page_size`", "`source.max_page_mb`")
    assert mall.asked(4) == 1


def test_rejected_credentials_name_the_settings_to_check(mall):
    error = failure(mall, Refused, DirectoryFaults(), headers={"X-Apig-AppCode": "wrong-code"})
    assert contains(error, "page 1:", "refused", "HTTP 401", "headers and cookies", "`source`")
    assert not contains(error, "wrong-code")
    assert mall.asked(1) == 1
    assert contains(failure(mall, Refused, DirectoryFaults("unauthorized", page=5)), "page 5 of 10")


def test_a_wrong_address_is_refused(mall):
    assert contains(failure(mall, Refused, DirectoryFaults(), url=mall.url + "/nowhere"), "`source.url`")


def test_a_missing_secret_is_named_before_the_first_request(mall):
    mall.environment = {"MALL_CODE": CODE}
    with pytest.raises(ConfigError, match="MALL_COOKIE"):
        mall.read()
    assert not mall.api.answers


def test_secrets_echoed_by_the_server_are_hidden(mall, monkeypatch):
    echo = f"<p>{CODE} lang=th; sid={COOKIE} {COOKIE}</p>".encode()
    monkeypatch.setattr("tnt_platform.sandbox.directory_api.WEB_PAGE", echo)
    mall.environment = {**mall.environment, "MALL_URL": f"{mall.url}?key=url-key-99"}
    error = failure(mall, Unavailable, DirectoryFaults("html"), url="${MALL_URL}")
    assert contains(error, "<p>*** ")
    assert not any(contains(error, secret) for secret in (CODE, COOKIE, "url-key-99"))
    mall.environment = {**mall.environment, "MALL_URL": "http://[url-key-99"}
    assert not contains(failure(mall, Refused, DirectoryFaults(), url="${MALL_URL}"), "url-key-99")


def test_a_url_with_a_query_keeps_it(mall):
    mall.read(url=f"{mall.url}?mall=7")
    assert mall.records() == RECORDS


@pytest.mark.parametrize("kind", ["invalid_json", "other_page"])
def test_a_response_that_is_not_a_page_makes_all_pages_be_read_again(mall, kind):
    assert mall.read(DirectoryFaults(kind, page=2, first=1)).facts["readings"] == 2
    assert mall.records() == RECORDS
    mall.api.serve(RECORDS[1:])
    error = failure(mall, InvalidInput, DirectoryFaults(kind, page=2))
    assert code_of(error) == kind
    assert contains(error, "page 2: ", "3 times")
    assert (mall.asked(1), mall.asked(2)) == (3, 3)


def test_an_api_that_serves_smaller_pages_than_requested_is_rejected(mall):
    error = failure(mall, InvalidInput, DirectoryFaults("other_limit"))
    assert code_of(error) == "other_page"
    assert contains(error, "page 1: ", "limit 5", "10")


def test_a_web_page_instead_of_a_page_may_be_temporary(mall):
    assert contains(failure(mall, Unavailable, DirectoryFaults("html", page=10)), "page 10: ", "web page")


@pytest.mark.parametrize("shift", ["insert", "remove"])
@pytest.mark.parametrize("stale_totals", [False, True])
@pytest.mark.parametrize("shift_after", [1, 10])
def test_pages_that_shift_while_they_are_read_are_read_again(mall, shift, stale_totals, shift_after):
    faults = DirectoryFaults(shift=shift, shift_after=shift_after, stale_totals=stale_totals)
    done = mall.read(faults)
    # After the last page, only the totals on the page beyond it could show the change; with stale ones nothing moved.
    is_late = shift_after == PAGES and stale_totals
    assert done.facts["readings"] == (1 if is_late else 2)
    assert mall.records() == (RECORDS if is_late else mall.api.records)


def test_a_record_pushed_off_a_full_last_page_is_found_on_the_page_beyond_it(mall):
    mall.api.serve(RECORDS[:90])
    done = mall.read(DirectoryFaults(shift="insert", shift_after=9, stale_totals=True))
    assert done.facts["readings"] == 2
    assert len(mall.records()) == 91


def test_a_directory_that_shifts_in_every_reading_is_unavailable(mall):
    mall.read()
    error = failure(mall, Unavailable, DirectoryFaults(shift="insert", shift_readings=99))
    assert contains(error, "3 times", "totalRecord is 97 on page 1 and 98 on page 2")
    assert mall.asked(1) == 3


@pytest.mark.parametrize(
    ("totals", "code", "numbers"),
    [
        ({"total_pages_off": -3}, "contradictory_totals", ["totalPages is 7", "95 records", "10 pages"]),
        ({"total_pages_off": 4}, "contradictory_totals", ["totalPages is 14", "95 records", "10 pages"]),
        ({"total_records_off": 2}, "other_record_count", ["95 records", "totalRecord is 97"]),
        (
            {"total_records_off": -95, "total_pages_off": -10},
            "pages_beyond_the_end",
            ["page 2", "10 records"],
        ),
    ],
)
def test_totals_that_are_wrong_the_same_way_each_time_are_invalid_input(mall, totals, code, numbers):
    error = failure(mall, InvalidInput, DirectoryFaults(**totals))
    assert code_of(error) == code
    assert contains(error, "3 times", *numbers)


def test_totals_that_promise_millions_of_pages_end_at_the_first_empty_page(mall):
    totals = DirectoryFaults(total_pages_off=10**6, total_records_off=10**7)
    error = failure(mall, InvalidInput, totals, concurrency=3)
    # Pages behind the empty one do not count, however many requests were in flight.
    assert contains(error, "999999 of 1000010 pages", "12, 13, 14, 15, 16, ...")
    assert max(number for number, _ in mall.api.answers) <= PAGES + 1 + 3


@pytest.mark.parametrize("repeat", ["same", "changed"])
def test_a_record_on_the_same_two_pages_in_two_readings_is_accepted_with_a_warning(mall, repeat):
    done = mall.read(DirectoryFaults(repeat=repeat))
    assert (done.facts["readings"], done.facts["ids_on_two_pages"]) == (2, 1)
    (warning,) = [check for check in done.checks if not check.passed]
    assert (warning.name, warning.blocking) == ("ids_on_one_page", False)
    assert warning.sample is not None
    problem = warning.sample["problem"][0]
    assert all(part in problem for part in ("page 1, record 1", "page 10, record 6"))
    assert ("different" in problem) == (repeat == "changed")
    assert done.facts["request_attempts"] == 2 * (PAGES + 1)
    assert len(mall.records()) == 96
    assert mall.read(DirectoryFaults(repeat=repeat)).changed is False


def test_a_repeated_record_and_a_shift_together_take_one_more_reading(mall):
    done = mall.read(DirectoryFaults(repeat="same", shift="remove"))
    assert done.facts["readings"] == 3
    assert len(mall.records()) == 95


def test_a_single_reading_cannot_tell_a_repeated_record_from_a_shift(mall):
    assert contains(
        failure(mall, Unavailable, DirectoryFaults(repeat="same"), readings=1), "once", "uniqueId"
    )


def test_a_404_beyond_the_last_page_proves_the_end_too(mall):
    assert mall.read(DirectoryFaults("not_found", page=11)).changed
    mall.api.serve(RECORDS[1:])
    assert contains(failure(mall, Refused, DirectoryFaults("not_found", page=4)), "page 4 of 10")


def test_a_damaged_capture_is_rejected(mall):
    snapshot = mall.read().snapshot
    key = snapshot.scan().collect()["object_key"][2]
    mall.lake.put(key, mall.lake.get(key).replace(b"T000", b"T999"))
    with pytest.raises(PermanentError, match="page 3 as mall/pages"):
        records_of(snapshot, mall.lake)


def test_values_out_of_bounds_are_rejected():
    for wrong in ({"page_size": 0}, {"readings": 0}, {"pause_s": -1}):
        with pytest.raises(ValidationError) as error:
            DirectorySource(url="http://x", **wrong)
        assert [one["loc"] for one in error.value.errors()] == [tuple(wrong)]


def test_secrets_are_not_in_the_repr_of_a_spec(tmp_path):
    source = DirectorySource.model_construct(
        url="http://x", headers={"X-Apig-AppCode": "h-77"}, cookies={"sid": "c-88"}
    )
    spec = DirectorySpec.model_construct(source=source, database_url="postgresql://u:p-99@h/db")
    spec = spec.placed_in(tmp_path / "mall")
    assert not any(secret in repr(spec) for secret in ("h-77", "c-88", "p-99"))
    assert [spec.dataset(step) for step in STEPS] == ["mall/pages", "mall/tenants", "mall/database"]


@pytest.mark.skipif(not (SHARED / "mall_thai_branches").is_dir(), reason="the shared data is not available")
def test_real_branches_come_through_one_by_one_as_expected(mall):
    folder = SHARED / "mall_thai_branches"
    expected = json.loads((folder / "EXPECTED.json").read_text(encoding="utf-8"))["expected"]
    files = {name: json.loads((folder / name).read_text(encoding="utf-8")) for name in expected}
    assert {name: len(rows) for name, rows in files.items()} == {
        name: facts["records"] for name, facts in expected.items()
    }
    mall.api.serve([record for rows in files.values() for record in rows])
    done = mall.read(page_size=50)
    assert done.facts["records"] == sum(facts["records"] for facts in expected.values()) == 269
    assert mall.records() == [record for rows in files.values() for record in rows]
