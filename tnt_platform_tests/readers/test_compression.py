import bz2
import gzip
import io
import lzma
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.compression import decompress, is_compressed

TEXT = b"10022|00501|NY|1\n" * 500


def unpack(data: bytes, *, limit_bytes: int = 1 << 26, max_ratio: int = 1_000) -> bytes:
    return decompress(data, limit_bytes=limit_bytes, max_ratio=max_ratio)


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def code_of(data: bytes, **limits: int) -> str:
    with pytest.raises(InvalidInput) as fault:
        unpack(data, **limits)
    return fault.value.reason_code


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, lambda d: zipped(a=d)])
def test_each_wrapping_comes_off_whatever_the_name(pack):
    assert unpack(pack(TEXT)) == TEXT
    assert unpack(pack(b"")) == b""
    assert is_compressed(pack(TEXT))


def test_plain_bytes_pass_as_they_are():
    assert unpack(TEXT) == TEXT
    assert unpack(b"") == b""
    assert not is_compressed(TEXT)


def test_all_members_of_a_joined_gzip_are_read():
    assert unpack(gzip.compress(b"one\n") + gzip.compress(b"two\n") + bytes(512)) == b"one\ntwo\n"


@settings(deadline=None)
@given(st.integers(1, len(gzip.compress(TEXT)) - 1))
def test_a_gzip_cut_anywhere_is_truncated(cut):
    packed = gzip.compress(TEXT, mtime=0)[: max(cut, 3)]
    assert code_of(packed) == "truncated_gzip"


def test_a_second_gzip_member_that_is_cut_is_truncated():
    assert code_of(gzip.compress(b"one") + gzip.compress(b"two")[:-3]) == "truncated_gzip"


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress, lambda d: zipped(a=d)])
def test_a_cut_archive_of_another_kind_is_corrupt(pack):
    assert code_of(pack(TEXT)[:-7]) == "corrupt_archive"


def test_damage_inside_a_gzip_is_noticed_by_its_checksum():
    packed = bytearray(gzip.compress(TEXT))
    packed[-5] ^= 1
    assert code_of(bytes(packed)) == "corrupt_archive"


def test_garbage_after_a_gzip_is_corrupt():
    assert code_of(gzip.compress(TEXT) + b"garbage") == "corrupt_archive"


def test_a_bomb_stops_at_the_ratio():
    assert code_of(gzip.compress(bytes(40 << 20)), max_ratio=100) == "suspicious_ratio"


def test_a_small_file_of_blanks_is_no_bomb():
    assert unpack(gzip.compress(bytes(10 << 20)), max_ratio=100) == bytes(10 << 20)


@pytest.mark.parametrize(
    "pack", [lambda d: d, gzip.compress, bz2.compress, lzma.compress, lambda d: zipped(a=d)]
)
def test_more_than_the_limit_is_too_large(pack):
    assert code_of(pack(TEXT), limit_bytes=len(TEXT) - 1) == "too_large"
    assert unpack(pack(TEXT), limit_bytes=len(TEXT)) == TEXT


def test_a_zip_of_several_files_names_them():
    with pytest.raises(InvalidInput, match=r"2 files \(a.csv, b.csv\)") as fault:
        unpack(zipped(**{"a.csv": b"1", "b.csv": b"2"}))
    assert fault.value.reason_code == "several_members"


def test_a_workbook_is_called_one():
    with pytest.raises(InvalidInput, match="Excel"):
        unpack(zipped(**{"[Content_Types].xml": b"", "xl/workbook.xml": b""}))


def test_what_the_finder_adds_to_a_zip_does_not_count():
    packed = zipped(**{"folder/": b"", "folder/a.csv": b"1", "__MACOSX/folder/._a.csv": b"x"})
    assert unpack(packed) == b"1"


def test_a_zip_without_a_file_is_corrupt():
    assert code_of(zipped()) == "corrupt_archive"


MAGIC = st.sampled_from([b"\x1f\x8b\x08", b"BZh91AY&SY", b"\xfd7zXZ\x00", b"PK\x03\x04", b"PK\x05\x06", b""])


@settings(deadline=None)
@given(MAGIC, st.binary(max_size=200))
def test_bytes_that_only_look_packed_are_rejected_or_passed_never_a_crash(magic, rest):
    try:
        unpack(magic + rest)
    except InvalidInput:
        assert is_compressed(magic + rest)


@settings(deadline=None)
@given(
    st.sampled_from([gzip.compress(TEXT), bz2.compress(TEXT), lzma.compress(TEXT), zipped(a=TEXT)]),
    st.data(),
)
def test_a_flipped_byte_never_changes_what_is_read_unnoticed(packed, data):
    at = data.draw(st.integers(0, len(packed) - 1))
    flipped = bytearray(packed)
    flipped[at] ^= data.draw(st.integers(1, 255))
    try:
        found = unpack(bytes(flipped))
    except InvalidInput:
        return
    assert found in (TEXT, bytes(flipped))
