"""The name that a `dagster.yaml` written before 0.2 has for `LocalRunLauncher`; it now lives in `orchestration`."""

from tnt_platform.orchestration.local_launcher import LocalRunLauncher

__all__ = ["LocalRunLauncher"]
