"""Text as a person reads it, out of text that was escaped for HTML or JSON once, twice or more."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Final

import polars as pl

# Each round takes one layer off; a run of "amp;" falls in one round, a run of backslashes by half.
MAX_ROUNDS: Final = 64
_ROUNDS_OF_PEOPLE: Final = 4

# "&amp;amp;lt;" is "&lt;" escaped twice: all its ampersands are one.
_AMPERSANDS: Final = re.compile(
    "&(?:amp;?|AMP;?|#0*38(?:;|(?![0-9;]))|#[xX]0*26(?:;|(?![0-9a-fA-F;])))+"  # the forms of one "&"
)
_REFERENCE: Final = re.compile("&[#A-Za-z]")
_CLOSED_REFERENCE: Final = re.compile("&#?[A-Za-z0-9]{1,32};")
_PAIR: Final = r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
_ESCAPE: Final = re.compile(rf"\\([\\\"'/])|{_PAIR}|\\u([0-9a-fA-F]{{4}})|\\[nrt]")
# A tag has a name, so that "I <3 you", "a < b" and "<me@mall.example>" stay.
_TAG: Final = re.compile("<[/!]?[A-Za-z][A-Za-z0-9:-]*(?:[\\s/][^<>]*)?>|<!--[^<>]*-->")
_CODE: Final = re.compile("<(script|style)(?:\\s[^<>]*)?>[^<]*</\\1\\s*>", re.IGNORECASE)
# What any of the above begins with: most texts have none of it.
_ENCODED: Final = re.compile(r"""&[#A-Za-z]|\\[\\"'/unrt]|<[/!A-Za-z]""")
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs"})


def decode(text: str) -> str:
    r"""The text without HTML entities, \uXXXX and \n style escapes, tags, and characters that nobody sees.

    Entities (named, decimal, hexadecimal) and escapes (surrogate pairs too) are decoded until nothing changes, tags
    become a space, white space is collapsed, and the rest is in Unicode form NFC. Escaping the text again before has
    no effect on the result, and decoding the result has none either.
    """
    return decoded(text)[0]


def decoded(text: str) -> tuple[str, bool]:
    """`decode(text)`, and whether tags were taken out of it."""
    had_tags = False
    for _ in range(MAX_ROUNDS):
        before = text
        if _ENCODED.search(text):
            text = _unescaped(_without_entities(text))
            if text != before:
                continue
            # Tags count once the text around them is bare, or the depth of escaping would change what is one.
            text = _TAG.sub(" ", _CODE.sub(" ", text))
            if text != before:
                had_tags = True
                continue
        text = tidy(text)
        # What nobody sees may have kept an entity from being one.
        if text == before or not _ENCODED.search(text):
            break
    return text, had_tags


def tidy(text: str) -> str:
    """The text with single spaces, in form NFC, without control, zero-width and other unseen characters."""
    text = " ".join(text.split())
    if not text.isprintable():
        seen = "".join(filter(_is_seen, text))
        text = " ".join(seen.split())
    return unicodedata.normalize("NFC", text)


def decode_address(text: str) -> str:
    """A web address without HTML entities; `&copy=2` stays, since only a closed entity counts in one."""
    if "&" not in text and "\\" not in text:
        return tidy(text)
    for _ in range(MAX_ROUNDS):
        before, text = text, _CLOSED_REFERENCE.sub(lambda found: html.unescape(found.group()), text)
        text = text.replace("\\/", "/")
        if text == before:
            break
    return tidy(text)


def plain_texts(texts: pl.Series) -> pl.DataFrame:
    """Decode each distinct value of a String column once.

    Returns, aligned with `texts`: text (String, null where nothing is left) and had_tags (Boolean).
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


def _is_seen(char: str) -> bool:
    no_character = ord(char) & 0xFFFE == 0xFFFE or "\ufdd0" <= char <= "\ufdef"
    return unicodedata.category(char) not in _UNSEEN and not no_character


def _without_entities(text: str) -> str:
    for at in range(MAX_ROUNDS):
        if "&" not in text or not _REFERENCE.search(text):
            break
        before, text = text, html.unescape(text if at < _ROUNDS_OF_PEOPLE else _AMPERSANDS.sub("&", text))
        if text == before:
            break
    return text


def _unescaped(text: str) -> str:
    for _ in range(MAX_ROUNDS):
        if "\\" not in text:
            break
        before, text = text, _ESCAPE.sub(_character, text)
        if text == before:
            break
    return text


def _character(escape: re.Match[str]) -> str:
    mark, high, low, unit = escape.groups()
    if high:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    return mark or (chr(int(unit, 16)) if unit else " ")
