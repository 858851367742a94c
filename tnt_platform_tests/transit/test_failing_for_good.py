"""Requests that fail for good cost the others nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tnt_platform.errors import CheckFailed
from tnt_platform.sandbox.reference import shipper
from tnt_platform.sandbox.running import RunningRateApi, running_rate_api
from tnt_platform.services.http import HttpClient
from tnt_platform_tests.transit.quotes import key_of, promises, put, scene, transit
from tnt_platform_tests.transit.scenes import Scene, with_limits

NOBODY_LISTENS = "http://127.0.0.1:9/"


@pytest.fixture
def blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A date whose 24 cases of the first shipper can't be answered, and were all sent already."""
    exchange, bad = HttpClient._exchange, shipper(0, 0).postal_code.encode()

    async def fail_some(self: HttpClient, session: Any, request: Any) -> Any:
        fails = bad in (request.body or b"")
        return await exchange(self, session, replace(request, url=NOBODY_LISTENS) if fails else request)

    monkeypatch.setattr(HttpClient, "_exchange", fail_some)
    with running_rate_api() as api:
        spec = with_limits(
            transit(),
            concurrency=2,
            attempts=2,
            breaker_failures=12,
            breaker_probes=2,
            breaker_cool_down_s=0.05,
        )
        made = scene(tmp_path, spec, api)
        put(made, key_of(0), promises(0, 24))
        for _ in range(6):
            with pytest.raises(CheckFailed):
                made.run()
        yield made, api


def test_a_late_file_is_asked_for_before_what_failed_in_earlier_runs(
    blocked: tuple[Scene, RunningRateApi],
) -> None:
    made, api = blocked
    assert api.stats()["requests"] == 0
    put(made, key_of(1), promises(1, 24))
    with pytest.raises(CheckFailed):
        made.run()
    assert api.stats()["requests"] == 24
    assert made.rows("answers").height == 24


def test_what_failed_is_in_the_quarantine_of_the_answers_until_it_is_answered(
    blocked: tuple[Scene, RunningRateApi], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = blocked
    rejected = made.snapshot("answers").quarantine()
    assert set(rejected["reason_code"]) == {"connection"}
    # Each run sends those first that no run has sent, until all were.
    assert rejected["raw"].n_unique() == rejected.height == 24
    monkeypatch.undo()
    made.settle()
    assert made.snapshot("answers").quarantine().is_empty()
    assert made.rows().height == 24
    made.check_conservation()
