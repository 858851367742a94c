import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnt_platform.errors import InvalidInput
from tnt_platform.readers.encoding import decode

FRENCH = "Le café est très animé; où est l'hôtel où Noël a été fêté? Ça va, garçon? près de la forêt.\n"
GREEK = "Η Ελλάδα είναι χώρα της νοτιοανατολικής Ευρώπης, σύμφωνα με την απογραφή του περασμένου έτους.\n"
RUSSIAN = "Съешь же ещё этих мягких французских булок да выпей чаю; поезд приходит позже, чем обычно.\n"
SPANISH = "El niño comió piñas en la mañana; ¿dónde está el camión que llegó aquí después del año pasado?\n"
POLISH = "Zażółć gęślą jaźń, Łódź jest piękna i leży w środkowej części kraju; pociąg przyjeżdża później.\n"
CZECH = "Příliš žluťoučký kůň úpěl ďábelské ódy; vlak přijíždí později než obvykle na nádraží v Brně.\n"


@pytest.mark.parametrize("name", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_a_byte_order_mark_decides_even_against_the_declared_encoding(name):
    found = decode(("\ufeff" + GREEK).encode(name), declared="cp1252")
    assert (found.text_utf8.decode(), found.encoding) == (GREEK, name)


def test_the_declared_encoding_is_used_where_no_mark_is():
    found = decode(FRENCH.encode("cp1252"), declared="cp1252")
    assert (found.text_utf8.decode(), found.undecodable_at) == (FRENCH, ())


def test_valid_utf8_needs_no_declaration():
    assert decode(GREEK.encode(), declared=None).text_utf8.decode() == GREEK


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_known_by_its_nuls(name):
    text = "id|name\n1|Ana\n2|Łódź\n" * 10
    found = decode(text.encode(name), declared=None)
    assert (found.text_utf8.decode(), found.encoding) == (text, name)


def test_a_few_nuls_in_ascii_are_not_taken_for_utf16():
    data = b"a|b\n\0|c\n" + b"e|f\n" * 20
    assert decode(data, declared=None).text_utf8 == data


def test_half_a_utf16_character_rejects_the_file():
    with pytest.raises(InvalidInput) as fault:
        decode(codecs.BOM_UTF16_LE + "abc".encode("utf-16-le")[:-1], declared=None)
    assert fault.value.reason_code == "undecodable"


@pytest.mark.parametrize("magic", [b"\xd0\xcf\x11\xe0\xa1\xb1", b"PAR1\x15\x04", b"%PDF-1.7"])
def test_a_binary_format_is_called_by_its_name(magic):
    with pytest.raises(InvalidInput) as fault:
        decode(magic, declared=None)
    assert fault.value.reason_code == "not_text"


def test_rows_that_cannot_be_told_are_reported_and_plain_ascii_still_counts():
    found = decode(b"1|a\n2|caf\xe9\r\n3|b\n", declared=None)
    assert found.text_utf8 == b"1|a\n2|caf\\xe9\r\n3|b\n"
    assert found.undecodable_at == (4,)


def test_one_damaged_row_does_not_cost_the_others_of_a_utf8_file():
    found = decode("1|é\n2|ü\n".encode() + b"3|\xff\n4|x\n", declared=None)
    assert found.text_utf8.decode() == "1|é\n2|ü\n3|\\xff\n4|x\n"
    assert found.undecodable_at == (10,)


def test_a_row_that_happens_to_be_utf8_in_a_file_that_is_not_is_not_trusted():
    found = decode(b"1|\xc3\xa9\n2|\xe9\n3|\xe8 x\n", declared=None)
    assert found.undecodable_at == (0, 11, 18)


def test_a_declared_encoding_that_does_not_fit_costs_only_the_rows_it_does_not_fit():
    found = decode(b"1|\xe9\n2|\x81\n3|x\n", declared="cp1252")
    assert found.text_utf8.decode() == "1|é\n2|\\x81\n3|x\n"
    assert found.undecodable_at == (5,)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(GREEK, "iso8859-7"), (RUSSIAN, "cp1251"), (RUSSIAN, "koi8-r")],
)
def test_a_big_text_in_another_alphabet_is_guessed(text, encoding):
    found = decode((text * 30).encode(encoding), declared=None)
    assert found.text_utf8.decode() == text * 30


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FRENCH, "cp1252"),
        (FRENCH, "mac-roman"),
        (SPANISH, "cp1252"),
        (POLISH, "cp1250"),
        (POLISH, "iso8859-2"),
        (CZECH, "cp1250"),
    ],
)
def test_accented_latin_letters_are_never_guessed(text, encoding):
    """Code pages differ in single letters: French was taken for Hungarian, and every \\xea changed."""
    found = decode((text * 30).encode(encoding), declared=None)
    assert len(found.undecodable_at) == 30


def test_a_small_sample_is_never_guessed():
    assert len(decode((GREEK * 3).encode("iso8859-7"), declared=None).undecodable_at) == 3


TEXTS = st.text(st.characters(codec="utf-8"), max_size=200)


@settings(deadline=None)
@given(TEXTS, st.sampled_from(["utf-8", "utf-16-le", "utf-32-be"]))
def test_any_text_with_a_mark_comes_back(text, name):
    if text.startswith(("\ufeff", "\0")):
        text = "x" + text
    assert decode(("\ufeff" + text).encode(name), declared=None).text_utf8.decode() == text


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from([None, "utf-8", "cp1252", "shift_jis", "utf-16", "utf-7"]))
def test_any_bytes_become_valid_utf8_or_are_rejected(data, declared):
    try:
        found = decode(data, declared=declared)
    except InvalidInput:
        return
    found.text_utf8.decode()
    starts = {0} | {i + 1 for i, byte in enumerate(found.text_utf8) if byte in b"\r\n"}
    assert set(found.undecodable_at) <= starts
