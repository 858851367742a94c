"""One clean table, polluted one way at a time, as real deliveries are: what a reader must read exactly or refuse."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

NAMES = ("id", "city", "due", "amount")
CITIES = ("Rosario", "Córdoba", "Salta", "Paraná", "La Plata")
ROWS = tuple(
    (f"{number:05}", CITIES[number % 5], f"2026-03-{number:02}", f"{number * 7 + 0.25:.2f}")
    for number in range(1, 31)
)


@dataclass(frozen=True)
class Polluted:
    """A file and what is wrong with it; `rows` are the clean rows that it still says, in its order.

    `whole` tells that a reader to which names, types and letters mean nothing can read all rows.
    """

    name: str
    data: bytes
    rows: tuple[tuple[str, ...], ...] = ROWS
    whole: bool = False

    @property
    def said(self) -> tuple[tuple[str, ...], ...]:
        """The rows for a reader that is told nothing about the file."""
        return ROWS if self.whole else self.rows


def text_of(
    rows: tuple[tuple[str, ...], ...] = ROWS,
    *,
    names: tuple[str, ...] = NAMES,
    separator: str = ",",
    end: str = "\n",
    quoting: int = csv.QUOTE_MINIMAL,
) -> str:
    """Write a table; a separator of several characters quotes nothing."""
    if len(separator) > 1:
        return "".join(separator.join(row) + end for row in (names, *rows))
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator=end, quoting=quoting).writerows([names, *rows])  # type: ignore[arg-type]
    return out.getvalue()


def _changed(at: int, change: Callable[[str], str], text: str | None = None) -> str:
    """Change one line, the header being line 0."""
    lines = (text or text_of()).splitlines(keepends=True)
    lines[at] = change(lines[at])
    return "".join(lines)


def without(*numbers: int) -> tuple[tuple[str, ...], ...]:
    """The clean rows without some, by their number from 1."""
    return tuple(row for at, row in enumerate(ROWS, start=1) if at not in numbers)


def polluted() -> Iterator[Polluted]:
    """Every way to pollute the table, one at a time."""
    yield from _separators_and_quotes()
    yield from _preambles_and_footers()
    yield from _rows()
    yield from _encodings_and_ends()
    yield from _headers()
    yield from _tables()


def _separators_and_quotes() -> Iterator[Polluted]:
    for name, separator in (("semicolon", ";"), ("tab", "\t"), ("pipe", "|"), ("two pipes", "||")):
        yield Polluted(f"separator {name}", text_of(separator=separator).encode())
    for separator in (";", ",", "\t", "|"):
        text = f"sep={separator}\n" + text_of(separator=separator)
        yield Polluted(f"line sep={separator!r}", text.encode())
    yield Polluted("separator space", text_of(separator=" ").encode())
    yield Polluted("separator and space", text_of().replace(",", ", ").encode())
    yield Polluted("everything quoted", text_of(quoting=csv.QUOTE_ALL).encode())
    yield Polluted("texts quoted", text_of(quoting=csv.QUOTE_NONNUMERIC).encode())
    yield Polluted("single quotes", text_of(quoting=csv.QUOTE_ALL).replace('"', "'").encode())
    for mark, name in (('"', "quote"), ("'", "apostrophe")):
        rows = ((ROWS[0][0], f"O{mark}Neil", *ROWS[0][2:]), *ROWS[1:])
        yield Polluted(f"{name} in a cell", text_of(rows).encode(), rows)
    escaped = ((ROWS[0][0], 'He said "hi, there"', *ROWS[0][2:]), *ROWS[1:])
    yield Polluted("quotes doubled", text_of(escaped).encode(), escaped)
    text = text_of(escaped, quoting=csv.QUOTE_ALL).replace('""', '\\"')
    yield Polluted("quotes escaped by a backslash", text.encode(), escaped)
    yield Polluted("an open quote", _changed(5, lambda line: '"' + line).encode(), without(5))
    broken = ((ROWS[0][0], "La\nPlata", *ROWS[0][2:]), *ROWS[1:])
    yield Polluted("a line end in a cell", text_of(broken).encode(), broken)
    decimal = tuple((*row[:3], row[3].replace(".", ",")) for row in ROWS)
    yield Polluted("decimal commas", text_of(decimal, separator=";").encode())


def _preambles_and_footers() -> Iterator[Polluted]:
    above = {
        "a title": "Deliveries of March\n",
        "a title and a blank line": "Deliveries of March\n\n",
        "five lines": "Company\nStreet 1\nDeliveries\nof\nMarch\n",
        "a padded title": "Deliveries of March,,,\n",
        "two padded lines": "Deliveries of March,,,\nmade,by hand,,\n",
        "comments": "# made by hand\n# on 2026-04-01, in a hurry\n",
        "a quoted title": '"Deliveries, of March"\n',
        "blank lines": "\n\n\n",
        "separators alone": ",,,\n",
        "a key and a value": "Made,2026-04-01\n",
    }
    for name, text in above.items():
        yield Polluted(f"above: {name}", (text + text_of()).encode())
        if name in ("a title", "a padded title"):
            text = text.replace(",", ";") + text_of(separator=";")
            yield Polluted(f"above, semicolons: {name}", text.encode())
    below = {
        "a note": "Source: the carrier\n",
        "a blank line and a note": "\nSource: the carrier, by mail\n",
        "a padded note": "Source: the carrier,,,\n",
        "blank lines": "\n\n",
        "separators alone": ",,,\n,,,\n",
        "a total": "Total,,,3262.50\n",
        "an end mark": "\x1a",
        "the number of rows": "30 rows\n",
    }
    for name, text in below.items():
        yield Polluted(f"below: {name}", (text_of() + text).encode())


def _rows() -> Iterator[Polluted]:
    yield Polluted(
        "no separator in one row", _changed(7, lambda r: r.replace(",", "", 1)).encode(), without(7)
    )
    yield Polluted(
        "a separator too many", _changed(7, lambda r: r.replace(",", ",,", 1)).encode(), without(7)
    )
    yield Polluted(
        "a separator at one end", _changed(7, lambda r: r.replace("\n", ",\n")).encode(), without(7)
    )
    everywhere = text_of().replace("\n", ",\n")
    yield Polluted("a separator at every end", everywhere.encode())
    header, rest = text_of().split("\n", 1)
    yield Polluted(
        "a separator at every end but the header",
        f"{header}\n{rest.replace(chr(10), ',' + chr(10))}".encode(),
    )
    yield Polluted("a separator at the header's end", f"{header},\n{rest}".encode())
    yield Polluted("a blank line between rows", _changed(7, lambda r: "\n" + r).encode())
    yield Polluted("a note between rows", _changed(7, lambda r: "checked so far\n" + r).encode())
    yield Polluted("a row twice", _changed(7, lambda r: r + r).encode(), (*ROWS[:7], ROWS[6], *ROWS[7:]))
    emptied = (*ROWS[:6], (ROWS[6][0], "", *ROWS[6][2:]), *ROWS[7:])
    yield Polluted("an empty cell", text_of(emptied).encode(), emptied)
    yield Polluted("a comma in a number", _changed(7, lambda r: r.replace(".", ",")).encode(), without(7))
    yield Polluted(
        "a word for a number", _changed(7, lambda r: r.replace(ROWS[6][3], "many")).encode(), without(7)
    )
    yield Polluted(
        "a word for a date", _changed(7, lambda r: r.replace(ROWS[6][2], "soon")).encode(), without(7), True
    )
    yield Polluted("spaces around cells", text_of().replace(",", " , ").encode())
    yield Polluted("a row cut short", text_of()[:-12].encode(), without(30))
    yield Polluted(
        "a line joined with the next", _changed(7, lambda r: r.rstrip("\n") + ",").encode(), without(7, 8)
    )


def _encodings_and_ends() -> Iterator[Polluted]:
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        yield Polluted(f"encoding {encoding}", text_of().encode(encoding))
    for encoding in ("cp1252", "latin-1", "cp850"):
        kept = tuple(row for row in ROWS if row[1].isascii())
        yield Polluted(f"encoding {encoding}", text_of().encode(encoding), kept)
    for name, end in (("CRLF", "\r\n"), ("CR", "\r"), ("CR CR LF", "\r\r\n")):
        yield Polluted(f"line ends {name}", text_of(end=end).encode())
    mixed = _changed(7, lambda r: r.replace("\n", "\r\n"))
    yield Polluted("line ends mixed", mixed.encode())
    yield Polluted("no last line end", text_of().rstrip("\n").encode())
    yield Polluted("a NUL", _changed(7, lambda r: r.replace("2026", "20\x0026")).encode(), without(7))


def _headers() -> Iterator[Polluted]:
    yield Polluted("header in capitals", text_of(names=("ID", "CITY", "DUE", "AMOUNT")).encode())
    yield Polluted("header with spaces", text_of(names=(" id ", "city ", " due", "amount")).encode())
    yield Polluted(
        "header quoted", text_of().replace("id,city,due,amount", '"id","city","due","amount"').encode()
    )
    yield Polluted("no header", text_of().split("\n", 1)[1].encode(), (), True)
    yield Polluted("one name changed", text_of(names=("id", "town", "due", "amount")).encode(), (), True)
    yield Polluted("one name missing", text_of(names=("id", "", "due", "amount")).encode(), (), True)
    yield Polluted("one name twice", text_of(names=("id", "city", "due", "id")).encode(), (), True)
    swapped = tuple((row[3], row[1], row[2], row[0]) for row in ROWS)
    yield Polluted(
        "columns in another order", text_of(swapped, names=("amount", "city", "due", "id")).encode()
    )
    yield Polluted(
        "one more column", text_of(tuple((*r, "x") for r in ROWS), names=(*NAMES, "more")).encode()
    )
    yield Polluted("a column before", text_of(tuple(("x", *r) for r in ROWS), names=("", *NAMES)).encode())
    units = text_of().replace("amount\n", "amount\n(n),(name),(day),(USD)\n", 1)
    yield Polluted("a row of units", units.encode())
    two = f"delivery,,money,\n{text_of()}"
    yield Polluted("two header rows", two.encode())


def _tables() -> Iterator[Polluted]:
    yield Polluted("the same table twice", (text_of() * 2).encode(), ROWS * 2)
    yield Polluted("the same header again", _changed(15, lambda r: "id,city,due,amount\n" + r).encode())
    other = text_of(
        tuple((row[3], row[1], row[2], row[0]) for row in ROWS), names=("amount", "city", "due", "id")
    )
    yield Polluted("the columns swapped half-way", (text_of() + other).encode())
    yield Polluted("another table below", (text_of() + "\nstate,people\nSF,3\nER,1\n").encode())
    wide = "a,b,c,d\n1,2,3,4\n5,6,7,8\n"
    yield Polluted("another table of the same width below", (text_of() + "\n" + wide).encode())
    yield Polluted(
        "a table beside",
        "".join(f"{line},,7,8\n" if line else "\n" for line in text_of().splitlines()).encode(),
    )
    yield Polluted(
        "a web page", b"<!DOCTYPE html><html><title>502</title><body>id,city,due,amount</body></html>", ()
    )
    yield Polluted("nothing", b"", ())
    yield Polluted("a header alone", b"id,city,due,amount\n", ())
