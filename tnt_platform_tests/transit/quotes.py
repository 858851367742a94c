"""The `transit` dataset against the stand-in API: shippers, their files and a scene to publish them in."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tnt_platform.kinds import transit_spec
from tnt_platform.sandbox.reference import reference_csv, shipper
from tnt_platform.sandbox.running import RunningRateApi
from tnt_platform.sandbox.zones import ground_days
from tnt_platform.storage.objects import Objects
from tnt_platform.transit.spec import TransitSpec
from tnt_platform_tests.transit.scenes import DAY, Scene, with_limits

REFERENCE = "config/dest.csv"
SHIPPERS = 4
NOON = datetime(2026, 1, 12, 12, tzinfo=UTC)
# One destination each in states that ground serves from everywhere on the continent.
STATES = {"NY": "100", "TX": "750", "CA": "900", "FL": "330", "WA": "981", "IL": "606"}


def transit(**api: Any) -> TransitSpec:
    """The dataset as it is shipped, with a client that loses patience at once; `api` changes its API."""
    spec = with_limits(
        transit_spec("transit"), concurrency=8, attempts=2, timeout_s=5, backoff_initial_s=0.01
    )
    assert spec.rate_api is not None
    return spec.model_copy(update={"rate_api": spec.rate_api.model_copy(update=api)})


def scene(home: Path, spec: TransitSpec, api: RunningRateApi) -> Scene:
    """A bucket that holds the shipper reference, and an empty lake."""
    environment = {"TNT_RATE_API_URL": api.url, "TNT_RATE_API_CLIENT": "test", "TNT_RATE_API_TOKEN": "secret"}
    made = Scene(spec, Objects.open((home / "raw").as_uri()), home, environment)
    made.raw.put(REFERENCE, reference_csv(range(SHIPPERS), 0))
    return made


def put(made: Scene, key: str, data: bytes | str, *, at: datetime = NOON) -> None:
    """Drop a file below `transit/`, as last modified `at`."""
    body = data.encode() if isinstance(data, str) else data
    made.raw.put(f"transit/{key}", body)
    os.utime(made.home / "raw" / "transit" / key, (at.timestamp(), at.timestamp()))


def key_of(number: int, suffix: str = ".txt") -> str:
    return f"{DAY}/{shipper(number, 0).shipper_id}{suffix}"


def destinations(count: int) -> Iterable[tuple[str, str]]:
    """`count` different (postal code, state)."""
    found = list(STATES.items())
    for number in range(count):
        state, zip3 = found[number % len(found)]
        yield f"{zip3}{number // len(found) + 1:02d}", state


def promises(number: int, count: int, *, late_by: int = 0) -> str:
    """A file of shipper `number`: `count` rows whose promise is the zone table's, less `late_by`."""
    origin = shipper(number, 0).postal_code
    rows = []
    for destination, state in destinations(count):
        days = ground_days(origin, destination)
        assert days is not None
        rows.append(f"{origin}|{destination}|{state}|{max(0, days - late_by)}|2|5|A|B\n")
    return "".join(rows)
