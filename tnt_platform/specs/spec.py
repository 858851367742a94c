"""The base of every declared setting: strict, frozen, explained, with rules that say what to write instead.

A spec is the YAML, the table in the docs and what a flow takes. What a single value may be is its field's type;
what several fields must agree on is a rule of their model:

    class Window(Spec):
        first: Annotated[int, Field(description="First row.")]
        last: Annotated[int, Field(description="Last row.")]

        @rule
        def _ends_after_it_starts(self) -> Iterator[Mistake]:
            if self.last < self.first:
                wrong = f"last {self.last} is before first {self.first}"
                yield Mistake(wrong, "rows in order", "swap them", at=("last",))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

# The types of the structured errors below: `tnt validate` reads their context, never their text.
OF_FIELD, OF_RULES = "mistakes_of_field", "mistakes_of_rules"
_IS_RULE = "_tnt_is_rule"

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Mistake:
    """What is wrong, what was expected and how to fix it; `at` leads from the spec to the value.

    `near` is the wrong piece of a value that spans lines, so that its own line can be shown; `see` leads to another
    value that the mistake is about. With `file`, it is on that `line` of a file beside the YAML. A warning does not
    keep a dataset from loading; a variable that is `unset` is a warning on a laptop and a fault where runs need it.
    """

    wrong: str
    expected: str
    fix: str
    at: Path = ()
    near: str = ""
    file: str | None = None
    line: int = 1
    warning: bool = False
    unset: bool = False
    see: Path | None = None

    def __str__(self) -> str:
        parts = (self.wrong, f"expected {self.expected}" if self.expected else "", self.fix)
        return "; ".join(part for part in parts if part)

    def below(self, *path: str | int) -> Mistake:
        """The same mistake, seen from further up."""
        return replace(self, at=(*path, *self.at), see=None if self.see is None else (*path, *self.see))


def mistake(wrong: str, expected: str, fix: str) -> PydanticCustomError:
    """Make the error for a validator of one field to raise."""
    return mistakes([Mistake(wrong, expected, fix)])


def mistakes(found: Sequence[Mistake], kind: str = OF_FIELD) -> PydanticCustomError:
    """Make the error for a validator that found several mistakes, each at its own place below the field."""
    text = "; ".join(str(one) for one in found)
    return PydanticCustomError(kind, "{text}", {"text": text, "mistakes": tuple(found)})


Rule = Callable[[Any], Iterator[Mistake]]
R = TypeVar("R", bound=Rule)


def rule(method: R) -> R:
    """Mark a method that yields mistakes as a rule: asked when a spec is made, and by `tnt validate`."""
    setattr(method, _IS_RULE, True)
    return method


class Spec(BaseModel):
    """A group of settings: unknown keys are errors, values never change, rules hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def variant(cls, value: Mapping[str, object]) -> type[Spec]:
        """The subclass that `value` declares, where a field decides which other fields there are."""
        return cls

    @classmethod
    def variants(cls) -> tuple[type[Spec], ...]:
        """Every spec that `variant` may return."""
        return (cls,)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Offer editors every variant."""
        variants = cls.variants()
        if variants == (cls,):
            return handler(core_schema)
        return {"anyOf": [handler(variant.__pydantic_core_schema__) for variant in variants]}

    @model_validator(mode="wrap")
    @classmethod
    def _read_as_its_variant(cls, value: object, read: ModelWrapValidatorHandler[Self]) -> Any:
        variant = cls.variant(value) if isinstance(value, Mapping) else cls
        if variant is not cls:
            return variant.model_validate(value)
        spec = read(value)
        if found := [one for one in own_mistakes(spec) if not one.warning]:
            raise mistakes(found, OF_RULES)
        return spec


def own_mistakes(spec: Spec, *, salvaged: bool = False) -> Iterator[Mistake]:
    """What the rules of one spec find, without those of the specs inside it.

    Of a spec that was salvaged from faulty YAML, a rule that needs a value that is not there stops at it.
    """
    for kind in reversed(type(spec).__mro__):
        for name, method in vars(kind).items():
            if getattr(method, _IS_RULE, False) and getattr(type(spec), name) is method:
                with suppress(AttributeError) if salvaged else nullcontext():
                    yield from method(spec)


def all_mistakes(spec: Spec, *, salvaged: bool = False) -> Iterator[Mistake]:
    """What the rules of a spec and of all specs inside it find, each at its place."""
    yield from own_mistakes(spec, salvaged=salvaged)
    for name in type(spec).model_fields:
        if name in spec.__dict__:
            yield from _mistakes_in(spec.__dict__[name], (name,), salvaged)


def _mistakes_in(value: object, path: Path, salvaged: bool) -> Iterator[Mistake]:
    if isinstance(value, Spec):
        for found in all_mistakes(value, salvaged=salvaged):
            yield found.below(*path)
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _mistakes_in(item, (*path, position), salvaged)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _mistakes_in(item, (*path, key), salvaged)
