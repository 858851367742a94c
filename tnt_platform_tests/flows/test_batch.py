from dataclasses import replace

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tnt_platform.components.datasets import transit_spec
from tnt_platform.flows.transit import batch
from tnt_platform.flows.transit.batch import ParsedBatch, parse_batch, shipments_schema
from tnt_platform.flows.transit.parsing import parse_files
from tnt_platform.flows.transit.spec import FileLayout, TransitSpec
from tnt_platform.readers.delimited import DelimitedLayout, RawFile, Sections, read_rows
from tnt_platform.transforms.columns import Column, Note, parse_columns
from tnt_platform.transforms.transit import as_quarantine

COLUMNS = (
    Column(name="origin", source=0, type="postal_code", required=True),
    Column(name="state", source=1, required=True, pattern="[A-Z]{2}", nulls=("-",)),
    Column(name="days", source=2, type="days", maximum=60, notes=(Note(equals="n/a", code="none"),)),
    Column(name="weight", source=3, type="number", thousands=","),
    Column(name="remark", source=4),
    Column(name="flag", source=5, type="boolean"),
    Column(name="on", source=6, type="date", formats=("%Y-%m-%d", "%m/%d/%y")),
    Column(name="kind", source=7, type="category", values=("A", "B")),
)
LOOSE = tuple(Column(name=f"text_{at}", source=at) for at in range(3))
LAYOUTS = {
    "pipe": DelimitedLayout(separator="|", quote=None, min_columns=3, max_columns=8),
    "comma": DelimitedLayout(separator=",", min_columns=3, max_columns=8),
    "tab": DelimitedLayout(separator="\t", min_columns=3, max_columns=8),
    "space": DelimitedLayout(separator=" ", min_columns=3, max_columns=8, comment_prefix="#"),
    "one": DelimitedLayout(separator="|", quote=None, max_columns=1),
}
SOUND = ["10022", "NY", "3", "1.5", "x", "Y", "2026-01-12", "A"]
ODD = [
    *(
        "",
        " ",
        "-",
        "n/a",
        "+3",
        "3.0",
        " 3",
        "3 ",
        "03",
        "-1",
        "1e2",
        "nan",
        "inf",
        "61",
        "0x3",
        "1,000",
        "99999999999999999999",
    ),
    *(
        "1002",
        "1002A",
        "+1002",
        "-1002",
        "10022-1234",
        "A1A 1A1",
        "\u0663",
        "\uff11",
        "NYC",
        "ny",
        "\u00e9",
        "\u00a0",
        "\u3000",
        "\ufeff",
    ),
    *(
        '"',
        '"x"',
        '"x',
        'x"y',
        "\\",
        "'",
        "#",
        "\x0b",
        "\x00",
        "\u2028",
        "null",
        "NULL",
        "None",
        "true",
        "\t",
        ",",
        "|",
        "\r",
    ),
]
cells = st.one_of(st.sampled_from(ODD), st.text(alphabet='0123+-. eAY"|,\t\u00a0\u00e9#\r', max_size=6))


@st.composite
def lines(draw: st.DrawFn, separator: str) -> str:
    """Mostly a good row with a few cells that aren't, cut or lengthened."""
    row = list(SOUND)
    for at in draw(st.lists(st.integers(0, 7), max_size=3)):
        row[at] = draw(cells)
    row = (row + row)[: draw(st.sampled_from([8, 8, 8, 8, 0, 1, 2, 3, 4, 7, 9]))]
    return separator.join(row) + draw(st.sampled_from(["", "", "", separator, " "]))


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[str, tuple[Column, ...], list[bytes]]:
    name = draw(st.sampled_from(sorted(LAYOUTS)))
    rows = st.lists(lines(LAYOUTS[name].separator), max_size=12)
    ends = st.sampled_from(["\n", "\n", "\n", "\r\n", "\r", "\n\n"])
    files = []
    for _ in range(draw(st.integers(1, 3))):
        text = "".join(row + draw(ends) for row in draw(rows))
        text = draw(st.sampled_from(["", "", "\ufeff"])) + draw(
            st.sampled_from([text, text, text.rstrip("\n")])
        )
        files.append(
            text.encode() + draw(st.sampled_from([b"", b"", b"", b"\xff|\xfe\n", b"10022|N\xe9|3\n"]))
        )
    return (
        name,
        (COLUMNS if draw(st.booleans()) and name != "one" else LOOSE[: LAYOUTS[name].max_columns]),
        files,
    )


def spec_of(layout: DelimitedLayout, columns: tuple[Column, ...]) -> TransitSpec:
    return replace(transit_spec("transit"), layouts=(FileLayout("*.txt", layout, columns),))


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.cast({name: pl.String for name, dtype in frame.schema.items() if dtype == pl.Enum})


def careful(spec: TransitSpec, files: list[RawFile]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Every row read the one way that keeps its raw text."""
    rows = read_rows(files, spec.layouts[0].layout)
    good, refused = parse_columns(rows.good_cells, spec.layouts[0].columns)
    return good, pl.concat([as_quarantine(rows.bad), as_quarantine(refused)])


@pytest.mark.heavy
@settings(max_examples=30, deadline=None)
@given(deliveries())
@example(("pipe", COLUMNS, [b"10022|NY|3|1|x|Y|2026-01-12|A\n10022|NY|+3|||\n\n10022|NY|03"]))
def test_reading_most_rows_quickly_changes_no_row(delivery):
    name, columns, contents = delivery
    spec = spec_of(LAYOUTS[name], columns)
    files = [RawFile(f"transit/2026-01-12/{at}.txt", data) for at, data in enumerate(contents)]
    parsed = parse_batch(spec, files)
    good, bad = careful(spec, files)
    assert as_text(parsed.good).drop("shipper_id").equals(good)
    assert parsed.bad.equals(bad)
    assert dict(zip(parsed.files["file_key"], parsed.files["rows_out"], strict=True)) == {
        file.key: good.filter(file_key=file.key).height for file in files
    }
    counts = parsed.files.select(pl.col("^rows_.*$").sum()).row(0, named=True)
    assert counts["rows_in"] == good.height + bad.height + counts["rows_filtered"]


def test_plain_rows_are_read_without_their_raw_text_and_the_others_with_it(monkeypatch: pytest.MonkeyPatch):
    spec = spec_of(LAYOUTS["pipe"], COLUMNS)
    left: list[int] = []

    def rows(sections: Sections):
        found = read(sections)
        left.extend(found.good_cells.collect()["line_no"])
        return found

    read = Sections.rows
    monkeypatch.setattr(batch.Sections, "rows", rows)
    text = "10022|NY|3\n" * 20 + "10022|NY|x\n10022|NY| 3\n"
    parsed = parse_batch(spec, [RawFile("transit/2026-01-12/a.txt", text.encode())])
    assert left == [21, 22]
    assert parsed.good["line_no"].to_list() == [*range(1, 21), 22]
    assert parsed.bad.select("line_no", "raw").rows() == [(21, "10022|NY|x")]


def test_what_a_file_is_named_is_a_text_to_every_reader_of_a_part(tmp_path):
    spec = spec_of(LAYOUTS["pipe"], COLUMNS)
    contents = [(f"transit/2026-01-12/{name}.txt", b"10022|NY|3\n10022|NJ|4\n" * 3) for name in "zya"]
    parsed = parse_files(spec, contents, tmp_path, isolate=False)
    rows = pl.read_parquet(parsed.data[0])
    assert rows.schema == shipments_schema(spec)
    assert rows["shipper_id"].to_list() == [*"zzzzzzyyyyyyaaaaaa"]
    assert pl.scan_parquet(parsed.data[0]).filter(pl.col("file_key") == contents[1][0]).collect().height == 6
    told = pq.read_table(parsed.data[0])
    assert {str(told.schema.field(name).type) for name in ("file_key", "shipper_id")} == {"large_string"}
    group = pq.ParquetFile(parsed.data[0]).metadata.row_group(0).column(0).statistics
    assert (group.min, group.max) == (contents[2][0], contents[0][0])


def test_a_batch_of_refused_files_keeps_the_columns():
    spec = spec_of(LAYOUTS["pipe"], COLUMNS)
    parsed: ParsedBatch = parse_batch(
        spec, [RawFile("transit/2026-01-12/a.txt", b""), RawFile("a.xls", b"x")]
    )
    assert as_text(parsed.good).schema == shipments_schema(spec)
    assert parsed.bad["line_no"].to_list() == [0, 0]
