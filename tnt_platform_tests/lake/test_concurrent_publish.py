"""Several processes publish one dataset at once: nothing is lost, and no reader sees half of it."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import polars as pl
import pytest

from tnt_platform.errors import PublishConflict
from tnt_platform.lake.versions import VersionedStore
from tnt_platform.storage.objects import Objects
from tnt_platform_tests.lake.changes import KEY, change, content, rows, store_on
from tnt_platform_tests.rounds import rounds
from tnt_platform_tests.s3_server import S3Server

DATASET = "race/rows"
# Polars' threads don't survive a fork.
SPAWN = multiprocessing.get_context("spawn")


def open_store(url: str, options: Mapping[str, str], scratch: str) -> VersionedStore:
    return store_on(Objects.open(url, options=options), Path(scratch), clock=utc_now, seed=None)


def utc_now() -> datetime:
    return datetime.now(UTC)


def publish_own_partitions(store: VersionedStore, worker: int, commits: int) -> None:
    """Each commit is on a base that others have left behind, and none may conflict."""
    base = store.current(DATASET)
    for number in range(commits):
        name = f"own-{worker}-{number}"
        store.publish(DATASET, base=base, changes=[change(name, {name: number})], key=KEY)
        if number % 3 == 2:
            base = store.current(DATASET)


def publish_shared_partition(store: VersionedStore, worker: int, commits: int) -> None:
    """Each commit adds a row to the same partition, recomputed from the current one until it is through."""
    pause = random.Random(worker)
    for number in range(commits):
        name = f"shared-{worker}-{number}"
        for attempt in range(10_000):
            base = store.current(DATASET)
            before = base.scan(["shared"]).collect() if base else rows({})
            after = pl.concat([before.select("id", "value"), rows({name: attempt})])
            try:
                store.publish(DATASET, base=base, changes=[change("shared", after)], key=KEY)
                break
            except PublishConflict:
                time.sleep(pause.random() * 0.1 * min(attempt + 1, 10))


def write(
    url: str, options: Mapping[str, str], scratch: str, worker: int, commits: int, start: Barrier
) -> None:
    store = open_store(url, options, scratch)
    start.wait()
    publish_own_partitions(store, worker, commits)
    publish_shared_partition(store, worker, commits)


def read(
    url: str, options: Mapping[str, str], scratch: str, start: Barrier, stop: Event, found: Queue[str | int]
) -> None:
    """Look again and again; every snapshot must be whole, and none older than the one before."""
    store = open_store(url, options, scratch)
    seen, reads = "", 0
    start.wait()
    while not stop.is_set():
        snapshot = store.current(DATASET)
        if snapshot is None:
            continue
        frame = snapshot.scan().collect()
        manifest = snapshot.manifest
        partitions = snapshot.partitions
        counts = (frame.height, snapshot.files["rows"].sum(), partitions["published"].sum())
        if set(counts) != {manifest.rows} or partitions.height != manifest.partitions:
            found.put(f"torn: {counts}, manifest {manifest.rows} rows in {manifest.partitions} partitions")
        if snapshot.version < seen:
            found.put(f"went back from {seen} to {snapshot.version}")
        seen = snapshot.version
        reads += 1
    found.put(reads)


def race(url: str, options: Mapping[str, str], scratch: Path, *, workers: int, commits: int) -> None:
    # Imports take a process longer than its commits: all begin once the last one is ready.
    start, stop, found = SPAWN.Barrier(workers + 1, timeout=120), SPAWN.Event(), SPAWN.Queue()
    where = (url, dict(options), str(scratch))
    writers = [SPAWN.Process(target=write, args=(*where, n, commits, start)) for n in range(workers)]
    reader = SPAWN.Process(target=read, args=(*where, start, stop, found))
    for process in (*writers, reader):
        process.start()
    for process in writers:
        process.join()
    stop.set()
    results = []
    while not results or isinstance(results[-1], str):
        results.append(found.get(timeout=60))
    reader.join()
    assert [process.exitcode for process in (*writers, reader)] == [0] * (workers + 1)
    assert len(results) == 1, results
    assert results[0] > 0, "the reader never read"
    _check_nothing_is_lost(open_store(*where), workers, commits)


def _check_nothing_is_lost(store: VersionedStore, workers: int, commits: int) -> None:
    current = store.current(DATASET)
    assert current is not None
    expected = {
        f"{kind}-{w}-{n}" for kind in ("own", "shared") for w in range(workers) for n in range(commits)
    }
    assert set(content(current)) == expected
    assert current.manifest.partitions == workers * commits + 1
    assert store.verify(current) == []
    history = store.versions(DATASET)
    assert history.height == 2 * workers * commits, "each commit is one version"
    assert history["version"].to_list() == sorted(history["version"], reverse=True)
    assert history["added"].to_list() == [1] * history.height


@pytest.fixture(params=["folder", "s3"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, str]]:
    if request.param == "folder":
        return (tmp_path / "lake").as_uri(), {}
    server: S3Server = request.getfixturevalue("s3_server")
    return f"{server.url}/race", server.options


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_eight_processes_with_many_commits_lose_nothing(
    where: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    race(*where, tmp_path / "scratch", workers=8, commits=rounds(50))
