"""Kinds of datasets: what a `defs.yaml` may have as its `type`."""

from tnt_platform.components.transit.dataset import TransitDataset

__all__ = ["TransitDataset"]
