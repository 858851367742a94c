"""Generate shipper files in the layout of the real ones, with malformed rows, and count each kind of row exactly.

    python -m tnt_platform.sandbox.generator FOLDER --dates 2026-11-18 2026-11-19 --files 1000

The bytes of a file depend only on the seed, its date and its shipper. Existing files with the same content are not
touched, so that a second run leaves a pipeline nothing to do.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gzip
import json
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tnt_platform.errors import NotFound
from tnt_platform.sandbox.reference import reference_csv, shipper, shipper_id
from tnt_platform.sandbox.shipper_rows import BAD_ROW_KINDS, COLUMNS, GOOD_ROW_KINDS, MadeRow, make_rows

# One file of each kind on the first date, besides the ordinary ones.
SPECIAL_FILES = (
    "crlf",
    "bare_cr",
    "bom",
    "gzip",
    "truncated_gzip",
    "empty",
    "unknown_shipper",
    "headed_csv",
)
SUFFIXES = {"gzip": ".txt.gz", "truncated_gzip": ".txt.gz", "headed_csv": ".csv"}
# Special files belong to shippers with high numbers, out of the range of ordinary ones.
FIRST_SPECIAL_SHIPPER = 100_000


class ObjectSink(Protocol):
    """A destination of objects: a bucket prefix, or `FolderSink`."""

    def get(self, key: str) -> bytes:
        """Return the object's bytes, or raise NotFound."""

    def put(self, key: str, data: bytes) -> object:
        """Write the object atomically."""


@dataclass(frozen=True)
class SamplePlan:
    """What to generate. `files` is per date; the share `wrong_share` of expected days differs from the zone table."""

    dates: Sequence[dt.date]
    files: int = 100
    rows_per_file: int = 24
    wrong_share: float = 0.1
    dirt_rate: float = 0.02
    special_files: bool = True
    seed: int = 0
    prefix: str = "transit"
    reference_key: str = "config/dest.csv"


@dataclass(frozen=True)
class MadeFile:
    """One file: its content, and its readable rows by kind.

    Kinds of rows: passes, fails, no_ground (good), too_few_columns, words_in_days, negative_days,
    four_digit_postal_code, nul_in_row (bad), blank_line, repeated_row. A truncated gzip file has no
    countable rows. Good rows of an unknown shipper parse, but have no reference.
    """

    key: str
    date: str
    kind: str
    data: bytes = field(repr=False)
    rows: Counter[str] = field(default_factory=Counter)


@dataclass
class SampleSummary:
    """Totals over all files of a plan, and the number of files written."""

    files: int = 0
    written: int = 0
    size_bytes: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    rows_by_date: dict[str, Counter[str]] = field(default_factory=dict)
    rows_without_reference: int = 0
    unreadable_files: list[str] = field(default_factory=list)
    empty_files: list[str] = field(default_factory=list)
    special_keys: dict[str, str] = field(default_factory=dict)

    def add(self, made: MadeFile) -> None:
        """Count one file."""
        self.files += 1
        self.size_bytes += len(made.data)
        self.rows += made.rows
        self.rows_by_date.setdefault(made.date, Counter()).update(made.rows)
        if made.kind != "ordinary":
            self.special_keys[made.kind] = made.key
        if made.kind == "truncated_gzip":
            self.unreadable_files.append(made.key)
        if made.kind == "empty":
            self.empty_files.append(made.key)
        if made.kind == "unknown_shipper":
            self.rows_without_reference += sum(made.rows[kind] for kind in GOOD_ROW_KINDS)

    @property
    def good_rows(self) -> int:
        """Rows that parse, without repetitions."""
        return sum(self.rows[kind] for kind in GOOD_ROW_KINDS)

    @property
    def bad_rows(self) -> int:
        """Rows that the reader must reject."""
        return sum(self.rows[kind] for kind in BAD_ROW_KINDS)


class FolderSink:
    """Stores objects as files below a folder, atomically."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> bytes:
        """Return the file's bytes, or raise NotFound."""
        try:
            return (self._folder / key).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"{key} is not in {self._folder}") from None

    def put(self, key: str, data: bytes) -> None:
        """Write to a temporary file outside the prefixes, then rename, so that no listing sees a partial file."""
        path = self._folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".incoming-", dir=self._folder)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)


def write_samples(plan: SamplePlan, sink: ObjectSink | Path) -> SampleSummary:
    """Write every file of the plan and the shipper reference, except those that exist with the same content."""
    target = FolderSink(sink) if isinstance(sink, Path) else sink
    summary = SampleSummary()
    for made in made_files(plan):
        summary.add(made)
        summary.written += _put_if_different(target, made.key, made.data)
    summary.written += _put_if_different(target, plan.reference_key, reference_data(plan))
    return summary


def summarize(plan: SamplePlan) -> SampleSummary:
    """Count the plan's files and rows without writing anything."""
    summary = SampleSummary()
    for made in made_files(plan):
        summary.add(made)
    return summary


def reference_data(plan: SamplePlan) -> bytes:
    """Return the shipper reference: every shipper of the plan but the unknown one."""
    special = range(FIRST_SPECIAL_SHIPPER, FIRST_SPECIAL_SHIPPER + len(SPECIAL_FILES))
    known = [n for n, kind in zip(special, SPECIAL_FILES, strict=True) if kind != "unknown_shipper"]
    return reference_csv([*range(plan.files), *known], plan.seed)


def made_files(plan: SamplePlan) -> Iterator[MadeFile]:
    """Yield every shipper file of the plan, by date and shipper."""
    for day in plan.dates:
        for number in range(plan.files):
            yield _made_file(plan, day, number, "ordinary")
    if plan.special_files and plan.dates:
        for offset, kind in enumerate(SPECIAL_FILES):
            yield _made_file(plan, plan.dates[0], FIRST_SPECIAL_SHIPPER + offset, kind)


def _made_file(plan: SamplePlan, day: dt.date, number: int, kind: str) -> MadeFile:
    this = shipper(number, plan.seed)
    chance = random.Random(f"file:{plan.seed}:{day}:{this.shipper_id}")
    # Special files have no malformed rows, so that what happens to them has one cause.
    dirt_rate = plan.dirt_rate if kind == "ordinary" else 0.0
    rows = make_rows(this, chance, rows=plan.rows_per_file, wrong_share=plan.wrong_share, dirt_rate=dirt_rate)
    counted = Counter() if kind in ("truncated_gzip", "empty") else Counter(row.kind for row in rows)
    key = f"{plan.prefix}/{day.isoformat()}/{shipper_id(number)}{SUFFIXES.get(kind, '.txt')}".lstrip("/")
    return MadeFile(key, day.isoformat(), kind, _encoded(rows, kind), counted)


def _encoded(rows: Sequence[MadeRow], kind: str) -> bytes:
    separator, newline = ("," if kind == "headed_csv" else "|"), "\n"
    if kind in ("crlf", "bare_cr"):
        newline = {"crlf": "\r\n", "bare_cr": "\r"}[kind]
    lines = [separator.join(row.fields) for row in rows]
    if kind == "headed_csv":
        # A file with a header has the same number of cells in every row.
        missing = [separator * (len(COLUMNS) - len(row.fields)) for row in rows]
        lines = [separator.join(COLUMNS), *(a + b for a, b in zip(lines, missing, strict=True))]
    data = (newline.join(lines) + newline).encode()
    match kind:
        case "bom":
            return b"\xef\xbb\xbf" + data
        case "gzip":
            return gzip.compress(data, mtime=0)
        case "truncated_gzip":
            packed = gzip.compress(data, mtime=0)
            return packed[: len(packed) * 2 // 3]
        case "empty":
            return b""
    return data


def _put_if_different(sink: ObjectSink, key: str, data: bytes) -> int:
    try:
        if sink.get(key) == data:
            return 0
    except NotFound:
        pass
    sink.put(key, data)
    return 1


def main() -> None:
    """Write sample files into a folder and print what is in them."""
    parser = argparse.ArgumentParser(description="Write generated shipper files.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dates", type=dt.date.fromisoformat, nargs="+", required=True)
    parser.add_argument("--files", type=int, default=100, help="per date")
    parser.add_argument("--rows", type=int, default=24, help="per file")
    parser.add_argument("--dirt-rate", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    plan = SamplePlan(
        dates=options.dates,
        files=options.files,
        rows_per_file=options.rows,
        dirt_rate=options.dirt_rate,
        seed=options.seed,
    )
    summary = write_samples(plan, options.folder)
    report = {"files": summary.files, "written": summary.written, "rows": dict(sorted(summary.rows.items()))}
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
