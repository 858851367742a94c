"""What a publish that was blocked leaves for readers: its checks in their own words, and the draft to look at.

The run, the CLI and the health page all show `BlockedPublish.text`; the check shows its own part of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pydantic import TypeAdapter, ValidationError

from tnt_platform.errors import PermanentError
from tnt_platform.lake import naming
from tnt_platform.lake.snapshot import Snapshot, current_snapshot
from tnt_platform.storage.objects import Objects

BLOCKED: Final = "blocked/"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
# The name of the one note of a dataset that has no dates.
_WHOLE: Final = "whole"


@dataclass(frozen=True)
class BlockedPublish:
    """A publish that blocking checks stopped; `checks` has what each of them found, with its limit and command.

    Without `is_draft`, the version is a published one that holds the rejected rows, and none of the new content.
    """

    dataset: str
    partition: str
    version: str
    at: datetime
    run_id: str = ""
    checks: Mapping[str, str] = field(default_factory=dict)
    is_draft: bool = True

    @property
    def reasons(self) -> str:
        """What the checks found: share, limit and the command that publishes all the same."""
        return "; ".join(f"{name}: {found}" for name, found in self.checks.items())

    @property
    def show_command(self) -> str:
        """The command that shows the draft, or the rejected rows if they are all there is."""
        return f"tnt show {self.dataset} --version {self.version}" + (
            "" if self.is_draft else " --quarantine"
        )

    @property
    def text(self) -> str:
        """What happened and what to do about it."""
        what = f"{self.dataset} {self.partition} was not published: {self.reasons}. "
        if not self.is_draft:
            return f"{what}The published rows are untouched. To see what was rejected: `{self.show_command}`"
        return (
            f"{what}The draft is kept as version {self.version}; the published version is untouched. To see the "
            f"draft: `{self.show_command}` (its rejected rows: --quarantine)"
        )


_ADAPTER = TypeAdapter(BlockedPublish)


def note_blocked(objects: Objects, blocked: BlockedPublish) -> None:
    """Leave a note of a blocked publish, in the place of an earlier one of the same date."""
    objects.put(_key(blocked.dataset, blocked.partition), _ADAPTER.dump_json(blocked, indent=1))


def blocked_publishes(objects: Objects, dataset: str | None = None) -> list[BlockedPublish]:
    """Return the blocked publishes after which nothing was published in their place, by dataset and date.

    Args:
        dataset: this one and its steps only.
    """
    keys = objects.list(BLOCKED)["key"].to_list()
    chosen = [key for key in keys if dataset is None or key.startswith(f"{BLOCKED}{dataset}/")]
    current: dict[str, Snapshot | None] = {}
    found = []
    for _, body in objects.get_many(chosen):
        try:
            one = _ADAPTER.validate_json(body)
        except ValidationError:
            continue  # of a later release
        if one.dataset not in current:
            # Of a dataset whose pointer or manifest is damaged, nothing tells that the note is old.
            with suppress(PermanentError):
                current[one.dataset] = current_snapshot(objects, one.dataset)
        if not _is_superseded(one, current.get(one.dataset)):
            found.append(one)
    return found


def forget_blocked(objects: Objects, dataset: str) -> None:
    """Delete the notes of a dataset whose drafts are gone, and of those that were published since."""
    prefix = f"{BLOCKED}{dataset}/"
    standing = {_key(one.dataset, one.partition): one for one in blocked_publishes(objects, dataset)}
    keys = objects.list(prefix)["key"].to_list()
    mine = [key for key in keys if "/" not in key.removeprefix(prefix)]
    objects.delete([key for key in mine if key not in standing or not _has_draft(objects, standing[key])])


def _has_draft(objects: Objects, blocked: BlockedPublish) -> bool:
    return objects.exists(naming.manifest_key(blocked.dataset, blocked.version))


def _key(dataset: str, partition: str) -> str:
    return f"{BLOCKED}{dataset}/{partition if _DATE.fullmatch(partition) else _WHOLE}.json"


def _is_superseded(blocked: BlockedPublish, current: Snapshot | None) -> bool:
    """Whether the date, or a dataset without dates, was published after the draft was written."""
    if current is None or current.version <= blocked.version:
        return False
    if not _DATE.fullmatch(blocked.partition):
        return True
    row = current.partition(blocked.partition)
    return row is not None and str(row["changed_by"]) > blocked.version
