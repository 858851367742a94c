"""Every fault of every dataset's YAML at once, each with its file and line."""

from tnt_platform.components.validation.fault import Fault
from tnt_platform.components.validation.folder import Report, validate_folder

__all__ = ["Fault", "Report", "validate_folder"]
