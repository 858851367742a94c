"""Escaped text is decoded to what a person would read, and titles become slugs."""

import html
import json
import re
import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tnt_platform.directory.transforms.plain_text import (
    SLUG_CHARS_MAX,
    decode,
    decode_address,
    decoded,
    plain_texts,
    slug,
    tidy,
)

READ = [
    ("Food &amp; Beverage", "Food & Beverage"),
    ("Food &amp;amp;amp; Beverage", "Food & Beverage"),
    ("Caf&eacute;", "Café"),
    ("Caf&#233;", "Café"),
    ("Caf&#xE9;", "Café"),
    ("Caf&#xe9", "Caf&#xe9"),
    ("Health&centre, Salt&region", "Health&centre, Salt&region"),
    ("Health&amp;centre", "Health&centre"),
    (r"C:\new\table", r"C:\new\table"),
    (r"see C:\\new\\table", r"see C:\new\table"),
    (r"Open: 10\n\nClosed: never", "Open: 10 Closed: never"),
    ("Cafe\u0301", "Café"),
    ("&CounterClockwiseContourIntegral;", "∳"),
    ("a&nbsp;&nbsp;b", "a b"),
    ("&lt;br&gt;x", "x"),
    ("a &lt; b", "a < b"),
    ("I <3 you, 1 < 2", "I <3 you, 1 < 2"),
    ("Mail <me@mall.example>", "Mail <me@mall.example>"),
    ("<p class='x'>Two</p><p>lines<br/>here</p>", "Two lines here"),
    ("<!-- no -->yes<script>alert(1)</script>", "yes"),
    ("&am<b></b>p;", "&am p;"),
    (r"\u0e01\u0e32", "กา"),
    (r"\\u0e01", "ก"),
    (r"\ud83d\ude00 &#x1F600;", "😀 😀"),
    (r"lone \ud83d half", "lone half"),
    (r"one\ntwo\r\nthree\tfour", "one two three four"),
    (r"said \"yes\" \/ no", 'said "yes" / no'),
    (r"C:\\dir", r"C:\dir"),
    ("zero\u200bwidth\ufeff", "zerowidth"),
    ("nul\x00 and\x07bell", "nul andbell"),
    ("no\uffffcharacter", "nocharacter"),
    ("&\u200bamp;lt;br>x", "x"),
    ("  many \r\n spaces\u3000here ", "many spaces here"),
    ("ศูนย์การค้า", "ศูนย์การค้า"),
    ("", ""),
    ("&", "&"),
    ("AT&T, H&M, R&D", "AT&T, H&M, R&D"),
]


@pytest.mark.parametrize(("raw", "text"), READ)
def test_text_is_decoded_to_what_a_person_reads(raw, text):
    assert decode(raw) == text


def test_every_named_entity_is_decoded():
    named = {name: char for name, char in html.entities.html5.items() if name.endswith(";")}
    assert len(named) > 2_000
    assert {name: decode(f"x&{name}y") for name in named} == {
        name: tidy(f"x{char}y") for name, char in named.items()
    }


def in_decimals(text: str) -> str:
    return "".join(f"&#{ord(char)};" for char in text)


def in_hexadecimals(text: str) -> str:
    return "".join(f"&#x{ord(char):X};" for char in text)


def in_escapes(text: str) -> str:
    return json.dumps(text)[1:-1]


PIECES = (
    "&amp;",
    "&lt;",
    "<br>",
    r"\u0e01",
    r"\n",
    "&#38;",
    "&nbsp",
    "script>",
    "é",
    "e\u0301",
    "ก",
    "😀",
    "\u200b",
)
TEXTS = st.lists(
    st.sampled_from([*PIECES, *'&;#xamplt<>/ \\un0123bDd8"\n'])
    | st.characters(exclude_categories=["Cs", "Cc"]),
    max_size=14,
).map("".join)


@given(TEXTS, st.lists(st.sampled_from([html.escape, in_decimals, in_escapes]), max_size=4))
def test_the_result_does_not_depend_on_mixed_escaping(text, escapes):
    escaped = text
    for escape in escapes:
        escaped = escape(escaped)
    assert decode(escaped) == decode(text)


@given(TEXTS, st.integers(0, 4), st.sampled_from([html.escape, in_escapes]))
def test_the_result_does_not_depend_on_how_often_text_was_escaped(text, times, escape):
    escaped = text
    for _ in range(times):
        escaped = escape(escaped)
    assert decode(escaped) == decode(text)


@given(TEXTS, st.sampled_from([in_decimals, in_hexadecimals]))
def test_text_made_of_character_references_is_decoded(text, escape):
    assert decode(escape(text)) == decode(text)


@given(TEXTS)
def test_decoding_twice_changes_nothing(text):
    assert decode(decode(text)) == decode(text)


@given(TEXTS)
def test_decoded_text_is_in_nfc_with_single_spaces_and_visible_characters(text):
    plain = decode(text)
    assert unicodedata.is_normalized("NFC", plain)
    assert plain == " ".join(plain.split())
    assert not {unicodedata.category(char) for char in plain} & {"Cc", "Cf", "Cs"}


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text", ["&" + "amp;" * 200_000, "\\" * 400_000, "<a" * 200_000, "<!--" * 100_000, "<script>" * 50_000]
)
def test_hostile_text_is_decoded_in_time(text):
    plain = decode(text)
    assert len(plain) <= len(text)
    assert decode(plain) == plain


def test_an_address_keeps_parameters_that_look_like_entities():
    assert (
        decode_address("https://x.co/?a=1&amp;copy=2&copy=3&amp;amp;d") == "https://x.co/?a=1&copy=2&copy=3&d"
    )


def test_tags_are_distinguished_from_entities():
    assert decoded("Bags &amp; <b>Shoes</b>") == ("Bags & Shoes", True)
    assert decoded("Bags &amp; Shoes") == ("Bags & Shoes", False)


def test_a_column_is_decoded_row_by_row():
    texts = pl.Series("name", ["a&amp;b", None, "<br>", "a&amp;b", "plain"])
    assert plain_texts(texts).rows() == [
        ("a&b", False),
        (None, False),
        (None, True),
        ("a&b", False),
        ("plain", False),
    ]


SLUGS = [
    ("Central World", "central-world"),
    ("Café Ø & Co.", "cafe-o-co"),
    ("H&M", "h-m"),
    ("Lotus\u2019s North", "lotuss-north"),
    ("Łódź Đà Nẵng", "lodz-da-nang"),
    ("Straße İstanbul", "strasse-istanbul"),
    ("Ｆｕｌｌ　ｗｉｄｔｈ １", "full-width-1"),
    ("7-11", "7-11"),
    ("101", "101"),
    ("เซียร์ GAMING", "gaming"),
    ("  --A--  b__c ", "a-b-c"),
]


@pytest.mark.parametrize(("title", "wanted"), SLUGS)
def test_a_title_becomes_lower_case_ascii_with_hyphens(title, wanted):
    assert slug(title) == wanted


@pytest.mark.parametrize("title", ["สยามพารากอน", "เทอร์มินอล 21", "中国", "---", "", "😀"])
def test_a_title_with_nothing_readable_has_no_slug(title):
    assert slug(title) is None


@given(st.text(max_size=120))
def test_a_slug_is_its_own_slug(title):
    found = slug(title)
    if found is not None:
        assert slug(found) == found
        assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", found)
        assert len(found) <= SLUG_CHARS_MAX


LATIN = st.characters(categories=["Lu", "Ll", "Lo"]).filter(
    lambda char: re.match("LATIN (SMALL |CAPITAL )?LETTER", unicodedata.name(char, ""))
)


@given(st.text(max_size=20), LATIN, st.text(max_size=20))
def test_a_title_with_a_latin_letter_has_a_slug(before, letter, after):
    assert slug(before + letter + after)
