"""A damaged file is never read as other values without a word, nor published again as if it were sound."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

from tnt_platform.errors import PermanentError
from tnt_platform.lake.read import read
from tnt_platform.lake.versions import Snapshot, VersionedStore
from tnt_platform.storage.objects import Objects
from tnt_platform_tests.lake.changes import KEY, change, ledger, quarantine, store_on

DATASET = "transit/shipments"
DAY, OTHER = "2026-11-18", "2026-11-19"
ROWS = {f"{n:04}": n * 7919 % 1000 for n in range(400)}


@pytest.fixture
def store(folder_objects: Objects, tmp_path: Path) -> VersionedStore:
    return store_on(folder_objects, tmp_path / "scratch")


@pytest.fixture
def published(store: VersionedStore) -> Snapshot:
    changes = [
        change(DAY, ROWS, inputs=ledger("raw/a.txt"), quarantine=quarantine("x")),
        change(OTHER, {"b": 1}),
    ]
    return store.publish(DATASET, base=None, changes=changes, key=KEY)


def flip_a_bit(path: Path, at: int) -> None:
    body = bytearray(path.read_bytes())
    body[at // 8 % len(body)] ^= 1 << at % 8
    path.write_bytes(bytes(body))


def test_no_flipped_bit_passes_as_another_value(published: Snapshot, tmp_path: Path) -> None:
    path = tmp_path / "lake" / published.files.filter(partition=DAY)["path"][0]
    body, chance = path.read_bytes(), random.Random(1)
    for _ in range(100):
        flip_a_bit(path, chance.randrange(len(body) * 8))
        with pytest.raises(PermanentError, match="part-00000"):
            published.intact([DAY])
        path.write_bytes(body)
    assert published.intact().scan([OTHER]).select("id", "value").collect().rows() == [("b", 1)]


def test_only_the_partitions_that_are_read_must_be_intact(published: Snapshot, tmp_path: Path) -> None:
    flip_a_bit(tmp_path / "lake" / published.files.filter(partition=DAY)["path"][0], 8_000)
    assert published.intact([OTHER]) is published
    environment = {"TNT_LAKE_URL": (tmp_path / "lake").as_uri(), "TNT_HOME": str(tmp_path)}
    with pytest.raises(PermanentError):
        read(DATASET, verify=True, environment=environment)


@pytest.mark.parametrize("kind", ["ledger", "quarantine"])
def test_a_damaged_ledger_or_quarantine_is_an_error(published: Snapshot, tmp_path: Path, kind: str) -> None:
    row = published.partitions.filter(pl.col(f"{kind}_path").is_not_null()).row(0, named=True)
    flip_a_bit(tmp_path / "lake" / row[f"{kind}_path"], 100)
    with pytest.raises(PermanentError):
        published.inputs(DAY) if kind == "ledger" else published.quarantine([DAY])
