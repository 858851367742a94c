"""Field tables for the docs and a JSON Schema for editors, both made of the specs themselves."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo

from tnt_platform.specs.dataset import DatasetSpec
from tnt_platform.specs.fields import MayHoldVariables, Unit
from tnt_platform.specs.spec import Spec
from tnt_platform.validation.schema import alternatives, is_spec

SCHEMA_DIALECT = "http://json-schema.org/draft-07/schema#"
# In a page of the docs, what stands between these is a field table.
_TABLE = re.compile(r"(<!-- fields of (\w+) -->\n).*?(<!-- end of fields -->)", re.DOTALL)
_HEADER = "| field | value | default | meaning |\n|---|---|---|---|\n"
_TYPE_NAMES: Mapping[object, str] = {
    str: "string",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    date: "date",
    Any: "anything",
}


def json_schema(kinds: Mapping[str, type[DatasetSpec]]) -> dict[str, object]:
    """The JSON Schema (draft 7) of a `defs.yaml`: editors complete, explain and check it."""
    definitions: dict[str, object] = {}
    cases = []
    for name, kind in sorted(kinds.items()):
        attributes = kind.model_json_schema(ref_template="#/definitions/{model}")
        definitions |= attributes.pop("$defs", {})
        cases.append(
            {
                "if": {"properties": {"type": {"const": name}}},
                "then": {"properties": {"attributes": attributes}},
            }
        )
    return {
        "$schema": SCHEMA_DIALECT,
        "title": "A dataset of tnt_platform",
        "type": "object",
        "required": ["type", "attributes"],
        "additionalProperties": False,
        "properties": {
            "type": {"enum": sorted(kinds), "description": "The kind of the dataset."},
            "attributes": {"type": "object", "description": "What the dataset declares."},
        },
        "allOf": cases,
        "definitions": definitions,
    }


def with_field_tables(page: str, kinds: Sequence[type[DatasetSpec]]) -> str:
    """The page with every field table in it brought up to date."""
    by_name = {one.__name__: one for kind in kinds for one in (kind, *kind.variants())}
    return _TABLE.sub(lambda found: f"{found[1]}{field_table(by_name[found[2]])}{found[3]}", page)


def field_table(kind: type[Spec]) -> str:
    """A Markdown table of a spec's fields, those of the groups inside it under dotted names."""
    return _HEADER + "".join(
        f"| `{name}` | {value} | {default} | {meaning} |\n"
        for name, value, default, meaning in field_rows(kind)
    )


def field_rows(kind: type[Spec], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Name, values, default and meaning of each field, depth first."""
    fields = {name: field for one in kind.variants() for name, field in one.model_fields.items()}
    for name, field in fields.items():
        marks = [*field.metadata, *_marks_in(field.annotation)]
        unit = next((f" {mark.name}" for mark in marks if isinstance(mark, Unit)), "")
        value = f"{_values(field.annotation)}{_bounds(marks)}{unit}"
        variables = " May hold `${VARIABLES}`." if any(isinstance(m, MayHoldVariables) for m in marks) else ""
        yield (
            prefix + name,
            value,
            _default(field),
            f"{field.description or ''}{variables}".replace("|", "\\|"),
        )
        inner, suffix = _spec_inside(field.annotation)
        if inner is not None:
            yield from field_rows(inner, f"{prefix}{name}{suffix}.")


def undescribed(kind: type[Spec]) -> list[str]:
    """Fields without a description, and numbers without a unit."""
    return [
        name
        for name, value, _, meaning in field_rows(kind)
        if not meaning or (value in ("whole number", "number") and "_count" not in name)
    ]


def _spec_inside(annotation: Any) -> tuple[type[Spec] | None, str]:
    for one in alternatives(annotation):
        if is_spec(one):
            return one, ""
        for arg in get_args(one):
            for item in alternatives(arg):
                if is_spec(item):
                    return item, "[]" if get_origin(one) in (tuple, list) else ".<name>"
    return None, ""


def _values(annotation: Any) -> str:
    words = [_value(one) for one in alternatives(annotation) if one is not types.NoneType]
    return " or ".join(dict.fromkeys(words))


def _value(one: Any) -> str:
    origin, args = get_origin(one), get_args(one)
    if origin is Literal:
        return ", ".join(f"`{arg}`" for arg in args)
    if is_spec(one):
        return "group"
    if origin in (tuple, list):
        return f"list of {_plural(_values(args[0]))}"
    if origin is not None and issubclass(origin, Mapping):
        return f"mapping to {_plural(_values(args[1]))}"
    return _TYPE_NAMES.get(one, getattr(one, "__name__", str(one)))


def _plural(words: str) -> str:
    return words if words.endswith("`") else f"{words}s"


def _bounds(marks: Sequence[object]) -> str:
    words = []
    for mark in marks:
        if isinstance(mark, annotated_types.Gt):
            words.append(f"above {mark.gt}")
        if isinstance(mark, annotated_types.Ge):
            words.append(f"at least {mark.ge}")
        if isinstance(mark, annotated_types.Le):
            words.append(f"at most {mark.le:,}" if isinstance(mark.le, int) else f"at most {mark.le}")
    return f", {', '.join(words)}," if words else ""


def _marks_in(annotation: Any) -> list[object]:
    own = list(get_args(annotation)[1:]) if get_origin(annotation) is Annotated else []
    inner = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ()
    return own + [mark for arg in inner for mark in _marks_in(arg)]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value in (None, (), "") or value == {} or isinstance(value, Spec):
        return ""
    shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return "`" + (shown.lower() if isinstance(value, bool) else shown).replace("|", "\\|") + "`"
