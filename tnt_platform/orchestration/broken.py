"""Show a dataset whose `defs.yaml` is invalid as one failing asset."""

from __future__ import annotations

import dagster as dg


def broken_dataset(name: str, reason: str) -> dg.Definitions:
    """Build the asset `<dataset>/invalid_defs_yaml`; its description and its failure are what `tnt validate` prints."""
    description = (
        f"**The `defs.yaml` of {name} is invalid, so none of its assets can be loaded.** Fix it and reload the "
        f"definitions:\n\n```\n{reason}\n```"
    )

    @dg.asset(
        key=[name, "invalid_defs_yaml"],
        group_name=name if name.isidentifier() else "invalid",
        kinds={"yaml"},
        tags={"tnt/state": "invalid"},
        description=description,
    )
    def invalid() -> None:
        raise dg.Failure(reason, allow_retries=False)

    return dg.Definitions(assets=[invalid])
