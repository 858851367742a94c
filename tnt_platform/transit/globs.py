"""Whether one glob takes every name that another one takes."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from itertools import islice, product

# A character that no glob names.
_UNNAMED = "\x01"
_MAX_SAMPLES = 4_000


def hides(earlier: str, glob: str) -> bool:
    """Whether every name that fits `glob` fits `earlier`, decided on samples that try what `earlier` could reject."""
    return all(fnmatch.fnmatchcase(name, earlier) for name in islice(_samples(glob, earlier), _MAX_SAMPLES))


def _samples(glob: str, against: str) -> Iterator[str]:
    """Names that fit `glob`: `*` as nothing, as an unnamed character, as many, and as what `against` names."""
    letters = [_UNNAMED, *sorted(set(re.sub(r"[*?\[\]!-]", "", against)))]
    pieces: list[list[str]] = []
    for piece in re.findall(r"\*+|\?|\[!?\]?[^\]]*\]|.", glob, re.DOTALL):
        if piece.startswith("*"):
            pieces.append(["", _UNNAMED, _UNNAMED * 40, *letters[1:]])
        elif piece == "?":
            pieces.append(letters)
        elif len(piece) > 1:
            pieces.append([c for c in map(chr, range(1, 127)) if fnmatch.fnmatchcase(c, piece)] or [_UNNAMED])
        else:
            pieces.append([piece])
    return ("".join(parts) for parts in product(*pieces))
