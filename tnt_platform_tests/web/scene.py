"""A lake with a little of every kind of dataset, in the shapes that the platform publishes."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tnt_platform.lake.versions import PartitionChange, RowCounts, Snapshot, VersionedStore
from tnt_platform.records.summary import KEY, records_summary
from tnt_platform.storage.objects import Objects

START = datetime(2026, 11, 1, 6, 0, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>'; DROP TABLE records; --\" onload=x"
LAST_LOOK = datetime(2026, 11, 20, 5, tzinfo=UTC)
DAYS = 14
SHIPPERS = ("1001", "1002", "1003", "1004", HOSTILE)

AWS_NAMES = {
    "endpoint": "AWS_ENDPOINT_URL",
    "region": "AWS_REGION",
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
}


class Lake:
    """A store whose clock a test moves, on a folder or on the S3 that `options` lead to."""

    def __init__(
        self, folder: Path, url: str | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        self.home = folder
        self.url = url or (folder / "lake").as_uri()
        self.options = dict(options or {})
        self.now = START
        self._random = random.Random(11)
        self.store = VersionedStore(
            Objects.open(self.url, options=self.options),
            clock=lambda: self.now,
            entropy=self._random.randbytes,
            code_version="test",
            scratch=folder / "scratch",
            concurrency=2,
        )

    @property
    def environment(self) -> dict[str, str]:
        reached = {AWS_NAMES[name]: value for name, value in self.options.items()}
        return {"TNT_HOME": str(self.home), "TNT_LAKE_URL": self.url, **reached}

    def publish(
        self,
        dataset: str,
        partitions: Mapping[str, pl.DataFrame],
        key: Sequence[str],
        *,
        refused: pl.DataFrame | None = None,
        **about: Any,
    ) -> Snapshot:
        """Publish partitions an hour after the publish before."""
        self.now += timedelta(hours=1)
        changes = []
        for number, (name, frame) in enumerate(partitions.items()):
            quarantine = refused if refused is not None and number == 0 else pl.DataFrame()
            counts = RowCounts(frame.height + quarantine.height, frame.height, quarantine.height)
            digest = hashlib.sha256(repr(frame.rows()).encode()).hexdigest()
            ledger = _ledger(f"raw/{dataset}/{name}.txt", frame.height, quarantine.height)
            changes.append(PartitionChange(name, frame, ledger, quarantine, counts, digest))
        draft = self.store.draft(
            dataset,
            base=self.store.current(dataset),
            changes=changes,
            key=key,
            run_id="0f3c9a4e-run",
            about=about,
        )
        return self.store.commit(draft)


def _ledger(key: str, rows: int, refused: int) -> pl.DataFrame:
    entry = {
        "key": key,
        "etag": "e",
        "size_bytes": 10,
        "last_modified": START,
        "sha256": "0" * 64,
        "status": "accepted",
        "rows_in": rows + refused,
        "rows_out": rows,
        "rows_quarantined": refused,
    }
    return pl.DataFrame([entry], schema_overrides={"last_modified": pl.Datetime("us", "UTC")})


def posts(count: int, *, changed: Mapping[int, str] | None = None, at: datetime = START) -> pl.DataFrame:
    """Curated records as a RecordsDataset publishes them; `changed` gives some of them another title."""
    titles = {n: f"title {n}" for n in range(1, count + 1)} | dict(changed or {})
    rows = []
    for number, title in titles.items():
        captured = at + timedelta(hours=number % 300)
        content = {"userId": 1 + number % 10, "title": title, "body": f"body of {number}"}
        rows.append(
            {
                "id": f"posts:{number}",
                "source": "posts",
                "item_id": str(number),
                "fingerprint": hashlib.sha256(json.dumps(content).encode()).hexdigest(),
                "first_seen_at": captured,
                "captured_at": captured,
                "processed_at": captured + timedelta(seconds=2),
                "raw_s3_key": f"raw/source=posts/date={captured:%Y-%m-%d}/x.json",
                "item_index": number - 1,
                **content,
            }
        )
    return pl.DataFrame(rows)


def by_bucket(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Partitions by hash of the id, as curated records have them."""
    buckets = [int(hashlib.sha256(i.encode()).hexdigest()[0], 16) for i in frame["id"]]
    marked = frame.with_columns(bucket=pl.Series(buckets))
    return {
        f"bucket={value[0]:02d}": rows.drop("bucket")
        for value, rows in sorted(marked.partition_by("bucket", as_dict=True).items())
    }


def users() -> pl.DataFrame:
    """Records of another source, one of them hostile."""
    names = ["Ada Lovelace", HOSTILE, "Zoë Ångström"]
    rows = [
        {
            "id": f"users:{n}",
            "source": "users",
            "item_id": str(n),
            "fingerprint": hashlib.sha256(name.encode()).hexdigest(),
            "first_seen_at": START,
            "captured_at": START + timedelta(days=n),
            "processed_at": START + timedelta(days=n),
            "raw_s3_key": "raw/source=users/date=2026-11-01/y.json",
            "item_index": n,
            "name": name,
            "email": f"u{n}@example.org",
            "country": "GB",
            "gender": None,
        }
        for n, name in enumerate(names)
    ]
    return pl.DataFrame(rows, schema_overrides={"gender": pl.String})


def capture(*looks: tuple[datetime, list[str] | None]) -> pl.DataFrame:
    """Looks at a source: when, and the items of a new content (None: the bytes of the look before)."""
    rows = [
        {
            "captured_at": at,
            "sha256": "a" * 64,
            "size_bytes": 100,
            "records": 3,
            "object_key": "raw/source=users/x.json",
            "url": "https://example.org",
            "status": "new" if items is not None else "unchanged",
            "item_ids": items,
        }
        for at, items in looks
    ]
    return pl.DataFrame(
        rows, schema_overrides={"captured_at": pl.Datetime("us", "UTC"), "item_ids": pl.List(pl.String)}
    )


def refusals(*raws: str) -> pl.DataFrame:
    """Quarantine rows."""
    return pl.DataFrame(
        {
            "file_key": ["raw/transit/2026-11-01/1001.txt"] * len(raws),
            "line_no": list(range(1, len(raws) + 1)),
            "raw": list(raws),
            "reason_code": ["bad_days" if n % 3 else "bad_postal_code" for n in range(len(raws))],
            "reason": [f"days is {raw!r}; expected a whole number" for raw in raws],
            "first_seen_at": [START] * len(raws),
        },
        schema_overrides={"line_no": pl.Int64, "first_seen_at": pl.Datetime("us", "UTC")},
    )


def transit_results(day: date) -> pl.DataFrame:
    """Cases of one day as a transit dataset publishes them."""
    random_ = random.Random(day.toordinal())
    rows = []
    for n in range(120):
        shipper = SHIPPERS[n % len(SHIPPERS)]
        expected, lag = 1 + n % 5, random_.choice([0] * 14 + [1, 1, 2, -1])
        rows.append(
            {
                "test_id": hashlib.sha256(f"{day}{n}".encode()).hexdigest()[:32],
                "file_key": f"raw/{shipper}.txt",
                "line_no": n,
                "shipper_id": shipper,
                "origin": f"{10_000 + n % 4}",
                "destination": f"{20_000 + n % 9:05d}",
                "expected_transit_days": expected,
                "actual_transit_days": expected + lag,
                "lag_days": lag,
                "status": "late" if lag > 0 else "early" if lag < 0 else "on_time",
                "success": lag == 0,
                "time_taken_ms": 20.0 + random_.random() * 80,
            }
        )
    return pl.DataFrame(rows)


def transit_summary(results: pl.DataFrame) -> pl.DataFrame:
    """Pass rates by group, in the shape of `transforms.cases.summarise`."""
    frames = []
    for kind in ("all", "shipper_id"):
        by = pl.lit("all") if kind == "all" else pl.col(kind)
        frames.append(
            results.group_by(by.alias("group_value"))
            .agg(
                pl.len().cast(pl.Int64).alias("cases"),
                pl.col("success").sum().cast(pl.Int64).alias("passed"),
                (~pl.col("success")).sum().cast(pl.Int64).alias("failed"),
                *(
                    (pl.col("status") == s).sum().cast(pl.Int64).alias(s)
                    for s in ("early", "on_time", "late")
                ),
                pl.col("success").mean().alias("pass_rate"),
                pl.col("lag_days").mean().alias("mean_lag_days"),
                pl.col("time_taken_ms").quantile(0.5).alias("latency_p50_ms"),
                pl.col("time_taken_ms").quantile(0.95).alias("latency_p95_ms"),
                pl.col("time_taken_ms").quantile(0.99).alias("latency_p99_ms"),
            )
            .select(pl.lit(kind).alias("group_kind"), pl.all())
        )
    return pl.concat(frames).sort("group_kind", "group_value")


def observations(*, shift: float = 0.0) -> dict[str, pl.DataFrame]:
    """Two monthly series, one partition a year."""
    frames = {}
    for code, base in (("PRICE_INDEX_M", 100.0), ("OIL_USD_M", 70.0)):
        for year in (2024, 2025):
            rows = [
                {
                    "internal_series_code": code,
                    "period": date(year, month, 1),
                    "obs_time": datetime(year, month, 1, tzinfo=UTC),
                    "value": base + (year - 2024) * 12 + month * 1.5 + (shift if month > 6 else 0.0),
                    "unit": "index" if code.startswith("P") else "USD",
                    "frequency": "M",
                }
                for month in range(1, 13)
                if not (year == 2025 and month == 4)
            ]
            frames[f"{code}/year={year}"] = pl.DataFrame(rows)
    return frames


def tenants(names: Mapping[str, str]) -> pl.DataFrame:
    """A mall directory: unique id -> name."""
    rows = [
        {
            "unique_id": key,
            "tenant_id": f"T{key}",
            "kind": "dining" if "cafe" in name.lower() else "shop",
            "title_en": name,
            "title_th": "ร้าน",
            "category": "FOOD",
            "floor": "1F",
            "zone": "A",
            "unit": f"1{key}",
            "tel": None,
        }
        for key, name in names.items()
    ]
    return pl.DataFrame(rows, schema_overrides={"tel": pl.String})


def report_files(day: date, *, bad: int = 0) -> pl.DataFrame:
    """The files of one day as a daily report lists them."""
    rows = [
        {
            "file_key": f"raw-data/{day}/{name}",
            "format": name.rsplit(".", 1)[-1],
            "size_bytes": 1_000 * (n + 1),
            "records": 100 + day.day * (n + 1),
            "bad_records": bad if n == 0 else 0,
            "columns": ["id", "amount"],
        }
        for n, name in enumerate(("sales.csv", "events.json"))
    ]
    return pl.DataFrame(rows, schema_overrides={"bad_records": pl.Int64, "records": pl.Int64})


def summarised(lake: Lake, records: Snapshot) -> Snapshot:
    """Publish the summary of a version of records, as the platform does."""
    about = {"records_version": records.version, "records_files_sha256": records.manifest.files_sha256}
    return lake.publish("posts/summary", {"whole": records_summary(records.scan())}, KEY, **about)


def furnished(
    folder: Path, *, records: int = 130, url: str | None = None, options: Mapping[str, str] | None = None
) -> Lake:
    """A lake with two versions of most datasets; equal calls give equal lakes, version ids and all."""
    lake = Lake(folder, url, options)
    summarised(lake, lake.publish("posts", by_bucket(posts(records)), ["id"]))
    lake.publish("posts", by_bucket(posts(records, changed={7: "another title"})), ["id"])
    lake.publish("users", {"bucket=00": users()}, ["id"])
    looks = {
        "2026-11-19": capture((datetime(2026, 11, 19, 5, tzinfo=UTC), ["0", "1"])),
        "2026-11-20": capture((LAST_LOOK, None)),
    }
    lake.publish("users/capture", looks, ["captured_at"])
    days = [START.date() + timedelta(days=n) for n in range(DAYS)]
    results = {f"{day}": transit_results(day) for day in days}
    refused = refusals("abc", HOSTILE, "-1", "3.0")
    lake.publish("transit/results", results, ["test_id"], refused=refused)
    summaries = {day: transit_summary(rows) for day, rows in results.items()}
    lake.publish("transit/daily_summary", summaries, ["group_kind", "group_value"])
    lake.publish("prices", observations(), ["internal_series_code", "period"], provider="Somebody")
    lake.publish("prices", observations(shift=3.0), ["internal_series_code", "period"], provider="Somebody")
    before = {"1": "Book Shop", "2": "Old Cafe", "3": HOSTILE}
    lake.publish("mall/tenants", {"newest": tenants(before)}, ["unique_id"])
    after = {"1": "Book Store", "3": HOSTILE, "4": "New Cafe"}
    lake.publish("mall/tenants", {"newest": tenants(after)}, ["unique_id"])
    report = {f"{day}": report_files(day, bad=4 if day.day == 5 else 0) for day in days if day.day != 8}
    lake.publish("daily_report/files", report, ["file_key"])
    return lake
