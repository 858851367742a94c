"""What Dagster says about its runs, checks and freshness, asked over HTTP; the dashboard works without it too."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from tnt_platform.web.dagster_answers import (
    FailedCheck,
    FailedRun,
    StaleAsset,
    asset_trouble,
    errors_of,
    failed_runs,
)

if TYPE_CHECKING:
    import aiohttp

# How long a page waits for Dagster, and how long Dagster may take for the page that is asked for next.
WAIT_S = 2.0
TIMEOUT_S = 8.0
AGE_S = 10.0
MAX_ANSWER_BYTES = 4_000_000
RUNS_SHOWN = 15
_EVENTS_READ = 1_000

_RUNS = """query($limit: Int) { runsOrError(filter: {statuses: [FAILURE]}, limit: $limit) {
  __typename ... on Runs { results { runId jobName creationTime endTime tags { key value }
    assetSelection(limit: 3) { path } assetSelectionCount } } } }"""
_ERRORS = """query($runs: [String], $events: Int) { runsOrError(filter: {runIds: $runs}) {
  __typename ... on Runs { results { runId eventConnection(limit: $events) { events {
    ... on AssetMaterializationPlannedEvent { assetKey { path } }
    ... on ExecutionStepFailureEvent { stepKey error { className message causes { className message } } }
    ... on RunFailureEvent { message error { className message causes { className message } } }
  } } } } } }"""
_ASSETS = """query { assetNodes { assetKey { path }
  freshnessStatusInfo { freshnessStatus freshnessStatusMetadata { lastMaterializedTimestamp } }
  internalFreshnessPolicy { __typename ... on TimeWindowFreshnessPolicy { failWindowSeconds } }
  assetChecksOrError { __typename ... on AssetChecks { checks { name blocking executionForLatestMaterialization {
    status timestamp runId partition evaluation { severity description } } } } } } }"""


T = TypeVar("T")


class _Unknown(Exception):
    """Dagster could not be asked, or what it said can't be understood; the message is for the page."""


@dataclass(frozen=True)
class DagsterState:
    """What Dagster said last, None for what it never said. `problem` says why something is missing or old."""

    runs: tuple[FailedRun, ...] | None = None
    checks: tuple[FailedCheck, ...] | None = None
    stale: tuple[StaleAsset, ...] | None = None
    problem: str | None = None


@dataclass
class DagsterWatch:
    """Asks the web server of Dagster at `url` at most every `AGE_S`; no reader waits for longer than `WAIT_S`."""

    url: str | None
    monotonic: Callable[[], float] = time.monotonic
    _state: DagsterState = field(default_factory=DagsterState)
    _asked_at: float = float("-inf")
    _answered_at: float = float("-inf")
    _errors: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _asking: asyncio.Task[None] | None = None

    async def state(self) -> DagsterState:
        """What Dagster said within the last seconds; all who ask meanwhile wait for the same answer."""
        if self.url is None:
            return DagsterState(problem="no address of Dagster is configured; set TNT_DAGSTER_URL")
        if self.monotonic() - self._answered_at <= AGE_S:
            return self._state
        if self._asking is None or self._asking.done():
            self._asked_at = self.monotonic()
            self._asking = asyncio.create_task(self._ask(self.url))
        # A reader who goes away does not take the answer from the others: nobody but the task itself ends it.
        await asyncio.wait([self._asking], timeout=max(0.0, self._asked_at + WAIT_S - self.monotonic()))
        if not self._asking.done():
            return replace(self._state, problem=f"Dagster did not answer within {WAIT_S:.0f} s")
        return self._state

    async def _ask(self, url: str) -> None:
        import aiohttp  # lazily: only servers whose health page is looked at need it

        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
                # The assets take Dagster longest, and must not hide the runs.
                runs, assets = await asyncio.gather(
                    _or_unknown(self._runs(session, url)), _or_unknown(_trouble(session, url))
                )
        finally:
            self._answered_at = self.monotonic()
        problems = [str(found) for found in (runs, assets) if isinstance(found, _Unknown)]
        state = replace(self._state, problem=problems[0] if problems else None)
        if not isinstance(runs, _Unknown):
            state = replace(state, runs=runs)
        if not isinstance(assets, _Unknown):
            state = replace(state, checks=assets[0], stale=assets[1])
        self._state = state

    async def _runs(self, session: aiohttp.ClientSession, url: str) -> tuple[FailedRun, ...]:
        runs = failed_runs(await _answer(session, url, _RUNS, limit=RUNS_SHOWN))
        new = [run.run_id for run in runs if run.run_id not in self._errors]
        told = await _or_unknown(_stories(session, url, new), TIMEOUT_S / 2) if new else {}
        # A run that has failed says the same for ever; one whose log could not be read is asked again.
        known = {**self._errors, **(told if not isinstance(told, _Unknown) else {})}
        self._errors = {run.run_id: known[run.run_id] for run in runs if run.run_id in known}
        return tuple(run.model_copy(update=dict(self._errors.get(run.run_id, {}))) for run in runs)


async def _stories(session: aiohttp.ClientSession, url: str, runs: list[str]) -> dict[str, Mapping[str, Any]]:
    return errors_of(await _answer(session, url, _ERRORS, runs=runs, events=_EVENTS_READ))


async def _trouble(
    session: aiohttp.ClientSession, url: str
) -> tuple[tuple[FailedCheck, ...], tuple[StaleAsset, ...]]:
    checks, stale = asset_trouble(await _answer(session, url, _ASSETS))
    return tuple(checks), tuple(stale)


async def _or_unknown(asking: Awaitable[T], timeout_s: float = TIMEOUT_S) -> T | _Unknown:
    """What is found, or why it is not known; nothing that a server may answer gets further."""
    import aiohttp

    try:
        async with asyncio.timeout(timeout_s):
            return await asking
    except _Unknown as error:
        return error
    except TimeoutError:
        return _Unknown(f"Dagster did not answer within {TIMEOUT_S:.0f} s")
    except aiohttp.ClientError:
        return _Unknown("Dagster can't be reached")
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError):
        return _Unknown("Dagster's answer is not understood; is its version another one?")


async def _answer(
    session: aiohttp.ClientSession, url: str, query: str, **variables: object
) -> dict[str, Any]:
    """The data of one GraphQL answer."""
    body = {"query": query, "variables": variables}
    async with session.post(f"{url}/graphql", json=body, allow_redirects=False) as response:
        if response.status != 200:
            raise _Unknown(
                f"Dagster's address answers with status {response.status}; set TNT_DAGSTER_API_URL to one "
                "where this server may ask it without signing in"
            )
        text = bytearray()
        async for piece in response.content.iter_chunked(65_536):
            text += piece
            if len(text) > MAX_ANSWER_BYTES:
                raise _Unknown(f"Dagster's answer has over {MAX_ANSWER_BYTES:,} bytes")
    try:
        found = json.loads(bytes(text))
    except (ValueError, RecursionError) as error:
        raise _Unknown("what answers at Dagster's address is not Dagster") from error
    data = found.get("data") if isinstance(found, dict) else None
    if not isinstance(data, dict):
        raise _Unknown("what answers at Dagster's address is not Dagster, or one of another version")
    return data
