"""Types of fields that several kinds of datasets have in their YAML."""

from __future__ import annotations

import re
from datetime import date
from functools import cache
from typing import Annotated
from zoneinfo import available_timezones

import dagster as dg
from pydantic import AfterValidator, Field


# What a value is refused with: what is wrong; what was expected; how to mend it. `tnt validate` adds file and line.
def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(
            f"{text!r} is not a regular expression: {error}; expected Python's syntax; "
            "mend that place, with a backslash before a character that is meant as it stands"
        ) from error
    return text


def _iso_date(text: str) -> str:
    try:
        if ISO_DATE.fullmatch(text):
            date.fromisoformat(text)
            return text
        why = ""
    except ValueError as error:
        why = f" ({error})"
    raise ValueError(
        f"{text!r} is no date{why}; expected a day of the calendar as YYYY-MM-DD; write it like 2026-02-28"
    )


def _cron(text: str) -> str:
    try:
        dg.ScheduleDefinition(name="any", job_name="any", cron_schedule=text)
    except dg.DagsterInvalidDefinitionError:
        raise ValueError(
            f"{text!r} is not a cron schedule; expected five fields (minute hour day month weekday) that come true; "
            "write it like 0 3 * * *"
        ) from None
    return text


ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
Regex = Annotated[str, AfterValidator(_regex)]
IsoDate = Annotated[str, AfterValidator(_iso_date)]
Cron = Annotated[str, AfterValidator(_cron)]


class SensorModel(dg.Model, dg.Resolvable):
    """How often the bucket is compared with what is published, and how stubbornly.

    `window_days` bounds the listing when an event queue names the older dates; without a queue
    every tick looks at everything.
    """

    interval_s: Annotated[int, Field(ge=1)] = 30
    window_days: Annotated[int, Field(ge=1)] = 30
    max_attempts: Annotated[int, Field(ge=1, le=10)] = 3
    backoff_s: Annotated[float, Field(ge=0)] = 30
    max_requests: Annotated[int, Field(ge=1, le=500)] = 50
    sweep_cron: Cron = "0 3 * * *"


# It lists a folder of the system: twenty milliseconds that each dataset would pay again.
_timezones = cache(available_timezones)


def _timezone(text: str) -> str:
    if text not in _timezones():
        raise ValueError(
            f"{text!r} is not a time zone; expected a name of the IANA list; "
            "write it like America/Argentina/Buenos_Aires"
        )
    return text


TimeZone = Annotated[str, AfterValidator(_timezone)]
