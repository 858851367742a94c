"""Datasets that are in order, for tests that spoil them one line at a time."""

from __future__ import annotations

import json
from pathlib import Path

RATES = r"""# A dataset with a rate API.
type: tnt_platform.components.TransitDataset

attributes:
  description: Promised days against those of the carrier.
  owners: ["team:logistics"]
  tags: {domain: logistics}
  start_date: "2020-01-01"
  source:
    prefix: rates/
    key_pattern: '(?:(?P<date>\d{4}-\d{2}-\d{2})/)?(?P<shipper_id>[a-z0-9]+)\.(?:txt|csv)'
    on_overwrite: latest
  layouts:
    - files: "*.txt"
      separator: "|"
      quote: null
      header: false
      encoding: utf-8
      max_columns: 6
      columns:
        origin: 0
        state: 1
        expected_transit_days: 2
        weight: 3
        sent: 4
        service: 5
    - files: "*.csv"
      columns:
        origin: Origin
        state: State
        expected_transit_days: Days
        weight: Weight
        sent: Sent
        service: Service
  columns:
    - {name: origin, type: postal_code, required: true}
    - name: state
      required: true
      pattern: "[A-Z]{2}"
    - {name: expected_transit_days, type: days, required: true, maximum: 60}
    - name: weight
      type: number
      minimum: 0
      nulls: ["0", "None"]
      notes:
        - {matches: 'See \d+', code: see_other}
    - {name: sent, type: date, formats: ["%Y-%m-%d"]}
    - name: service
      type: category
      values: ["1", "2"]
  identity: [shipper_id, origin]
  passes_when: equal
  summary_by: [state]
  rate_api:
    url: "${RATES_URL}"
    headers:
      X-Client: platform
      auth-token: "${RATES_TOKEN}"
    answer: >-
      {rates: rates,
       ground: rates[?lower(name) == 'ground'] | [0],
       days: rates[?lower(name) == 'ground'] | [0].days}
    reference: config/dest.csv
    concurrency: 8
  dynamodb:
    table: "${RATES_TABLE:-}"
  sensor:
    interval_s: 30
    sweep_cron: "0 3 * * *"
"""

DATES = r"""type: tnt_platform.components.TransitDataset
attributes:
  description: Scheduled against actual dates.
  owners: ["someone@example.com"]
  source:
    prefix: dates/
    key_pattern: '(?P<export>[a-z]+)\.csv'
  layouts:
    - files: "*"
      columns: {delivery: ID, expected_date: Planned, actual_date: Done}
  columns:
    - {name: delivery, required: true}
    - {name: expected_date, type: date, required: true}
    - {name: actual_date, type: date, required: true}
  identity: [delivery]
"""

REQUEST = """{
  "method": "POST",
  "url": "{api_url}/rates/{origin}",
  "headers": {
    "Accept": "application/json",
    "X-Api-Key": "${RATES_KEY:-}"
  },
  "body": {
    "state": "{state}",
    "note": "{weight_note}",
    "sizes": ["{length}", "{width}"],
    "ship_date": "{ship_date}"
  }
}
"""

# The place where a fault is expected; taken out before the file is written.
MARK = "§"


def write_dataset(root: Path, name: str, text: str, request: str | None = REQUEST) -> Path:
    """Write `<root>/<name>/defs.yaml` and its request without marks; returns the folder."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "defs.yaml").write_text(text.replace(MARK, ""), encoding="utf-8")
    if request is not None:
        (folder / "request.json").write_text(request.replace(MARK, ""), encoding="utf-8")
    return folder


def spoilt(text: str, old: str, new: str) -> str:
    """`text` with one place changed; it must be there exactly once."""
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times"
    return text.replace(old, new)


def marked_line(text: str) -> int:
    """The line that holds the mark."""
    assert text.count(MARK) == 1
    return text[: text.index(MARK)].count("\n") + 1


def request_with(**parts: object) -> str:
    """The request with other parts, on one line each."""
    return json.dumps({**json.loads(REQUEST), **parts}, indent=1)
