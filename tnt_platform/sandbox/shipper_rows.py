"""Generate rows of shipper files, good and malformed, each with its expected outcome."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass

from tnt_platform.sandbox.reference import Shipper
from tnt_platform.sandbox.zones import Region, lane, regions

COLUMNS = (
    "origin",
    "destination",
    "state",
    "expected_transit_days",
    "second_transit_days",
    "zone",
    "flag_1",
    "flag_2",
)
# The faults of malformed rows, all equally likely.
BAD_ROW_KINDS = ("too_few_columns", "words_in_days", "negative_days", "four_digit_postal_code", "nul_in_row")
# Rows that are neither shipments nor faults.
OTHER_ROW_KINDS = ("blank_line", "repeated_row")
# The expected outcomes of good rows.
GOOD_ROW_KINDS = ("passes", "fails", "no_ground")
NO_GROUND_SHARE = 0.03


@dataclass(frozen=True)
class MadeRow:
    """The fields of a row (none for a blank line) and its kind."""

    fields: tuple[str, ...]
    kind: str


@functools.cache
def _regions_by_ground() -> tuple[tuple[Region, ...], tuple[Region, ...]]:
    served = tuple(region for region in regions() if region.has_ground)
    return served, tuple(region for region in regions() if not region.has_ground)


def make_rows(
    this: Shipper, chance: random.Random, *, rows: int, wrong_share: float, dirt_rate: float
) -> list[MadeRow]:
    """Generate rows to different destinations, some of them malformed, repeated or blank."""
    made: list[MadeRow] = []
    used: set[str] = set()
    while len(made) < rows:
        row = _good_row(this, chance, used, wrong_share)
        if chance.random() < dirt_rate:
            row = _with_fault(row, chance, made)
        made.append(row)
    return made


def _good_row(this: Shipper, chance: random.Random, used: set[str], wrong_share: float) -> MadeRow:
    served, unserved = _regions_by_ground()
    while True:
        region = chance.choice(unserved if chance.random() < NO_GROUND_SHARE else served)
        code = f"{chance.randint(region.first, region.last):03d}{chance.randint(0, 99):02d}"
        if code not in used:
            used.add(code)
            break
    ground = lane(this.region, region)
    if ground is None:
        return MadeRow((this.postal_code, code, region.state, "5", "6", "45"), "no_ground")
    zone, days = ground
    kind, expected = "passes", days
    if chance.random() < wrong_share:
        kind, expected = "fails", max(1, days + chance.choice((-1, 1, 2)))
        if expected == days:
            expected = days + 1
    fields = (this.postal_code, code, region.state, str(expected), str(expected + 1), str(zone))
    # Rows end with none, one or two flags.
    return MadeRow(fields + (("Y", "Y"), ("Y",), ())[chance.randrange(3)], kind)


def _with_fault(row: MadeRow, chance: random.Random, before: list[MadeRow]) -> MadeRow:
    kind = chance.choice((*BAD_ROW_KINDS, *OTHER_ROW_KINDS))
    fields = list(row.fields)
    match kind:
        case "too_few_columns":
            fields = fields[: chance.randint(1, 3)]
        case "words_in_days":
            fields[3] = chance.choice(("three", "N/A", "2 days", "-"))
        case "negative_days":
            fields[3] = f"-{fields[3]}"
        case "four_digit_postal_code":
            fields[1] = fields[1][1:]
        case "nul_in_row":
            fields[2] = f"{fields[2][0]}\0{fields[2][1:]}"
        case "blank_line":
            fields = []
        case "repeated_row":
            good = [earlier for earlier in before if earlier.kind in GOOD_ROW_KINDS]
            if not good:
                return row
            fields = list(chance.choice(good).fields)
    return MadeRow(tuple(fields), kind)
