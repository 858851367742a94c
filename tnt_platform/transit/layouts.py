"""The kinds of files of a dataset: which names they have, how they are delimited, where their columns are."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Annotated

from pydantic import BeforeValidator, Field

from tnt_platform.readers.column import Column, ColumnSpec
from tnt_platform.readers.layout import DelimitedFormat, DelimitedLayout, place_mistakes
from tnt_platform.specs.fields import listed, meant
from tnt_platform.specs.spec import Mistake, mistake, rule

COMPRESSED = (".gz", ".zip", ".bz2", ".xz")
# A character that no glob names.
_UNNAMED = "\x01"
_MAX_SAMPLES = 4_000


def _no_boolean(place: object) -> object:
    if isinstance(place, bool):
        word = "yes" if place else "no"
        raise mistake(
            f"the place is read as {str(place).lower()}",
            "a header name or a position",
            f'put a header name such as {word} in quotes: "{word}"',
        )
    return place


Place = Annotated[int | str, BeforeValidator(_no_boolean)]


class FileLayout(DelimitedFormat):
    """One kind of file: a glob on its name, how it is delimited, and where its columns are."""

    files: Annotated[
        str,
        Field(
            description="A glob on the last part of the key, in any case, without the suffix of a compression. "
            "The first layout that fits a file is used."
        ),
    ]
    columns: Annotated[
        Mapping[str, Place],
        Field(
            description="Where each column is: its name in the header (any case, any white space), or its position "
            "from 0. A column that is not placed is null in these files."
        ),
    ]

    optional: Annotated[
        tuple[str, ...],
        Field(
            description="Columns that a file may lack; then they are null in its rows. A file without any other "
            "column is rejected."
        ),
    ] = ()

    @rule
    def _optional_columns_are_placed(self) -> Iterator[Mistake]:
        for position, name in enumerate(self.optional):
            if name not in self.columns:
                wrong = f"optional: {name} is not among this layout's columns"
                fix = meant(name, self.columns, "place it below `columns`, or delete it here")
                yield Mistake(wrong, f"one of {listed(self.columns)}", fix, at=("optional", position))

    @rule
    def _glob_fits_names(self) -> Iterator[Mistake]:
        at = ("files",)
        if "/" in self.files:
            fix = f"write {self.files.rsplit('/', 1)[-1] or '*'}; folders belong in prefix and key_pattern"
            wrong = f"{self.files} can't fit: it is compared with the file's name"
            yield Mistake(wrong, "a glob without /", fix, at)
        for suffix in COMPRESSED:
            if self.files.lower().endswith(suffix):
                wrong = f"{self.files} can't fit: {suffix} of a compressed file is not part of the name"
                yield Mistake(wrong, "the name inside", f"write {self.files[: -len(suffix)]}", at)

    @rule
    def _columns_can_be_found(self) -> Iterator[Mistake]:
        for name, found in place_mistakes(self, self.columns):  # type: ignore[arg-type]  # its names are strings
            yield found.below("columns", name)

    def with_columns(self, columns: Sequence[ColumnSpec]) -> FileKind:
        """Put the dataset's columns in their places; one that the layout does not place is null in its files."""
        places = {column.name: self.columns[column.name] for column in columns if column.name in self.columns}
        required = [places[column.name] for column in columns if column.required]
        optional = [self.columns[name] for name in self.optional]
        if not self.header:
            # Without a header, nothing tells a short row from one whose last cells were left out.
            optional = [place for place in self.columns.values() if place not in required]
        shortest = max((place for place in required if isinstance(place, int)), default=0) + 1
        layout = DelimitedLayout(
            **{name: getattr(self, name) for name in DelimitedFormat.model_fields if name != "min_columns"},
            min_columns=shortest if self.min_columns is None and not self.header else self.min_columns,
            columns=tuple(self.columns.values()),
            optional=frozenset(optional),
        )
        return FileKind(self.files, layout, tuple(_placed(column, places) for column in columns))


def _placed(column: ColumnSpec, places: Mapping[str, int | str]) -> Column:
    given = {name: getattr(column, name) for name in column.model_fields_set}
    return Column(**given, source=places.get(column.name, column.name), optional=not column.required)


@dataclass(frozen=True)
class FileKind:
    """Files whose name matches `files`: their layout, and the dataset's columns in their places."""

    files: str
    layout: DelimitedLayout
    columns: tuple[Column, ...]

    def fits(self, key: str) -> bool:
        """Whether `key` is one of these files; the suffix of a compression is not part of the name."""
        name = key.rsplit("/", 1)[-1].lower()
        for suffix in COMPRESSED:
            name = name.removesuffix(suffix)
        return fnmatch.fnmatchcase(name, self.files.lower())


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
