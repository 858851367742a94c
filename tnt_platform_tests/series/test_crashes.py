"""A series run that dies at any object operation: readers see old or new, the rerun converges and tells subscribers."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import pytest

from tnt_platform.errors import Unavailable
from tnt_platform.storage.objects import Objects, Pointer
from tnt_platform_tests.s3_memory import MemoryBucket
from tnt_platform_tests.s3_server import S3Server
from tnt_platform_tests.series.scene import SeriesScene, csv_of
from tnt_platform_tests.topic import Topic

Result = TypeVar("Result")

FIRST = csv_of({"2025-01": (1, 10), "2025-02": (2, 20), "2025-03": (3, None)})
# A correction, two additions, and a month that both series have for the first time.
SECOND = csv_of({"2025-01": (1, 10), "2025-02": (2.5, 20), "2025-03": (3, 30), "2025-04": (4, None)})
STEPS = ("prices/capture", "prices/series", "prices")


class DyingObjects(Objects):
    """The real store, at whose operation number `dies_at` the process dies: nothing later takes effect.

    `takes_effect`: the last operation reaches the store, but its answer no longer reaches the process.
    """

    dies_at: int | None = None
    takes_effect: bool = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.numbers = itertools.count()  # one number an operation, whichever thread takes it
        self.names: list[str] = []

    def _step(self, name: str, call: Callable[[], Result]) -> Result:
        number = next(self.numbers)
        self.names.append(name)
        if self.dies_at is not None and number >= self.dies_at:
            if number == self.dies_at and self.takes_effect:
                call()
            raise Unavailable("injected")
        return call()

    def get(self, key: str) -> bytes:
        return self._step(f"get {key}", lambda: super(DyingObjects, self).get(key))

    def get_many(self, keys: Sequence[str], **limits: Any) -> Iterator[tuple[str, bytes]]:
        return self._step("get_many", lambda: super(DyingObjects, self).get_many(keys, **limits))

    def exists(self, key: str) -> bool:
        return self._step(f"exists {key}", lambda: super(DyingObjects, self).exists(key))

    def list(self, prefix: str) -> pl.DataFrame:
        return self._step(f"list {prefix}", lambda: super(DyingObjects, self).list(prefix))

    def read_pointer(self, key: str) -> Pointer | None:
        return self._step(f"read_pointer {key}", lambda: super(DyingObjects, self).read_pointer(key))

    def put(self, key: str, data: bytes) -> None:
        self._step(f"put {key}", lambda: super(DyingObjects, self).put(key, data))

    def put_file(self, key: str, path: Path) -> None:
        self._step(f"put_file {key}", lambda: super(DyingObjects, self).put_file(key, path))

    def compare_and_swap(self, key: str, **swap: Any) -> Pointer:
        return self._step(f"swap {key}", lambda: super(DyingObjects, self).compare_and_swap(key, **swap))


class Lakes:
    """Copies of one lake, each opened as the store that a process dies on or as a plain one."""

    def __init__(self, folder: Path, server: S3Server | None) -> None:
        self._folder = folder
        self._server = server

    def open(self, name: str, kind: type[Objects] = Objects) -> Objects:
        if self._server is None:
            return kind.open((self._folder / name).as_uri())
        self._server.buckets.setdefault(name, MemoryBucket(self._server._clock))
        return kind.open(f"s3://{name}", options=self._server.options)

    def copy(self, source: str, target: str) -> None:
        if self._server is None:
            (self._folder / source).mkdir(exist_ok=True)
            shutil.copytree(self._folder / source, self._folder / target)
            return
        self._server.buckets.setdefault(source, MemoryBucket(self._server._clock))
        made = MemoryBucket(self._server._clock)
        for key, stored in self._server.buckets[source].objects.items():
            made.put(key, stored.data, etag=stored.etag, last_modified=stored.last_modified)
        self._server.buckets[target] = made


@pytest.fixture(params=["folder", "s3"])
def lakes(request: pytest.FixtureRequest, tmp_path: Path) -> Lakes:
    server = request.getfixturevalue("s3_server") if request.param == "s3" else None
    return Lakes(tmp_path, server)


def scene_on(
    lakes: Lakes, name: str, tmp_path: Path, topic: Topic, kind: type[Objects] = Objects
) -> SeriesScene:
    home = tmp_path / f"home of {name}"
    return SeriesScene(home, lake=lakes.open(name, kind), environment=topic.environment)


def content(scene: SeriesScene) -> dict[str, pl.DataFrame]:
    """What a reader finds under each step, every object verified; when it was captured doesn't count."""
    found = {}
    for dataset in STEPS:
        snapshot = scene.workspace.store.current(dataset)
        if snapshot is None:
            continue
        assert scene.workspace.store.verify(snapshot) == []
        rows = snapshot.scan().collect()
        if dataset == "prices/capture":
            rows = rows.drop("captured_at")
        found[dataset] = rows.sort(pl.all())
    return found


def same(one: Mapping[str, pl.DataFrame], other: Mapping[str, pl.DataFrame], dataset: str) -> bool:
    if dataset not in one or dataset not in other:
        return dataset not in one and dataset not in other
    return one[dataset].equals(other[dataset])


@pytest.mark.heavy
@pytest.mark.parametrize("takes_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("published", ["a version", "nothing"])
def test_a_run_that_dies_at_any_operation_leaves_old_or_new_and_the_next_one_converges(
    lakes: Lakes, tmp_path: Path, topic: Topic, published: str, takes_effect: bool
) -> None:
    before = scene_on(lakes, "before", tmp_path, topic)
    if published == "a version":
        before.publish(FIRST)
    old = content(before)
    versions_before = before.workspace.store.versions("prices").height if old else 0
    topic.received()
    lakes.copy("before", "undisturbed")
    whole = scene_on(lakes, "undisturbed", tmp_path, topic, DyingObjects)
    whole.now = before.now
    whole.publish(SECOND)
    assert isinstance(whole.lake, DyingObjects)
    steps = [*whole.lake.names]
    new = content(whole)
    assert [notice["version_id"] for _, notice in topic.received()] == [whole.current.version]
    assert not any(same(old, new, dataset) for dataset in STEPS)
    seen = []
    for number in range(len(steps)):
        name = f"dies-{number}"
        lakes.copy("before", name)
        dying = scene_on(lakes, name, tmp_path, topic, DyingObjects)
        dying.now = before.now
        assert isinstance(dying.lake, DyingObjects)
        dying.lake.dies_at, dying.lake.takes_effect = number, takes_effect
        with pytest.raises(Unavailable, match="injected"):
            dying.publish(SECOND)
        where = f"operation {number}: {steps[number]}"
        reader = scene_on(lakes, name, tmp_path, topic)
        reader.now = dying.now
        crashed = content(reader)
        for dataset in STEPS:
            assert same(crashed, old, dataset) or same(crashed, new, dataset), (
                f"{where}: a mixture of {dataset}"
            )
        seen.append("".join("n" if same(crashed, new, dataset) else "o" for dataset in STEPS))
        reader.run()
        _check_converged(reader, new, versions_before, topic, where)
    # A step is never ahead of the one that it is made from, and the last operation records that the notice is out.
    assert set(seen) == {"ooo", "noo", "nno", "nnn"}
    assert seen == sorted(seen, key=lambda marks: marks.count("n"))
    assert steps[-1] == "put datasets/prices/index/notified_version.txt"


def _check_converged(
    scene: SeriesScene, new: Mapping[str, pl.DataFrame], versions_before: int, topic: Topic, where: str
) -> None:
    found = content(scene)
    for dataset in STEPS:
        assert same(found, new, dataset), f"{where}: {dataset} did not converge"
    assert scene.workspace.store.versions("prices").height == versions_before + 1, where
    notified = [notice["version_id"] for _, notice in topic.received()]
    assert set(notified) == {scene.current.version}, f"{where}: notified {notified}"
    assert len(notified) <= 2, where
    again = scene.run()
    assert not any(step.changed for step in again.values()), where
    assert topic.received() == []


def test_bytes_stored_before_a_crash_are_not_stored_twice(tmp_path: Path, topic: Topic) -> None:
    scene = scene_on(Lakes(tmp_path, None), "lake", tmp_path, topic, DyingObjects)
    assert isinstance(scene.lake, DyingObjects)
    scene.lake.dies_at, scene.lake.takes_effect = (
        2,
        True,
    )  # the pointer is read, the bytes are looked up, the bytes are written
    with pytest.raises(Unavailable):
        scene.publish(FIRST)
    (stored,) = (tmp_path / "lake" / "captures" / "prices").iterdir()
    inode = stored.stat().st_ino
    scene.lake.dies_at = None
    scene.run()
    (stored,) = (tmp_path / "lake" / "captures" / "prices").iterdir()
    assert stored.stat().st_ino == inode
