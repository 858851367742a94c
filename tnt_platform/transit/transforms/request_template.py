"""A request as data: a JSON tree with `{field}` where a row's value goes.

    {"method": "POST", "url": "{api_url}/{origin}/rates", "headers": {"Accept": "application/json"},
     "body": {"weight": "{weight}", "label": "from {origin} to {destination}"}}

A string that is exactly `{field}` becomes the row's typed value: a number stays a number, the string "00501" stays a
string. Inside a longer string the value is written as text; in the URL it is percent-encoded. `{{` and `}}` are
literal braces. Secrets belong in `headers`, which are never part of a stored request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from tnt_platform.errors import ConfigError
from tnt_platform.specs.fields import Headers, listed, nearest, shown, spelled
from tnt_platform.specs.spec import Mistake, Path, Spec, rule

_TOKENS = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")
_VARIABLE_BRACES = re.compile(r"\$\{[^{}]*\}?")


class WrittenAs(Enum):
    """How a field's value is written where it stands."""

    JSON_VALUE = "json value"
    JSON_TEXT = "inside a json string"
    URL_PART = "url part"


@dataclass(frozen=True)
class Slot:
    """The place of one field; `path` leads to it in the template."""

    field: str
    written_as: WrittenAs
    path: Path

    @property
    def where(self) -> str:
        """The path as a message writes it."""
        return spelled(self.path)


@dataclass(frozen=True)
class RequestTemplate:
    """A template taken apart: `url` and `body` as literal pieces and slots, in the order they are written."""

    method: str
    url: tuple[str | Slot, ...]
    headers: Mapping[str, str]
    body: tuple[str | Slot, ...] | None
    source: str

    @property
    def slots(self) -> list[Slot]:
        """Every slot, URL first."""
        return [piece for piece in (*self.url, *(self.body or ())) if isinstance(piece, Slot)]

    def check_fields(self, available: Collection[str]) -> None:
        """Check that every row has the fields of the template.

        Raises:
            ConfigError: names the template, the place, the closest name and all available ones.
        """
        for slot in self.slots:
            if slot.field not in available:
                close = nearest(slot.field, available)
                hint = f"did you mean {{{close}}}? " if close else ""
                raise ConfigError(
                    f"{self.source}: {slot.where}: no field {slot.field!r}; {hint}available: {listed(available)}"
                )


class RequestFile(Spec):
    """The file beside the YAML that says how a case is asked for."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    url: Annotated[str, Field(min_length=1)]
    headers: Headers = Field(default_factory=dict)
    body: Any = None

    @rule
    def _fields_can_be_told_from_braces(self) -> Iterator[Mistake]:
        for path, text in self._values():
            for brace in _stray_braces(text):
                wrong = (
                    f"{spelled(path)}: stray {brace[0]!r} at character {brace.start() + 1} of {shown(text)}"
                )
                yield Mistake(wrong, "{field} for a field, {{ or }} for a brace", "close or double it", path)

    @rule
    def _no_field_is_a_name(self) -> Iterator[Mistake]:
        for path, name in _names(self.body, ("body",)):
            if "{" in name or "}" in name:
                wrong = f"{spelled(path)}: the name {name!r} can't hold a field"
                yield Mistake(wrong, "a plain name", "put the field into a value", path)

    @rule
    def _headers_are_the_same_for_every_row(self) -> Iterator[Mistake]:
        # A header is not part of the request's identity, so it can't depend on the row.
        for name, value in self.headers.items():
            if re.search(r"(?<!\$)\{[A-Za-z_]", value):
                wrong = f"headers.{name} holds a field of the row"
                fix = "put the field into the URL or the body"
                yield Mistake(wrong, "a value that is the same for every row", fix, ("headers", name))

    @rule
    def _variables_are_in_headers(self) -> Iterator[Mistake]:
        for path, text in self._values():
            if "${" in text:
                # They are published with the results, and a secret must not be.
                wrong = f"{spelled(path)}: {shown(text)} holds a variable"
                yield Mistake(
                    wrong, "variables in headers only", "give the value as a field or as a header", path
                )

    def fields(self) -> Iterator[tuple[Path, str]]:
        """Each field of the row that the request uses, with its place."""
        for path, text in self._values():
            for token in _TOKENS.finditer(_without_variables(text)):
                if token[1]:
                    yield path, token[1]

    def _values(self) -> Iterator[tuple[Path, str]]:
        # What is wrong is absent while mistakes are looked for.
        for part in ("url", "body"):
            yield from _strings(self.__dict__.get(part), (part,))

    def template(self, source: str) -> RequestTemplate:
        """Take it apart; `source` names the file in messages."""
        body = None if self.body is None else _joined(_body_pieces(self.body, ("body",)))
        url = _joined(_text_pieces(self.url, ("url",), WrittenAs.URL_PART))
        return RequestTemplate(self.method, url, self.headers, body, source)


def read_template(data: bytes | str, *, source: str) -> RequestTemplate:
    """Read a template from the text of its file; `source` names the file in messages.

    Raises:
        ConfigError: not JSON, an unknown or missing part, a stray brace, or a `${SECRET}` outside headers.
    """
    try:
        tree = json.loads(data)
    except ValueError as error:
        raise ConfigError(f"{source}: not JSON: {error}") from None
    try:
        return RequestFile.model_validate(tree).template(source)
    except ValidationError as error:
        raise ConfigError(f"{source}: {error}") from None


def _strings(node: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Every string of a JSON tree that is a value."""
    if isinstance(node, str):
        yield path, node
    for key, child in _children(node):
        yield from _strings(child, (*path, key))


def _names(node: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Every name of a JSON tree."""
    for key, child in _children(node):
        if isinstance(key, str):
            yield (*path, key), key
        yield from _names(child, (*path, key))


def _children(node: Any) -> Iterable[tuple[str | int, Any]]:
    return node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()


def _stray_braces(text: str) -> Iterator[re.Match[str]]:
    return (token for token in _TOKENS.finditer(_without_variables(text)) if token[0] in ("{", "}"))


def _without_variables(text: str) -> str:
    """The text without the braces of variables, which are a mistake of their own; positions stay."""
    return _VARIABLE_BRACES.sub(lambda found: "x" * len(found[0]), text)


def _body_pieces(node: Any, path: Path) -> Iterator[str | Slot]:
    """Write `node` as canonical JSON: sorted keys, no spaces."""
    if isinstance(node, dict):
        for number, key in enumerate(sorted(node)):
            yield ("," if number else "{") + canonical_json(key) + ":"
            yield from _body_pieces(node[key], (*path, key))
        yield "}" if node else "{}"
    elif isinstance(node, list):
        for number, item in enumerate(node):
            yield "," if number else "["
            yield from _body_pieces(item, (*path, number))
        yield "]" if node else "[]"
    elif isinstance(node, str):
        pieces = list(_text_pieces(node, path, WrittenAs.JSON_TEXT))
        if len(pieces) == 1 and isinstance(pieces[0], Slot):
            yield Slot(pieces[0].field, WrittenAs.JSON_VALUE, path)
        else:
            yield '"'
            yield from (piece if isinstance(piece, Slot) else canonical_json(piece)[1:-1] for piece in pieces)
            yield '"'
    else:
        yield canonical_json(node)


def _text_pieces(text: str, path: Path, written_as: WrittenAs) -> Iterator[str | Slot]:
    end = 0
    for token in _TOKENS.finditer(text):
        if token.start() > end:
            yield text[end : token.start()]
        end = token.end()
        # The file was checked: what is not a field is a doubled brace.
        yield Slot(token[1], written_as, path) if token[1] else token[0][0]
    if end < len(text):
        yield text[end:]


def _joined(pieces: Iterator[str | Slot]) -> tuple[str | Slot, ...]:
    """Merge adjacent literals, so that writing a row touches few pieces."""
    merged: list[str | Slot] = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        else:
            merged.append(piece)
    return tuple(merged)


def canonical_json(value: Any) -> str:
    """Write equal values in one way: sorted keys, no spaces, no NaN.

    Raises:
        ValueError: not a number JSON can hold.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
