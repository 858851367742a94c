"""What docs/datasets/series.md tells people to type does what it says."""

import re

import duckdb

from tnt_platform_tests.paths import REPOSITORY
from tnt_platform_tests.series.scene import SeriesScene, csv_of

PAGE = REPOSITORY / "docs" / "datasets" / "series.md"


def test_duckdb_reads_the_current_version_by_the_documented_statements(tmp_path):
    scene = SeriesScene(tmp_path)
    scene.publish(csv_of({"2025-01": (1, 10), "2025-02": (2, 20)}))
    scene.publish(csv_of({"2025-01": (1, 10), "2025-02": (2.5, 20), "2025-03": (3, None)}))
    found = re.search(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    statements = found[1].replace(".tnt/lake", str(tmp_path / "lake")).replace("indec_ipc", "prices")
    with duckdb.connect() as connection:
        rows = connection.execute(statements).fetchall()
    assert sorted(row[3] for row in rows) == [1.0, 2.5, 3.0, 10.0, 20.0]
