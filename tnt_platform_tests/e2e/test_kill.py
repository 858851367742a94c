"""kill -9 at random moments of a run of seven dates: the next run completes it as if nothing had happened."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tnt_platform.cli.serving import sandbox_environment
from tnt_platform.kinds import transit_spec
from tnt_platform.lake import retention
from tnt_platform.lake.snapshot import Snapshot
from tnt_platform.sandbox.generator import write_samples
from tnt_platform.sandbox.running import rate_api_process
from tnt_platform.transit.spec import ANSWERS, FILES, SHIPMENTS
from tnt_platform_tests.e2e.chain_process import Order
from tnt_platform_tests.e2e.running_dagster import DagsterHome, processes_of, small_plan
from tnt_platform_tests.paths import REPOSITORY
from tnt_platform_tests.rounds import rounds
from tnt_platform_tests.s3_server import S3Server

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1500)]

SEED = 20_260_105
PLAN = replace(small_plan(dt.date(2026, 1, 5), 7, files=2, rows=6), dirt_rate=0.2)
DATES = tuple(date.isoformat() for date in PLAN.dates)
SPEC = transit_spec("transit")
DATASETS = tuple(SPEC.dataset(step) for step in (*SPEC.steps, ANSWERS))
EVERY_LINK = len(DATES) * len(DATASETS)
# What the clock and the network decide, and what names a version.
VOLATILE = {"asked_at", "timestamp", "time_taken_ms", "attempts", "first_seen_at"}
# Other links' ledgers name the upstream version they were made from.
LEDGERS_WITHOUT_VERSIONS = (SPEC.dataset(FILES), SPEC.dataset(SHIPMENTS))
TIMEOUT_S = 240


@dataclass
class Ground:
    """The raw files, the API, and where lakes are made."""

    folder: Path
    raw_url: str
    api_url: str
    trials: int = 0

    def order(self, lake_url: str = "", options: Mapping[str, str] | None = None) -> Order:
        """A run of all dates into a lake of its own."""
        self.trials += 1
        home = self.folder / f"home-{self.trials}"
        environment = {
            "TNT_HOME": str(home),
            "TNT_RAW_URL": self.raw_url,
            "TNT_LAKE_URL": f"{lake_url}/{self.trials}" if lake_url else "",
            **sandbox_environment(self.api_url),
            **(options or {}),
        }
        return Order(SPEC, DATES, environment)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("kill")
    raw = folder / "raw"
    raw.mkdir()
    write_samples(PLAN, raw)
    # A few milliseconds, so that some kills fall between a question and its answer.
    with rate_api_process("--latency-ms", "5") as api:
        yield Ground(folder, raw.as_uri(), api.url)


@pytest.fixture(scope="module")
def undisturbed(ground: Ground) -> Published:
    """What a run that nobody kills publishes."""
    order = ground.order()
    order.carry_out()
    found = published(order)
    assert found.finished == set(DATES)
    assert all(content.height for name, content in found.content.items() if " rows " in name)
    assert found.content[f"{SPEC.dataset(SHIPMENTS)} quarantine"].height > 0
    return found


@dataclass
class Published:
    """All that a lake has published, apart from what the clock decides; `changed_by` per dataset and date."""

    content: dict[str, pl.DataFrame] = field(default_factory=dict)
    changed_by: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def finished(self) -> set[str]:
        """Dates that every link has."""
        last = {date for dataset, date in self.changed_by if dataset == DATASETS[-2]}
        return {date for date in last if all((dataset, date) in self.changed_by for dataset in DATASETS)}


def published(order: Order) -> Published:
    """Read everything that is published, as a consumer would."""
    found = Published()
    store = order.workspace().store
    for dataset in DATASETS:
        snapshot = store.current(dataset)
        if snapshot is None:
            continue
        _read(found, dataset, snapshot)
    return found


def _read(found: Published, dataset: str, snapshot: Snapshot) -> None:
    partitions = snapshot.partitions
    found.changed_by |= {
        (dataset, date): v for date, v in partitions.select("partition", "changed_by").iter_rows()
    }
    # After the files' own digest stands the version of the link before.
    files = pl.col("inputs_digest").str.split("@").list.first()
    counts = ["partition", "rows_in", "published", "quarantined", "deduplicated", "filtered", files]
    found.content[f"{dataset} counts"] = partitions.select(counts).sort("partition")
    for date in partitions["partition"].sort():
        found.content[f"{dataset} rows {date}"] = comparable(snapshot.scan([date]).collect())
    found.content[f"{dataset} quarantine"] = comparable(snapshot.quarantine())
    if dataset in LEDGERS_WITHOUT_VERSIONS:
        found.content[f"{dataset} ledger"] = comparable(snapshot.all_inputs())


def comparable(frame: pl.DataFrame) -> pl.DataFrame:
    """Without what the clock decides, in an order of its own."""
    stable = [name for name in frame.columns if name not in VOLATILE and not name.startswith("latency_")]
    return frame.select(stable).sort(pl.struct(stable).struct.json_encode()) if stable else frame.select([])


def test_a_run_that_is_killed_at_any_moment_is_completed_by_the_next_one(
    ground: Ground, undisturbed: Published
) -> None:
    kills = Kills(rounds(40))

    for chance in kills:
        order = ground.order()
        kills.note(kill(order, ground, chance, kills))
        assert_completed(order, undisturbed, order.carry_out)
        assert_nothing_is_left_over(order)
        shutil.rmtree(order.settings.home)

    kills.tell("folder")


def test_the_same_on_a_bucket(ground: Ground, undisturbed: Published, s3_server: S3Server) -> None:
    kills = Kills(rounds(6))
    options = {
        "AWS_ENDPOINT_URL": s3_server.options["endpoint"],
        "AWS_REGION": s3_server.options["region"],
        "AWS_ACCESS_KEY_ID": s3_server.options["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": s3_server.options["secret_access_key"],
    }

    for chance in kills:
        order = ground.order(f"{s3_server.url}/lakes", options)
        kills.note(kill(order, ground, chance, kills))
        assert_completed(order, undisturbed, order.carry_out)

    kills.tell("bucket")


def test_a_run_that_dies_again_and_again_still_gets_there(ground: Ground, undisturbed: Published) -> None:
    order, kills = ground.order(), Kills(3)

    for chance in kills:
        kills.note(kill(order, ground, chance / 3, kills))

    assert_completed(order, undisturbed, order.carry_out)
    assert_nothing_is_left_over(order)


def test_tnt_run_that_is_killed_is_completed_by_tnt_run(ground: Ground, undisturbed: Published) -> None:
    kills = Kills(rounds(4))

    for chance in kills:
        order = ground.order()
        dagster_home = DagsterHome(order.settings.home)
        environment = {**os.environ, **dagster_home.environment(ground.api_url), **order.environment}
        kills.note(kill_tnt_run(order, dagster_home, environment, chance))
        assert_completed(order, undisturbed, lambda: tnt_run(dagster_home, environment))  # noqa: B023

    kills.tell("tnt run")


class Kills:
    """A seeded list of moments, as shares of the links that a run publishes, and what each kill met."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.link_s = 0.0
        self.started = time.monotonic()
        self.met: Counter[str] = Counter()

    def __iter__(self) -> Iterator[float]:
        chance = random.Random(SEED + self.number)
        yield from (chance.random() for _ in range(self.number))

    def note(self, links: int) -> None:
        """How many links (of 7 dates x 5 steps and the answers) were published when the process died."""
        where = "before the first link" if not links else "mid-way" if links < EVERY_LINK else "at the end"
        self.met[where] += 1

    def tell(self, where: str) -> None:
        """Say what the kills met; they are worth little if most came too early or too late."""
        print(f"{where}: {self.number} kills in {time.monotonic() - self.started:.0f} s, {dict(self.met)}")
        assert self.met["mid-way"] >= self.number / 2, self.met


def kill(order: Order, ground: Ground, chance: float, kills: Kills) -> int:
    """Start a process that works on `order`, kill it in the midst, and count the links it published.

    The moment is told by what is published rather than by the clock: a busy machine shifts it within a link.
    """
    if not kills.link_s:
        kills.link_s = _undisturbed_s(ground) / EVERY_LINK
    before = links(order)
    full, part = divmod(chance * (EVERY_LINK - before), 1)
    with _chain_process(order, ground) as process:
        _wait_for_links(order, process, before + int(full))
        time.sleep(part * kills.link_s)
        _kill_group(process)
    return links(order)


def links(order: Order) -> int:
    """How many dates are published, over all datasets."""
    store = order.workspace().store
    return sum(found.partitions.height for name in DATASETS if (found := store.current(name)))


def _wait_for_links(
    order: Order, process: subprocess.Popen[str] | subprocess.Popen[bytes], count: int
) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while links(order) < count and process.poll() is None:
        assert time.monotonic() < deadline, f"{count} links were not published"
        time.sleep(0.005)


def _undisturbed_s(ground: Ground) -> float:
    """Measure how long a whole run takes."""
    order = ground.order()
    with _chain_process(order, ground) as process:
        started = time.monotonic()
        assert process.wait(TIMEOUT_S) == 0
    shutil.rmtree(order.settings.home)
    return time.monotonic() - started


@contextlib.contextmanager
def _chain_process(order: Order, ground: Ground) -> Iterator[subprocess.Popen[str]]:
    """A process that has just begun its work."""
    note = ground.folder / f"order-{ground.trials}.pickle"
    note.write_bytes(pickle.dumps(order))
    command = [sys.executable, "-m", "tnt_platform_tests.e2e.chain_process", str(note)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        yield process


def kill_tnt_run(order: Order, home: DagsterHome, environment: Mapping[str, str], chance: float) -> int:
    """Kill `tnt run` after its first link and before its last one."""
    with subprocess.Popen(
        _tnt_run_command(),
        cwd=home.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        _wait_for_links(order, process, 1 + int(chance * (EVERY_LINK - 2)))
        _kill_group(process)
    return links(order)


def _kill_group(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(TIMEOUT_S)
    assert processes_of(process.pid) == []


def tnt_run(home: DagsterHome, environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        _tnt_run_command(),
        cwd=home.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _tnt_run_command() -> list[str]:
    return [
        str(Path(sys.executable).with_name("tnt")),
        "run",
        "transit",
        "--from",
        DATES[0],
        "--to",
        DATES[-1],
    ]


def assert_completed(order: Order, undisturbed: Published, run_again: Callable[[], None]) -> None:
    """The next run publishes what was missing, and only that."""
    before = published(order)

    run_again()

    after = published(order)
    assert after.content.keys() == undisturbed.content.keys()
    for name, content in undisturbed.content.items():
        assert_frame_equal(after.content[name], content)
    # A link that was published is not redone; the answers of a date may have been half there.
    redone = {key for key, version in before.changed_by.items() if after.changed_by[key] != version}
    assert {date for dataset, date in redone if dataset != SPEC.dataset(ANSWERS)} == set()
    assert {date for _, date in redone} & before.finished == set()
    store = order.workspace().store
    problems = [store.verify(snapshot) for dataset in DATASETS if (snapshot := store.current(dataset))]
    assert problems == [[]] * len(DATASETS)


def assert_nothing_is_left_over(order: Order) -> None:
    """Two days later an expiry takes what the killed run wrote and nobody published, and nothing else."""
    later = timedelta(days=3)
    workspace = order.workspace(later=later)
    for dataset in DATASETS:
        # An expiry believes the store's clock.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(retention, "_store_time", lambda *_: dt.datetime.now(dt.UTC) + later)
            workspace.store.expire(dataset, keep=1_000, older_than=timedelta())
        folders = {
            Path(folder).name for folder in workspace.lake.list_folders(f"datasets/{dataset}/versions/")
        }
        assert folders == set(workspace.store.versions(dataset)["version"]), "a draft is left"
        snapshot = workspace.store.current(dataset)
        assert snapshot is not None
        assert workspace.store.verify(snapshot) == []
    stray = [key for key in workspace.lake.list("")["key"] if not key.startswith("datasets/")]
    assert stray == []
