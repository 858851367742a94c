from unittest.mock import patch

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tnt_platform.kinds import transit_spec
from tnt_platform.readers import plain
from tnt_platform.readers.column import Column, Note
from tnt_platform.readers.columns import parse_columns
from tnt_platform.readers.delimited import DelimitedLayout, RawFile, Sections, read_rows
from tnt_platform.transit import batch
from tnt_platform.transit.batch import ParsedBatch, parse_batch, shipments_schema
from tnt_platform.transit.layouts import FileKind
from tnt_platform.transit.parsing import parse_files
from tnt_platform.transit.spec import TransitSpec
from tnt_platform.transit.transforms.cases import as_quarantine
from tnt_platform_tests.rounds import tries

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
    "pipe": DelimitedLayout(separator="|", header=False, quote=None, min_columns=3, max_columns=8),
    "comma": DelimitedLayout(header=False, min_columns=3, max_columns=8),
    "tab": DelimitedLayout(separator="\t", header=False, min_columns=3, max_columns=8),
    "space": DelimitedLayout(separator=" ", header=False, min_columns=3, max_columns=8, comment="#"),
    "one": DelimitedLayout(separator="|", header=False, quote=None, max_columns=1),
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
    return with_kinds(FileKind("*.txt", layout, columns))


def with_kinds(*kinds: FileKind) -> TransitSpec:
    """The shipped dataset with other kinds of files, of which some can't be declared in YAML."""
    columns = tuple(kinds[0].columns)
    return transit_spec("transit").model_copy(update={"file_kinds": kinds, "columns": columns})


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.cast({name: pl.String for name, dtype in frame.schema.items() if dtype == pl.Enum})


def careful(spec: TransitSpec, files: list[RawFile]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Every row read the one way that keeps its raw text."""
    rows = read_rows(files, spec.file_kinds[0].layout)
    good, rejected = parse_columns(rows.good_cells, spec.file_kinds[0].columns)
    return good, pl.concat([as_quarantine(rows.bad), as_quarantine(rejected)])


def assert_same_rows(spec: TransitSpec, files: list[RawFile]) -> None:
    """What `parse_batch` makes of the files is what the careful way does, row by row."""
    parsed = parse_batch(spec, files)
    good, bad = careful(spec, files)
    assert as_text(parsed.good).drop("shipper_id").equals(good)
    assert parsed.bad.equals(bad)
    assert dict(zip(parsed.files["file_key"], parsed.files["rows_out"], strict=True)) == {
        file.key: good.filter(file_key=file.key).height for file in files
    }
    counts = parsed.files.select(pl.col("^rows_.*$").sum()).row(0, named=True)
    assert counts["rows_in"] == good.height + bad.height + counts["rows_filtered"]


def named(contents: list[bytes]) -> list[RawFile]:
    return [RawFile(f"transit/2026-01-12/{at}.txt", data) for at, data in enumerate(contents)]


@pytest.mark.heavy
@settings(max_examples=tries(30), deadline=None)
@given(deliveries(), st.sampled_from([1, 8]))
@example(("pipe", COLUMNS, [b"10022|NY|3|1|x|Y|2026-01-12|A\n10022|NY|+3|||\n\n10022|NY|03"]), 8)
@example(
    ("pipe", COLUMNS, [b"10022|NY|3\n" * 9 + b"10022|N\xc3\xa9|3\n10022-1234|NY|4\n", b"10023|NJ|3\n"]), 1
)
def test_reading_most_rows_quickly_changes_no_row(delivery, repeats):
    name, columns, contents = delivery
    # With 1, every column counts as one that repeats itself.
    with patch.object(plain, "_REPEATS", repeats):
        assert_same_rows(spec_of(LAYOUTS[name], columns), named(contents))


def test_a_column_of_few_texts_is_typed_as_any_other():
    dirty = [
        b"10022|NY|61\n",
        b"10022|ny|3\n",
        b"10022|-|3\n",
        b"10022|NY|n/a|1,000\n",
        b"1002|NY|3\n",
        b"10022|NY||\n",
    ]
    sound = [f"{10_000 + at % 3}|{'NY' if at % 2 else 'NJ'}|{at % 5}|{at}|\n".encode() for at in range(3_000)]
    content = b"".join(
        line for at in range(0, 3_000, 500) for line in (*sound[at : at + 500], dirty[at // 500])
    )
    spec = spec_of(LAYOUTS["pipe"], COLUMNS)
    assert_same_rows(spec, named([content, content[: len(content) // 2]]))
    types = parse_batch(spec, named([content])).good.schema
    # A string of a rejected row is not a category of the column.
    assert types["state"] == pl.Enum(["NJ", "NY"])
    assert types["origin"] == pl.Enum(["10000", "10001", "10002", "10022"])


def test_more_texts_than_were_seen_in_the_sample_are_all_read():
    lines = [f"{10_000 + at}|NY|{at % 60}\n".encode() for at in range(1_000)]
    spec = spec_of(LAYOUTS["pipe"], COLUMNS)
    with patch.object(plain, "_repeating", lambda sample: frozenset(sample.columns)):
        assert_same_rows(spec, named([b"".join(lines)]))


def test_files_whose_columns_have_other_texts_are_one_table():
    few = b"".join(b"10022|NY|3|1|few\n" for _ in range(500))
    many = b"".join(f"10022|NJ|3|1|text {at}\n".encode() for at in range(500))
    layout = LAYOUTS["pipe"].model_copy(update={"min_columns": 5, "max_columns": 5})
    spec = with_kinds(FileKind("a*", layout, COLUMNS[:5]), FileKind("*", layout, COLUMNS[:5]))
    files = [RawFile(f"transit/2026-01-12/{name}.txt", data) for name, data in (("a", few), ("b", many))]
    good = parse_batch(spec, files).good
    assert (good.schema["state"], good.schema["remark"]) == (pl.Enum(["NJ", "NY"]), pl.String())
    assert good["remark"].to_list() == ["few"] * 500 + [f"text {at}" for at in range(500)]


def test_columns_that_no_file_has_are_null_in_every_row():
    layout = DelimitedLayout(
        header=True, separator="|", columns=("a", "b", "c"), optional=frozenset({"b", "c"})
    )
    columns = (
        Column(name="a", source="a"),
        Column(name="b", source="b", optional=True),
        Column(name="c", source="c", type="days", optional=True),
    )
    spec = spec_of(layout, columns)
    assert_same_rows(spec, named([b"a\n" + b"x\n" * 100, b"a|b\n" + b"x|\n" * 50, b"a\n"]))


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
    table = pq.read_table(parsed.data[0])
    assert {str(table.schema.field(name).type) for name in ("file_key", "shipper_id")} == {"large_string"}
    group = pq.ParquetFile(parsed.data[0]).metadata.row_group(0).column(0).statistics
    assert (group.min, group.max) == (contents[2][0], contents[0][0])


def test_a_text_column_without_any_text_is_written(tmp_path):
    spec = spec_of(LAYOUTS["pipe"], COLUMNS)
    parsed = parse_files(
        spec, [("transit/2026-01-12/a.txt", b"10022|NY|3|||Y\n" * 100)], tmp_path, isolate=False
    )
    rows = pl.read_parquet(parsed.data[0])
    assert rows.schema == shipments_schema(spec)
    assert rows["remark"].null_count() == rows.height == 100


def test_the_bytes_of_a_part_depend_on_the_files_alone(tmp_path):
    spec = spec_of(LAYOUTS["pipe"], COLUMNS)
    rows = "".join(
        f"{10_000 + at % 90}|{'NY' if at % 7 else 'NJ'}|{at % 9}|{at}|r{at % 50}\n" for at in range(40_000)
    )
    contents = [(f"transit/2026-01-12/{name}.txt", rows.encode()) for name in "ab"]
    written = []
    for again in ("one", "two", "three"):
        (tmp_path / again).mkdir()
        parsed = parse_files(spec, contents, tmp_path / again, isolate=False)
        written.append([path.read_bytes() for path in parsed.data])
    assert written[0] == written[1] == written[2]


def test_a_batch_of_rejected_files_keeps_the_columns():
    spec = spec_of(LAYOUTS["pipe"], COLUMNS)
    parsed: ParsedBatch = parse_batch(
        spec, [RawFile("transit/2026-01-12/a.txt", b""), RawFile("a.xls", b"x")]
    )
    assert as_text(parsed.good).schema == shipments_schema(spec)
    assert parsed.bad["line_no"].to_list() == [0, 0]
