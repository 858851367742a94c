"""Read the transit days in the body of an answer, or the reason why it has none. Nothing is coerced."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import jmespath
import jmespath.exceptions
import jmespath.functions
from pydantic import AfterValidator

from tnt_platform.readers.paged_json import parsed, stated_error
from tnt_platform.specs.fields import listed, meant, shown
from tnt_platform.specs.spec import Mistake, mistakes

MAX_DAYS = 365
# The keys of what an expression gives.
_PARTS = ("days", "ground", "rates")
_SHOWN_CHARS = 80


@dataclass(frozen=True)
class AnswerReading:
    """Either `days`, or `reason_code` and `reason`."""

    days: int | None
    reason_code: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class AnswerExpression:
    """A compiled JMESPath expression; `text` is its source."""

    text: str
    compiled: Any

    def search(self, answer: Any) -> Any:
        """Apply the expression to a parsed answer."""
        return self.compiled.search(answer, options=_OPTIONS)


class _NullSafeFunctions(jmespath.functions.Functions):  # type: ignore[misc]  # the package has no types
    """String functions that return null or false for anything but a string: carriers leave fields out or null."""

    @jmespath.functions.signature({"types": []})  # type: ignore[untyped-decorator]
    def _func_lower(self, text: Any) -> str | None:
        return text.lower() if isinstance(text, str) else None

    @jmespath.functions.signature({"types": []}, {"types": ["string"]})  # type: ignore[untyped-decorator]
    def _func_ends_with(self, text: Any, suffix: str) -> bool:
        return isinstance(text, str) and text.endswith(suffix)

    @jmespath.functions.signature({"types": []}, {"types": ["string"]})  # type: ignore[untyped-decorator]
    def _func_starts_with(self, text: Any, prefix: str) -> bool:
        return isinstance(text, str) and text.startswith(prefix)

    @jmespath.functions.signature({"types": []}, {"types": []})  # type: ignore[untyped-decorator]
    def _func_contains(self, subject: Any, wanted: Any) -> bool:
        if isinstance(subject, str):
            return isinstance(wanted, str) and wanted in subject
        return isinstance(subject, list) and wanted in subject


_FUNCTIONS = _NullSafeFunctions()
_OPTIONS = jmespath.Options(custom_functions=_FUNCTIONS)


def compile_answer(text: str) -> AnswerExpression:
    """Compile the JMESPath expression that finds the transit days in a response.

    It gives an object with `days`, and with `rates` (all rates) and `ground` (the chosen one) if "no rates at all",
    "no ground rate" and "ground rate without days" are to be told apart. An expression that gives the days alone
    reads anything absent as "no ground rate". Besides the standard functions there is `lower`; `lower`, `ends_with`,
    `starts_with` and `contains` accept null.

    Raises:
        PydanticCustomError: the expression can't be parsed, calls an unknown function or gives other keys.
    """
    try:
        compiled = jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as error:
        raise mistakes([_syntax_mistake(text, error)]) from None
    if found := [*_unknown_functions(compiled.parsed), *_unread_keys(compiled.parsed)]:
        raise mistakes(found)
    return AnswerExpression(text, compiled)


def _checked(text: str) -> str:
    return compile_answer(text).text


AnswerText = Annotated[str, AfterValidator(_checked)]


def _syntax_mistake(text: str, error: jmespath.exceptions.JMESPathError) -> Mistake:
    expected = "a JMESPath expression such as {days: rates[0].days}"
    position = getattr(error, "lex_position", None)
    rest = text[position:].strip() if isinstance(position, int) else ""
    if not rest:
        fix = "close the brackets and finish it"
        # Long enough to be found on the last line alone, short enough to be on it as a whole.
        return Mistake("the JMESPath expression is not complete", expected, fix, near=text.strip()[-8:])
    reason = getattr(error, "message", None) or getattr(error, "msg", str(error).splitlines()[0])
    wrong = f"not a JMESPath expression near {shown(rest)}: {reason}"
    return Mistake(wrong, expected, "fix that position", near=rest.split()[0])


def _unknown_functions(node: Mapping[str, Any]) -> Iterator[Mistake]:
    known = _FUNCTIONS.FUNCTION_TABLE
    for name in _called_functions(node):
        if name not in known:
            wrong, fix = f"unknown function {name}()", meant(name, known, "use another one")
            yield Mistake(wrong, f"one of {listed(known)}", fix, near=f"{name}(")


def _unread_keys(node: Mapping[str, Any]) -> Iterator[Mistake]:
    """Look at the keys of an expression that is one object; of any other, only a response shows them."""
    if node["type"] != "multi_select_dict":
        return
    keys = [child["value"] for child in node["children"]]
    unread = [key for key in keys if key not in _PARTS]
    for key in unread:
        fix = meant(key, _PARTS, "delete it")
        yield Mistake(f"the key {key} is not read", listed(_PARTS), fix, near=key)
    if not unread and "days" not in keys:
        yield Mistake("the key days is missing", "{days: ...}", "add the transit days under `days`")


def _called_functions(node: Mapping[str, Any]) -> Iterator[str]:
    if node["type"] == "function_expression":
        yield node["value"]
    for child in node["children"]:
        if isinstance(child, dict):
            yield from _called_functions(child)


def read_answer(body: bytes | None, expression: AnswerExpression) -> AnswerReading:
    """Find the ground transit days in an answer's body.

    Reason codes: invalid_json, html_instead_of_json, no_rates_map (the answer has no rates at all),
    no_ground_rate, bad_transit_days (anything but a whole number from 0 to 365: "3", 3.0, true and null
    are rejected), unexpected_answer (the expression can't be applied to this shape).
    """
    text = (body or b"").lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<?xml") and b"<html" not in text.lower():
        return AnswerReading(None, "invalid_json", f"the answer is XML, not JSON: {_start(text)}")
    if text.startswith(b"<"):
        return AnswerReading(None, "html_instead_of_json", f"the answer is a web page: {_start(text)}")
    try:
        answer = parsed(text)
    except (ValueError, RecursionError) as error:
        return AnswerReading(
            None, "invalid_json", f"the answer is {f'not JSON: {error}' if text else 'empty'}"
        )
    if answer is None:
        return AnswerReading(None, "no_rates_map", "missing_field: the answer is null")
    reading = _search(answer, expression)
    # An answer without days may hold the carrier's own words on why.
    stated = stated_error(answer) if reading.days is None else ""
    return replace(reading, reason=f"{reading.reason}; it says {stated!r}") if stated else reading


def _search(answer: Any, expression: AnswerExpression) -> AnswerReading:
    try:
        found = expression.search(answer)
    except jmespath.exceptions.JMESPathError as error:
        return AnswerReading(None, "unexpected_answer", f"the answer has another shape: {error}")
    if isinstance(found, dict):
        return _read_parts(found)
    if found is None:
        return AnswerReading(None, "no_ground_rate", "the answer expression finds no transit days")
    return _read_days(found)


def _read_parts(found: Mapping[str, Any]) -> AnswerReading:
    if "rates" in found and not found["rates"]:
        rates = "no rates" if found["rates"] is None else "an empty list of rates"
        return AnswerReading(None, "no_rates_map", f"missing_field: the answer has {rates}")
    if found.get("ground", found.get("days")) is None:
        return AnswerReading(None, "no_ground_rate", "none of the answer's rates is the ground rate")
    return _read_days(found.get("days"))


def _read_days(days: Any) -> AnswerReading:
    # `type` and not isinstance: true is an int to Python, not to a carrier.
    if type(days) is int and 0 <= days <= MAX_DAYS:
        return AnswerReading(days)
    found = json.dumps(days)[:_SHOWN_CHARS]
    reason = f"the ground rate's days are {found}; expected a whole number from 0 to {MAX_DAYS}"
    return AnswerReading(None, "bad_transit_days", reason)


def _start(text: bytes) -> str:
    return " ".join(text[: 4 * _SHOWN_CHARS].decode("utf-8", "replace").split())[:_SHOWN_CHARS]
