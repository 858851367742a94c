"""What pydantic says about a dataset's YAML, as faults at the lines it means."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError, create_model
from pydantic_core import ErrorDetails

from tnt_platform.validation.document import Node
from tnt_platform.validation.fault import Findings, listed, meant, shown

M = TypeVar("M", bound=BaseModel)

# What stands there must not be repeated in a log.
SECRET_PARTS = frozenset({"headers"})

# By the start of pydantic's error type: what was expected, and how to mend it.
_TYPES: Mapping[str, tuple[str, str]] = {
    "string": ("a text", "write a text, in quotes if it looks like a number, a date, yes or no"),
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


def read_part(kind: type[M], node: Node | None) -> M | None:
    """The model of a part of the file; None when it is absent or `schema_faults` has something to say."""
    if node is None:
        return None
    try:
        return kind.model_validate(node.value)
    except ValidationError:
        return None


def schema_faults(kind: type[BaseModel], attributes: Node, findings: Findings) -> None:
    """Every unknown and missing key and every value of a wrong type, however deep.

    What a model says about several of its fields together is left to the checks of its kind.
    """
    try:
        _fields_alone(kind).model_validate(attributes.value)
    except ValidationError as error:
        for (path, missing), errors in _by_place(attributes, error.errors()).items():
            _explain(kind, attributes, path, missing, errors, findings)


@functools.cache
def _fields_alone(kind: type[BaseModel]) -> type[BaseModel]:
    """The same fields without the rules over several of them."""
    fields: dict[str, Any] = {name: (field.annotation, field) for name, field in kind.model_fields.items()}
    return create_model(kind.__name__, __config__=kind.model_config, **fields)


_Path = tuple[str | int, ...]


def _by_place(
    attributes: Node, errors: Sequence[ErrorDetails]
) -> dict[tuple[_Path, str | None], list[ErrorDetails]]:
    """Errors grouped by the value they are about: each alternative of a union complains on its own."""
    places: dict[tuple[_Path, str | None], list[ErrorDetails]] = {}
    for error in errors:
        node: Node = attributes
        path: _Path = ()
        for part in error["loc"]:
            if part in node.children:
                node, path = node.children[part], (*path, part)
        if error["loc"]:
            missing = str(error["loc"][-1]) if error["type"] == "missing" else None
            places.setdefault((path, missing), []).append(error)
    return places


def _explain(
    kind: type[BaseModel],
    attributes: Node,
    path: _Path,
    missing: str | None,
    errors: Sequence[ErrorDetails],
    findings: Findings,
) -> None:
    node = attributes.get(*path) or attributes
    name = _spelt(path)
    if missing:
        known = set(_fields_at(kind, path)) - {missing, *node.children}
        owner = f"of {name} " if path else ""
        mend = f"add `{missing}: ...`" + (f" (it may also have {listed(known)})" if known and path else "")
        findings.add(node, f"the key {missing} {owner}is missing", "a value for it", mend)
        return
    if errors[0]["type"] == "extra_forbidden":
        fields = _fields_at(kind, path[:-1])
        free = set(fields) - set((attributes.get(*path[:-1]) or node).children)
        mend = meant(str(path[-1]), free, "delete it")
        findings.add(node.key_line, f"unknown key {name}", f"one of {listed(fields)}", mend)
        return
    said = [_said(name, node, path, error) for error in errors]
    either = [" or ".join(dict.fromkeys(texts)) for texts in zip(*said, strict=True)]
    findings.add(node, said[0][0], either[1], either[2])


def _said(name: str, node: Node, path: _Path, error: ErrorDetails) -> tuple[str, str, str]:
    value = "the value" if SECRET_PARTS & set(path) else shown(node.value)
    if error["type"] == "value_error":
        wrong, _, rest = str(error["ctx"]["error"]).partition("; expected ")
        expected, _, mend = rest.partition("; ")
        return f"{name}: {wrong}", expected, mend
    if error["type"] in ("literal_error", "enum"):
        allowed = [
            text.strip("'\"") for text in str(error["ctx"]["expected"]).replace(" or ", ", ").split(", ")
        ]
        return (
            f"{name} is {value}",
            f"one of {listed(allowed)}",
            meant(str(node.value), allowed, "write one of them"),
        )
    if error["type"] == "missing":
        return f"{name} is {value}", "a value", "add it"
    expected, mend = _TYPES.get(error["type"].split("_", maxsplit=1)[0], ("", ""))
    if node.value is None:
        return f"{name} has no value", expected or "a value", f"{mend or 'write a value'}, or delete the key"
    if not expected:
        said = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        expected, mend = said, f"write a value that is {said}"
    return f"{name} is {value}", expected, mend


def _spelt(path: _Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _fields_at(kind: type[BaseModel], path: _Path) -> list[str]:
    """Names that may stand at `path`, by the models' annotations."""
    kinds: list[Any] = [kind]
    for part in path:
        kinds = [inner for outer in kinds for inner in _alternatives(_step(outer, part))]
    return [name for found in kinds if _is_model(found) for name in found.model_fields]


def _step(outer: Any, part: str | int) -> Any:
    if _is_model(outer):
        field = outer.model_fields.get(part)
        return field.annotation if field else None
    args = get_args(outer)
    if not args:
        return None
    return args[-1] if issubclass(get_origin(outer) or object, Mapping) else args[0]


def _alternatives(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _alternatives(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [one for arg in get_args(annotation) for one in _alternatives(arg)]
    return [annotation]


def _is_model(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, BaseModel)


def refusal(build: Callable[..., object], *args: Any, **options: Any) -> str | None:
    """Why `build` refuses, or None: the rules of the readers and transforms, asked one at a time."""
    try:
        build(*args, **options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        said = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]
        return f"{where}: {said}" if where else said
    except Exception as error:  # noqa: BLE001  (whatever a rule raises is what is wrong with the value)
        return str(error) or type(error).__name__
    return None
