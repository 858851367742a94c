"""Types of fields that several kinds of datasets declare, each with the mistake that a wrong value is."""

from __future__ import annotations

import difflib
import encodings.aliases
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from typing import Annotated
from zoneinfo import available_timezones

import jmespath
import jmespath.exceptions
from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator

from tnt_platform.specs.spec import Mistake, Path, mistake, mistakes

SHOWN_CHARS = 60
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
# A default may hold marks of its own, such as the {MM} of a URL.
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-((?:[^{}]|\{[A-Za-z]+\})*))?\}")
_CRON_NAMES = frozenset({"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"})
_CREDENTIAL = re.compile(
    r"auth(?!or(?!i))|token|secret|passw|cookie|credential|key|signature|session", re.IGNORECASE
)
_USER_INFO = re.compile(r"://[^/@\s]*:[^/@\s]+@")
_SECRET_PARAMETER = re.compile(r"[?&][^=&]*(?:key|token|secret|passw|auth|sig)[^=&]*=([^&]+)", re.IGNORECASE)

NAMES_SHOWN = 8


@dataclass(frozen=True)
class Unit:
    """The unit of a field's number, for the field tables of the docs."""

    name: str


@dataclass(frozen=True)
class MayHoldVariables:
    """Marks a field whose strings may hold `${VARIABLES}`, resolved when a run starts."""


@dataclass(frozen=True)
class Confidential:
    """Marks a field whose values no message shows."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was most likely meant to be."""
    by_lower = {text.lower(): text for text in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def meant(name: str, known: Iterable[str], otherwise: str) -> str:
    """`did you mean ...?` where a known name is near, else what to do instead."""
    close = nearest(name, known)
    return f"did you mean {close}?" if close else otherwise


def shown(value: object) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"


def some(names: Iterable[str]) -> str:
    """The first names in order, and how many there are more: a list of sixty hides what matters."""
    known = sorted(names)
    more = f" and {len(known) - NAMES_SHOWN} more" if len(known) > NAMES_SHOWN else ""
    return f"{listed(known[:NAMES_SHOWN])}{more}"


def listed(names: Iterable[str]) -> str:
    """Names in order, separated by commas."""
    return ", ".join(sorted(names)) or "none"


def spelled(path: Path) -> str:
    """A path as a message writes it, such as `layouts[0].columns`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise mistake(
            f"{shown(text)} is not a regular expression: {error}",
            "Python's syntax",
            "fix that position; put a backslash before a character that stands for itself",
        ) from error
    return text


def _iso_date(value: object) -> object:
    text = value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value
    if not isinstance(text, str):
        return value
    reason = ""
    try:
        if ISO_DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError as error:
        reason = f" ({error})"
    raise mistake(
        f"{shown(text)} is not a valid date{reason}",
        "a calendar day as YYYY-MM-DD",
        "write it like 2026-02-28",
    )


def _encoding(name: str) -> str:
    try:
        "".encode(name)
    except LookupError:
        fix = meant(name, _encodings(), "delete it: the bytes of each file tell")
        raise mistake(
            f"{shown(name)} is not a known encoding", "a name such as utf-8 or cp1252", fix
        ) from None
    return name


@cache
def _encodings() -> frozenset[str]:
    names = {name.replace("_", "-") for name in encodings.aliases.aliases.values()}
    return frozenset(names - {"idna", "punycode"})


def _cron(text: str) -> str:
    try:
        if text not in _CRON_NAMES:
            if len(text.split()) != 5:
                raise CronSimError("five fields")
            next(CronSim(text, datetime(2024, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration):
        raise mistake(
            f"{shown(text)} is not a cron schedule",
            "five fields (minute hour day month weekday) that name some time",
            'write it like "0 3 * * *"',
        ) from None
    return text


# Listing them reads a folder of the system, 20 ms that each dataset would pay again.
_timezones = cache(available_timezones)


def _timezone(text: str) -> str:
    if text not in _timezones():
        fix = meant(text, _timezones(), "write it like America/Argentina/Buenos_Aires")
        raise mistake(f"{shown(text)} is not a time zone", "a name of the IANA list", fix)
    return text


def _headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Refuse secrets in plain text; they come from the environment, and no message shows one."""
    found: list[Mistake] = []
    for name, value in headers.items():
        variables = VARIABLE.findall(value)
        if not _CREDENTIAL.search(name) or not value.strip():
            continue
        variable = re.sub(r"\W+", "_", name).strip("_").upper()
        expected = f"the secret in the environment: {name}: ${{{variable}}}"
        fix = "put it there, and replace it at the other end if this file was ever shared"
        if not variables:
            found.append(Mistake(f"header {name} holds a secret in plain text", expected, fix, at=(name,)))
        elif any(default for _, default in variables):
            found.append(
                Mistake(f"the default of header {name} is a secret in plain text", expected, fix, at=(name,))
            )
    if found:
        raise mistakes(found)
    return headers


def refuse_credentials(text: str) -> str:
    """Return a URL that holds no user name, password or key.

    Raises:
        PydanticCustomError: it does; a `defs.yaml` is shared.
    """
    if _USER_INFO.search(plain := VARIABLE.sub("", text)) or _SECRET_PARAMETER.search(plain):
        raise mistake(
            "the URL holds a credential in plain text",
            "a URL without secrets",
            "put the credential into a header whose value is a ${VARIABLE}",
        )
    return text


def _web_url(text: str) -> str:
    refuse_credentials(VARIABLE.sub(lambda variable: variable[2] or "", text))
    address = VARIABLE.sub(lambda variable: variable[2] or "https://unknown", text)
    # A variable that is misspelled is a mistake of its own.
    if not address.startswith(("http://", "https://", "${")):
        raise mistake(
            f"{shown(text)} is not a web address",
            "http:// or https://",
            "write it like https://api.example.com/items, or as a ${VARIABLE}",
        )
    return text


def _json_path(text: str) -> str:
    try:
        jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as error:
        wrong = f"{text!r} is not a JMESPath: {' '.join(str(error).split())}"
        raise mistake(wrong, "a path such as login.uuid", "correct the path at that position") from error
    return text


Encoding = Annotated[str, AfterValidator(_encoding)]
JmesPath = Annotated[str, AfterValidator(_json_path)]
Regex = Annotated[str, AfterValidator(_regex)]
IsoDate = Annotated[date, BeforeValidator(_iso_date)]
Cron = Annotated[str, AfterValidator(_cron)]
TimeZone = Annotated[str, AfterValidator(_timezone)]
Headers = Annotated[Mapping[str, str], MayHoldVariables(), Confidential(), AfterValidator(_headers)]
WebUrl = Annotated[str, MayHoldVariables(), AfterValidator(_web_url)]
SharedUrl = Annotated[str, MayHoldVariables(), AfterValidator(refuse_credentials)]
WithVariables = Annotated[str, MayHoldVariables()]
