"""Ask Dagster over HTTP for failed runs, failed checks and stale assets; the dashboard works without it too."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

if TYPE_CHECKING:
    import aiohttp

# A page waits this long for Dagster; a slower response, up to the timeout, is for the next page.
WAIT_S = 2.0
TIMEOUT_S = 8.0
AGE_S = 10.0
MAX_RESPONSE_BYTES = 4_000_000
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


class _StateUnknown(Exception):
    """Dagster did not respond, or its response is not understood; the message is shown on the page."""


@dataclass(frozen=True)
class DagsterState:
    """The latest known state of Dagster; None for what it never reported.

    `problem` says why any of it is missing or old.
    """

    runs: tuple[FailedRun, ...] | None = None
    checks: tuple[FailedCheck, ...] | None = None
    stale: tuple[StaleAsset, ...] | None = None
    problem: str | None = None


@dataclass
class DagsterWatch:
    """Queries Dagster's web server at most every `AGE_S`; no reader waits longer than `WAIT_S`."""

    url: str | None
    monotonic: Callable[[], float] = time.monotonic
    _state: DagsterState = field(default_factory=DagsterState)
    _requested_at: float = float("-inf")
    _refreshed_at: float = float("-inf")
    _errors: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _refreshing: asyncio.Task[None] | None = None

    async def state(self) -> DagsterState:
        """Return the state of the last seconds; concurrent readers wait for the same response."""
        if self.url is None:
            return DagsterState(problem="Dagster's address is not configured; set TNT_DAGSTER_URL")
        if self.monotonic() - self._refreshed_at <= AGE_S:
            return self._state
        if self._refreshing is None or self._refreshing.done():
            self._requested_at = self.monotonic()
            self._refreshing = asyncio.create_task(self._refresh(self.url))
        # Not awaited directly: a reader that disconnects would cancel it for all others.
        await asyncio.wait(
            [self._refreshing], timeout=max(0.0, self._requested_at + WAIT_S - self.monotonic())
        )
        if not self._refreshing.done():
            return replace(self._state, problem=f"Dagster did not answer within {WAIT_S:.0f} s")
        return self._state

    async def _refresh(self, url: str) -> None:
        import aiohttp  # imported here because only the health page needs it

        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
                # Queried separately: assets take Dagster longest, and must not delay the runs.
                runs, assets = await asyncio.gather(
                    _or_problem(self._runs(session, url)), _or_problem(_asset_problems(session, url))
                )
        finally:
            self._refreshed_at = self.monotonic()
        problems = [str(found) for found in (runs, assets) if isinstance(found, _StateUnknown)]
        state = replace(self._state, problem=problems[0] if problems else None)
        if not isinstance(runs, _StateUnknown):
            state = replace(state, runs=runs)
        if not isinstance(assets, _StateUnknown):
            state = replace(state, checks=assets[0], stale=assets[1])
        self._state = state

    async def _runs(self, session: aiohttp.ClientSession, url: str) -> tuple[FailedRun, ...]:
        runs = failed_runs(await _query(session, url, _RUNS, limit=RUNS_SHOWN))
        new = [run.run_id for run in runs if run.run_id not in self._errors]
        details = await _or_problem(_run_details(session, url, new), TIMEOUT_S / 2) if new else {}
        # The log of a failed run never changes; one that could not be read is requested again.
        known = {**self._errors, **(details if not isinstance(details, _StateUnknown) else {})}
        self._errors = {run.run_id: known[run.run_id] for run in runs if run.run_id in known}
        return tuple(run.model_copy(update=dict(self._errors.get(run.run_id, {}))) for run in runs)


async def _run_details(
    session: aiohttp.ClientSession, url: str, runs: list[str]
) -> dict[str, Mapping[str, Any]]:
    return run_details(await _query(session, url, _ERRORS, runs=runs, events=_EVENTS_READ))


async def _asset_problems(
    session: aiohttp.ClientSession, url: str
) -> tuple[tuple[FailedCheck, ...], tuple[StaleAsset, ...]]:
    checks, stale = asset_asset_problems(await _query(session, url, _ASSETS))
    return tuple(checks), tuple(stale)


async def _or_problem(asking: Awaitable[T], timeout_s: float = TIMEOUT_S) -> T | _StateUnknown:
    """Return the result, or why it is unknown; no response of the server raises beyond this."""
    import aiohttp

    try:
        async with asyncio.timeout(timeout_s):
            return await asking
    except _StateUnknown as error:
        return error
    except TimeoutError:
        return _StateUnknown(f"Dagster did not answer within {TIMEOUT_S:.0f} s")
    except aiohttp.ClientError:
        return _StateUnknown("Dagster can't be reached")
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError):
        return _StateUnknown("Dagster's response is not understood; its version may not be supported")


async def _query(session: aiohttp.ClientSession, url: str, query: str, **variables: object) -> dict[str, Any]:
    """Return the data of one GraphQL response."""
    body = {"query": query, "variables": variables}
    async with session.post(f"{url}/graphql", json=body, allow_redirects=False) as response:
        if response.status != 200:
            raise _StateUnknown(
                f"Dagster's address responds with status {response.status}; set TNT_DAGSTER_API_URL to an "
                "address that this server can query without signing in"
            )
        text = bytearray()
        async for piece in response.content.iter_chunked(65_536):
            text += piece
            if len(text) > MAX_RESPONSE_BYTES:
                raise _StateUnknown(f"Dagster's response has over {MAX_RESPONSE_BYTES:,} bytes")
    try:
        found = json.loads(bytes(text))
    except (ValueError, RecursionError) as error:
        raise _StateUnknown("the server at Dagster's address is not Dagster") from error
    data = found.get("data") if isinstance(found, dict) else None
    if not isinstance(data, dict):
        raise _StateUnknown("the server at Dagster's address is not Dagster, or not a supported version")
    return data


_ERROR_CHARS = 300
_PARTITION_TAGS = ("dagster/partition", "dagster/asset_partition_range_start")
_RANGE_END = "dagster/asset_partition_range_end"


def _moment(value: object) -> object:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else value


_At = Annotated[datetime | None, BeforeValidator(_moment)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class FailedRun(_Model):
    """A failed run, its first `assets`, and the number of further ones."""

    run_id: str
    job: str
    at: _At
    assets: tuple[str, ...] = ()
    more_assets: int = 0
    partition: str | None = None
    error: str = "see its log"


class FailedCheck(_Model):
    """A check that failed on the latest materialization of an asset."""

    asset: str
    check: str
    at: _At
    run_id: str
    partition: str | None
    is_warning: bool
    reason: str


class StaleAsset(_Model):
    """An asset that is older than its freshness policy allows (`is_late`), or soon will be."""

    asset: str
    is_late: bool
    last: _At
    allowed: timedelta | None


def failed_runs(data: Mapping[str, Any]) -> list[FailedRun]:
    """Return the runs of a response, latest first.

    Raises:
        ValueError: the response does not match the query.
    """
    return [_run(found) for found in _list(_dict(data.get("runsOrError")).get("results"))]


def run_details(data: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Map each run id to the fields of FailedRun that its log adds.

    Raises:
        ValueError: the response does not match the query.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for run in _list(_dict(data.get("runsOrError")).get("results")):
        events = [event for event in _list(_dict(run.get("eventConnection")).get("events")) if event]
        found[str(run.get("runId"))] = _log_details(events)
    return found


def asset_asset_problems(data: Mapping[str, Any]) -> tuple[list[FailedCheck], list[StaleAsset]]:
    """Return the failed checks and the stale assets, sorted by asset.

    Raises:
        ValueError: the response does not match the query.
    """
    checks: list[FailedCheck] = []
    stale: list[StaleAsset] = []
    for node in sorted(_list(data.get("assetNodes")), key=lambda node: _key(node.get("assetKey"))):
        asset = _key(node.get("assetKey"))
        known = (node.get("assetChecksOrError") or {}).get("checks") or []
        checks += [one for check in known if (one := _check(asset, _dict(check))) is not None]
        if (late := _stale(asset, node)) is not None:
            stale.append(late)
    return checks, stale


def _run(found: Mapping[str, Any]) -> FailedRun:
    tags = {tag["key"]: tag["value"] for tag in _list(found.get("tags"))}
    partition = next((tags[name] for name in _PARTITION_TAGS if name in tags), None)
    if _RANGE_END in tags and tags[_RANGE_END] != partition:
        partition = f"{partition} – {tags[_RANGE_END]}"
    assets = [_key(key) for key in found.get("assetSelection") or []]
    return FailedRun(
        run_id=_string(found.get("runId")),
        job=_string(found.get("jobName")),
        at=found.get("endTime") or found.get("creationTime"),
        assets=tuple(assets),
        more_assets=max(0, int(found.get("assetSelectionCount") or 0) - len(assets)),
        partition=partition,
    )


def _log_details(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Prefer the error of the failed step to that of the run, which only names the step."""
    failures = [event for event in events if "error" in event]
    failure = next((event for event in failures if event.get("error") and "stepKey" in event), None)
    failure = failure or next(iter(failures[::-1]), None)
    planned = list(dict.fromkeys(_key(event["assetKey"]) for event in events if event.get("assetKey")))
    details: dict[str, Any] = {}
    if failure is not None:
        details["error"] = _error_message(failure)
    if planned:
        details |= {"assets": tuple(planned[:3]), "more_assets": max(0, len(planned) - 3)}
    return details


def _error_message(event: Mapping[str, Any]) -> str:
    """Return the message of the error, or of its cause where Dagster wrapped it, in one line."""
    error = event.get("error") or {}
    causes = error.get("causes") or []
    inner = causes[-1] if str(error.get("className", "")).startswith("Dagster") and causes else error
    name = str(inner.get("className") or "")
    text = str(inner.get("message") or event.get("message") or "")
    _, mark, rest = text.partition(f"{name}: ") if name else ("", "", "")
    message = rest if mark and name == "Failure" else f"{name}: {rest}" if mark else text
    return one_line(message)


def one_line(text: str) -> str:
    """Join the lines of a text, and cut it to fit a table."""
    line = " ".join(text.split())
    return line if len(line) <= _ERROR_CHARS else f"{line[: _ERROR_CHARS - 1]}…"


def _check(asset: str, check: Mapping[str, Any]) -> FailedCheck | None:
    done = check.get("executionForLatestMaterialization") or {}
    # Dagster calls a check EXECUTION_FAILED if its run ended before it: that run is listed as failed, the check did
    # neither fail nor pass.
    if done.get("status") != "FAILED":
        return None
    evaluation = done.get("evaluation") or {}
    return FailedCheck(
        asset=asset,
        check=_string(check.get("name")),
        at=done.get("timestamp"),
        run_id=_string(done.get("runId")),
        partition=done.get("partition"),
        is_warning=evaluation.get("severity") == "WARN",
        reason=one_line(str(evaluation.get("description") or "")),
    )


def _stale(asset: str, node: Mapping[str, Any]) -> StaleAsset | None:
    info = node.get("freshnessStatusInfo") or {}
    if info.get("freshnessStatus") not in ("DEGRADED", "WARNING"):
        return None
    window = (node.get("internalFreshnessPolicy") or {}).get("failWindowSeconds")
    return StaleAsset(
        asset=asset,
        is_late=info["freshnessStatus"] == "DEGRADED",
        last=(info.get("freshnessStatusMetadata") or {}).get("lastMaterializedTimestamp"),
        allowed=timedelta(seconds=window) if isinstance(window, int | float) else None,
    )


def _key(value: object) -> str:
    return "/".join(str(part) for part in _dict(value).get("path") or [])


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a string, not {type(value).__name__}")
    return value


def _dict(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, not {type(value).__name__}")
    return value


def _list(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list, not {type(value).__name__}")
    return [_dict(one) for one in value]
