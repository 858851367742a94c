"""Pure: read the files of one batch into typed rows, rejected rows, and counts by file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tnt_platform.readers.columns import output_schema, parse_columns
from tnt_platform.readers.delimited import RawFile, Sections, take_apart
from tnt_platform.readers.plain import type_plain_cells
from tnt_platform.transit.layouts import FileKind
from tnt_platform.transit.spec import TransitSpec
from tnt_platform.transit.transforms.cases import QUARANTINE_SCHEMA, as_quarantine, rejected_files

# An Enum of up to so many strings takes one byte per row.
MAX_CATEGORIES = 255
FEW_LINES = 5_000
FILE_SCHEMA: dict[str, pl.DataType] = {
    "file_key": pl.String(),
    "sha256": pl.String(),
    "rows_in": pl.Int64(),
    "rows_out": pl.Int64(),
    "rows_quarantined": pl.Int64(),
    "rows_filtered": pl.Int64(),
    "rows_deduplicated": pl.Int64(),
    "status": pl.String(),
    "encoding": pl.String(),
}


@dataclass(frozen=True)
class ParsedBatch:
    """Typed rows, rejected rows (QUARANTINE_SCHEMA) and what each file of the batch held (FILE_SCHEMA).

    good: `shipments_schema`, but Enum for the fields of the key and for columns with few different strings, which
    are written as one small number per row.
    """

    good: pl.DataFrame
    bad: pl.DataFrame
    files: pl.DataFrame


def shipments_schema(spec: TransitSpec) -> dict[str, pl.DataType]:
    """Return the columns of `<dataset>/shipments`: the row's origin, the fields of its key, its own columns."""
    named = {name: pl.Utf8() for name in spec.source.fields}
    columns = output_schema(spec.columns)
    return {"file_key": pl.Utf8(), "line_no": pl.Int64(), **named, **columns}


def parse_batch(spec: TransitSpec, batch: Sequence[RawFile]) -> ParsedBatch:
    """Read the files of one batch."""
    good: list[pl.DataFrame] = []
    bad: list[pl.DataFrame] = [pl.DataFrame(schema=QUARANTINE_SCHEMA)]
    files: list[pl.DataFrame] = []
    labels = _labels(spec, batch)
    by_kind: dict[int, list[RawFile]] = {}
    for file in batch:
        kind = spec.kind_of(file.key)
        by_kind.setdefault(spec.file_kinds.index(kind) if kind else -1, []).append(file)
    for index, members in by_kind.items():
        if index < 0:
            parsed = _no_layout(spec, members)
        else:
            parsed = _parse_kind(spec, spec.file_kinds[index], members, labels)
            good.append(parsed.good)
        bad.append(parsed.bad)
        files.append(parsed.files)
    empty = pl.DataFrame(schema={**shipments_schema(spec), **labels.schema})
    return ParsedBatch(_stacked([empty, *good]), pl.concat(bad), pl.concat(files))


def _labels(spec: TransitSpec, batch: Sequence[RawFile]) -> pl.DataFrame:
    """Return one row per file: file_key and the fields of its key, as Enum."""
    named = {"file_key": pl.Utf8, **dict.fromkeys(spec.source.fields, pl.Utf8)}
    labels = pl.DataFrame([{"file_key": f.key, **_fields_of(spec, f.key)} for f in batch], schema=named)
    return labels.cast({c.name: pl.Enum(c.drop_nulls().unique(maintain_order=True)) for c in labels})


def _parse_kind(
    spec: TransitSpec, kind: FileKind, members: Sequence[RawFile], labels: pl.DataFrame
) -> ParsedBatch:
    sections = take_apart(members, kind.layout)
    keys = pl.Series("file_key", [file.key for file in members], dtype=labels.schema["file_key"])
    labels = keys.to_frame().join(labels, on="file_key", how="left", maintain_order="left")
    quick, sections = _quick_rows(sections, kind, labels)
    rows = sections.rows()
    typed, rejected = parse_columns(rows.good_cells, kind.columns, few=sections.lines_left <= FEW_LINES)
    careful = typed.cast({"file_key": keys.dtype}).join(
        labels, on="file_key", how="left", maintain_order="left"
    )
    good = _in_order([*quick, careful]).select(list(shipments_schema(spec)))
    bad = pl.concat([as_quarantine(rows.bad), as_quarantine(rejected)])
    return ParsedBatch(good, bad, _count_files(members, rows.files, good, bad))


def _quick_rows(
    sections: Sections, kind: FileKind, labels: pl.DataFrame
) -> tuple[list[pl.DataFrame], Sections]:
    """Type most lines in bulk, without their raw text; the sections returned hold all others."""
    quick = []
    for lines in sections.plain():
        typed, taken = type_plain_cells(lines.cells, kind.columns)
        origin = labels[lines.file_at].with_columns(line_no=lines.line_no)
        quick.append(pl.concat([origin.filter(taken), typed], how="horizontal"))
        sections = sections.without(lines, but=taken.not_().arg_true().to_numpy())
    return quick, sections


def _in_order(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Merge frames into the order of the files, then of the lines, in which each of them is already."""
    filled = sum(not frame.is_empty() for frame in frames)
    rows = _stacked(frames)
    return rows.sort("file_key", "line_no") if filled > 1 else rows


def _stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Concatenate the frames that have rows, with a type for each string column that holds the strings of all."""
    filled = [frame for frame in frames if not frame.is_empty()] or frames[:1]
    schema = filled[0].schema
    mixed = [name for name in schema if any(frame.schema[name] != schema[name] for frame in filled)]
    types = pl.Schema({name: _type_of_strings([frame[name] for frame in filled]) for name in mixed})
    return pl.concat([frame.select(list(schema)).cast(types) for frame in filled])


def _type_of_strings(columns: Sequence[pl.Series]) -> pl.DataType:
    found: set[str] = set()
    for column in columns:
        found.update(
            column.dtype.categories if isinstance(column.dtype, pl.Enum) else column.drop_nulls().unique()
        )
    return pl.Enum(sorted(found)) if len(found) <= MAX_CATEGORIES else pl.String()


def _count_files(
    members: Sequence[RawFile], read: pl.DataFrame, good: pl.DataFrame, bad: pl.DataFrame
) -> pl.DataFrame:
    # In Python: a batch has few files, and each operation on a frame costs more than counting all of them.
    found = {row["file_key"]: row for row in read.iter_rows(named=True)}
    out, rejected = _rows_by_file(good["file_key"]), _rows_by_file(bad["file_key"])
    counts = [
        {
            "file_key": file.key,
            "sha256": _sha256(file.data),
            "rows_in": found[file.key]["rows_in"],
            "rows_out": out[file.key],
            "rows_quarantined": rejected[file.key],
            "rows_filtered": found[file.key]["blank_lines"],
            "rows_deduplicated": 0,
            "status": "accepted",
            "encoding": found[file.key]["encoding"],
        }
        for file in members
    ]
    return pl.DataFrame(counts, schema=FILE_SCHEMA)


def _rows_by_file(file_keys: pl.Series) -> Counter[str]:
    """Count the rows of each file; the rows of a file are next to each other, so runs are few and quick to find."""
    runs = file_keys.rle()
    rows: Counter[str] = Counter()
    for key, height in zip(runs.struct["value"].to_list(), runs.struct["len"].to_list(), strict=True):
        rows[key] += height
    return rows


def _no_layout(spec: TransitSpec, members: Sequence[RawFile]) -> ParsedBatch:
    globs = ", ".join(layout.files for layout in spec.layouts)
    reason = (
        f"no layout of {spec.name} fits this name (known: {globs}); rename it or add a layout to the YAML"
    )
    return rejected_whole(spec, members, "unknown_kind_of_file", reason)


def rejected_whole(spec: TransitSpec, members: Sequence[RawFile], code: str, reason: str) -> ParsedBatch:
    """Quarantine files that can't be read at all: each is one row in and one row quarantined, at line 0."""
    keys = [file.key for file in members]
    bad = rejected_files(keys, code, reason)
    files = whole_files(keys, [_sha256(file.data) for file in members])
    return ParsedBatch(pl.DataFrame(schema=shipments_schema(spec)), bad, files)


def whole_files(keys: Sequence[str], hashes: Sequence[str | None]) -> pl.DataFrame:
    """Return FILE_SCHEMA of files that are quarantined whole."""
    counts = {"rows_in": 1, "rows_out": 0, "rows_quarantined": 1, "rows_filtered": 0, "rows_deduplicated": 0}
    return pl.DataFrame(
        {"file_key": keys, "sha256": hashes, **counts, "status": "accepted", "encoding": None},
        schema=FILE_SCHEMA,
    )


def _fields_of(spec: TransitSpec, key: str) -> dict[str, str | None]:
    found = spec.source.whole_key.fullmatch(key)
    return {name: found[name] if found else None for name in spec.source.fields}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
