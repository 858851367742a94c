"""Every mistake of a dataset's attributes at once: what the field types refuse, and what the rules find."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from tnt_platform.settings import Settings
from tnt_platform.specs.fields import (
    VARIABLE,
    Confidential,
    MayHoldVariables,
    listed,
    meant,
    shown,
    spelled,
)
from tnt_platform.specs.spec import OF_FIELD, OF_RULES, Mistake, Path, Spec, all_mistakes

# By the start of pydantic's error type: what was expected, and how to fix it.
_EXPECTED: Mapping[str, tuple[str, str]] = {
    "string": ("a string", "write a string, in quotes if it looks like a number, a date, yes or no"),
    "int": ("a whole number", "write a whole number such as 30, without quotes"),
    "float": ("a number", "write a number such as 0.5, without quotes"),
    "bool": ("true or false", "write true or false"),
    "dict": ("keys with values", "write `key: value` lines, indented below it"),
    "mapping": ("keys with values", "write `key: value` lines, indented below it"),
    "model": ("keys with values", "write `key: value` lines, indented below it"),
    "list": ("a list", "write `- item` lines, or [a, b]"),
    "tuple": ("a list", "write `- item` lines, or [a, b]"),
    "sequence": ("a list", "write `- item` lines, or [a, b]"),
}
# By pydantic's error type: the bound in its context, and how it reads.
_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("gt", "a number above {}"),
    "greater_than_equal": ("ge", "{} or more"),
    "less_than": ("lt", "a number below {}"),
    "less_than_equal": ("le", "{} or less"),
    "string_too_short": ("min_length", "at least {} characters"),
    "string_pattern_mismatch": ("pattern", "a string that matches {}"),
    "too_short": ("min_length", "at least {} items"),
}


def spec_mistakes(kind: type[Spec], attributes: object) -> tuple[list[Mistake], Spec | None]:
    """Find every mistake, and return what could be salvaged of the spec: whole if there is none."""
    try:
        spec = kind.model_validate(attributes)
    except ValidationError as error:
        refused = list(_refused(kind, attributes, error.errors()))
        salvaged = salvage(kind, attributes)
        # A rule that stumbles over a value that is refused already has nothing to add.
        rules = [
            found
            for found in (all_mistakes(salvaged, salvaged=True) if salvaged else ())
            if not any(_one_holds_the_other(found.at, other.at) for other in refused)
        ]
        return refused + rules, salvaged
    return list(all_mistakes(spec)), spec


def _one_holds_the_other(one: Path, other: Path) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter] and shorter > 0


def salvage(kind: type[Spec], value: object) -> Any:
    """Make a spec of what is right in `value`; wrong values are absent from it, as are fields that have none.

    Rules can look at the rest, so that one mistake doesn't hide the others.
    """
    if not isinstance(value, Mapping):
        return None
    kind = kind.variant(value)
    values = {}
    for name, field in kind.model_fields.items():
        if name not in value:
            if not field.is_required():
                values[name] = field.get_default(call_default_factory=True)
            continue
        annotation: Any = (
            Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        )
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        try:
            values[name] = adapter.validate_python(value[name])
        except ValidationError:
            if (part := _salvaged_part(field.annotation, value[name])) is not None:
                values[name] = part
    made = kind.model_construct(set(value) & set(kind.model_fields), **values)
    for name in set(kind.model_fields) - set(values):
        made.__dict__.pop(name, None)
    return made


def _salvaged_part(annotation: Any, value: object) -> object:
    """Specs inside a faulty field, as far as they can be read."""
    for alternative in alternatives(annotation):
        if is_spec(alternative) and isinstance(value, Mapping):
            return salvage(alternative, value)
        items = [one for arg in get_args(alternative) for one in alternatives(arg) if is_spec(one)]
        if items and isinstance(value, list):
            return tuple(salvage(items[0], item) for item in value if isinstance(item, Mapping))
    return None


def _refused(kind: type[Spec], attributes: object, errors: Sequence[ErrorDetails]) -> Iterator[Mistake]:
    for (path, missing), alike in _by_place(attributes, errors).items():
        yield from _explained(kind, attributes, path, missing, alike)


def _by_place(
    value: object, errors: Sequence[ErrorDetails]
) -> dict[tuple[Path, str | None], list[ErrorDetails]]:
    """Group errors by the value that they are about: each alternative of a union complains on its own.

    The errors of rules are left out, since the rules are asked again on what was salvaged.
    """
    places: dict[tuple[Path, str | None], list[ErrorDetails]] = {}
    for error in errors:
        if error["type"] == OF_RULES:
            continue
        node: Any = value
        path: Path = ()
        for part in error["loc"]:
            if _has(node, part):
                node, path = node[part], (*path, part)
        missing = str(error["loc"][-1]) if error["type"] == "missing" else None
        places.setdefault((path, missing), []).append(error)
    return places


def _has(node: Any, part: str | int) -> bool:
    return (isinstance(node, Mapping) and part in node) or (
        isinstance(node, list | tuple) and part in range(len(node))
    )


def _explained(
    kind: type[Spec], attributes: object, path: Path, missing: str | None, errors: Sequence[ErrorDetails]
) -> Iterator[Mistake]:
    name, value = spelled(path), value_at(attributes, path)
    if missing:
        given = set(value) if isinstance(value, Mapping) else set()
        known = sorted(set(fields_at(kind, attributes, path)) - {missing} - given)
        owner = f" of {name}" if path else ""
        others = f" (it may also have {listed(known)})" if known and path else ""
        yield Mistake(
            f"the key {missing}{owner} is missing", "a value for it", f"add `{missing}: ...`{others}", path
        )
    elif errors[0]["type"] == "extra_forbidden":
        fields = fields_at(kind, attributes, path[:-1])
        free = set(fields) - set(value_at(attributes, path[:-1]) or ())
        fix = meant(str(path[-1]), free, "delete it")
        yield Mistake(f"unknown key {name}", f"one of {listed(fields)}", fix, path)
    elif own := [error for error in errors if error["type"] == OF_FIELD]:
        for error in own:
            for found in error["ctx"]["mistakes"]:
                yield replace(found, wrong=f"{name}: {found.wrong}", at=(*path, *found.at))
    else:
        hidden = any(isinstance(mark, Confidential) for mark in marks_at(kind, attributes, path))
        choices = [_of_type(value, error) for error in errors]
        expected, fix = (" or ".join(dict.fromkeys(texts)) for texts in zip(*choices, strict=True))
        wrong = (
            f"{name} has no value"
            if value is None
            else f"{name} is {'the value' if hidden else shown(value)}"
        )
        yield Mistake(wrong, expected, fix, path)


def _of_type(value: object, error: ErrorDetails) -> tuple[str, str]:
    """What a value of the field's type is, and how to write it."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in ("literal_error", "enum"):
        allowed = [text.strip("'\"") for text in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return f"one of {listed(allowed)}", meant(str(value), allowed, "write one of them")
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        limit = context[bound]
        expected = words.format(f"{limit:g}" if isinstance(limit, float) else limit)
        return expected, f"write {expected}"
    expected, fix = _EXPECTED.get(kind.split("_", maxsplit=1)[0], ("another value", "change it"))
    return expected, f"{fix}, or delete the key" if value is None else fix


def value_at(value: Any, path: Path) -> Any:
    """The value at a path; None where there is none."""
    for part in path:
        value = value[part] if _has(value, part) else None
    return value


def fields_at(kind: type[Spec], attributes: object, path: Path) -> list[str]:
    """Names of the fields that may be at `path`."""
    return [name for spec in _kinds_at(kind, attributes, path) for name in spec.model_fields]


def marks_at(kind: type[Spec], attributes: object, path: Path) -> list[object]:
    """The marks of the fields that `path` leads through, such as `MayHoldVariables`."""
    found: list[object] = []
    for depth, part in enumerate(path):
        for spec in _kinds_at(kind, attributes, path[:depth]):
            if field := spec.model_fields.get(str(part)):
                found += [*field.metadata, *_marks_inside(field.annotation)]
    return found


def variable_mistakes(
    text: str, path: Path, kind: type[Spec], attributes: object, settings: Settings
) -> Iterator[Mistake]:
    """`${VARIABLES}` of one string: whether the field may hold any, how they are spelled, and whether they are set."""
    if not any(isinstance(mark, MayHoldVariables) for mark in marks_at(kind, attributes, path)):
        wrong = f"{shown(text)} holds a variable"
        yield Mistake(
            wrong, "the value itself: variables of this field are not resolved", "write it out", path
        )
        return
    if "${" in VARIABLE.sub("", text):
        yield Mistake(
            "a variable is misspelled", "${NAME} or ${NAME:-default}", "fix the braces and the name", path
        )
    for name in settings.missing(text):
        fix = f"set {name}, or give a default: ${{{name}:-value}}"
        wrong = f"environment variable {name} is not set"
        yield Mistake(wrong, "a value in the environment of the runs", fix, path, unset=True)


def _marks_inside(annotation: Any) -> list[object]:
    own = list(get_args(annotation)[1:]) if get_origin(annotation) is Annotated else []
    inner = (
        get_args(annotation)
        if get_origin(annotation) in (Union, types.UnionType)
        else get_args(annotation)[:1]
    )
    return own + [mark for arg in inner for mark in _marks_inside(arg)]


def _kinds_at(kind: type[Spec], attributes: object, path: Path) -> list[type[Spec]]:
    """The specs that may be at `path`, by the fields' annotations and by what the YAML declares above."""
    found: list[Any] = [kind]
    value = attributes
    for part in path:
        found = [_as_declared(one, value) for one in found]
        found = [inner for outer in found for inner in alternatives(_step(outer, part))]
        value = value_at(value, (part,))
    return [_as_declared(one, value) for one in found if is_spec(one)]


def _as_declared(kind: Any, value: object) -> Any:
    return kind.variant(value) if is_spec(kind) and isinstance(value, Mapping) else kind


def _step(outer: Any, part: str | int) -> Any:
    if is_spec(outer):
        field = outer.model_fields.get(part)
        return field.annotation if field else None
    args = get_args(outer)
    if not args:
        return None
    return (
        args[-1]
        if isinstance(get_origin(outer), type) and issubclass(get_origin(outer), Mapping)
        else args[0]
    )


def alternatives(annotation: Any) -> list[Any]:
    """The types that a value of this annotation may have."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return alternatives(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [one for arg in get_args(annotation) for one in alternatives(arg)]
    return [annotation]


def is_spec(found: Any) -> bool:
    """Whether an annotation is a spec."""
    return isinstance(found, type) and issubclass(found, Spec)
