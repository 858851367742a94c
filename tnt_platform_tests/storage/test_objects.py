from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tnt_platform.errors import ConfigError, NotFound, Refused, SwapLost, Unavailable
from tnt_platform.storage.bucket import SWAP_ATTEMPTS
from tnt_platform.storage.objects import LISTING_SCHEMA, Objects
from tnt_platform.storage.prefetch import read_ahead
from tnt_platform_tests.paths import REPOSITORY
from tnt_platform_tests.rounds import tries
from tnt_platform_tests.s3_server import S3Server

UNUSUAL_KEYS = [
    "a b/ü#%+.txt",
    "report#1",
    "x%20y",
    "日本/á.csv",
    "a&b<c>'\"",
    "q?x*[1]{}",
    "back\\slash",
    "t~`^|",
    "plus+plus",
    "raw/date=2026-11-20/a,b;c=d@e!$.txt",
]


def impatient(server: S3Server, **options: str) -> Objects:
    return Objects.open(
        f"{server.url}/some/prefix",
        options={**server.options, "max_retries": "1", "read_timeout_s": "0.5", **options},
    )


# What both kinds of store promise


@pytest.mark.parametrize("key", UNUSUAL_KEYS)
def test_keys_with_special_characters_round_trip(lake_objects: Objects, key: str) -> None:
    lake_objects.put(key, key.encode())
    assert lake_objects.get(key) == key.encode()
    assert lake_objects.list("")["key"].to_list() == [key]
    assert lake_objects.list(key)["key"].to_list() == [key]
    assert list(lake_objects.get_many([key])) == [(key, key.encode())]
    lake_objects.delete([key])
    assert not lake_objects.exists(key)


@settings(max_examples=tries(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(
        st.text(
            st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters="/"),
            min_size=1,
            max_size=20,
        ),
        min_size=1,
        max_size=3,
    ).filter(lambda parts: not {".", "..", ".tnt"} & set(parts))
)
def test_any_printable_key_round_trips(lake_objects: Objects, parts: list[str]) -> None:
    key = "any/" + "/".join(parts)
    lake_objects.put(key, b"1")
    assert lake_objects.get(key) == b"1"
    assert key in lake_objects.list("any/")["key"]
    lake_objects.delete([key])
    assert lake_objects.list("any/").is_empty()


@pytest.mark.parametrize(
    "key", ["", "/a", "a/../b", "..", "a//b", "a/", "./a", "a\nb", "a\x00b", ".tnt/locks/x", ".tnt"]
)
def test_a_key_that_could_leave_the_lake_is_rejected(lake_objects: Objects, key: str) -> None:
    with pytest.raises(Refused, match=re.escape(repr(key))):
        lake_objects.put(key, b"")
    with pytest.raises(Refused, match=re.escape(repr(key))):
        lake_objects.get(key)


def test_a_listing_is_sorted_and_typed_and_takes_any_prefix(lake_objects: Objects) -> None:
    for key in ("raw/2026-11-20/b", "raw/2026-11-20/a", "raw/2026-12-01/c", "raw/2026-11", "rawer/d"):
        lake_objects.put(key, b"123")
    listing = lake_objects.list("raw/2026-11")
    assert listing["key"].to_list() == ["raw/2026-11", "raw/2026-11-20/a", "raw/2026-11-20/b"]
    assert listing.schema == LISTING_SCHEMA
    assert listing["size_bytes"].to_list() == [3, 3, 3]
    assert (datetime.now(UTC) - listing["last_modified"].min()).total_seconds() < 60
    assert lake_objects.list("raw")["key"].len() == 5
    assert lake_objects.list("raw/")["key"].len() == 4
    assert lake_objects.list("raw/2026-11-20/").height == 2
    assert lake_objects.list("nothing/here/").schema == LISTING_SCHEMA
    assert lake_objects.list_folders("raw/") == ["2026-11-20", "2026-12-01"]
    assert lake_objects.list_folders("") == ["raw", "rawer"]
    assert lake_objects.list_folders("nothing/") == []


def test_one_odd_entry_does_not_hide_the_others(folder_objects: Objects, tmp_path: Path) -> None:
    folder_objects.put("raw/good.csv", b"1")
    raw = tmp_path / "lake" / "raw"
    Path(os.fsdecode(os.fsencode(raw) + b"/caf\xe9.csv")).write_bytes(b"2")
    (raw / "itself").symlink_to("itself")
    (raw / "nowhere").symlink_to("gone")
    assert folder_objects.list("raw/")["key"].to_list() == ["raw/caf\x1aE9.csv", "raw/good.csv"]


def test_a_file_overwritten_in_place_with_its_old_time_and_size_gets_another_etag(
    folder_objects: Objects, tmp_path: Path
) -> None:
    folder_objects.put("raw/a.txt", b"10022|2")
    before = folder_objects.list("")["etag"][0]
    path = tmp_path / "lake" / "raw" / "a.txt"
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"10022|3")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_ino, path.stat().st_size) == (status.st_ino, status.st_size)
    assert folder_objects.list("")["etag"][0] != before


def test_an_overwritten_object_gets_another_etag(lake_objects: Objects) -> None:
    lake_objects.put("a", b"one")
    before = lake_objects.list("")["etag"][0]
    lake_objects.put("a", b"two")
    assert lake_objects.list("")["etag"][0] != before


def test_a_missing_object_is_not_found_and_the_message_says_which(lake_objects: Objects) -> None:
    lake_objects.put("folder/object", b"")
    for read in (lake_objects.get, lambda key: list(lake_objects.get_many([key]))):
        with pytest.raises(NotFound, match="folder/absent"):
            read("folder/absent")
    with pytest.raises(NotFound):
        lake_objects.get("folder")
    assert lake_objects.read_pointer("absent") is None
    assert not lake_objects.exists("folder")


def test_get_many_keeps_the_order_given_and_repeats_what_is_named_twice(lake_objects: Objects) -> None:
    for number in range(50):
        lake_objects.put(f"n/{number}", str(number).encode())
    keys = [f"n/{number}" for number in reversed(range(50))] + ["n/7"]
    assert list(lake_objects.get_many(keys, concurrency=8)) == [(key, key[2:].encode()) for key in keys]
    assert list(lake_objects.get_many([])) == []


def test_a_caller_may_stop_reading_many_half_way(lake_objects: Objects) -> None:
    for number in range(20):
        lake_objects.put(f"n/{number:02}", b"x")
    reading = lake_objects.get_many(sorted(lake_objects.list("n/")["key"]), concurrency=4)
    assert next(reading) == ("n/00", b"x")
    reading.close()
    assert lake_objects.get("n/19") == b"x"


def test_files_stream_in_and_out(lake_objects: Objects, tmp_path: Path) -> None:
    body = os.urandom(1024) * (20 * 1024)  # 20 MB: three parts on S3
    source = tmp_path / "source"
    source.write_bytes(body)
    lake_objects.put_file("big/file", source)
    lake_objects.get_to_file("big/file", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == body
    assert lake_objects.list("big/")["size_bytes"].to_list() == [len(body)]


def test_a_download_that_fails_leaves_no_file(lake_objects: Objects, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        lake_objects.get_to_file("absent", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_deleting_what_is_gone_is_no_error(lake_objects: Objects) -> None:
    lake_objects.put("folder/a", b"")
    lake_objects.delete(["folder/a", "folder/b", "other/c"])
    lake_objects.delete(["folder/a"])
    assert lake_objects.list("").is_empty()
    assert lake_objects.list_folders("") == []


def test_polars_reads_what_was_put_even_under_unusual_names(lake_objects: Objects, tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1, 2, 3]})
    frame.write_parquet(tmp_path / "part")
    for key in ("data/2026-11-20/part-0.parquet", "data/a b#1+%20ü.parquet"):
        lake_objects.put(key, (tmp_path / "part").read_bytes())
        read = pl.scan_parquet(
            lake_objects.polars_url(key), storage_options=lake_objects.polars_options(), glob=False
        )
        assert read.collect().equals(frame)


def test_requests_are_counted_for_the_cost_shown(lake_objects: Objects) -> None:
    lake_objects.put("a", b"12345")
    lake_objects.get("a")
    list(lake_objects.get_many(["a", "a"]))
    lake_objects.list("")
    counts = lake_objects.requests
    assert (counts.writes, counts.bytes_written) == (1, 5)
    assert (counts.reads, counts.bytes_read) == (3, 15)
    assert counts.lists == 1


# Compare and swap


def test_a_pointer_moves_only_from_what_was_read(lake_objects: Objects) -> None:
    first = lake_objects.compare_and_swap("index/current", expected=None, new=b"v1")
    second = lake_objects.compare_and_swap("index/current", expected=first, new=b"v2")
    assert lake_objects.read_pointer("index/current") == second
    for stale in (first, None):
        with pytest.raises(SwapLost, match=r"index/current.*v2"):
            lake_objects.compare_and_swap("index/current", expected=stale, new=b"v3")
    assert lake_objects.get("index/current") == b"v2"


def test_a_swap_expecting_a_pointer_that_was_removed_is_lost(lake_objects: Objects) -> None:
    first = lake_objects.compare_and_swap("p", expected=None, new=b"v1")
    lake_objects.delete(["p"])
    with pytest.raises(SwapLost, match=r"nothing.*v1"):
        lake_objects.compare_and_swap("p", expected=first, new=b"v2")


def _win_swaps(objects: Objects, writer: int, swaps: int) -> int:
    """Append to the pointer `swaps` times; return how often another writer was first."""
    lost = 0
    for number in range(swaps):
        while True:
            before = objects.read_pointer("race")
            line = f"{writer}.{number}\n".encode()
            try:
                objects.compare_and_swap(
                    "race", expected=before, new=(before.value if before else b"") + line
                )
                break
            except SwapLost:
                lost += 1
    return lost


def test_no_swap_of_eight_racing_threads_is_lost(lake_objects: Objects) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda writer: _win_swaps(lake_objects, writer, 10), range(8)))
    lines = lake_objects.get("race").decode().split()
    assert len(lines) == 80
    assert len(set(lines)) == 80
    for writer in range(8):  # each writer's own lines stay in order
        assert [line for line in lines if line.startswith(f"{writer}.")] == [
            f"{writer}.{n}" for n in range(10)
        ]


def test_no_swap_is_lost_while_the_server_fails_before_and_after_the_effect(s3_server: S3Server) -> None:
    for when in ("before", "after"):
        s3_server.faults.add("status", op="PutObject", when=when, status=500, probability=0.15)
        s3_server.faults.add("reset", op="PutObject", when=when, probability=0.15)
        s3_server.faults.add("status", op="PutObject", when=when, status=409, probability=0.1)
    objects = Objects.open(s3_server.url, options=s3_server.options)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda writer: _append_until_seen(objects, writer, 8), range(4)))
    lines = objects.get("race").decode().split()
    assert sum(fault.hits for fault in s3_server.faults.faults) > 10
    assert sorted(lines) == sorted(f"{writer}.{number}" for writer in range(4) for number in range(8))


def _append_until_seen(objects: Objects, writer: int, swaps: int) -> None:
    """Retry as a publisher does: after a lost swap, check whether its own line is there already."""
    for number in range(swaps):
        line = f"{writer}.{number}\n".encode()
        while True:
            before = objects.read_pointer("race")
            value = before.value if before else b""
            if line in value.splitlines(keepends=True):
                break
            try:
                objects.compare_and_swap("race", expected=before, new=value + line)
                break
            except (SwapLost, Unavailable):
                continue


def test_no_swap_of_racing_processes_on_a_folder_is_lost(tmp_path: Path) -> None:
    program = (
        "import sys; from tnt_platform.storage.objects import Objects;"
        "from tnt_platform_tests.storage.test_objects import _win_swaps;"
        "objects = Objects.open(sys.argv[1]); objects.put('ready/' + sys.argv[2], b'');"
        "[None for _ in iter(lambda: objects.exists('go'), True)];"
        "_win_swaps(objects, int(sys.argv[2]), 100)"
    )
    url = (tmp_path / "lake").as_uri()
    racers = [
        subprocess.Popen([sys.executable, "-c", program, url, str(writer)], cwd=REPOSITORY)
        for writer in range(3)
    ]
    objects = Objects.open(url)
    while objects.list("ready/").height < 3:  # a race needs all of them at the line
        assert all(racer.poll() is None for racer in racers)
        time.sleep(0.05)
    objects.put("go", b"")
    assert [racer.wait(120) for racer in racers] == [0, 0, 0]
    assert len(set(objects.get("race").decode().split())) == 300


@pytest.mark.parametrize("status", [500, 503])
def test_a_swap_that_landed_though_the_response_was_an_error_counts_as_won(
    s3_server: S3Server, status: int
) -> None:
    objects = impatient(s3_server)
    first = objects.compare_and_swap("p", expected=None, new=b"v1")
    fault = s3_server.faults.add("status", op="PutObject", when="after", status=status, times=1)
    assert objects.compare_and_swap("p", expected=first, new=b"v2").value == b"v2"
    assert fault.hits == 1
    assert objects.get("p") == b"v2"


@pytest.mark.parametrize("kind", ["reset", "hang"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("created", [True, False])
def test_a_swap_whose_response_never_came_is_settled_by_reading_again(
    s3_server: S3Server, kind: str, when: str, created: bool
) -> None:
    objects = impatient(s3_server)
    before = None if created else objects.compare_and_swap("p", expected=None, new=b"v1")
    fault = s3_server.faults.add(kind, op="PutObject", when=when, times=1, seconds=1.0)
    pointer = objects.compare_and_swap("p", expected=before, new=b"v2")
    assert fault.hits == 1
    assert objects.read_pointer("p") == pointer


@pytest.mark.parametrize(
    ("status", "code"), [(409, "ConditionalRequestConflict"), (412, "PreconditionFailed")]
)
@pytest.mark.parametrize("created", [True, False])
def test_a_conflict_in_flight_is_tried_again_while_nobody_moved_the_pointer(
    s3_server: S3Server, status: int, code: str, created: bool
) -> None:
    objects = impatient(s3_server)
    before = None if created else objects.compare_and_swap("p", expected=None, new=b"v1")
    s3_server.faults.add("status", op="PutObject", status=status, code=code, times=3)
    objects.compare_and_swap("p", expected=before, new=b"v2")
    assert objects.get("p") == b"v2"


def test_a_swap_that_stays_undecided_is_unavailable_not_lost(s3_server: S3Server) -> None:
    objects = impatient(s3_server, max_retries="0")
    s3_server.faults.add("status", op="PutObject", status=503)
    with pytest.raises(Unavailable, match=f"{SWAP_ATTEMPTS}"):
        objects.compare_and_swap("p", expected=None, new=b"v1")


def test_a_swap_without_permission_is_rejected_at_once(s3_server: S3Server) -> None:
    s3_server.faults.add("status", op="PutObject", status=403, code="AccessDenied")
    with pytest.raises(Refused, match="AccessDenied"):
        impatient(s3_server).compare_and_swap("p", expected=None, new=b"v1")
    assert s3_server.counts["PutObject"] == 1


# Faults of S3


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "AccessDenied", Refused),
        (400, "InvalidArgument", Refused),
        (404, "NoSuchBucket", Refused),
        (404, "NoSuchKey", NotFound),
        (429, "SlowDown", Unavailable),
        (500, "InternalError", Unavailable),
        (503, "SlowDown", Unavailable),
    ],
)
def test_each_kind_of_response_becomes_the_platforms_error(
    s3_server: S3Server, status: int, code: str, expected: type[Exception]
) -> None:
    s3_server.faults.add("status", status=status, code=code)
    objects = impatient(s3_server, max_retries="0")
    with pytest.raises(expected) as failure:
        objects.get("raw/a")
    message = str(failure.value)
    assert "s3://lake/some/prefix/raw/a" in message
    assert ";" in message  # followed by how to fix it
    assert "Debug source" not in message


def test_a_broken_body_is_asked_for_again(s3_server: S3Server, tmp_path: Path) -> None:
    objects = impatient(s3_server)
    objects.put("a", b"0123456789")
    for read in (
        lambda: objects.get("a"),
        lambda: next(objects.get_many(["a"]))[1],
        lambda: objects.read_pointer("a").value,
        lambda: (objects.get_to_file("a", tmp_path / "a"), (tmp_path / "a").read_bytes())[1],
    ):
        fault = s3_server.faults.add("truncate", op="GetObject", times=1)
        assert read() == b"0123456789"
        assert fault.hits == 1


def test_a_body_that_stays_short_is_unavailable_never_short_data(s3_server: S3Server, tmp_path: Path) -> None:
    objects = impatient(s3_server, max_retries="0")
    objects.put("a", b"0123456789")
    s3_server.faults.add("truncate", op="GetObject")
    for read in (
        lambda: objects.get("a"),
        lambda: list(objects.get_many(["a"])),
        lambda: objects.get_to_file("a", tmp_path / "a"),
        lambda: objects.read_pointer("a"),
    ):
        with pytest.raises(Unavailable):
            read()
    assert not (tmp_path / "a").exists()


def test_a_server_that_falls_silent_is_unavailable_after_the_timeout(s3_server: S3Server) -> None:
    s3_server.faults.add("hang", op="GetObject", seconds=5)
    started = time.monotonic()
    with pytest.raises(Unavailable):
        impatient(s3_server, max_retries="0", read_timeout_s="0.2").get("a")
    assert time.monotonic() - started < 4


def test_a_multipart_upload_completed_without_a_response_is_whole(
    s3_server: S3Server, tmp_path: Path
) -> None:
    body = os.urandom(1024) * (10 * 1024)
    (tmp_path / "f").write_bytes(body)
    s3_server.faults.add("status", op="CompleteMultipartUpload", when="after", status=500, times=1)
    objects = impatient(s3_server)
    objects.put_file("f", tmp_path / "f")
    assert objects.get("f") == body
    assert s3_server.bucket.uploads == {}


def test_one_invalid_key_of_an_uploader_does_not_stop_the_listing(
    s3_server: S3Server, s3_objects: Objects
) -> None:
    invalid = ["raw//slip.txt", "raw/dot/../x", "raw/tab\tname"]
    for key in ["raw/a", "raw/z", *invalid]:
        s3_server.put(f"some/prefix/{key}", b"1")
    assert s3_objects.list("raw/")["key"].to_list() == sorted(["raw/a", "raw/z", *invalid])
    assert s3_objects.list_folders("") == ["raw"]


def test_folder_markers_of_a_console_are_not_files(s3_server: S3Server, s3_objects: Objects) -> None:
    for key, body in (
        ("raw/", b""),
        ("raw/2026-11-20/", b""),
        ("raw/2026-11-20/a", b"1"),
        ("raw/empty", b""),
    ):
        s3_server.put(f"some/prefix/{key}", body)
    assert s3_objects.list("raw/")["key"].to_list() == ["raw/2026-11-20/a", "raw/empty"]


def test_a_listing_of_many_pages_is_complete(s3_server: S3Server, s3_objects: Objects) -> None:
    keys = sorted(f"raw/{number % 7}/{number:04}" for number in range(2500))
    for key in keys:
        s3_server.put(f"some/prefix/{key}", b"")
    s3_server.put("some/prefix2/outside", b"")
    assert s3_objects.list("raw/")["key"].to_list() == keys
    assert s3_objects.list("raw/3/2")["key"].to_list() == [key for key in keys if key.startswith("raw/3/2")]


# Folders


def test_side_files_never_appear_in_a_listing(folder_objects: Objects, tmp_path: Path) -> None:
    folder_objects.compare_and_swap("index/p", expected=None, new=b"1")
    assert (tmp_path / "lake" / ".tnt" / "locks").is_dir()
    (tmp_path / "lake" / ".tnt" / "writing" / "left-by-a-crash").write_bytes(b"half")
    assert folder_objects.list("")["key"].to_list() == ["index/p"]
    assert folder_objects.list_folders("") == ["index"]


def test_files_that_vanish_during_a_listing_are_left_out(folder_objects: Objects, tmp_path: Path) -> None:
    stop = threading.Event()

    def churn() -> None:
        number = 0
        while not stop.is_set():
            folder_objects.put(f"raw/{number % 40}/f", b"x")
            folder_objects.delete([f"raw/{(number + 20) % 40}/f"])
            number += 1

    folder_objects.put("raw/kept/f", b"x")
    churning = threading.Thread(target=churn)
    churning.start()
    try:
        for _ in range(150):
            assert "raw/kept/f" in folder_objects.list("raw/")["key"]
    finally:
        stop.set()
        churning.join()


def test_readers_see_whole_objects_while_they_are_replaced(folder_objects: Objects) -> None:
    bodies = {bytes([letter]) * 200_000 for letter in b"abcd"}
    folder_objects.put("f", next(iter(bodies)))
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            for body in bodies:
                folder_objects.put("f", body)

    rewriting = threading.Thread(target=rewrite)
    rewriting.start()
    try:
        assert all(folder_objects.get("f") in bodies for _ in range(200))
    finally:
        stop.set()
        rewriting.join()


def test_a_file_of_the_same_file_system_is_moved_not_copied(folder_objects: Objects, tmp_path: Path) -> None:
    source = tmp_path / "part"
    source.write_bytes(b"rows")
    inode = source.stat().st_ino
    folder_objects.put_file("data/part", source)
    assert not source.exists()
    assert (tmp_path / "lake/data/part").stat().st_ino == inode


def test_a_file_of_another_file_system_is_copied(folder_objects: Objects) -> None:
    source = Path("/dev/shm") / f"tnt-test-{os.getpid()}"
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no second file system here")
    source.write_bytes(b"rows")
    try:
        folder_objects.put_file("data/part", source)
        assert folder_objects.get("data/part") == b"rows"
    finally:
        source.unlink(missing_ok=True)


def test_a_key_that_needs_a_file_as_folder_is_rejected(folder_objects: Objects) -> None:
    folder_objects.put("a", b"")
    with pytest.raises(Refused, match="a/b"):
        folder_objects.put("a/b", b"")


def test_a_symlink_that_points_above_itself_does_not_hang_the_listing(
    folder_objects: Objects, tmp_path: Path
) -> None:
    folder_objects.put("raw/a", b"")
    (tmp_path / "lake/raw/loop").symlink_to(tmp_path / "lake/raw")
    assert folder_objects.list("")["key"].to_list() == ["raw/a"]


# Opening


@pytest.mark.parametrize("url", ["", "lake", "file://relative/x", "http://x/y", "s3://", "s3:///x"])
def test_a_url_that_is_not_understood_is_a_config_error(url: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(repr(url))):
        Objects.open(url)


def test_an_unknown_option_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="retry_count"):
        Objects.open("s3://b", options={"retry_count": "3"})


def test_secrets_appear_in_no_text(s3_server: S3Server) -> None:
    objects = Objects.open(
        s3_server.url, options={**s3_server.options, "secret_access_key": "hunter2", "max_retries": "0"}
    )
    s3_server.faults.add("status", status=403)
    with pytest.raises(Refused) as failure:
        objects.get("a")
    shown = [
        repr(objects),
        repr(objects._store),
        repr(vars(objects)),
        str(failure.value),
        repr(failure.value),
    ]
    assert not [text for text in shown if "hunter2" in text]


# Reading ahead


class _Body:
    def __init__(self, size_bytes: int, gauge: _Gauge) -> None:
        self.size_bytes = size_bytes
        self._gauge = gauge

    def read(self) -> bytes:
        self._gauge.add(self.size_bytes)
        return bytes(self.size_bytes)


class _Gauge:
    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def add(self, amount: int) -> None:
        with self._lock:
            self.now += amount
            self.most = max(self.most, self.now)


@settings(max_examples=tries(60), deadline=None)
@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 8))
def test_reading_ahead_holds_no_more_than_its_budget(sizes: list[int], concurrency: int) -> None:
    gauge = _Gauge()
    budget = 60
    keys = [str(number) for number in range(len(sizes))]
    seen = []
    for key, body in read_ahead(
        keys, lambda key: _Body(sizes[int(key)], gauge), concurrency=concurrency, max_bytes=budget
    ):
        seen.append(key)
        gauge.add(-len(body))
    assert seen == keys
    # The object the caller waits for is let through although others fill the budget.
    assert gauge.most <= budget + max(sizes, default=0)


def test_an_object_larger_than_the_budget_still_arrives() -> None:
    gauge = _Gauge()
    read = read_ahead(["a", "b"], lambda key: _Body(1000, gauge), concurrency=2, max_bytes=10)
    assert [len(body) for _, body in read] == [1000, 1000]


def test_a_tight_budget_asks_again_later_and_loses_nothing(s3_objects: Objects) -> None:
    bodies = {f"n/{number}": os.urandom(1000 + number) for number in range(30)}
    for key, body in bodies.items():
        s3_objects.put(key, body)
    assert dict(s3_objects.get_many(list(bodies), concurrency=8, max_bytes=2500)) == bodies


def test_many_small_objects_are_read_side_by_side(s3_server: S3Server) -> None:
    objects = Objects.open(s3_server.url, options=s3_server.options)
    for number in range(64):
        s3_server.put(f"n/{number}", b"x")
    s3_server.faults.add("latency", op="GetObject", seconds=0.05)
    assert len(list(objects.get_many([f"n/{number}" for number in range(64)], concurrency=32))) == 64
    assert 8 < s3_server.most_in_flight <= 33
