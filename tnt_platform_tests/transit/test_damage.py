"""One random damage to one random file: the clean rows are published, or the difference is in quarantine, or nothing
is published. Never a third thing.

What no reader can notice is left out, and docs/datasets/transit.md lists it: a value that is wrong and looks right, two
columns of one type that were swapped under their own header names, a row that was never written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.errors import CheckFailed
from tnt_platform.storage.objects import Objects
from tnt_platform_tests.rounds import tries
from tnt_platform_tests.transit.scenes import DAY, Scene, parcels

NAMES = ("parcel", "city", "due", "came")
Row = tuple[str, str, str, str]
COLUMNS = [
    {"name": "parcel", "required": True, "pattern": "P[0-9]{4}"},
    {"name": "city"},
    {"name": "expected_date", "type": "date", "required": True},
    {"name": "actual_date", "type": "date", "required": True},
]
LAYOUT = {
    "files": "*",
    "columns": {"parcel": "parcel", "city": "city", "expected_date": "due", "actual_date": "came"},
}
TEXT = st.text(st.sampled_from("abcdeñü ,;\"'-0"), min_size=1, max_size=8).filter(
    lambda text: text.strip() == text
)


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    """Rows with distinct keys, texts that need quotes among them."""
    cities = draw(st.lists(TEXT, min_size=3, max_size=40))
    first = date(2026, 1, 1)
    return [
        (f"P{number:04}", city, f"{first + timedelta(days=number)}", f"{first + timedelta(days=number + 2)}")
        for number, city in enumerate(cities)
    ]


def written(rows: list[Row], names: tuple[str, ...] = NAMES) -> list[str]:
    """The lines of a file; every city is quoted."""
    lines = [",".join(names)]
    for parcel, city, due, came in rows:
        quoted = city.replace('"', '""')
        lines.append(f'{parcel},"{quoted}",{due},{came}')
    return lines


Damage = Callable[[list[str], int], bytes]


def joined(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def changed(lines: list[str], at: int, change: Callable[[str], str]) -> bytes:
    return joined([change(line) if number == at else line for number, line in enumerate(lines)])


def drop_separator(lines: list[str], at: int) -> bytes:
    return changed(lines, at, lambda line: line[::-1].replace(",", "", 1)[::-1])


def add_separator(lines: list[str], at: int) -> bytes:
    return changed(lines, at, lambda line: line.replace(",", ",,", 1))


def double_line(lines: list[str], at: int) -> bytes:
    return joined([*lines[: at + 1], *lines[at:]])


def swap_columns(lines: list[str], at: int) -> bytes:
    def swap(line: str) -> str:
        first, _, rest = line.partition(",")
        middle, _, last = rest.rpartition(",")
        return f"{last},{middle},{first}"

    return joined([swap(line) if number >= at else line for number, line in enumerate(lines)])


def cut(lines: list[str], at: int) -> bytes:
    whole = joined(lines)
    return whole[: len(joined(lines[:at])) + len(lines[at].encode()) // 2]


def other_encoding(lines: list[str], at: int) -> bytes:
    return joined(lines).decode().encode("cp1252")


def insert_note(lines: list[str], at: int) -> bytes:
    return joined([*lines[:at], "checked so far, by Ana", *lines[at:]])


def rename_header(lines: list[str], at: int) -> bytes:
    name = NAMES[at % len(NAMES)]
    return changed(lines, 0, lambda line: line.replace(name, f"{name}s"))


def drop_header(lines: list[str], at: int) -> bytes:
    return joined(lines[1:])


def open_quote(lines: list[str], at: int) -> bytes:
    return changed(lines, at, lambda line: line[::-1].replace('"', "", 1)[::-1])


def other_date_order(lines: list[str], at: int) -> bytes:
    return changed(lines, at, lambda line: line[:-10] + "/".join(reversed(line[-10:].split("-"))))


DAMAGES: tuple[Damage, ...] = (
    drop_separator,
    add_separator,
    double_line,
    swap_columns,
    cut,
    other_encoding,
    insert_note,
    rename_header,
    drop_header,
    open_quote,
    other_date_order,
)


@settings(max_examples=tries(60), deadline=None)
@given(tables(), st.sampled_from(DAMAGES), st.integers(1, 1_000))
def test_a_damaged_file_publishes_clean_rows_or_quarantines_or_blocks(
    rows: list[Row], damage: Damage, number: int
) -> None:
    lines = written(rows)
    data = damage(lines, 1 + number % (len(lines) - 1))
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        spec = parcels(folder, columns=COLUMNS, layouts=[LAYOUT])
        made = Scene(spec, Objects.open((folder / "raw").as_uri()), folder / "home")
        made.raw.put(f"in/{DAY}/anna.csv", data)
        try:
            made.run(steps=["shipper_files", "shipments"])
        except CheckFailed:
            return
        columns = ["parcel", "city", "expected_date", "actual_date"]
        published = [
            (parcel, city, f"{due}", f"{came}")
            for parcel, city, due, came in made.rows("shipments").select(columns).iter_rows()
        ]
        rejected = made.snapshot("shipments").quarantine()
        made.check_conservation()
    clean = [(parcel, city.strip(), due, came) for parcel, city, due, came in rows]
    assert set(published) <= set(clean), (damage.__name__, data, published)
    missing = len(clean) - len(set(published))
    if damage is cut:
        # Nothing tells how many rows followed; the one that was cut tells that the file was.
        assert not rejected.is_empty()
        return
    assert missing <= rejected.height or "malformed_quotes" in rejected["reason_code"].to_list(), (
        damage.__name__,
        data,
        rejected.rows(),
    )
    assert len(published) - len(set(published)) <= (damage is double_line)
