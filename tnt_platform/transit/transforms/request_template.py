"""A request as data: a JSON tree with `{field}` where a row's value goes.

    {"method": "POST", "url": "{api_url}/{origin}/rates", "headers": {"Accept": "application/json"},
     "body": {"weight": "{weight}", "label": "from {origin} to {destination}"}}

A string that is exactly `{field}` becomes the row's typed value: a number stays a number, the text "00501"
stays text. Inside a longer string the value is written as text; in the URL it is percent-encoded. `{{` and
`}}` are literal braces. Secrets can only be in `headers`, which are never part of a stored request.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tnt_platform.errors import ConfigError

_TOKENS = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")
_PARTS = ("method", "url", "headers", "body")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class WrittenAs(Enum):
    """How a field's value is written where it stands."""

    JSON_VALUE = "json value"
    JSON_TEXT = "inside a json string"
    URL_PART = "url part"


@dataclass(frozen=True)
class Slot:
    """The place of one field; `where` is its path in the template, for messages."""

    field: str
    written_as: WrittenAs
    where: str


@dataclass(frozen=True)
class RequestTemplate:
    """A checked template: `url` and `body` as literal pieces and slots, in the order they are written."""

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
        """Refuse fields that no row has.

        Raises:
            ConfigError: names the template, the place, the closest name and all available ones.
        """
        for slot in self.slots:
            if slot.field not in available:
                close = difflib.get_close_matches(slot.field, list(available), n=1)
                hint = f"did you mean {{{close[0]}}}? " if close else ""
                raise ConfigError(
                    f"{self.source}: {slot.where}: no field {slot.field!r}; {hint}"
                    f"available: {', '.join(sorted(available))}"
                )


def read_template(data: bytes | str, *, source: str) -> RequestTemplate:
    """Read a template from the text of its file; `source` names the file in messages.

    Raises:
        ConfigError: not JSON, an unknown or missing part, a stray brace, or a `${SECRET}` outside headers.
    """
    try:
        tree = json.loads(data)
    except ValueError as error:
        raise ConfigError(f"{source}: not JSON: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{source}: expected an object with {', '.join(_PARTS)}")
    if unknown := sorted(set(tree) - set(_PARTS)):
        raise ConfigError(f"{source}: unknown part {unknown[0]!r}; expected {', '.join(_PARTS)}")
    method, url = tree.get("method", "POST"), tree.get("url")
    if method not in _METHODS:
        raise ConfigError(f"{source}: method is {method!r}; expected one of {', '.join(_METHODS)}")
    if not isinstance(url, str) or not url:
        raise ConfigError(f"{source}: url is {url!r}; expected text such as '{{api_url}}/{{origin}}/rates'")
    body = None if tree.get("body") is None else _joined(_body_pieces(tree["body"], "body", source))
    return RequestTemplate(
        method=method,
        url=_joined(_text_pieces(url, "url", source, WrittenAs.URL_PART)),
        headers=_checked_headers(tree.get("headers", {}), source),
        body=body,
        source=source,
    )


def _checked_headers(headers: Any, source: str) -> dict[str, str]:
    if not isinstance(headers, dict) or not all(isinstance(v, str) for v in headers.values()):
        raise ConfigError(f"{source}: headers: expected an object of texts")
    for name, value in headers.items():
        if re.search(r"(?<!\$)\{[A-Za-z_]", value):
            # A header is not part of the request's identity, so it can't depend on the row.
            raise ConfigError(f"{source}: headers.{name}: row fields can't be put into headers")
    return dict(headers)


def _body_pieces(node: Any, where: str, source: str) -> Iterator[str | Slot]:
    """Write `node` as canonical JSON: sorted keys, no spaces."""
    if isinstance(node, dict):
        for number, key in enumerate(sorted(node)):
            if "{" in key or "}" in key:
                raise ConfigError(
                    f"{source}: {where}: the name {key!r} can't hold a field; put it in a value"
                )
            yield ("," if number else "{") + canonical_json(key) + ":"
            yield from _body_pieces(node[key], f"{where}.{key}", source)
        yield "}" if node else "{}"
    elif isinstance(node, list):
        for number, item in enumerate(node):
            yield "," if number else "["
            yield from _body_pieces(item, f"{where}[{number}]", source)
        yield "]" if node else "[]"
    elif isinstance(node, str):
        pieces = list(_text_pieces(node, where, source, WrittenAs.JSON_TEXT))
        if len(pieces) == 1 and isinstance(pieces[0], Slot):
            yield Slot(pieces[0].field, WrittenAs.JSON_VALUE, where)
        else:
            yield '"'
            yield from (piece if isinstance(piece, Slot) else canonical_json(piece)[1:-1] for piece in pieces)
            yield '"'
    else:
        yield canonical_json(node)


def _text_pieces(text: str, where: str, source: str, written_as: WrittenAs) -> Iterator[str | Slot]:
    if "${" in text:
        raise ConfigError(
            f"{source}: {where}: ${{...}} is allowed in headers only, since the URL and the body are "
            "published with the results; give the value as a field or as a header"
        )
    end = 0
    for token in _TOKENS.finditer(text):
        if token.start() > end:
            yield text[end : token.start()]
        end = token.end()
        if token[1]:
            yield Slot(token[1], written_as, where)
        elif token[0] in ("{{", "}}"):
            yield token[0][0]
        else:
            raise ConfigError(
                f"{source}: {where}: stray {token[0]!r} at character {token.start() + 1} of {text!r}; "
                "write {field} for a field, {{ or }} for a brace"
            )
    if end < len(text):
        yield text[end:]


def _joined(pieces: Iterator[str | Slot]) -> tuple[str | Slot, ...]:
    """Merge neighbouring literals, so that writing a row touches few pieces."""
    merged: list[str | Slot] = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        else:
            merged.append(piece)
    return tuple(merged)


def canonical_json(value: Any) -> str:
    """One spelling for equal values: sorted keys, no spaces, no NaN.

    Raises:
        ValueError: not a number JSON can hold.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
