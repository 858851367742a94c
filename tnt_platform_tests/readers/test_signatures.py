"""Files of other kinds are refused by the name of what they are, whatever their own name is."""

import io
import tarfile
import zipfile

import pytest

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.delimited import DelimitedLayout, RawFile, read_rows
from tnt_platform.readers.signatures import archive_format, binary_format, text_format
from tnt_platform.series.drafting.files import draft_layout
from tnt_platform.series.readers.workbook import open_workbook

AVRO = b"Obj\x01\x04\x16avro.schema" + bytes(40)
ORC = b"ORC\n\x06\x12\x04" + bytes(40) + b"\x08\x03\x10ORC\x17"
MHTML = b"MIME-Version: 1.0\nContent-Type: multipart/related\n\n<html><table>"
FRAGMENT = b"<table border=1><tr><td>Mes</td><td>1</td></tr></table>"
XML_2003 = b'<?xml version="1.0"?>\n<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"/>'
EXCEL_HTML = b'<html xmlns:x="urn:schemas-microsoft-com:office:excel"><body><table></table></body></html>'


def tar():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo("a.csv")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"a,b\n"))
    return out.getvalue()


def zipped(*names):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return out.getvalue()


def refused(call, *arguments):
    with pytest.raises(InvalidInput) as caught:
        call(*arguments)
    return caught.value


def test_text_and_what_readers_unpack_are_no_other_format():
    for data in (
        b"ORC,a\n1,2\n",
        b"GIF,a\n",
        b"FEA1,b\n",
        b"\x1f\x8b\x08",
        b"",
        b"fecha;<table>\n",
        zipped("a.csv"),
    ):
        assert (binary_format(data), text_format(data)) == (None, None)
    assert archive_format(["a.csv", "b.csv"]) is None


@pytest.mark.parametrize(
    ("data", "word"),
    [(AVRO, "Avro"), (ORC, "ORC"), (tar(), "tar"), (b"\x28\xb5\x2f\xfd" + bytes(20), "zstd"), (MHTML, "MHTML"),
     (FRAGMENT, "web page"), (XML_2003, "2003"), (FRAGMENT.decode().encode("utf-16"), "web page")],
)  # fmt: skip
def test_files_that_no_reader_takes_are_refused_by_name_by_every_reader(data, word):
    bad = read_rows([RawFile("day.csv", data)], DelimitedLayout()).bad
    assert bad["reason_code"].to_list() in (["not_text"], ["not_delimited"])
    for fault in (refused(open_workbook, data), refused(draft_layout, data, "x")):
        assert word in str(fault)
    assert word in bad["reason"][0]


@pytest.mark.parametrize(
    ("members", "word"),
    [(("[Content_Types].xml", "xl/workbook.bin"), "xlsb"), (("mimetype", "content.xml"), "OpenDocument")],
)
def test_other_workbooks_are_refused_by_name(members, word):
    for call in (open_workbook, lambda data: draft_layout(data, "x")):
        fault = refused(call, zipped(*members))
        assert (fault.reason_code, word in str(fault)) == ("not_a_workbook", True)
    [reason] = read_rows([RawFile("day.csv", zipped(*members))], DelimitedLayout()).bad["reason"]
    assert word in reason


def test_a_page_that_excel_saved_is_not_a_page_of_a_server_in_trouble():
    fault = refused(open_workbook, EXCEL_HTML)
    assert (fault.reason_code, "xlsx" in str(fault)) == ("html_page", True)
