"""What a sync of the mall directory costs: 50,000 records, half of them there already, beside two peers.

    python -m bench.directory_sync [--records 50000] [--repeats 4] [--database URL]

The peers run on the same server, in the same run, with the same records:
  row by row   one INSERT ... ON CONFLICT a record into the same two tables and one a translation, prepared
               parameters, one transaction; on a slice of the records, as rows/s; and the same with a commit each
  bare copy    COPY into a temporary table, then INSERT ... ON CONFLICT DO UPDATE into one table that has all
               the columns (titles and descriptions too) and one key
  bare tables  the same COPY, then INSERT ... ON CONFLICT DO UPDATE into shops, dinings and their translations
The bare ones keep no log and know no slugs, moves, withdrawals, removed translations or counts; ours does all of
that. Every repeat starts from the same first half; the order rotates.
Prints a table and writes bench/results/directory_sync.json.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import polars as pl
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, text

from tnt_platform.services import directory_staging as staging
from tnt_platform.services.directory_sync import DirectorySync
from tnt_platform.services.directory_tables import KINDS
from tnt_platform.services.migrations import migrate, migrate_down
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


CONTENT = [
    name
    for name in COLUMNS
    if name not in ("kind", "slug_base", "category", "floor")
    and not name.startswith(("title", "description"))
]


def row_statement(kind: str) -> str:
    casts = {"opening_hours": "CAST(:opening_hours AS jsonb)", "attributes": "CAST(:attributes AS jsonb)"}
    values = ", ".join(casts.get(name, f":{name}") for name in CONTENT)
    assignments = ", ".join(f"{name} = excluded.{name}" for name in [*CONTENT[1:], "category_id", "floor_id"])
    return f"""
        INSERT INTO {KINDS[kind]} ({", ".join(CONTENT)}, slug, category_id, floor_id, created_at, updated_at)
        VALUES ({values}, :slug, (SELECT id FROM categories WHERE code = :category),
            (SELECT id FROM floors WHERE code = :floor), now(), now())
        ON CONFLICT (unique_id) DO UPDATE SET {assignments}, updated_at = now() RETURNING id"""


def bare_tables(database: Database, tenants: pl.DataFrame) -> float:
    """COPY + ON CONFLICT into the directory's own four tables."""
    columns = ", ".join(CONTENT)
    assignments = ", ".join(f"{name} = excluded.{name}" for name in [*CONTENT[1:], "category_id", "floor_id"])
    start = time.perf_counter()
    with database.transaction() as connection:
        staging.stage(connection, tenants, staging.TENANTS)
        for kind, table in KINDS.items():
            connection.execute(
                text(f"""INSERT INTO {table} ({columns}, slug, category_id, floor_id, created_at, updated_at)
                SELECT {", ".join(f"i.{name}" for name in CONTENT)}, slug_base || '-' || unique_id, c.id, f.id,
                    now(), now()
                FROM incoming i LEFT JOIN categories c ON c.code = category LEFT JOIN floors f ON f.code = floor
                WHERE kind = '{kind}' ON CONFLICT (unique_id) DO UPDATE SET {assignments}, updated_at = now()""")
            )
            connection.execute(
                text(f"""INSERT INTO {kind}_translations
                SELECT t.id, locale, title, description FROM incoming i JOIN {table} t USING (unique_id)
                CROSS JOIN LATERAL (VALUES ('en', title_en, description_en), ('th', title_th, description_th))
                    AS v (locale, title, description)
                ON CONFLICT ({kind}_id, locale) DO UPDATE
                SET title = excluded.title, description = excluded.description""")
            )
    return time.perf_counter() - start


def row_by_row(database: Database, tenants: pl.DataFrame) -> float:
    """One upsert a record and one a translation, as the system did that this one replaces."""
    records = [{**row, "slug": f"{row['slug_base']}-{row['unique_id']}"} for row in tenants.to_dicts()]
    start = time.perf_counter()
    with database.transaction() as connection:
        for record in records:
            _one_record(connection, record)
    return time.perf_counter() - start


def committing(database: Database, tenants: pl.DataFrame) -> float:
    """The same with a transaction a record, which is what an upsert a row comes to where nobody opened one."""
    records = [{**row, "slug": f"{row['slug_base']}-{row['unique_id']}"} for row in tenants.to_dicts()]
    start = time.perf_counter()
    for record in records:
        with database.transaction() as connection:
            _one_record(connection, record)
    return time.perf_counter() - start


def _one_record(connection: Connection, record: dict[str, Any]) -> None:
    kind = record["kind"]
    row_id = connection.execute(text(row_statement(kind)), record).scalar_one()
    for locale in ("en", "th"):
        values = {"id": row_id, "locale": locale, "title": record[f"title_{locale}"]}
        connection.execute(
            text(f"""INSERT INTO {kind}_translations VALUES (:id, :locale, :title, :description)
                ON CONFLICT ({kind}_id, locale) DO UPDATE
                SET title = excluded.title, description = excluded.description"""),
            {**values, "description": record[f"description_{locale}"]},
        )


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


def run(database: Database, records: int, repeats: int) -> dict[str, list[float]]:
    """Rows a second of each contender, by repeat; each starts from the same first half."""
    everything, first_half = directory(records, 1), directory(records, 0).head(records // 2)
    # Every other record of the slice exists, as of the whole.
    sliced = everything.gather_every(max(1, records // SLICE)).head(SLICE)
    contenders: list[tuple[str, Callable[[Database, pl.DataFrame], float], pl.DataFrame]] = [
        ("sync", ours, everything),
        ("bare copy", bare, everything),
        ("bare tables", bare_tables, everything),
        ("row by row", row_by_row, sliced),
        ("row by row, a commit each", committing, sliced),
    ]
    rates: dict[str, list[float]] = {name: [] for name, _, _ in contenders} | {"sync, unchanged": []}
    for repeat in range(repeats):
        for name, call, frame in contenders[repeat % 5 :] + contenders[: repeat % 5]:
            prepare(database, first_half)
            rates[name].append(frame.height / call(database, frame))
            if name == "sync":
                rates["sync, unchanged"].append(records / call(database, frame))
    return rates


@click.command()
@click.option("--records", default=50_000, show_default=True)
@click.option("--repeats", default=4, show_default=True)
@click.option("--database", "url", default=None, help="A PostgreSQL URL; default is an embedded server.")
def main(records: int, repeats: int, url: str | None) -> None:
    """Measure a sync beside one upsert a row and beside a bare COPY + ON CONFLICT."""
    with tempfile.TemporaryDirectory(prefix="bench-pg-", ignore_cleanup_errors=True) as folder:
        with open_database(url, folder=Path(folder) / "postgres", application_name="bench") as database:
            rates = run(database, records, repeats)
            with database.transaction() as connection:
                version = connection.execute(text("SHOW server_version")).scalar_one()
        time.sleep(1)  # the server stops before its folder goes
    table = Table("contender", "rows/s, median", "every repeat", title=f"directory sync, {records:,} records")
    for name, found in rates.items():
        table.add_row(name, f"{statistics.median(found):,.0f}", ", ".join(f"{rate:,.0f}" for rate in found))
    median = {name: statistics.median(found) for name, found in rates.items()}
    summary = {
        "times one upsert a row, all in one transaction (wanted 20)": median["sync"] / median["row by row"],
        "times one upsert a row, a commit each (wanted 20)": median["sync"]
        / median["row by row, a commit each"],
        "times a bare COPY + ON CONFLICT into one table (wanted 0.6)": median["sync"] / median["bare copy"],
        "times a bare COPY + ON CONFLICT into the same four tables": median["sync"] / median["bare tables"],
    }
    console = Console()
    console.print(table)
    for name, value in summary.items():
        console.print(f"{name}: {value:,.2f}")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    about = {"cpus": os.cpu_count(), "python": platform.python_version(), "postgresql": version}
    RESULTS.write_text(
        json.dumps({"machine": about, "rows_per_s": rates, "summary": summary}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
