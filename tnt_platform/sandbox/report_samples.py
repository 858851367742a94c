"""Generate a few days of raw files for the daily report: CSV with quoted newlines, JSON lines and gzip."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
from pathlib import Path
from random import Random

DAYS = tuple(dt.date(2026, 1, 12) + dt.timedelta(days=n) for n in range(4))
NOTES = ("as agreed", 'left at the "side door"', "two parcels,\none damaged", "")


def write_report_days(folder: Path, prefix: str = "raw-data") -> int:
    """Write the files of each day below `folder`/`prefix`, and return their number."""
    files = 0
    for day in DAYS:
        random = Random(day.toordinal())
        for name, body in {
            "orders.csv": _orders(random),
            "events.jsonl": _events(random),
            "visits.csv.gz": gzip.compress(_orders(random), mtime=0),
        }.items():
            path = folder / prefix / day.isoformat() / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_bytes() != body:
                path.write_bytes(body)
            files += 1
    return files


def _orders(random: Random) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["order_id", "amount", "note"])
    for number in range(random.randrange(20, 60)):
        writer.writerow([number, f"{random.uniform(1, 90):.2f}", random.choice(NOTES)])
    return text.getvalue().encode()


def _events(random: Random) -> bytes:
    events = [{"event": random.choice(["open", "close"]), "at": n} for n in range(random.randrange(30, 90))]
    return "".join(json.dumps(event) + "\n" for event in events).encode()
