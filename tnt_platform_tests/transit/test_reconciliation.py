"""Whatever happens to the bucket and to the runs: at rest, what is published is what the bucket says."""

from __future__ import annotations

import asyncio
import csv
import io
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tnt_platform.storage.objects import Objects
from tnt_platform.transit.spec import TransitSpec
from tnt_platform_tests.rounds import rounds
from tnt_platform_tests.s3_server import S3Server
from tnt_platform_tests.transit.scenes import ALL_ACCEPTED, Crash, Scene, parcels

DATES = ("2026-01-08", "2026-01-09", "2026-01-10")
SENDERS = ("anna", "bert")
NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
HEADER = "parcel,due,came\n"
CONTENTS = (
    "a,2026-01-05,2026-01-05\nb,2026-01-05,2026-01-09\n",
    "a,2026-01-05,2026-01-07\nc,2026-01-05,2026-01-04\n",
    "a,2026-01-06,2026-01-06\na,2026-01-06,2026-01-06\nb,2026-01-05,never\n",
    "b,2026-01-05,2026-01-06\nb,2026-01-05,2026-01-08\n\nc,2026-01-05,2026-01-05\n",
    "b,2026-01-05\nc,2026-01-05,2026-01-11\n",
    "",
)


@dataclass(frozen=True)
class File:
    home: str
    modified: datetime
    text: str
    rejected: str = "nobody"  # a parcel that the YAML takes for an empty cell


def expected(files: Mapping[str, File]) -> dict[tuple[str, str], int]:
    """(date, parcel) -> days late: the newest file wins, a file that contradicts itself says nothing."""
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for _, file in sorted(files.items(), key=lambda item: (item[1].modified, item[0])):
        says: dict[tuple[str, str], set[tuple[str, str]]] = {}
        for row in csv.reader(io.StringIO(file.text)):
            if len(row) == 3 and row[2] not in ("came", "never") and row[0] != file.rejected:
                says.setdefault((file.home, row[0]), set()).add((row[1], row[2]))
        found |= says
    days = {key: values.pop() for key, values in found.items() if len(values) == 1}
    return {key: (date.fromisoformat(b) - date.fromisoformat(a)).days for key, (a, b) in days.items()}


@dataclass
class Story:
    """The bucket as its users change it, what ought to be published, and a scene that publishes."""

    server: S3Server
    scene: Scene
    now: datetime = NOON
    files: dict[str, File] = field(default_factory=dict)
    bucket: set[str] = field(default_factory=set)
    rejected: str = "nobody"

    def put(self, day: str | None, sender: str, content: int, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        key = f"in/{day}/{sender}.csv" if day else f"in/{sender}.csv"
        source = self.scene.spec.source
        known = self.files.get(key)
        if day is None or (known and source.on_overwrite == "reject"):
            # Which date an undated file belongs to, and which content is the first, is decided by who looks.
            self.scene.settle()
        text = HEADER + CONTENTS[content]
        self.server.put(key, text.encode(), last_modified=self.now)
        self.bucket.add(key)
        if known is None or source.on_overwrite == "latest":
            home = day or (known.home if known else self.now.date().isoformat())
            self.files[key] = File(home, self.now, text, self.rejected)

    def put_again(self, number: int, seconds: int) -> None:
        """The same bytes under the same name: on S3 only the time differs."""
        if self.bucket:
            key = sorted(self.bucket)[number % len(self.bucket)]
            self.now += timedelta(seconds=seconds)
            if key.count("/") == 1 or self.scene.spec.source.on_overwrite == "reject":
                self.scene.settle()
            self.server.put(key, self.server.bucket.get(key).data, last_modified=self.now)
            if self.scene.spec.source.on_overwrite == "latest":
                text = self.server.bucket.get(key).data.decode()
                self.files[key] = replace(self.files[key], modified=self.now, text=text)

    def delete(self, number: int) -> None:
        if not self.bucket:
            return
        key = sorted(self.bucket)[number % len(self.bucket)]
        keep = self.scene.spec.source.on_delete == "keep"
        undated = key.count("/") == 1
        if keep:  # only what was read can be kept
            self.scene.settle()
        asyncio.run_coroutine_threadsafe(self._remove(key), self.server._loop).result()
        self.bucket.remove(key)
        if not keep:
            del self.files[key]
            if undated:
                self.scene.settle()

    async def _remove(self, key: str) -> None:
        self.server.bucket.delete(key)

    def tick(self) -> None:
        self.scene.tick()

    def stop(self, count: int) -> None:
        """The process is killed between two steps."""
        self.scene.tick(steps=self.scene.spec.steps[:count])

    def crash(self, write: int, takes_effect: bool, force: bool) -> None:
        """The process is killed at a write."""
        self.scene.lake.kill_at(write, takes_effect=takes_effect)
        with suppress(Crash):
            if force:
                for day in sorted({file.home for file in self.files.values()}):
                    self.scene.run(day, force=True)
            self.scene.tick()
        self.scene.lake.heal()

    def redeploy(self, count: int) -> None:
        """Another YAML is deployed, and the dates are run by hand with it, as far as the process lives."""
        if self.scene.spec.source.on_overwrite == "reject":
            return
        self.scene.settle()
        self.rejected = "nobody" if self.rejected == "c" else "c"
        spec = self.scene.spec
        first, *others = spec.columns
        columns = (first.model_copy(update={"nulls": (self.rejected,)}), *others)
        spec = TransitSpec.model_validate(
            spec.model_dump(exclude_unset=True) | {"columns": columns}
        ).placed_in(spec.folder)
        self.scene.described_by(spec)
        for day in {file.home for file in self.files.values()}:
            self.scene.run(day, steps=spec.steps[:count], force=True)
        # A file that left the bucket can't be read again.
        self.files |= {key: replace(self.files[key], rejected=self.rejected) for key in self.bucket}

    def published(self) -> dict[tuple[str, str], int]:
        results = self.scene.workspace.store.current(self.scene.spec.dataset("results"))
        if results is None:
            return {}
        return {
            (day, row["parcel"]): row["lag_days"]
            for day in results.partitions["partition"]
            for row in results.scan([day]).collect().iter_rows(named=True)
        }

    def check(self) -> None:
        self.scene.settle()
        assert self.published() == expected(self.files)
        self.scene.check_conservation()
        if self.files:
            # A file that is gone and kept needs no run; the next run of its date notes it.
            for day in {file.home for file in self.files.values()}:
                self.scene.run(day)
            self.scene.check_at_rest()
            assert self.published() == expected(self.files)


days_or_none = st.sampled_from([*DATES, None])
seconds = st.sampled_from([0, 0, 1, 3_600, 86_400])
senders = st.sampled_from(SENDERS)
contents = st.integers(0, len(CONTENTS) - 1)
puts = st.tuples(st.just("put"), days_or_none, senders, contents, seconds)
deeds = st.one_of(
    puts,
    puts,
    st.tuples(st.just("put_again"), st.integers(0, 7), seconds),
    st.tuples(st.just("delete"), st.integers(0, 7)),
    st.tuples(st.just("tick")),
    st.tuples(st.just("stop"), st.integers(1, 3)),
    st.tuples(st.just("crash"), st.integers(1, 30), st.booleans(), st.booleans()),
    st.tuples(st.just("redeploy"), st.integers(2, 4)),
)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    server = S3Server(buckets=("raw",)).start()
    yield server
    server.stop()


def begin(server: S3Server, home: Path, on_overwrite: str, on_delete: str) -> Story:
    """An empty bucket and an empty lake."""
    for key in list(server.bucket.objects):
        server.bucket.delete(key)
    spec = parcels(home, source={"on_overwrite": on_overwrite, "on_delete": on_delete})
    return Story(
        server, Scene(spec, Objects.open("s3://raw", options=server.options), home, overrides=ALL_ACCEPTED)
    )


def live(server: S3Server, deeds: list[tuple[object, ...]], on_overwrite: str, on_delete: str) -> None:
    """Play a story and compare its end with the reference."""
    home = Path(tempfile.mkdtemp(prefix="story-"))
    try:
        story = begin(server, home, on_overwrite, on_delete)
        for name, *arguments in deeds:
            getattr(story, str(name))(*arguments)
            story.scene.check_conservation()
        story.check()
    finally:
        shutil.rmtree(home)


def stories(max_examples: int) -> settings:
    return settings(
        max_examples=max_examples,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


rules = pytest.mark.parametrize(
    ("on_overwrite", "on_delete"),
    [("latest", "keep"), ("latest", "remove"), ("reject", "keep"), ("reject", "remove")],
)


@rules
@stories(6)
@given(deeds=st.lists(deeds, min_size=4, max_size=10))
def test_at_rest_the_published_rows_are_those_of_the_bucket(
    server: S3Server, on_overwrite: str, on_delete: str, deeds: list[tuple[object, ...]]
) -> None:
    live(server, deeds, on_overwrite, on_delete)


@pytest.mark.heavy
@pytest.mark.timeout(900)
@rules
@stories(rounds(40))
@given(deeds=st.lists(deeds, min_size=4, max_size=25))
def test_at_rest_the_published_rows_are_those_of_the_bucket_after_long_stories(
    server: S3Server, on_overwrite: str, on_delete: str, deeds: list[tuple[object, ...]]
) -> None:
    live(server, deeds, on_overwrite, on_delete)


TOLD = {
    "bytes uploaded again become the newest": [
        ("put", "2026-01-08", "anna", 0, 1),
        ("put", "2026-01-08", "bert", 1, 1),
        ("tick",),
        ("put_again", 0, 1),
    ],
    "an undated file that left comes back to its date": [
        ("put", None, "anna", 0, 1),
        ("tick",),
        ("delete", 0),
        ("put", None, "bert", 1, 0),
        ("put", None, "anna", 1, 86_400),
    ],
    "another reading of the same files stops half-way": [
        ("put", "2026-01-08", "anna", 1, 1),
        ("redeploy", 2),
    ],
    "two files of the same second": [
        ("put", "2026-01-08", "bert", 0, 0),
        ("put", "2026-01-08", "anna", 1, 0),
        ("tick",),
        ("put", "2026-01-08", "anna", 0, 0),
    ],
    "the same content under two names": [
        ("put", "2026-01-08", "anna", 0, 0),
        ("put", "2026-01-08", "bert", 0, 1),
        ("put", "2026-01-09", "bert", 0, 1),
    ],
    "all files of a date leave": [
        ("put", "2026-01-08", "anna", 0, 0),
        ("tick",),
        ("delete", 0),
        ("tick",),
        ("put", "2026-01-08", "anna", 1, 0),
    ],
}


@rules
@pytest.mark.parametrize("deeds", TOLD.values(), ids=TOLD)
def test_these_stories_end_with_the_rows_of_the_bucket(
    server: S3Server, on_overwrite: str, on_delete: str, deeds: list[tuple[object, ...]]
) -> None:
    live(server, deeds, on_overwrite, on_delete)


def kill_at_each_write(story: Story, *, first: int, step: int) -> int:
    """Kill a tick at one write after the other until one gets through; returns how many writes it made."""
    story.put("2026-01-08", "anna", 0, 1)
    story.tick()
    write = first
    while True:
        before = story.published()
        story.put("2026-01-08", "bert", write % 2, 1)
        story.scene.lake.kill_at(write, takes_effect=(write - first) // step % 2 == first % 2)
        try:
            story.tick()
        except Crash:
            assert story.published() in (before, expected(story.files))
        else:
            return write
        finally:
            story.scene.lake.heal()
        story.scene.check_conservation()
        story.scene.settle()
        assert story.published() == expected(story.files)
        write += step


def test_a_process_killed_at_some_write_leaves_work_that_the_next_tick_finishes(
    server: S3Server, tmp_path: Path
) -> None:
    assert kill_at_each_write(begin(server, tmp_path, "latest", "keep"), first=2, step=5) > 15


@pytest.mark.heavy
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", [1, 2])
def test_a_process_killed_at_any_write_leaves_work_that_the_next_tick_finishes(
    server: S3Server, tmp_path: Path, first: int
) -> None:
    # Each write is killed before it takes effect and, starting one later, after.
    story = begin(server, tmp_path, "latest", "keep")
    assert kill_at_each_write(story, first=first, step=1) > 15
    story.check()


def test_a_run_that_lost_the_race_for_its_date_starts_again_from_what_the_winner_published(
    server: S3Server, tmp_path: Path
) -> None:
    story = begin(server, tmp_path, "latest", "keep")
    rival = Scene(story.scene.spec, story.scene.raw, tmp_path, overrides=ALL_ACCEPTED)
    story.put("2026-01-08", "anna", 0, 1)
    overtaken: list[str] = []

    class Overtaken(type(story.scene.lake)):  # type: ignore[misc]  # a store whose swap comes too late
        def compare_and_swap(self, key: str, **swap: object) -> object:
            if "results" in key and not overtaken:
                overtaken.append(key)
                story.put("2026-01-08", "bert", 1, 1)
                rival.tick()
            return super().compare_and_swap(key, **swap)

    story.scene.lake.__class__ = Overtaken
    story.tick()
    assert overtaken
    story.check()


def test_a_rollback_is_left_alone_until_somebody_publishes_again(server: S3Server, tmp_path: Path) -> None:
    story = begin(server, tmp_path, "latest", "keep")
    story.put("2026-01-08", "anna", 0, 1)
    story.tick()
    good = story.published()
    first = story.scene.snapshot("results").version
    story.put("2026-01-08", "anna", 1, 1)
    story.put("2026-01-09", "anna", 1, 1)
    story.tick()
    story.scene.workspace.store.rollback("parcels/results", first, reason="anna sent nonsense")
    story.put("2026-01-10", "anna", 1, 1)
    found = story.scene.survey()
    assert (found.differences, found.paused_because) == ([], "anna sent nonsense")
    assert story.published() == good

    story.scene.run("2026-01-10")
    story.check()


def test_a_window_lists_its_dates_and_the_named_ones_and_finds_half_way_dates_without_listing(
    server: S3Server, tmp_path: Path
) -> None:
    story = begin(server, tmp_path, "latest", "remove")
    for day in ("2026-01-01", "2026-01-02", "2026-01-03", *DATES):
        story.put(day, "anna", 0, 1)
    story.tick()
    assert [each.partition for each in story.scene.survey().differences] == []
    for day in ("2026-01-01", "2026-01-02", "2026-01-09"):
        story.put(day, "bert", 1, 1)
    asyncio.run_coroutine_threadsafe(story._remove("in/2026-01-03/anna.csv"), server._loop).result()

    def found(**window: object) -> list[str]:
        return [each.partition for each in story.scene.survey(**window).differences]

    lists = story.scene.raw.requests.lists
    assert found(since="2026-01-09") == ["2026-01-09"]
    # One request finds the date folders, one each lists the two of the window.
    assert story.scene.raw.requests.lists - lists == 3
    assert found(since="2026-01-09", named=["2026-01-02"]) == ["2026-01-02", "2026-01-09"]
    assert found(since="2026-01-09", named=["2026-01-03", "2026-01-03"]) == ["2026-01-03", "2026-01-09"]
    assert found() == ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-09"]

    story.scene.run("2026-01-01", steps=["shipper_files", "shipments"])
    assert found(since="2026-01-10") == ["2026-01-01"]
