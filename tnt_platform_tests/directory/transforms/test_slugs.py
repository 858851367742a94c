import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tnt_platform.directory.transforms.slugs import MAX_CHARS, slug

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
def test_a_title_without_anything_readable_has_no_slug(title):
    assert slug(title) is None


@given(st.text(max_size=120))
def test_a_slug_is_its_own_slug(title):
    found = slug(title)
    if found is not None:
        assert slug(found) == found
        assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", found)
        assert len(found) <= MAX_CHARS


LATIN = st.characters(categories=["Lu", "Ll", "Lo"]).filter(
    lambda char: re.match("LATIN (SMALL |CAPITAL )?LETTER", unicodedata.name(char, ""))
)


@given(st.text(max_size=20), LATIN, st.text(max_size=20))
def test_a_title_with_a_latin_letter_has_a_slug(before, letter, after):
    assert slug(before + letter + after)
