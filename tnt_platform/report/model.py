"""What the `defs.yaml` of a daily report may say: strict, every field explained."""

from __future__ import annotations

import re

import dagster as dg

from tnt_platform.discovery.discovery import RawSource
from tnt_platform.specs.fields import Regex


class ReportSourceModel(dg.Model, dg.Resolvable):
    """Where files arrive. `key_pattern` is what follows the prefix; its group `date` names the date."""

    prefix: str = "raw-data/"
    key_pattern: Regex = r"(?P<date>\d{4}-\d{2}-\d{2})/.+"
    date_format: str = "%Y-%m-%d"


def source_of(model: ReportSourceModel) -> RawSource:
    """The source as discovery knows it."""
    pattern = re.compile(re.escape(model.prefix) + model.key_pattern)
    if "date" not in pattern.groupindex:
        raise ValueError(
            f"source.key_pattern: {model.key_pattern!r} has no group (?P<date>...); a report needs each file's date"
        )
    return RawSource(prefix=model.prefix, key_pattern=pattern, date_format=model.date_format)
