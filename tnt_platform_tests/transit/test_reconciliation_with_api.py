"""The same for a dataset whose actual days come from an API that is down now and then."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tnt_platform.errors import CheckFailed
from tnt_platform.sandbox.faults import Faults
from tnt_platform.sandbox.reference import reference_csv
from tnt_platform.sandbox.running import RunningRateApi, running_rate_api
from tnt_platform.sandbox.zones import ground_days
from tnt_platform.storage.objects import Objects
from tnt_platform_tests.rounds import rounds
from tnt_platform_tests.s3_server import S3Server
from tnt_platform_tests.transit.quotes import NOON, REFERENCE, SHIPPERS, key_of, promises, transit
from tnt_platform_tests.transit.scenes import ALL_ACCEPTED, Crash, Scene
from tnt_platform_tests.transit.test_reconciliation import stories


@dataclass
class Story:
    server: S3Server
    api: RunningRateApi
    scene: Scene
    now: datetime = NOON
    files: dict[str, tuple[datetime, str]] = field(default_factory=dict)

    def put(self, number: int, undated: bool, rows: int, late_by: int, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        key = key_of(number)
        key = f"transit/{key.rpartition('/')[2] if undated else key}"
        text = promises(number, rows, late_by=late_by)
        self.server.put(key, text.encode(), last_modified=self.now)
        self.files[key] = (self.now, text)

    def tick(self) -> None:
        self.scene.tick()

    def crash(self, write: int, takes_effect: bool) -> None:
        self.scene.lake.kill_at(write, takes_effect=takes_effect)
        with suppress(Crash):
            self.scene.tick()
        self.scene.lake.heal()

    def outage(self, share: float) -> None:
        self.api.set_faults(error_rate=share)
        with suppress(CheckFailed):
            self.scene.tick()
        self.api.set_faults(error_rate=0.0)

    def expected(self) -> dict[tuple[str, str], int]:
        """(shipper, destination) -> actual less promised days; the newest file of a shipper wins row by row."""
        promised: dict[tuple[str, str], tuple[str, int]] = {}
        for key, (_, text) in sorted(self.files.items(), key=lambda item: (item[1][0], item[0])):
            for line in text.splitlines():
                origin, destination, _, days, *_ = line.split("|")
                sender = key.rpartition("/")[2].removesuffix(".txt")
                promised[sender, destination] = (origin, int(days))
        actual = {key: ground_days(origin, key[1]) for key, (origin, _) in promised.items()}
        return {key: (actual[key] or 0) - days for key, (_, days) in promised.items()}

    def check(self) -> None:
        self.scene.settle()
        if not self.files:
            return
        results = self.scene.rows()
        rows = results.select("shipper_id", "destination", "lag_days").iter_rows()
        assert {(sender, to): lag for sender, to, lag in rows} == self.expected()
        assert results["test_id"].n_unique() == results.height
        self.scene.check_conservation()
        asked = self.api.stats()["requests"]
        self.scene.check_at_rest()
        assert self.api.stats()["requests"] == asked


@pytest.fixture(scope="module")
def places() -> Iterator[tuple[S3Server, RunningRateApi]]:
    server = S3Server(buckets=("raw",)).start()
    with running_rate_api() as api:
        yield server, api
    server.stop()


DEEDS = st.one_of(
    st.tuples(
        st.just("put"),
        st.integers(0, 1),
        st.booleans(),
        st.integers(1, 4),
        st.integers(0, 1),
        st.sampled_from([0, 1]),
    ),
    st.tuples(st.just("crash"), st.integers(1, 45), st.booleans()),
    st.tuples(st.just("outage"), st.sampled_from([0.3, 1.0])),
    st.tuples(st.just("tick")),
)


def live(places: tuple[S3Server, RunningRateApi], deeds: list[tuple[object, ...]]) -> None:
    server, api = places
    for key in list(server.bucket.objects):
        server.bucket.delete(key)
    api.set_faults(**Faults().as_json())
    api.reset()
    home = Path(tempfile.mkdtemp(prefix="story-"))
    environment = {"TNT_RATE_API_URL": api.url, "TNT_RATE_API_CLIENT": "t", "TNT_RATE_API_TOKEN": "secret"}
    try:
        scene = Scene(
            transit(),
            Objects.open("s3://raw", options=server.options),
            home,
            environment,
            overrides=ALL_ACCEPTED,
        )
        server.put(REFERENCE, reference_csv(range(SHIPPERS), 0))
        story = Story(server, api, scene)
        for name, *arguments in deeds:
            getattr(story, str(name))(*arguments)
            scene.check_conservation()
        story.check()
    finally:
        shutil.rmtree(home)


@pytest.mark.heavy
@stories(5)
@given(deeds=st.lists(DEEDS, min_size=4, max_size=8))
def test_at_rest_every_promise_in_the_bucket_is_compared_with_the_zone_table(
    places: tuple[S3Server, RunningRateApi], deeds: list[tuple[object, ...]]
) -> None:
    live(places, deeds)


@pytest.mark.heavy
@pytest.mark.timeout(900)
@stories(rounds(25))
@given(deeds=st.lists(DEEDS, min_size=4, max_size=16))
def test_at_rest_every_promise_in_the_bucket_is_compared_with_the_zone_table_after_long_stories(
    places: tuple[S3Server, RunningRateApi], deeds: list[tuple[object, ...]]
) -> None:
    live(places, deeds)


def test_an_answer_is_asked_once_however_often_the_run_is_killed(
    places: tuple[S3Server, RunningRateApi],
) -> None:
    """Only answers whose publishing was cut short are asked again: those of two kills at most."""
    kills = [("crash", write, write % 2 == 0) for write in range(5, 45, 6)]
    live(places, [("put", 0, False, 4, 0, 1), *kills])
    assert 4 <= places[1].stats()["requests"] <= 12
