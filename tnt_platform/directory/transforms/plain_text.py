"""Decode text that was escaped for HTML or JSON, once or repeatedly, and make slugs from titles."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Final

import polars as pl

# Each round removes one layer of escaping: a whole run of "amp;", or half of a run of backslashes.
MAX_ROUNDS: Final = 64
SLUG_CHARS_MAX: Final = 80

# Deeper escaping comes from a loop in the source; it is removed in one go so that hostile input stays fast.
_ROUNDS_ONE_BY_ONE: Final = 4
# "&amp;amp;lt;" is "&lt;" escaped twice: all of its ampersands stand for one.
_AMPERSANDS: Final = re.compile(
    "&(?:amp;|AMP;|#0*38;|#[xX]0*26;)+"  # every spelling of "&"
)
# Only what ends in a semicolon: "Health&centre" is a name, not "Health" and a cent sign.
_REFERENCE: Final = re.compile("&#?[A-Za-z0-9]{1,32};")
_PAIR: Final = r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
_ESCAPE: Final = re.compile(rf"\\([\\\"'/])|{_PAIR}|\\u([0-9a-fA-F]{{4}})|\\[nrt]")
# In the path of a file, such as C:\new\table, a backslash before n, r or t separates folders.
_PATH: Final = re.compile(r"(?<![A-Za-z])[A-Za-z]:\\+\w")
_ESCAPE_BESIDE_PATHS: Final = re.compile(rf"\\([\\\"'/])|{_PAIR}|\\u([0-9a-fA-F]{{4}})")
# A tag starts with a name, so "I <3 you", "a < b" and "<me@mall.example>" are left alone.
_TAG: Final = re.compile("<[/!]?[A-Za-z][A-Za-z0-9:-]*(?:[\\s/][^<>]*)?>|<!--[^<>]*-->")
_CODE: Final = re.compile("<(script|style)(?:\\s[^<>]*)?>[^<]*</\\1\\s*>", re.IGNORECASE)
# The start of any of the above. Most texts contain none, and are returned without further work.
_ENCODED: Final = re.compile(r"""&[#A-Za-z]|\\[\\"'/unrt]|<[/!A-Za-z]""")
_INVISIBLE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs"})

_BETWEEN_WORDS: Final = re.compile("[^a-z0-9]+")
_APOSTROPHES: Final = re.compile("['\u2018\u2019\u02bc`\u00b4]")
_LATIN: Final = re.compile("LATIN (?:.* )?(?:LETTER|LIGATURE) (?:.* )??([A-Z]+)(?: WITH .*)?$")


def decode(text: str) -> str:
    r"""Remove HTML entities, escapes such as \uXXXX and \n, tags and invisible characters from `text`.

    Entities (named, decimal, hexadecimal, each with its semicolon) and escapes (including surrogate pairs) are decoded
    until nothing changes. Tags become a space, white space is collapsed, and the result is in Unicode form NFC. The
    result does not depend on how often `text` was escaped, and decoding it again changes nothing.
    """
    return decoded(text)[0]


def decoded(text: str) -> tuple[str, bool]:
    """Return `decode(text)` and whether tags were removed from it."""
    had_tags = False
    for _ in range(MAX_ROUNDS):
        before = text
        if _ENCODED.search(text):
            text = _unescaped(_without_entities(text))
            if text != before:
                continue
            # Remove tags only when nothing is left to decode: what counts as a tag must not depend on how deeply
            # the text was escaped.
            text = _TAG.sub(" ", _CODE.sub(" ", text))
            if text != before:
                had_tags = True
                continue
        text = tidy(text)
        # Removing an invisible character may have completed an entity.
        if text == before or not _ENCODED.search(text):
            break
    return text, had_tags


def tidy(text: str) -> str:
    """Collapse white space, remove control, zero-width and other invisible characters, and compose to NFC."""
    text = " ".join(text.split())
    if not text.isprintable():
        text = " ".join("".join(filter(_is_visible, text)).split())
    return unicodedata.normalize("NFC", text)


def decode_address(text: str) -> str:
    """Decode HTML entities in a web address; only those that end in `;`, so that `&copy=2` stays a parameter."""
    if "&" not in text and "\\" not in text:
        return tidy(text)
    for _ in range(MAX_ROUNDS):
        before, text = text, _REFERENCE.sub(lambda found: html.unescape(found.group()), text)
        text = text.replace("\\/", "/")
        if text == before:
            break
    return tidy(text)


def plain_texts(texts: pl.Series) -> pl.DataFrame:
    """Decode a String column, each distinct value once.

    Returns one row per value of `texts`: text (String, null where nothing is left) and had_tags (Boolean).
    """
    values = texts.to_list()
    known = {text: decoded(text) for text in set(values) if text is not None}
    tagged = {text for text, (_, had_tags) in known.items() if had_tags}
    return pl.DataFrame(
        {
            "text": pl.Series([known[text][0] or None if text else None for text in values], dtype=pl.String),
            "had_tags": pl.Series([text in tagged for text in values], dtype=pl.Boolean),
        }
    )


def slug(title: str) -> str | None:
    """Turn a title into lower-case ASCII words joined by hyphens: "Café Ø & Co" becomes "cafe-o-co".

    Accents and letters of other scripts are dropped. Returns None where nothing readable is left, as for a title in
    another script (with or without digits). The slug of a slug is that slug.
    """
    plain = _APOSTROPHES.sub("", title).casefold()
    ascii_text = "".join(map(_latin, unicodedata.normalize("NFKD", plain)))
    found = _BETWEEN_WORDS.sub("-", ascii_text).strip("-")[:SLUG_CHARS_MAX].rstrip("-")
    # "21" identifies a shop called "21", but not a Thai title that merely ends in 21.
    if not found or (found.replace("-", "").isdigit() and any(char.isalpha() for char in title)):
        return None
    return found


def _is_visible(char: str) -> bool:
    is_noncharacter = ord(char) & 0xFFFE == 0xFFFE or "\ufdd0" <= char <= "\ufdef"
    return unicodedata.category(char) not in _INVISIBLE_CATEGORIES and not is_noncharacter


def _without_entities(text: str) -> str:
    for done in range(MAX_ROUNDS):
        if "&" not in text or not _REFERENCE.search(text):
            break
        before = text
        if done >= _ROUNDS_ONE_BY_ONE:
            text = _AMPERSANDS.sub("&", text)
        text = _REFERENCE.sub(lambda found: html.unescape(found.group()), text)
        if text == before:
            break
    return text


def _unescaped(text: str) -> str:
    for _ in range(MAX_ROUNDS):
        if "\\" not in text:
            break
        escape = _ESCAPE_BESIDE_PATHS if _PATH.search(text) else _ESCAPE
        before, text = text, escape.sub(_character, text)
        if text == before:
            break
    return text


def _character(escape: re.Match[str]) -> str:
    mark, high, low, unit = escape.groups()
    if high:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    return mark or (chr(int(unit, 16)) if unit else " ")


def _latin(char: str) -> str:
    """Spell a Latin letter in ASCII; a combining mark becomes nothing, and anything else a hyphen."""
    if char.isascii():
        return char
    if unicodedata.combining(char):
        return ""
    # Letters that do not decompose (o with stroke, ae, dotless i) are recognised by their Unicode name.
    named = _LATIN.match(unicodedata.name(char, ""))
    return named.group(1).lower() if named else "-"
