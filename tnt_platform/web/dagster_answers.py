"""Dagster's answers as what a page shows: failed runs with a short error, failed checks, what is not fresh."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

_ERROR_CHARS = 300
_PARTITION_TAGS = ("dagster/partition", "dagster/asset_partition_range_start")
_RANGE_END = "dagster/asset_partition_range_end"


def _moment(value: object) -> object:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else value


_At = Annotated[datetime | None, BeforeValidator(_moment)]


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True)


class FailedRun(_Shown):
    """A run that failed; `assets` are those it was about, as far as it says, `more_assets` how many beyond them."""

    run_id: str
    job: str
    at: _At
    assets: tuple[str, ...] = ()
    more_assets: int = 0
    partition: str | None = None
    error: str = "its log says why"


class FailedCheck(_Shown):
    """A check that the newest materialization of an asset did not pass."""

    asset: str
    check: str
    at: _At
    run_id: str
    partition: str | None
    is_warning: bool
    said: str


class StaleAsset(_Shown):
    """An asset that is older than its freshness policy allows (`is_late`) or soon will be."""

    asset: str
    is_late: bool
    last: _At
    allowed: timedelta | None


def failed_runs(data: Mapping[str, Any]) -> list[FailedRun]:
    """The runs of a listing, newest first.

    Raises:
        ValueError: the answer is not the one that was asked for.
    """
    return [_run(found) for found in _list(_dict(data.get("runsOrError")).get("results"))]


def errors_of(data: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What the log of each run adds: run id -> fields of FailedRun.

    Raises:
        ValueError: the answer is not the one that was asked for.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for run in _list(_dict(data.get("runsOrError")).get("results")):
        events = [event for event in _list(_dict(run.get("eventConnection")).get("events")) if event]
        found[str(run.get("runId"))] = _story(events)
    return found


def asset_trouble(data: Mapping[str, Any]) -> tuple[list[FailedCheck], list[StaleAsset]]:
    """The checks that failed and the assets that are not fresh, sorted by asset.

    Raises:
        ValueError: the answer is not the one that was asked for.
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
        run_id=_text(found.get("runId")),
        job=_text(found.get("jobName")),
        at=found.get("endTime") or found.get("creationTime"),
        assets=tuple(assets),
        more_assets=max(0, int(found.get("assetSelectionCount") or 0) - len(assets)),
        partition=partition,
    )


def _story(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The error of the step that failed rather than that of the run, which only names the step."""
    failures = [event for event in events if "error" in event]
    told = next((event for event in failures if event.get("error") and "stepKey" in event), None)
    told = told or next(iter(failures[::-1]), None)
    planned = list(dict.fromkeys(_key(event["assetKey"]) for event in events if event.get("assetKey")))
    story: dict[str, Any] = {}
    if told is not None:
        story["error"] = _short(told)
    if planned:
        story |= {"assets": tuple(planned[:3]), "more_assets": max(0, len(planned) - 3)}
    return story


def _short(event: Mapping[str, Any]) -> str:
    """The message of the error, or of what caused it where Dagster wrapped it; one line without the class's module."""
    error = event.get("error") or {}
    causes = error.get("causes") or []
    inner = causes[-1] if str(error.get("className", "")).startswith("Dagster") and causes else error
    name = str(inner.get("className") or "")
    text = str(inner.get("message") or event.get("message") or "")
    _, mark, rest = text.partition(f"{name}: ") if name else ("", "", "")
    said = rest if mark and name == "Failure" else f"{name}: {rest}" if mark else text
    return one_line(said)


def one_line(text: str) -> str:
    """Text without line breaks, cut to what a table can show."""
    line = " ".join(text.split())
    return line if len(line) <= _ERROR_CHARS else f"{line[: _ERROR_CHARS - 1]}…"


def _check(asset: str, check: Mapping[str, Any]) -> FailedCheck | None:
    done = check.get("executionForLatestMaterialization") or {}
    if done.get("status") not in ("FAILED", "EXECUTION_FAILED"):
        return None
    evaluation = done.get("evaluation") or {}
    unevaluated = "the run ended before the check did"
    return FailedCheck(
        asset=asset,
        check=_text(check.get("name")),
        at=done.get("timestamp"),
        run_id=_text(done.get("runId")),
        partition=done.get("partition"),
        is_warning=evaluation.get("severity") == "WARN",
        said=one_line(str(evaluation.get("description") or ("" if evaluation else unevaluated))),
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


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a text, not {type(value).__name__}")
    return value


def _dict(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, not {type(value).__name__}")
    return value


def _list(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list, not {type(value).__name__}")
    return [_dict(one) for one in value]
