"""Deliveries whose dates are both columns: the whole delivery history dropped as a file, and dropped again."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from tnt_platform.errors import CheckFailed
from tnt_platform.kinds import DEFS, transit_spec
from tnt_platform.storage.objects import Objects
from tnt_platform.transit.spec import TransitSpec
from tnt_platform_tests.paths import SHARED
from tnt_platform_tests.transit.scenes import ALL_ACCEPTED, Scene

HISTORY = SHARED / "scms_delivery_history" / "SCMS_Delivery_History_Dataset.csv"
DATE, LATER = "2026-01-12", "2026-01-13"
WORDS = {
    "weight_kg": {"captured_separately", "see_other_shipment"},
    "freight_cost_usd": {"included_in_commodity", "invoiced_separately", "see_other_shipment"},
}
HEADER = (
    "ID,Project Code,PQ #,PO / SO #,ASN/DN #,Country,Managed By,Fulfill Via,Vendor INCO Term,Shipment Mode,"
    "PQ First Sent to Client Date,PO Sent to Vendor Date,Scheduled Delivery Date,Delivered to Client Date,"
    "Delivery Recorded Date,Product Group,Sub Classification,Vendor,Item Description,Molecule/Test Type,Brand,"
    "Dosage,Dosage Form,Unit of Measure (Per Pack),Line Item Quantity,Line Item Value,Pack Price,Unit Price,"
    "Manufacturing Site,First Line Designation,Weight (Kilograms),Freight Cost (USD),Line Item Insurance (USD)"
)
WEIGHTS = ("13", "Weight Captured Separately", "See DN-304 (ID#:10589)", "0", "2.5")
FREIGHTS = ("780.34", "Freight Included in Commodity Cost", "Invoiced Separately", "See ASN-93 (ID#:1281)")


def small_history(rows: int) -> bytes:
    """The same layout with made-up deliveries: bare CR line ends, a mark at the front, words for numbers."""
    text = io.StringIO()
    text.write("\ufeff" + HEADER + "\r")
    writer = csv.writer(text, lineterminator="\r")
    for number in range(rows):
        day = 3 + number % 20
        asked = ("Pre-PQ Process", "8/1/13", "Date Not Captured")[number % 3]
        sent = ("N/A - From RDC", "9/4/13", "Date Not Captured")[number % 3]
        writer.writerow(
            [
                *(
                    number + 1,
                    "100-CI-T01",
                    asked,
                    "SCMS-4",
                    "ASN-8",
                    "Côte d'Ivoire",
                    "PMO - US",
                    "Direct Drop",
                ),
                *("EXW", ("Air", "N/A", "Ocean")[number % 3], asked, sent, f"{day}-Jun-13"),
                *(f"{day + number % 5 - 2}-Jun-13", f"{day + 3}-Jun-13", "ARV", "Adult", 'A "B", Ltd.'),
                *("Tablets, 30", "Nevirapine", "Generic", "10mg", "Tablet", 30, 19 + number, 551.5 + number),
                *(29, 0.97, "Site", ("Yes", "No")[number % 2], WEIGHTS[number % 5], FREIGHTS[number % 4]),
                ("", "12.25")[number % 2],
            ]
        )
    return text.getvalue().encode()


def records_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def figures_of(data: bytes) -> dict[str, Any]:
    """What an independent count of the file gives, in the words of EXPECTED.json."""
    records = records_of(data)
    lags = [
        (_day(row["Delivered to Client Date"]) - _day(row["Scheduled Delivery Date"])).days for row in records
    ]

    def numeric(column: str) -> dict[str, Any]:
        values = [row[column] for row in records if re.fullmatch(r"[0-9.]+", row[column])]
        total = round(sum(map(float, values)), 2)
        return {"numeric": len(values), "non_numeric": len(records) - len(values), "sum_numeric": total}

    return {
        "records": len(records),
        "sum_line_item_quantity": sum(int(row["Line Item Quantity"]) for row in records),
        "sum_line_item_value": round(sum(float(row["Line Item Value"]) for row in records), 2),
        "weight": numeric("Weight (Kilograms)"),
        "freight": numeric("Freight Cost (USD)"),
        "insurance_empty": sum(not row["Line Item Insurance (USD)"] for row in records),
        "insurance_sum": round(sum(float(row["Line Item Insurance (USD)"] or 0) for row in records), 2),
        "lag_days_delivered_minus_scheduled": {
            "late": sum(lag > 0 for lag in lags),
            "on_time": sum(lag == 0 for lag in lags),
            "early": sum(lag < 0 for lag in lags),
            "min": min(lags),
            "max": max(lags),
            "sum": sum(lags),
        },
    }


def _day(text: str) -> date:
    return datetime.strptime(text, "%d-%b-%y").date()  # noqa: DTZ007 - a day has no zone


@pytest.fixture(params=["small", "whole"])
def history(request: pytest.FixtureRequest) -> tuple[bytes, Mapping[str, Any]]:
    """A delivery history and the figures it must give."""
    if request.param == "small":
        data = small_history(60)
        return data, figures_of(data)
    if not HISTORY.is_file():
        pytest.skip("no shared data")
    facts = json.loads(HISTORY.with_name("EXPECTED.json").read_text())["expected"][HISTORY.name]
    return HISTORY.read_bytes(), facts


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(transit_spec("deliveries"), Objects.open((tmp_path / "raw").as_uri()), tmp_path)
    yield made
    made.check_conservation()


def published(scene: Scene) -> pl.DataFrame:
    return scene.rows().sort("delivery_id")


def check_figures(results: pl.DataFrame, facts: Mapping[str, Any]) -> None:
    assert results.height == facts["records"]
    assert results["delivery_id"].n_unique() == facts["records"]
    assert results["line_item_quantity"].sum() == facts["sum_line_item_quantity"]
    assert results["line_item_value_usd"].sum() == pytest.approx(facts["sum_line_item_value"])
    for column, name in (("weight_kg", "weight"), ("freight_cost_usd", "freight")):
        values, notes = results[column], results[f"{column}_note"]
        assert values.count() == facts[name]["numeric"]
        assert values.sum() == pytest.approx(facts[name]["sum_numeric"])
        # A word is a null with its code, never a zero.
        assert notes.count() == facts[name]["non_numeric"]
        assert (values.is_null() == notes.is_not_null()).all()
        assert set(notes.drop_nulls()) <= WORDS[column]
    assert results["insurance_usd"].null_count() == facts["insurance_empty"]
    assert results["insurance_usd"].sum() == pytest.approx(facts["insurance_sum"])
    lags = facts["lag_days_delivered_minus_scheduled"]
    counts = dict(results.group_by("status").len().iter_rows())
    assert counts == {name: lags[name] for name in ("late", "on_time", "early")}
    days = results["lag_days"]
    assert (days.min(), days.max(), days.sum()) == (lags["min"], lags["max"], lags["sum"])
    assert results["success"].sum() == lags["on_time"] + lags["early"]


def test_a_history_dropped_as_a_file_becomes_results_and_dropped_again_changes_nothing(
    scene: Scene, history: tuple[bytes, Mapping[str, Any]]
) -> None:
    data, facts = history
    scene.raw.put(f"deliveries/{DATE}/history.csv", data)
    assert scene.tick() == [DATE]
    first = published(scene)
    check_figures(first, facts)
    assert scene.rejected() == []
    assert scene.snapshot("results").quarantine().is_empty()
    versions = scene.versions()

    scene.raw.put(f"deliveries/{DATE}/history.csv", data)
    assert scene.tick() == [DATE]
    assert published(scene).equals(first)
    assert scene.snapshot("results").manifest.changelog.updated == 0

    scene.raw.put(f"deliveries/{DATE}/history_copy.csv", data)
    assert scene.tick() == [DATE]
    assert published(scene).equals(first)

    scene.raw.put(f"deliveries/{LATER}/history.csv", data)
    assert scene.tick() == [LATER]
    assert published(scene).equals(first)

    shipments = scene.snapshot("shipments")
    for day, rows_in in ((DATE, 2 * facts["records"]), (LATER, facts["records"])):
        row = shipments.partition(day)
        assert row is not None
        copies = rows_in - row["published"]
        assert (row["rows_in"], row["deduplicated"], row["quarantined"]) == (rows_in, copies, 0)
    assert scene.versions().keys() == versions.keys()
    scene.check_at_rest()


def test_a_copy_takes_over_when_its_original_is_replaced(scene: Scene) -> None:
    data, other = small_history(10), small_history(14).replace(b"Nevirapine", b"Zidovudine")
    scene.raw.put(f"deliveries/{DATE}/history.csv", data)
    scene.tick()
    first = published(scene)
    scene.raw.put(f"deliveries/{DATE}/copy.csv", data)
    scene.raw.put(f"deliveries/{LATER}/copy.csv", data)
    scene.tick()
    assert published(scene).equals(first)

    # An empty file takes the place of rows only if somebody says so. The copy of the same date is the nearest.
    scene.raw.put(f"deliveries/{DATE}/history.csv", b"")
    scene.settle()
    assert published(scene).equals(first)
    scene.run(DATE, overrides=ALL_ACCEPTED)
    scene.settle()
    assert published(scene).drop("file_key", "export").equals(first.drop("file_key", "export"))
    assert scene.rows(date=DATE)["export"].unique().to_list() == ["copy"]
    assert scene.rows(date=LATER).is_empty()

    scene.raw.put(f"deliveries/{DATE}/copy.csv", other)
    scene.settle()
    assert scene.rows(date=DATE).height == 14
    later = scene.rows(date=LATER).sort("delivery_id")
    assert later.drop("file_key", "export").equals(first.drop("file_key", "export"))
    scene.check_at_rest()


def test_the_other_export_of_the_same_history_is_a_change_of_yaml_only(
    scene: Scene, history: tuple[bytes, Mapping[str, Any]]
) -> None:
    data, facts = history
    scene.raw.put(f"deliveries/{DATE}/history.csv", data)
    scene.tick()
    first = published(scene)

    scene.described_by(spec_of_both_exports(scene.home))
    scene.raw.put(f"deliveries/{LATER}/other_export.csv", other_export(data))
    scene.tick()
    both = scene.rows()
    other = scene.rows(date=LATER).sort("delivery_id")
    assert scene.rejected() == []
    assert both.height == 2 * facts["records"]
    check_figures(other, facts)
    source = ["file_key", "line_no", "export"]
    assert other.drop(source).equals(first.drop(source))

    scene.run(DATE, force=True)
    assert scene.rows(date=DATE).sort("delivery_id").equals(first)


def test_without_that_change_every_row_of_the_other_export_is_quarantined_with_the_reason(
    scene: Scene,
) -> None:
    data = small_history(20)
    scene.raw.put(f"deliveries/{DATE}/other_export.csv", other_export(data))
    with pytest.raises(CheckFailed):
        scene.tick()
    scene.tick(overrides=ALL_ACCEPTED)
    assert scene.rows().is_empty()
    refused = scene.snapshot("shipments").quarantine()
    assert refused["reason_code"].to_list() == ["invalid_date"] * 20
    assert all("expected_date: '2013-06-" in reason for reason in refused["reason"])
    assert all("first_line_designation: '" in reason for reason in refused["reason"])


def spec_of_both_exports(folder: Path) -> TransitSpec:
    """The shipped YAML with one more date format and other words for yes and no."""
    attributes = yaml.safe_load((DEFS / "deliveries" / "defs.yaml").read_text())["attributes"]
    for column in attributes["columns"]:
        if column.get("type") == "date":
            column["formats"] = [*column["formats"], "%Y-%m-%d"]
        if column.get("type") == "boolean":
            column |= {"true_values": ["Yes", "true"], "false_values": ["No", "false"]}
    return TransitSpec.model_validate(attributes).placed_in(folder / "deliveries")


def other_export(data: bytes) -> bytes:
    """Header in lower case, true and false, ISO dates, LF line ends, no mark."""
    records = records_of(data)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(name.lower() for name in records[0])
    for record in records:
        row = {name: _iso(value) if name.endswith("Date") else value for name, value in record.items()}
        row["First Line Designation"] = str(record["First Line Designation"] == "Yes").lower()
        writer.writerow(row.values())
    return text.getvalue().encode()


def _iso(text: str) -> str:
    for form in ("%d-%b-%y", "%m/%d/%y"):
        try:
            return datetime.strptime(text, form).date().isoformat()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            continue
    return text
