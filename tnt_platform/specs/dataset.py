"""What every kind of dataset declares, whatever it reads."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, Field, PrivateAttr

from tnt_platform.specs.fields import Cron, Unit, shown
from tnt_platform.specs.spec import Mistake, Spec, mistake, mistakes, rule

if TYPE_CHECKING:
    from tnt_platform.settings import Settings

_OWNER = re.compile(r"team:[A-Za-z0-9_-]+|[^@\s]+@[^@\s]+\.[^@\s]+")
_TAG = re.compile(r"[A-Za-z0-9_.-]{1,63}")


def _owner(text: str) -> str:
    if not _OWNER.fullmatch(text):
        name = re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")
        raise mistake(f"{shown(text)} is not an owner", "an email address or team:name", f"write team:{name}")
    return text


def _tags(tags: Mapping[str, str]) -> Mapping[str, str]:
    found = [
        Mistake(f"{shown(text)} is not a tag", "up to 63 letters, digits, _ - and .", "rename it", at=(name,))
        for name, value in tags.items()
        for text in (name, value)
        if not (_TAG.fullmatch(text) or (text == "" and text is value))
    ]
    if found:
        raise mistakes(found)
    return tags


class Compute(Spec):
    """The ECS task of a dataset's runs; without it, the environment's own size."""

    cpu: Annotated[
        int | None,
        Field(description="Processor units; 1024 is one vCPU. Given together with `memory_mb`."),
        Unit("CPU units"),
    ] = None
    memory_mb: Annotated[
        int | None, Field(description="Memory, in a size that Fargate offers with `cpu`."), Unit("MB")
    ] = None
    spot: Annotated[
        bool,
        Field(
            description="Run on Fargate Spot, for three tenths of the price; an interrupted run is retried on demand."
        ),
    ] = False

    @rule
    def _is_a_fargate_size(self) -> Iterator[Mistake]:
        sizes = fargate_sizes()
        if (self.cpu is None) != (self.memory_mb is None):
            given, other = ("cpu", "memory_mb") if self.memory_mb is None else ("memory_mb", "cpu")
            yield Mistake(
                f"{given} without {other}", "both or neither", f"add {other}, or delete {given}", at=(given,)
            )
        elif self.cpu is not None and self.cpu not in sizes:
            allowed = ", ".join(map(str, sizes))
            yield Mistake(
                f"Fargate has no cpu {self.cpu}", f"one of {allowed}", "1024 is one vCPU", at=("cpu",)
            )
        elif self.cpu is not None and self.memory_mb not in sizes[self.cpu]:
            yield Mistake(
                f"Fargate has no memory_mb {self.memory_mb} with cpu {self.cpu}",
                _memory_ranges(self.cpu),
                "take one of these, or another cpu",
                at=("memory_mb",),
            )


@cache
def fargate_sizes() -> dict[int, tuple[int, ...]]:
    """Memory in MB that Fargate offers with each number of processor units."""
    sizes: dict[int, tuple[int, ...]] = {}
    for row in _size_rows():
        steps = range(row["from_mb"], row["to_mb"] + 1, row["step_mb"])
        sizes[row["cpu"]] = (*sizes.get(row["cpu"], ()), *steps)
    return sizes


def _size_rows() -> list[dict[str, int]]:
    text = files(__package__).joinpath("fargate_sizes.csv").read_text(encoding="utf-8")
    return [{name: int(value) for name, value in row.items()} for row in csv.DictReader(text.splitlines())]


def _memory_ranges(cpu: int) -> str:
    rows = [row for row in _size_rows() if row["cpu"] == cpu]
    return " or ".join(
        str(row["from_mb"])
        if row["from_mb"] == row["to_mb"]
        else f"{row['from_mb']} to {row['to_mb']} in steps of {row['step_mb']}"
        for row in rows
    )


class SensorSpec(Spec):
    """How often the bucket is compared with the published data, and how often a failed date is retried."""

    interval_s: Annotated[int, Field(ge=1, description="Time between two comparisons."), Unit("seconds")] = 30
    window_days: Annotated[
        int,
        Field(
            ge=1,
            description="How far back each comparison lists, where an event queue names older dates; "
            "without a queue everything is listed.",
        ),
        Unit("days"),
    ] = 30
    max_attempts: Annotated[
        int,
        Field(
            ge=1,
            le=10,
            description="Runs for a date and content before the sensor gives up; the last one reads each file alone.",
        ),
        Unit("runs"),
    ] = 3
    backoff_s: Annotated[
        float,
        Field(ge=0, description="Wait after the first failed run; it doubles with each further one."),
        Unit("seconds"),
    ] = 30
    max_requests: Annotated[
        int, Field(ge=1, le=500, description="Most runs requested by one comparison."), Unit("runs")
    ] = 50
    sweep_cron: Annotated[
        Cron,
        Field(
            description="When everything is compared, however old, and given-up dates are tried again (UTC)."
        ),
    ] = "0 3 * * *"


class DatasetSpec(Spec):
    """What every dataset declares. The folder that holds its `defs.yaml` names it."""

    description: Annotated[
        str, Field(description="One sentence on what the dataset holds, shown on its assets.")
    ] = ""
    owners: Annotated[
        tuple[Annotated[str, AfterValidator(_owner)], ...],
        Field(description="Who answers for it: email addresses or `team:name`."),
    ] = ()
    tags: Annotated[
        Mapping[str, str], AfterValidator(_tags), Field(description="Tags of its assets, to filter by.")
    ] = Field(default_factory=dict)
    compute: Annotated[Compute | None, Field(description="The size of its runs on ECS.")] = None
    stale_after_hours: Annotated[
        float | None,
        Field(gt=0, description="Without a publish for so long, the freshness policy fails."),
        Unit("hours"),
    ] = None
    max_rejected_share: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="A publish is blocked if a larger share of the rows read is rejected; of fewer than 20 rows, "
            "if all are. `--accept-rejected` publishes the rest once.",
        ),
        Unit("share, 0 to 1"),
    ] = 0.2
    _folder: Path | None = PrivateAttr(default=None)

    def placed_in(self, folder: Path) -> Self:
        """The same dataset in the folder that names it and holds its templates and lookups."""
        placed = self.model_copy()
        placed._folder = folder
        return placed

    @property
    def folder(self) -> Path:
        """Where the `defs.yaml` and the files beside it are."""
        assert self._folder is not None, "a spec is placed in its folder before it is used"
        return self._folder

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.folder.name

    @rule
    def _says_whose_it_is(self) -> Iterator[Mistake]:
        for key, example in (
            ("owners", 'owners: ["team:name"]'),
            ("description", "description: one sentence"),
        ):
            if not getattr(self, key):
                yield Mistake(
                    f"the key {key} is missing", "one on every dataset", f"add `{example}`", warning=True
                )

    def mistakes_beside(self, settings: Settings) -> Iterator[Mistake]:
        """What is wrong in files beside the YAML, or in how it fits them; a kind that has such files says so."""
        return iter(())


class DatedDatasetSpec(DatasetSpec):
    """What a dataset of files by date declares besides: each date replaces what was published of it."""

    max_removed_share: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="A publish is blocked if a larger share of the published rows would go; of fewer than 20 "
            "rows, if all would. `--accept-vanished` lets them go once.",
        ),
        Unit("share, 0 to 1"),
    ] = 0.5
