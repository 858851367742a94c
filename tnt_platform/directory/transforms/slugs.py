"""Slugs: the part of a page's address that people read."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MAX_CHARS: Final = 80

_BETWEEN: Final = re.compile("[^a-z0-9]+")
_APOSTROPHES: Final = re.compile("['\u2018\u2019\u02bc`\u00b4]")
_LATIN: Final = re.compile("LATIN (?:.* )?(?:LETTER|LIGATURE) (?:.* )??([A-Z]+)(?: WITH .*)?$")


def slug(title: str) -> str | None:
    """The title in lower-case ASCII letters and digits with single hyphens between: "Café Ø & Co" is "cafe-o-co".

    Accents fall, letters of other scripts too. None where nothing readable is left: a title of other scripts alone
    (with or without digits) or of signs. A slug is its own slug.
    """
    plain = _APOSTROPHES.sub("", title).casefold()
    ascii_text = "".join(map(_ascii, unicodedata.normalize("NFKD", plain)))
    found = _BETWEEN.sub("-", ascii_text).strip("-")[:MAX_CHARS].rstrip("-")
    # "21" of a Thai title says nothing; of "21" it says all there is.
    if not found or (found.replace("-", "").isdigit() and any(char.isalpha() for char in title)):
        return None
    return found


def _ascii(char: str) -> str:
    """The letters of the Latin letter that `char` is, a hyphen for what parts words, else nothing."""
    if char.isascii():
        return char
    if unicodedata.combining(char):
        return ""
    # Letters without a decomposition (o with stroke, ae, dotless i) are known by their Unicode name.
    named = _LATIN.match(unicodedata.name(char, ""))
    return named.group(1).lower() if named else "-"
