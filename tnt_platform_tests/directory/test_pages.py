"""A directory is read whole or not at all: against the stand-in API over real HTTP, into a lake of files."""

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
from tnt_platform.lake.publishing import Place, Published
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
    """A directory of 95 records in ten pages, and the lake that it is read into."""

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
        """Read the directory an hour later."""
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
            return publish_pages(spec, self.place, settings, client, run_id="test")

    @property
    def place(self) -> Place:
        store = VersionedStore(
            self.lake,
            clock=lambda: self.now,
            entropy=self._random.randbytes,
            code_version="test",
            scratch=self.folder / "scratch",
            sleep=lambda _: None,
        )
        return Place(Objects.open((self.folder / "raw").as_uri()), self.lake, store, self.folder / "scratch")

    @property
    def current(self) -> Snapshot | None:
        return self.place.store.current("mall/pages")

    @property
    def captures(self) -> list[str]:
        return self.lake.list("captures/")["key"].to_list()

    def records(self) -> list[object]:
        """What the published version says, in the order of its pages."""
        assert self.current is not None
        return [record for _, _, record in records_of(self.current, self.lake)]

    def asked(self, page: int) -> int:
        return sum(count for (number, _), count in self.api.answers.items() if number == page)


@pytest.fixture
def mall(tmp_path: Path) -> Iterator[Mall]:
    api = DirectoryApi(RECORDS, app_code=CODE, cookies={"sid": COOKIE})
    with running_directory(api) as site:
        yield Mall(tmp_path, site.url, api)


def refused(mall: Mall, kind: type[TntError], faults: DirectoryFaults, **changes: Any) -> str:
    """Why nothing was published; what was published before and the captures are as they were."""
    before, captures = mall.current, mall.captures
    with pytest.raises(kind) as error:
        mall.read(faults, **changes)
    assert (mall.current and mall.current.version) == (before and before.version)
    assert mall.captures == captures
    assert str(error.value).startswith("mall/pages: ")
    assert "Nothing is published; what was published before is untouched" in str(error.value)
    return str(error.value)


def test_every_page_is_captured_raw_and_published_with_its_totals(mall):
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
    # The empty page that proves the end was read too.
    assert 50 < facts.pop("bytes_read") - rows["size_bytes"].sum() < 100
    assert facts == {
        "pages": PAGES,
        "records": 95,
        "readings": 1,
        "request_attempts": PAGES + 1,
        "ids_on_two_pages": 0,
    }
    assert all(check.passed for check in done.checks)
    assert mall.place.store.verify(done.snapshot) == []


def test_the_ledger_names_every_page_with_its_records(mall):
    ledger = mall.read().snapshot.inputs("newest")
    assert sorted(ledger["key"]) == mall.captures
    assert (ledger["rows_in"].sum(), ledger["rows_out"].sum(), ledger["rows_quarantined"].sum()) == (
        95,
        95,
        0,
    )
    assert set(ledger["status"]) == {"accepted"}


def test_the_records_come_back_as_they_were_served_with_page_and_position(mall):
    found = records_of(mall.read().snapshot, mall.lake)
    assert [record for _, _, record in found] == RECORDS
    assert [(page, at) for page, at, _ in found[8:12]] == [(1, 9), (1, 10), (2, 1), (2, 2)]


def test_each_page_and_one_beyond_the_last_is_asked_for_once(mall):
    mall.read()
    assert mall.api.answers == {(number, 200): 1 for number in range(1, PAGES + 2)}


def test_the_same_pages_again_publish_nothing_and_store_nothing(mall):
    first = mall.read()
    again = mall.read()
    assert (first.changed, again.changed) == (True, False)
    assert again.snapshot.version == first.snapshot.version
    assert again.facts == first.facts
    assert len(mall.captures) == PAGES


def test_a_later_state_becomes_a_version_and_pages_that_did_not_change_are_kept_once(mall):
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


def test_requests_keep_their_distance(mall):
    assert page_limits(DirectorySource(url="http://x")).rate_per_s == 10
    started = datetime.now(UTC)
    mall.read(pause_s=0.05, concurrency=8)
    assert (datetime.now(UTC) - started).total_seconds() > 0.05 * PAGES * 0.95


def test_a_page_that_fails_for_a_moment_is_asked_for_again(mall):
    done = mall.read(DirectoryFaults("server_error", page=7, first=2))
    assert mall.records() == RECORDS
    assert done.facts["request_attempts"] == PAGES + 3
    assert mall.api.answers[7, 500] == 2
    assert done.facts["readings"] == 1


def test_a_throttled_reading_waits_and_gets_through(mall):
    mall.read(DirectoryFaults("throttle", first=1, retry_after_s=0))
    assert mall.records() == RECORDS


def test_a_page_that_stays_broken_stops_the_reading_and_is_named(mall):
    mall.read()
    said = refused(mall, Unavailable, DirectoryFaults("server_error", page=7))
    assert "page 7 of 10 can't be had: server_error: HTTP 500" in said
    assert "after 3 attempts" in said
    assert mall.asked(7) == 3
    assert mall.records() == RECORDS


def test_a_first_page_that_stays_broken_is_named(mall):
    assert "page 1 can't be had: throttled: HTTP 429" in refused(
        mall, Unavailable, DirectoryFaults("throttle")
    )
    assert set(mall.api.answers) == {(1, 429)}


def test_a_page_that_never_comes_is_given_up(mall):
    said = refused(mall, Unavailable, DirectoryFaults("slow", page=3, slow_s=3), timeout_s=0.2, attempts=2)
    assert "page 3 of 10 can't be had: timeout" in said


def test_an_api_that_is_not_there_is_unavailable(mall):
    said = refused(mall, Unavailable, DirectoryFaults(), url="http://127.0.0.1:9/directory")
    assert "page 1 can't be had: connection" in said


def test_a_huge_page_is_refused_by_its_size(mall):
    faults = DirectoryFaults("huge", page=4, huge_bytes=300_000)
    said = refused(mall, InvalidInput, faults, max_page_mb=0.1)
    assert "page 4 of 10 can't be had: too_large" in said
    assert "lower `source.page_size`" in said
    assert mall.asked(4) == 1


def test_a_refusal_of_the_credentials_says_where_they_are_set(mall):
    said = refused(mall, Refused, DirectoryFaults(), headers={"X-Apig-AppCode": "wrong-code"})
    assert "page 1 can't be had: refused: HTTP 401" in said
    assert "check the headers and cookies of `source`" in said
    assert "wrong-code" not in said
    assert mall.asked(1) == 1
    said = refused(mall, Refused, DirectoryFaults("unauthorized", page=5))
    assert "page 5 of 10" in said


def test_a_wrong_address_is_refused(mall):
    assert "check `source.url`" in refused(mall, Refused, DirectoryFaults(), url=mall.url + "/nowhere")


def test_a_secret_that_is_not_set_is_named_before_anything_is_asked(mall):
    mall.environment = {"MALL_CODE": CODE}
    with pytest.raises(ConfigError, match="MALL_COOKIE is not set"):
        mall.read()
    assert not mall.api.answers


def test_secrets_that_a_server_echoes_are_not_in_what_is_said(mall, monkeypatch):
    echo = f"<p>{CODE} lang=th; sid={COOKIE} {COOKIE}</p>".encode()
    monkeypatch.setattr("tnt_platform.sandbox.directory_api.WEB_PAGE", echo)
    mall.environment = {**mall.environment, "MALL_URL": f"{mall.url}?key=url-key-99"}
    said = refused(mall, Unavailable, DirectoryFaults("html"), url="${MALL_URL}")
    assert "web page: <p>*** " in said
    assert not any(secret in said for secret in (CODE, COOKIE, "url-key-99"))
    mall.environment = {**mall.environment, "MALL_URL": "http://[url-key-99"}
    assert "url-key-99" not in refused(mall, Refused, DirectoryFaults(), url="${MALL_URL}")


def test_a_url_with_a_query_keeps_it(mall):
    mall.read(url=f"{mall.url}?mall=7")
    assert mall.records() == RECORDS


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("invalid_json", "page 2: the answer is not JSON"),
        ("other_page", "page 2: the answer says that it is page 1"),
    ],
)
def test_an_answer_that_is_no_page_is_read_again_with_all_others_and_then_refused(mall, kind, said):
    assert mall.read(DirectoryFaults(kind, page=2, first=1)).facts["readings"] == 2
    assert mall.records() == RECORDS
    mall.api.serve(RECORDS[1:])
    told = refused(mall, InvalidInput, DirectoryFaults(kind, page=2))
    assert said in told
    assert "read 3 times, and still" in told
    assert (mall.asked(1), mall.asked(2)) == (3, 3)


def test_an_api_that_gives_fewer_records_a_page_than_asked_for_is_refused_not_misread(mall):
    said = refused(mall, InvalidInput, DirectoryFaults("other_limit"))
    assert "page 1: the answer says limit 5 where 10 was asked for" in said


def test_a_web_page_instead_of_a_page_may_pass_by_itself(mall):
    said = refused(mall, Unavailable, DirectoryFaults("html", page=10))
    assert "page 10: the answer is a web page" in said


@pytest.mark.parametrize("shift", ["insert", "remove"])
@pytest.mark.parametrize("stale_totals", [False, True])
@pytest.mark.parametrize("shift_after", [1, 10])
def test_pages_that_shift_while_they_are_read_are_read_again(mall, shift, stale_totals, shift_after):
    faults = DirectoryFaults(shift=shift, shift_after=shift_after, stale_totals=stale_totals)
    done = mall.read(faults)
    # After the last page only the totals of the page beyond it can tell; stale ones tell nothing, and nothing moved.
    is_late = shift_after == PAGES and stale_totals
    assert done.facts["readings"] == (1 if is_late else 2)
    assert mall.records() == (RECORDS if is_late else mall.api.records)


def test_a_record_that_slips_behind_a_full_last_page_is_found_by_the_page_beyond_it(mall):
    mall.api.serve(RECORDS[:90])
    done = mall.read(DirectoryFaults(shift="insert", shift_after=9, stale_totals=True))
    assert done.facts["readings"] == 2
    assert len(mall.records()) == 91


def test_a_directory_that_shifts_in_every_reading_is_given_up_for_now(mall):
    mall.read()
    said = refused(mall, Unavailable, DirectoryFaults(shift="insert", shift_readings=99))
    assert "read 3 times, and never whole: totalRecord is 97 on page 1 and 98 on page 2" in said
    assert mall.asked(1) == 3


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ({"total_pages_off": -3}, "totalPages is 7, but 95 records make 10 pages of 10"),
        ({"total_pages_off": 4}, "totalPages is 14, but 95 records make 10 pages of 10"),
        ({"total_records_off": 2}, "the pages hold 95 records, but totalRecord is 97"),
        ({"total_records_off": -95, "total_pages_off": -10}, "page 2 has 10 records, though page 1 is said"),
    ],
)
def test_totals_that_lie_the_same_way_each_time_are_the_apis_contradiction(mall, lie, said):
    told = refused(mall, InvalidInput, DirectoryFaults(**lie))
    assert "the API contradicts itself, the same way in the last two of 3 times read" in told
    assert said in told


def test_totals_that_promise_millions_do_not_send_us_on_for_ever(mall):
    lie = DirectoryFaults(total_pages_off=10**6, total_records_off=10**7)
    told = refused(mall, InvalidInput, lie, concurrency=3)
    # However many requests were under way, pages behind the empty one count for nothing.
    assert "999999 of 1000010 pages are missing: 12, 13, 14, 15, 16, ..." in told
    assert max(number for number, _ in mall.api.answers) <= PAGES + 1 + 3


@pytest.mark.parametrize("repeat", ["same", "changed"])
def test_a_record_on_two_pages_in_two_readings_is_dirt_and_let_through_with_a_warning(mall, repeat):
    done = mall.read(DirectoryFaults(repeat=repeat))
    assert (done.facts["readings"], done.facts["ids_on_two_pages"]) == (2, 1)
    (warning,) = [check for check in done.checks if not check.passed]
    assert (warning.name, warning.blocking) == ("ids_on_one_page", False)
    assert warning.sample is not None
    content = "the same" if repeat == "same" else "different"
    assert f"page 1, record 1 and on page 10, record 6 with {content} content" in warning.sample["problem"][0]
    assert done.facts["request_attempts"] == 2 * (PAGES + 1)
    assert len(mall.records()) == 96
    assert mall.read(DirectoryFaults(repeat=repeat)).changed is False


def test_dirt_and_a_shift_at_once_take_one_reading_more(mall):
    done = mall.read(DirectoryFaults(repeat="same", shift="remove"))
    assert done.facts["readings"] == 3
    assert len(mall.records()) == 95


def test_one_reading_alone_can_not_tell_dirt_from_a_shift(mall):
    said = refused(mall, Unavailable, DirectoryFaults(repeat="same"), readings=1)
    assert "read once, and never whole: uniqueId" in said


def test_an_api_without_a_page_beyond_the_last_has_proven_its_end_too(mall):
    assert mall.read(DirectoryFaults("not_found", page=11)).changed
    mall.api.serve(RECORDS[1:])
    assert "page 4 of 10" in refused(mall, Refused, DirectoryFaults("not_found", page=4))


def test_a_capture_that_was_damaged_is_not_taken_for_the_page(mall):
    snapshot = mall.read().snapshot
    key = snapshot.scan().collect()["object_key"][2]
    mall.lake.put(key, mall.lake.get(key).replace(b"T000", b"T999"))
    with pytest.raises(PermanentError, match="is not page 3 as mall/pages"):
        records_of(snapshot, mall.lake)


def test_a_source_that_makes_no_sense_is_refused():
    for wrong in ({"page_size": 0}, {"readings": 0}, {"pause_s": -1}):
        with pytest.raises(ValidationError) as error:
            DirectorySource(url="http://x", **wrong)
        assert [one["loc"] for one in error.value.errors()] == [tuple(wrong)]


def test_secrets_stay_out_of_what_a_dataset_prints(tmp_path):
    source = DirectorySource.model_construct(
        url="http://x", headers={"X-Apig-AppCode": "h-77"}, cookies={"sid": "c-88"}
    )
    spec = DirectorySpec.model_construct(source=source, database_url="postgresql://u:p-99@h/db")
    spec = spec.placed_in(tmp_path / "mall")
    assert not any(secret in repr(spec) for secret in ("h-77", "c-88", "p-99"))
    assert [spec.dataset(step) for step in STEPS] == ["mall/pages", "mall/tenants", "mall/database"]


@pytest.mark.skipif(not (SHARED / "mall_thai_branches").is_dir(), reason="the shared real files aren't here")
def test_real_branches_come_through_one_by_one_as_expected(mall):
    folder = SHARED / "mall_thai_branches"
    expected = json.loads((folder / "EXPECTED.json").read_text(encoding="utf-8"))["expected"]
    files = {name: json.loads((folder / name).read_text(encoding="utf-8")) for name in expected}
    assert {name: len(rows) for name, rows in files.items()} == {
        name: said["records"] for name, said in expected.items()
    }
    mall.api.serve([record for rows in files.values() for record in rows])
    done = mall.read(page_size=50)
    assert done.facts["records"] == sum(said["records"] for said in expected.values()) == 269
    assert mall.records() == [record for rows in files.values() for record in rows]
