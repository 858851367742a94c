"""The guard rails of a publish as Dagster shows them: their checks, and their overrides in the launchpad."""

from collections.abc import Mapping

import dagster as dg

from tnt_platform.lake.guard_rails import REJECTED_SHARE, REMOVED_SHARE, REVISED_SHARE, Overrides

GUARD_RAIL_DESCRIPTIONS: Mapping[str, str] = {
    REJECTED_SHARE: "At most `max_rejected_share` of the rows are rejected; `accept_rejected` publishes the rest once.",
    REMOVED_SHARE: "At most `max_removed_share` of the published rows go; `accept_vanished` lets them go once.",
    REVISED_SHARE: "At most `max_revised_share` of a series' published values change at once; `accept_revised` "
    "publishes them once.",
}
# Warnings about a file or an answer that was rejected whole: what is published stays, but the new content is not in it.
REJECTED_WHOLE = frozenset({"new_content_accepted", "captures_accepted", "files_readable"})
REJECTION_CHECKS = REJECTED_WHOLE | GUARD_RAIL_DESCRIPTIONS.keys()


class OverrideConfig(dg.Config):
    """What a person who has looked at a blocked publish may decide, for one run; the version records it."""

    accept_rejected: bool = False
    accept_vanished: bool = False

    @property
    def overrides(self) -> Overrides:
        """Return the overrides as the flows take them."""
        return Overrides(self.accept_rejected, self.accept_vanished)


class RevisionConfig(OverrideConfig):
    """Overrides of a dataset whose published values may be revised: `accept_revised` for a large part at once."""

    accept_revised: bool = False

    @property
    def overrides(self) -> Overrides:
        """Return the overrides as the flows take them."""
        return Overrides(self.accept_rejected, self.accept_vanished, self.accept_revised)
