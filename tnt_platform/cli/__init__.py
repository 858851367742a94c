"""The command `tnt`."""

from tnt_platform.cli.main import main

__all__ = ["main"]
