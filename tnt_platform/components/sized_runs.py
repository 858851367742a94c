"""The name that a `dagster.yaml` written before 0.2 has for `SizedRunCoordinator`; it now lives in `orchestration`."""

from tnt_platform.orchestration.sized_runs import SizedRunCoordinator

__all__ = ["SizedRunCoordinator"]
