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
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tnt_platform.lake.objects import Objects
from tnt_platform_tests.flows.scenes import Crash, Scene, parcels
from tnt_platform_tests.s3_server import S3Server

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


def expected(files: Mapping[str, File]) -> dict[tuple[str, str], int]:
    """(date, parcel) -> days late: the newest file wins, a file that contradicts itself says nothing."""
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for _, file in sorted(files.items(), key=lambda item: (item[1].modified, item[0])):
        says: dict[tuple[str, str], set[tuple[str, str]]] = {}
        for row in csv.reader(io.StringIO(file.text)):
            if len(row) == 3 and row[2] not in ("came", "never"):
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
            self.files[key] = File(home, self.now, text)

    def put_again(self, number: int, seconds: int) -> None:
        """The same bytes under the same name: on S3 only the time differs."""
        if self.bucket:
            key = sorted(self.bucket)[number % len(self.bucket)]
            self.now += timedelta(seconds=seconds)
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

    def links(self, count: int) -> None:
        """The process is killed between two links."""
        self.scene.tick(steps=self.scene.spec.steps[:count])

    def crash(self, write: int, takes_effect: bool, force: bool) -> None:
        """The process is killed at a write."""
        self.scene.lake.kill_at(write, takes_effect=takes_effect)
        with suppress(Crash):
            if force:
                for day in DATES:
                    self.scene.run(day, force=True)
            self.scene.tick()
        self.scene.lake.heal()

    def reread(self, count: int) -> None:
        """Another YAML is deployed and the dates are run by hand with it, as far as the process lives."""
        spec = self.scene.spec
        columns = spec.layouts[0].columns
        nulls = () if columns[0].nulls else ("c",)
        layout = replace(
            spec.layouts[0], columns=(columns[0].model_copy(update={"nulls": nulls}), *columns[1:])
        )
        self.scene.described_by(replace(spec, layouts=(layout,)))
        self.scene.settle()
        for day in DATES:
            self.scene.run(day, steps=spec.steps[:count], force=True)

    def published(self) -> dict[tuple[str, str], int]:
        results = self.scene.place.store.current(self.scene.spec.dataset("results"))
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
            self.scene.check_at_rest()


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
    st.tuples(st.just("links"), st.integers(1, 3)),
    st.tuples(st.just("crash"), st.integers(1, 30), st.booleans(), st.booleans()),
)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    server = S3Server(buckets=("raw",)).start()
    yield server
    server.stop()


def live(server: S3Server, deeds: list[tuple[object, ...]], on_overwrite: str, on_delete: str) -> None:
    """Play a story on an empty bucket and an empty lake, and compare its end with the reference."""
    for key in list(server.bucket.objects):
        server.bucket.delete(key)
    home = Path(tempfile.mkdtemp(prefix="story-"))
    try:
        spec = parcels(home, source={"on_overwrite": on_overwrite, "on_delete": on_delete})
        scene = Scene(spec, Objects.open("s3://raw", options=server.options), home)
        story = Story(server, scene)
        for name, *arguments in deeds:
            getattr(story, str(name))(*arguments)
            scene.check_conservation()
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
@rules
@stories(150)
@given(deeds=st.lists(deeds, min_size=4, max_size=25))
def test_at_rest_the_published_rows_are_those_of_the_bucket_after_long_stories(
    server: S3Server, on_overwrite: str, on_delete: str, deeds: list[tuple[object, ...]]
) -> None:
    live(server, deeds, on_overwrite, on_delete)
