"""What a sync of the mall directory costs: 50,000 records, half of them there already, beside its peers.

    python -m bench.directory_sync [--records 50000] [--repeats 5] [--database URL]

The peers run on the same server, in the same run, with the same records, and write the same columns:
  bare copy     COPY into a temporary table, then INSERT ... ON CONFLICT DO UPDATE into one table without foreign
                keys and with one index, the unique_id's
  bare tables   the same COPY, then INSERT ... ON CONFLICT DO UPDATE into shops and dinings
  row by row    one INSERT ... ON CONFLICT a record into shops or dinings, all in one transaction, through
                SQLAlchemy with statements made once; on a slice of the records, as rows/s
  row by row, driver      the same through psycopg2 alone, the fastest such loop there is here
  row by row, committing  the first one with a transaction a record
The peers keep no log and know no slugs, moves, withdrawals, unchanged rows or counts, and check no value; ours does
all of that. Existing records all changed. Every repeat starts from the same first half, without dead rows; the
order rotates. `cpu s` is the processor time of this process and of the server's session, which other work on the
machine disturbs less than the clock; `WAL MB` is what the server logged.
Prints a table and writes bench/results/directory_sync.json.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import polars as pl
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from tnt_platform.directory.postgres import staging
from tnt_platform.directory.postgres.migrations import migrate, migrate_down
from tnt_platform.directory.postgres.sync import DirectorySync
from tnt_platform.directory.postgres.tables import KINDS
from tnt_platform.services.postgres import Database, open_database

RESULTS = Path(__file__).parent / "results" / "directory_sync.json"
SLICE = 2_000
COLUMNS = list(staging.TENANTS.columns)
CATEGORIES = pl.DataFrame({"code": [f"C{n}" for n in range(20)]}).with_columns(
    name_en=pl.col("code"), name_th=pl.col("code"), name_zh=pl.lit(None, pl.String)
)
FLOORS = pl.DataFrame({"code": [f"{n}F" for n in range(8)]}).with_columns(
    name=pl.col("code"), sort_order=pl.int_range(8, dtype=pl.Int64)
)
ISSUES = pl.DataFrame(schema=staging.ISSUES.schema())
UNMAPPED = pl.DataFrame(schema=staging.UNMAPPED.schema())


def directory(records: int, revision: int) -> pl.DataFrame:
    """`records` tenants with texts as long as a mall's; `revision` decides the content."""
    number = pl.int_range(records).alias("number")
    words = " ".join(["shop", "with", "many", "things", "to", "see"] * 8)
    thai = "ร้านค้าที่มีสินค้ามากมาย" * 5
    text_of = pl.format
    frame = pl.select(number).with_columns(
        unique_id=text_of("{}", pl.col("number").cast(pl.String).str.zfill(8)),
        tenant_id=text_of("T{}", "number"),
        kind=pl.when(pl.col("number") % 4 == 0).then(pl.lit("dining")).otherwise(pl.lit("shop")),
        slug_base=text_of("shop-{}", pl.col("number") % (records * 9 // 10)),
        title_en=text_of("Shop {}", "number"),
        title_th=text_of("ร้าน {}", "number"),
        description_en=text_of("{} {} {}", "number", pl.lit(words), pl.lit(revision)),
        description_th=text_of("{} {}", "number", pl.lit(thai)),
        category=text_of("C{}", pl.col("number") % 20),
        floor=text_of("{}F", pl.col("number") % 8),
        zone=pl.lit("A"),
        unit=text_of("{}", "number"),
        opening_hours_text=pl.lit("10.00 - 22.00"),
        opening_hours=pl.lit(
            '[{"days": ["mon", "tue"], "open": "10:00", "close": "22:00", "next_day": false}]'
        ),
        tel=text_of("02-{}", "number"),
        website=text_of("https://example.com/{}", "number"),
        logo=text_of("https://cdn.example.com/logo/{}.png", "number"),
        gallery=pl.concat_list(text_of("https://cdn.example.com/g/{}.png", "number"), pl.lit("https://a/b")),
        source_active=pl.lit(True),
        attributes=pl.concat_str(pl.lit('{"attribute1": "'), pl.col("number"), pl.lit('"}')),
        fingerprint=(pl.col("number").cast(pl.UInt64) + revision * 10**9)
        .hash()
        .cast(pl.String)
        .str.zfill(64),
    )
    schema = staging.TENANTS.schema()
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in frame.columns]
    return frame.with_columns(missing).select(*schema).cast(dict(schema))


def ours(database: Database, tenants: pl.DataFrame) -> float:
    start = time.perf_counter()
    with DirectorySync(database, owner="bench") as sync:
        inputs = {"categories": CATEGORIES, "floors": FLOORS, "issues": ISSUES, "unmapped": UNMAPPED}
        sync.apply(tenants, complete=True, **inputs)
    return time.perf_counter() - start


def bare(database: Database, tenants: pl.DataFrame) -> float:
    """COPY + ON CONFLICT into one table with one unique key."""
    assignments = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
    start = time.perf_counter()
    with database.transaction() as connection:
        staging.stage(connection, tenants, staging.TENANTS)
        connection.execute(
            text(
                f"INSERT INTO bare SELECT * FROM incoming ON CONFLICT (unique_id) DO UPDATE SET {assignments}"
            )
        )
    return time.perf_counter() - start


CONTENT = [name for name in COLUMNS if name not in ("kind", "slug_base", "category", "floor")]
ASSIGNMENTS = ", ".join(f"{name} = excluded.{name}" for name in [*CONTENT[1:], "category_id", "floor_id"])


def bare_tables(database: Database, tenants: pl.DataFrame) -> float:
    """COPY + ON CONFLICT into the directory's own two tables."""
    columns = ", ".join(CONTENT)
    start = time.perf_counter()
    with database.transaction() as connection:
        staging.stage(connection, tenants, staging.TENANTS)
        for kind, table in KINDS.items():
            connection.execute(
                text(f"""INSERT INTO {table} ({columns}, slug, category_id, floor_id, created_at, updated_at)
                SELECT {", ".join(f"i.{name}" for name in CONTENT)}, slug_base || '-' || unique_id, c.id, f.id,
                    now(), now()
                FROM incoming i LEFT JOIN categories c ON c.code = category LEFT JOIN floors f ON f.code = floor
                WHERE kind = '{kind}' ON CONFLICT (unique_id) DO UPDATE SET {ASSIGNMENTS}, updated_at = now()""")
            )
    return time.perf_counter() - start


def row_statement(kind: str, place: str) -> str:
    """One upsert; `place` is how the driver writes a parameter's place."""
    json_columns = ("opening_hours", "attributes")
    values = ", ".join(
        f"CAST({place % name} AS jsonb)" if name in json_columns else place % name for name in CONTENT
    )
    return f"""
        INSERT INTO {KINDS[kind]} ({", ".join(CONTENT)}, slug, category_id, floor_id, created_at, updated_at)
        VALUES ({values}, {place % "slug"}, (SELECT id FROM categories WHERE code = {place % "category"}),
            (SELECT id FROM floors WHERE code = {place % "floor"}), now(), now())
        ON CONFLICT (unique_id) DO UPDATE SET {ASSIGNMENTS}, updated_at = now()"""


STATEMENTS = {kind: text(row_statement(kind, ":%s")) for kind in KINDS}
DRIVER_STATEMENTS = {kind: row_statement(kind, "%%(%s)s") for kind in KINDS}


def records_of(tenants: pl.DataFrame) -> list[dict[str, Any]]:
    return [{**row, "slug": f"{row['slug_base']}-{row['unique_id']}"} for row in tenants.to_dicts()]


def row_by_row(database: Database, tenants: pl.DataFrame) -> float:
    """One upsert a record, as the system did that this one replaces."""
    records = records_of(tenants)
    start = time.perf_counter()
    with database.transaction() as connection:
        for record in records:
            connection.execute(STATEMENTS[record["kind"]], record)
    return time.perf_counter() - start


def through_driver(database: Database, tenants: pl.DataFrame) -> float:
    """The same without SQLAlchemy, which costs more than half of the time of `row_by_row`."""
    records = records_of(tenants)
    start = time.perf_counter()
    with database.transaction() as connection:
        driver: Any = connection.connection.dbapi_connection
        cursor = driver.cursor()
        for record in records:
            cursor.execute(DRIVER_STATEMENTS[record["kind"]], record)
    return time.perf_counter() - start


def committing(database: Database, tenants: pl.DataFrame) -> float:
    """The same with a transaction a record, which is what an upsert a row comes to where nobody opened one."""
    records = records_of(tenants)
    start = time.perf_counter()
    for record in records:
        with database.transaction() as connection:
            connection.execute(STATEMENTS[record["kind"]], record)
    return time.perf_counter() - start


def prepare(database: Database, first_half: pl.DataFrame) -> None:
    """Both sets of tables hold the first half, and no dead rows."""
    migrate_down(database)
    migrate(database)
    columns = ", ".join(f"{name} {kind}" for name, (_, kind) in staging.TENANTS.columns.items())
    with database.transaction() as connection:
        connection.execute(text("DROP TABLE IF EXISTS bare"))
        connection.execute(text(f"CREATE TABLE bare ({columns}, UNIQUE (unique_id))"))
    ours(database, first_half)
    bare(database, first_half)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("CHECKPOINT"))


@dataclass(frozen=True)
class Measured:
    """One run of one contender."""

    rows_per_s: float
    cpu_us_per_row: float
    wal_bytes_per_row: float


def measured(
    database: Database, call: Callable[[Database, pl.DataFrame], float], frame: pl.DataFrame
) -> Measured:
    """`call` on a pool of one warm connection, so that its server process can be watched."""
    with database.transaction() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        before = connection.execute(text("SELECT pg_current_wal_insert_lsn()")).scalar_one()
    cpu = _cpu_s(pid)
    took_s = call(database, frame)
    cpu = _cpu_s(pid) - cpu
    with database.transaction() as connection:
        size = text("SELECT pg_current_wal_insert_lsn() - CAST(:before AS pg_lsn)")
        wal = float(connection.execute(size, {"before": before}).scalar_one())
        if connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != pid:
            raise RuntimeError("another connection than the one that was watched")
    return Measured(frame.height / took_s, cpu / frame.height * 1e6, wal / frame.height)


def _cpu_s(server_pid: int) -> float:
    """Processor time so far of this process and of a server process on this machine, NaN when it is elsewhere."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    try:
        fields = Path(f"/proc/{server_pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return own.ru_utime + own.ru_stime + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(database: Database, records: int, repeats: int) -> dict[str, list[Measured]]:
    """What each contender took, by repeat; each starts from the same first half."""
    everything, first_half = directory(records, 1), directory(records, 0).head(records // 2)
    # Half of the slice exists, as of the whole, and its rows lie together, as they would in a run of all.
    sliced = everything.slice(records // 2 - SLICE // 2, SLICE)
    contenders: list[tuple[str, Callable[[Database, pl.DataFrame], float], pl.DataFrame]] = [
        ("sync", ours, everything),
        ("bare copy", bare, everything),
        ("bare tables", bare_tables, everything),
        ("row by row", row_by_row, sliced),
        ("row by row, driver", through_driver, sliced),
        ("row by row, committing", committing, sliced),
    ]
    found: dict[str, list[Measured]] = {name: [] for name, _, _ in contenders} | {"sync, unchanged": []}
    for repeat in range(repeats):
        turn = repeat % len(contenders)
        for name, call, frame in contenders[turn:] + contenders[:turn]:
            prepare(database, first_half)
            found[name].append(measured(database, call, frame))
            if name == "sync":
                found["sync, unchanged"].append(measured(database, call, frame))
    return found


def median(found: list[Measured], name: str) -> float:
    return statistics.median(getattr(one, name) for one in found)


@click.command()
@click.option("--records", default=50_000, show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--database", "url", default=None, help="A PostgreSQL URL; default is an embedded server.")
def main(records: int, repeats: int, url: str | None) -> None:
    """Measure a sync beside one upsert a row and beside a bare COPY + ON CONFLICT."""
    with tempfile.TemporaryDirectory(prefix="bench-pg-", ignore_cleanup_errors=True) as folder:
        with open_database(url, folder=Path(folder) / "postgres", application_name="bench") as database:
            found = run(database, records, repeats)
            with database.transaction() as connection:
                version = connection.execute(text("SHOW server_version")).scalar_one()
        time.sleep(1)  # the server stops before its folder goes
    headings = ("contender", "rows/s, median", "every repeat", "cpu us/row", "WAL bytes/row")
    table = Table(*headings, title=f"directory sync, {records:,} records")
    for name, runs in found.items():
        table.add_row(
            name,
            f"{median(runs, 'rows_per_s'):,.0f}",
            ", ".join(f"{one.rows_per_s:,.0f}" for one in runs),
            f"{median(runs, 'cpu_us_per_row'):,.0f}",
            f"{median(runs, 'wal_bytes_per_row'):,.0f}",
        )
    rate = {name: median(runs, "rows_per_s") for name, runs in found.items()}
    cpu = {name: median(runs, "cpu_us_per_row") for name, runs in found.items()}
    summary = {
        "times one upsert a row, one transaction (wanted 20)": rate["sync"] / rate["row by row"],
        "the same in processor time": cpu["row by row"] / cpu["sync"],
        "times one upsert a row, one transaction, driver alone": rate["sync"] / rate["row by row, driver"],
        "times one upsert a row, a commit each": rate["sync"] / rate["row by row, committing"],
        "times a bare COPY + ON CONFLICT into one table (wanted 0.6)": rate["sync"] / rate["bare copy"],
        "the same one table in processor time": cpu["bare copy"] / cpu["sync"],
        "times a bare COPY + ON CONFLICT into the same two tables": rate["sync"] / rate["bare tables"],
        "a bare COPY + ON CONFLICT into one table, times one upsert a row": rate["bare copy"]
        / rate["row by row"],
    }
    console = Console()
    console.print(table)
    for name, value in summary.items():
        console.print(f"{name}: {value:,.2f}")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    about = {"cpus": os.cpu_count(), "python": platform.python_version(), "postgresql": version}
    runs_json = {name: [asdict(one) for one in runs] for name, runs in found.items()}
    RESULTS.write_text(json.dumps({"machine": about, "runs": runs_json, "summary": summary}, indent=1) + "\n")


if __name__ == "__main__":
    main()
