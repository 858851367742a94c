"""`tnt`: the platform from a terminal."""

from tnt_platform.cli.main import main

__all__ = ["main"]
