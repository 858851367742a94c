import gzip
import io
import zipfile

import pytest

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.compression import unpack_member


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


BOOK = {
    "docs/readme.txt": b"r",
    "data/Series_2024.XLSX": b"x",
    "data/old/series.xls": b"o",
    "__MACOSX/data/._a.xlsx": b"m",
}


@pytest.mark.parametrize(
    ("glob", "wanted"),
    [("*.xlsx", b"x"), ("data/series_*", b"x"), ("series.xls", b"o"), ("docs/*", b"r"), ("*.txt", b"r")],
)
def test_the_one_member_that_matches_is_unpacked(glob, wanted):
    assert unpack_member(zipped(**BOOK), glob) == wanted


@pytest.mark.parametrize(
    ("data", "glob", "code", "says"),
    [
        (zipped(**BOOK), "*.csv", "no_such_member", "data/Series_2024.XLSX"),
        (zipped(**BOOK), "*series*", "several_members", "data/old/series.xls"),
        (b"<html><title>Moved</title>", "*.csv", "html_page", "Moved"),
        (gzip.compress(b"a,b", mtime=0), "*.csv", "not_an_archive", "1f 8b"),
        (zipped(**BOOK)[:-30], "*.xlsx", "corrupt_archive", "unpacked"),
        (zipped(a=bytes(40 << 20)), "a", "suspicious_ratio", "times"),
    ],
)
def test_what_has_not_one_such_member_is_rejected(data, glob, code, says):
    with pytest.raises(InvalidInput) as fault:
        unpack_member(data, glob)
    assert fault.value.reason_code == code
    assert says in str(fault.value)


def test_a_member_over_the_limit_is_too_large():
    with pytest.raises(InvalidInput) as fault:
        unpack_member(zipped(a=b"12345"), "a", limit_bytes=4)
    assert fault.value.reason_code == "too_large"
