"""Generate shippers: their ids, where they ship from, and a typical parcel."""

from __future__ import annotations

import csv
import functools
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass

from tnt_platform.sandbox.zones import Region, regions

HEADER = (
    "locn_nbr",
    "shipper_id",
    "barcode",
    "weight",
    "hazmat",
    "length",
    "width",
    "height",
    "address1",
    "city",
    "country",
    "postal_code",
    "state_province",
    "delivery_method",
    "locnType",
)
STREETS = ("Commerce St", "Industrial Way", "Main St", "O'Hara Ave, Dock 4", "Río Grande Blvd", "Depot Rd")


@dataclass(frozen=True)
class Shipper:
    """One shipper; ids and postal codes are strings because of their leading zeros."""

    shipper_id: str
    region: Region
    postal_code: str


def shipper_id(number: int) -> str:
    """Return an id of six digits, most with leading zeros."""
    return f"{number * 7 + 11:06d}"


@functools.cache
def shipper(number: int, seed: int) -> Shipper:
    """Return shipper `number` (from 0), which does not depend on the number of shippers."""
    chance = random.Random(f"shipper:{seed}:{number}")
    served = [region for region in regions() if region.has_ground]
    region = chance.choice(served)
    code = f"{chance.randint(region.first, region.last):03d}{chance.randint(1, 99):02d}"
    return Shipper(shipper_id(number), region, code)


def reference_csv(numbers: Sequence[int], seed: int) -> bytes:
    """Return dest.csv: one row per shipper."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for number in numbers:
        writer.writerow(_reference_row(number, seed))
    return text.getvalue().encode()


def _reference_row(number: int, seed: int) -> tuple[object, ...]:
    this = shipper(number, seed)
    chance = random.Random(f"reference:{seed}:{number}")
    return (
        f"{number + 1:05d}",
        this.shipper_id,
        f"{chance.randrange(10**12):012d}",
        f"{chance.randint(2, 600) / 10:.1f}",
        chance.choice("NNNNNNNNNY"),
        chance.randint(4, 40),
        chance.randint(4, 30),
        chance.randint(2, 24),
        f"{chance.randint(1, 9999)} {chance.choice(STREETS)}",
        this.region.city,
        "US",
        this.postal_code,
        this.region.state,
        chance.choice(("GROUND", "GROUND", "HOME")),
        chance.choice(("DC", "STORE")),
    )
