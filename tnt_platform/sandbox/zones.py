"""A generated ground zone table: ZIP3 ranges, distances between their approximate centres, zones and days.

`zones.csv` is the output of `zone_table()`; a test keeps them equal. Zones 2 to 8 and 1 to 6 days resemble a
carrier's chart without being one. Islands, Alaska and the Pacific territories have no ground service.
"""

from __future__ import annotations

import csv
import functools
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ZONES_CSV = Path(__file__).with_name("zones.csv")
HEADER = (
    "origin_zip3_from",
    "origin_zip3_to",
    "destination_zip3_from",
    "destination_zip3_to",
    "zone",
    "ground_days",
)
WITHOUT_GROUND = ((6, 9), (967, 969), (995, 999))
ZONE_MILES = ((150, 2), (300, 3), (600, 4), (1000, 5), (1400, 6), (1800, 7), (math.inf, 8))
DAYS_MILES = ((150, 1), (400, 2), (800, 3), (1300, 4), (2000, 5), (math.inf, 6))


@dataclass(frozen=True)
class Region:
    """A range of ZIP3 codes (both ends included), its state, a city and an approximate centre in degrees."""

    first: int
    last: int
    state: str
    city: str
    latitude: float
    longitude: float

    @property
    def has_ground(self) -> bool:
        return not any(first <= self.first <= last for first, last in WITHOUT_GROUND)


_REGIONS = """
005-005 NY Holtsville 40.8 -73.0|006-009 PR San_Juan 18.4 -66.1|010-027 MA Boston 42.3 -71.6
028-029 RI Providence 41.7 -71.5|030-038 NH Concord 43.2 -71.5|039-049 ME Augusta 44.4 -69.3
050-059 VT Montpelier 44.1 -72.7|060-069 CT Hartford 41.6 -72.7|070-089 NJ Newark 40.3 -74.5
100-119 NY New_York 40.8 -73.6|120-149 NY Syracuse 42.8 -76.2|150-168 PA Pittsburgh 40.6 -79.3
169-196 PA Philadelphia 40.5 -76.1|197-199 DE Dover 39.3 -75.5|200-205 DC Washington 38.9 -77.0
206-219 MD Baltimore 39.2 -76.7|220-246 VA Richmond 37.6 -78.2|247-268 WV Charleston 38.6 -80.8
270-289 NC Raleigh 35.6 -79.4|290-299 SC Columbia 34.0 -81.0|300-319 GA Atlanta 33.1 -83.8
320-329 FL Jacksonville 29.6 -82.5|330-349 FL Miami 26.6 -80.9|350-369 AL Birmingham 33.0 -86.8
370-385 TN Nashville 35.9 -86.4|386-397 MS Jackson 32.7 -89.7|398-399 GA Albany 31.6 -84.2
400-427 KY Louisville 37.7 -85.2|430-458 OH Columbus 40.3 -82.8|460-479 IN Indianapolis 39.9 -86.2
480-499 MI Detroit 43.0 -84.5|500-528 IA Des_Moines 42.0 -93.3|530-549 WI Madison 43.9 -89.4
550-567 MN Minneapolis 45.5 -94.2|570-577 SD Pierre 44.3 -99.5|580-588 ND Bismarck 47.3 -99.9
590-599 MT Helena 46.7 -110.2|600-629 IL Chicago 40.8 -88.8|630-658 MO Jefferson_City 38.4 -92.4
660-679 KS Topeka 38.5 -97.5|680-693 NE Lincoln 41.2 -98.2|700-714 LA Baton_Rouge 30.7 -91.6
716-729 AR Little_Rock 34.9 -92.4|730-749 OK Oklahoma_City 35.6 -97.0|750-769 TX Dallas 32.4 -97.1
770-789 TX Houston 29.7 -97.0|790-799 TX Lubbock 32.4 -101.9|800-816 CO Denver 39.2 -105.3
820-831 WY Casper 42.9 -107.0|832-838 ID Boise 43.9 -115.1|840-847 UT Salt_Lake_City 40.2 -111.7
850-865 AZ Phoenix 33.5 -111.8|870-884 NM Albuquerque 34.8 -106.3|885-885 TX El_Paso 31.8 -106.4
889-898 NV Las_Vegas 37.4 -116.2|900-935 CA Los_Angeles 34.3 -118.1|936-961 CA San_Francisco 37.9 -121.4
967-968 HI Honolulu 21.3 -157.8|969-969 GU Hagatna 13.4 144.7|970-979 OR Salem 44.4 -122.4
980-994 WA Seattle 47.4 -121.2|995-999 AK Anchorage 61.2 -149.0
"""


@functools.cache
def regions() -> tuple[Region, ...]:
    """Return all regions in ZIP order; codes between them are not in use."""
    found = []
    for entry in _REGIONS.replace("\n", "|").strip("|").split("|"):
        codes, state, city, latitude, longitude = entry.split()
        first, last = codes.split("-")
        region = Region(
            int(first), int(last), state, city.replace("_", " "), float(latitude), float(longitude)
        )
        found.append(region)
    return tuple(found)


@functools.cache
def _region_by_zip3() -> dict[int, Region]:
    return {zip3: region for region in regions() for zip3 in range(region.first, region.last + 1)}


def region_of(postal_code: str) -> Region | None:
    """Return the region of a 5-digit (or ZIP+4) code; None for anything else, such as "0501"."""
    digits = postal_code[:5]
    well_formed = len(digits) == 5 and digits.isascii() and digits.isdigit()
    return _region_by_zip3().get(int(digits[:3])) if well_formed else None


@functools.cache
def _table() -> dict[tuple[str, str], tuple[int, int]]:
    with ZONES_CSV.open(newline="") as file:
        return {
            (row["origin_zip3_from"], row["destination_zip3_from"]): (
                int(row["zone"]),
                int(row["ground_days"]),
            )
            for row in csv.DictReader(file)
            if row["zone"]
        }


def lane(origin: Region, destination: Region) -> tuple[int, int] | None:
    """Look up (zone, ground days) between two regions in zones.csv; None without ground service."""
    return _table().get((f"{origin.first:03d}", f"{destination.first:03d}"))


def distance_lane(origin: Region, destination: Region) -> tuple[int, int] | None:
    """Compute (zone, ground days) between two regions from their distance."""
    if not (origin.has_ground and destination.has_ground):
        return None
    miles = _miles(origin, destination)
    zone = next(zone for limit, zone in ZONE_MILES if miles <= limit)
    days = next(days for limit, days in DAYS_MILES if miles <= limit)
    return zone, days


def ground_days(origin_zip: str, destination_zip: str) -> int | None:
    """Return the ground days between two postal codes; None without ground service or for an unknown code."""
    origin, destination = region_of(origin_zip), region_of(destination_zip)
    served = lane(origin, destination) if origin and destination else None
    return served[1] if served else None


def _miles(a: Region, b: Region) -> float:
    """Return the great-circle distance; within a region it is 100 miles."""
    if a == b:
        return 100.0
    la, lb = math.radians(a.latitude), math.radians(b.latitude)
    half_dlat, half_dlon = (lb - la) / 2, math.radians(b.longitude - a.longitude) / 2
    chord = math.sin(half_dlat) ** 2 + math.cos(la) * math.cos(lb) * math.sin(half_dlon) ** 2
    return 2 * 3959 * math.asin(math.sqrt(chord))


def zone_table() -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yield the rows of zones.csv; zone and days are empty on lanes without ground service."""
    for origin in regions():
        for destination in regions():
            served = distance_lane(origin, destination)
            zone, days = served or ("", "")
            yield (
                f"{origin.first:03d}",
                f"{origin.last:03d}",
                f"{destination.first:03d}",
                f"{destination.last:03d}",
                str(zone),
                str(days),
            )


def zone_table_csv() -> str:
    """Return the text of zones.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(zone_table())
    return text.getvalue()


if __name__ == "__main__":
    ZONES_CSV.write_text(zone_table_csv())
