"""What every kind of dataset says in its `defs.yaml`, and what its folder becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Self

import dagster as dg
from pydantic import BaseModel, Field, model_validator

from tnt_platform.orchestration.compute import launcher_tags
from tnt_platform.orchestration.steps import About
from tnt_platform.specs.dataset import Compute


class ComputeModel(dg.Model, dg.Resolvable):
    """`Compute` for the kinds that are not declared by a spec yet."""

    cpu: int | None = None
    memory_mb: int | None = None
    spot: bool = False

    @model_validator(mode="after")
    def _is_a_size(self) -> ComputeModel:
        Compute(**self.model_dump())
        return self


class Dataset(dg.Component, dg.Model, dg.Resolvable):
    """The fields of every kind: what it is, whose, and the size of its runs."""

    description: str = ""
    owners: Sequence[str] = ()
    tags: Mapping[str, str] = Field(default_factory=dict)
    compute: ComputeModel | None = None
    stale_after_hours: Annotated[float, Field(gt=0)] | None = None

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:
        """Take every value as the YAML writes it, without Dagster's templates.

        They would read each text as a Python literal (`nulls: ["0"]` became the number 0, which is refused) and
        turn `\\d{{2}}` of a pattern into `\\d2`. What differs between places is a `${VARIABLE}`, resolved at run time.
        """
        return cls(**model.model_dump(exclude_unset=True))

    def about(self) -> About:
        """The same as the assets need it."""
        stale = (
            dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=self.stale_after_hours))
            if self.stale_after_hours
            else None
        )
        compute = launcher_tags(Compute(**self.compute.model_dump())) if self.compute else {}
        return About(self.description, self.owners, self.tags, stale, compute)
